/** Judges backups from outside: by what rests in the vault, and by what HSMs signed. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Client } from '../../src/cli/client.ts';
import { numberOf, objectOf, textOf } from '../../src/cli/json.ts';
import { verifyStatement } from '../../src/crypto/sign.ts';
import { checkIssued, readCertificate } from '../../src/crypto/x509.ts';
import { systemClock as clock } from '../../src/kernel/clock.ts';
import type { JsonObject } from '../../src/kernel/types.ts';

/** After each stored object: magic, length, SHA-256 (docs/formats/backup-v1.md). */
const TRAILER_BYTES = 48;
/** At a backup every second or two. */
const MAX_LOOKS = 200;
const LOOK_EVERY_MS = 50;
const COUNTED = ['users', 'keys', 'objects', 'tombstones'];

interface Roots {
  readonly maker: string;
  readonly owner: string;
}

/** Every READY backup has a valid proof about the bytes that are there; nothing else is in the vault. */
export async function checkBackups(
  client: Client,
  { data, region }: { data: string; region: string },
): Promise<void> {
  const status = objectOf(await client.own('GetStatus'), 'Roots');
  const roots = { maker: textOf(status, 'MakerRoot'), owner: textOf(status, 'OwnerRoot') };
  const vault = join(data, 'vault', region);
  const backups = () => client.all('DescribeBackups', 'Backups');
  const isAtRest = (rows: readonly JsonObject[]) =>
    rows.every((row) => row['BackupState'] !== 'CREATE_IN_PROGRESS');
  for (let looks = 0; looks < MAX_LOOKS; looks += 1) {
    const before = await backups();
    const [outcome] = await Promise.allSettled([checkAll(client, before, vault, roots)]);
    // One that was begun meanwhile makes the look worthless: look again.
    if (!isAtRest(before) || !isDeepStrictEqual(await backups(), before)) {
      await clock.sleep(LOOK_EVERY_MS);
      continue;
    }
    if (outcome.status === 'rejected') throw outcome.reason;
    return;
  }
  assert.fail('backups never came to rest');
}

async function checkAll(
  client: Client,
  backups: readonly JsonObject[],
  vault: string,
  roots: Roots,
): Promise<void> {
  const ready = backups
    .filter((backup) => backup['BackupState'] === 'READY')
    .map((backup) => textOf(backup, 'BackupId'));
  for (const id of ready) {
    const proof = await client.own('GetBackupProof', { BackupId: id });
    checkProof(proof, roots);
    await checkStored(proof, join(vault, 'objects', id));
  }
  const stored = await readdir(join(vault, 'objects'));
  assert.deepEqual(stored.sort(), ready.sort(), 'the vault holds READY backups and nothing else');
  assert.deepEqual(await readdir(join(vault, 'incoming')), [], 'nothing is half written');
}

function checkProof(answer: JsonObject, roots: Roots): void {
  const seal = signed(objectOf(answer, 'Seal'), 'keyark.seal.v1', roots);
  const proof = signed(objectOf(answer, 'Proof'), 'keyark.proof.v1', roots);
  const claims = objectOf(proof, 'claims');
  const opened = objectOf(proof, 'opened');
  assert.equal(claims['backupId'], answer['BackupId']);
  assert.equal(claims['storedBodySha256'], answer['StoredBodySha256']);
  assert.equal(claims['storedBytes'], answer['StoredBytes']);
  assert.equal(seal['backupId'], answer['BackupId']);
  for (const name of ['stateDigest', 'bodySha256', 'headerSha256', 'generation']) {
    assert.equal(opened[name], seal[name], name);
  }
  const [sealed, seen] = [objectOf(seal, 'counts'), objectOf(opened, 'counts')];
  for (const name of COUNTED) assert.equal(seen[name], sealed[name], name);
  assert.equal(objectOf(proof, 'exercised')['passed'], true);
  assert.equal(proof['sealSignatureVerified'], true);
  assert.notEqual(proof['drillSerial'], seal['serial'], 'another HSM proved it');
}

/** @returns the statement, signed by a device of this maker and owner. */
function signed(word: JsonObject, kind: string, { maker, owner }: Roots): JsonObject {
  const statement = objectOf(word, 'statement');
  const certificate = textOf(word, 'manufacturerHardwareCertificate');
  const { publicKey } = readCertificate(certificate);
  assert.equal(statement['kind'], kind);
  checkIssued(certificate, maker);
  checkIssued(textOf(word, 'ownerHardwareCertificate'), owner);
  assert.ok(verifyStatement(publicKey, statement, textOf(word, 'signature')), `${kind}: signature`);
  return statement;
}

async function checkStored(answer: JsonObject, folder: string): Promise<void> {
  const id = textOf(answer, 'BackupId');
  const parts = (await readdir(folder)).sort();
  assert.deepEqual(parts, ['body', 'outer-1', 'seal-1'], id);
  let bytes = 0;
  for (const part of parts) {
    const file = await readFile(join(folder, part));
    const object = file.subarray(0, -TRAILER_BYTES);
    const sha256 = createHash('sha256').update(object).digest();
    assert.deepEqual(sha256, file.subarray(-sha256.length), `${id}/${part} is damaged`);
    if (part === 'body') assert.equal(sha256.toString('hex'), answer['StoredBodySha256'], id);
    bytes += object.length;
  }
  assert.equal(bytes, numberOf(answer, 'StoredBytes'), id);
}
