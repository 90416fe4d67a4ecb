/**
 * Known bytes are planted inside an HSM, and then looked for everywhere else: in every file that is not the
 * host's or the customer's, in everything the service says, and in the memory of its processes.
 */
import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { Client } from '../../src/cli/client.ts';
import { CustomerFolder } from '../../src/cli/customer.ts';
import { findEndpoint } from '../../src/cli/environment.ts';
import { withOfficer } from '../../src/cli/officers.ts';
import { createPrinter } from '../../src/cli/print.ts';
import { makeReady } from '../../src/cli/ready-made.ts';
import { Roots } from '../../src/hsm/roots.ts';
import { systemClock as clock } from '../../src/kernel/clock.ts';
import { systemRandom as random } from '../../src/kernel/random.ts';
import { Secret } from '../../src/kernel/secret.ts';
import { formsOf, type Planted, searchBytes, searchMemory } from '../support/process-memory.ts';
import { fleetProcesses } from '../support/processes.ts';
import { startService, temporaryFolder } from '../support/service.ts';

const isRoot = process.getuid?.() === 0;
const USER = 'planted_user_name';
const LABEL = 'planted-key-label';

/** The private numbers of a key in every form, and a line of its PEM text. */
function formsOfPem(name: string, pem: string): readonly Planted[] {
  const { d, p, q } = createPrivateKey(pem).export({ format: 'jwk' });
  const numbers = Object.entries({ d, p, q }).flatMap(([part, text]) =>
    text === undefined ? [] : formsOf(`${name} ${part}`, Buffer.from(text, 'base64url')),
  );
  const lines = pem.split('\n').filter((line) => line !== '' && !line.startsWith('-----'));
  // From the middle: the first lines are the same for all keys of a kind.
  const line = lines[Math.floor(lines.length / 2)] ?? '';
  return [...numbers, { name: `${name} PEM line`, bytes: Buffer.from(line) }];
}

/** As the host keeps it while no passphrase was set. */
async function rootKey(data: string, of: string): Promise<Uint8Array> {
  const text = await readFile(join(data, 'host', 'roots', of, 'keys.json'), 'utf8');
  const [newest] = (JSON.parse(text) as { backupKeys: { key: string }[] }).backupKeys;
  assert.ok(newest !== undefined);
  return new Uint8Array(Buffer.from(newest.key, 'base64'));
}

function pbkOf(mkbk: Uint8Array, akbk: Uint8Array): Uint8Array {
  using roots = new Roots();
  const [vendor, line, owner, epoch] = ['keyark', 'keyark-hsm-1', 'home', 1] as const;
  roots.addMkbk({ vendor, line, epoch, key: new Secret(mkbk.slice()) });
  roots.addAkbk({ owner, epoch, key: new Secret(akbk.slice()) });
  return new Uint8Array(roots.pbk({ mkbk: epoch, akbk: epoch }).export());
}

async function filesUnder(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

async function foundInFiles(
  folder: string,
  planted: readonly Planted[],
): Promise<readonly string[]> {
  const found: string[] = [];
  for (const file of await filesUnder(folder)) {
    for (const name of searchBytes(await readFile(file), planted)) found.push(`${name} in ${file}`);
  }
  return found;
}

test('planted keys, passwords and roots are nowhere outside the boundary', {
  skip: isRoot ? false : 'reading the memory of other processes takes root',
}, async () => {
  await using folder = await temporaryFolder();
  await using service = await startService(join(folder.path, 'd'));
  const { data } = service;
  const client = new Client(await findEndpoint({ data }, {}), clock);
  const customer = new CustomerFolder({ data: folder.path, name: 'home', clock, random });
  const around = { env: {}, home: data, cwd: data, isRoot, isTerminal: false };
  const print = createPrinter(process.stdout, process.stderr);
  const context = { print, clock, random, around, endWith: () => {} };
  const { signal } = new AbortController();
  const { clusterId } = await makeReady({
    client,
    customer,
    context,
    home: { name: 'home', mode: 'NON_FIPS' },
    signal,
  });

  const raw = randomBytes(32);
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString();
  const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    .privateKey.export({ type: 'pkcs8', format: 'pem' })
    .toString();
  const password = `planted${randomBytes(9).toString('hex')}`;
  const admin = await customer.password('admin-password');
  const app = await customer.password('app-password');
  await withOfficer({ client, customer }, clusterId, async (officer) => {
    await officer.call('login', { username: 'admin', role: 'admin', password: admin });
    await officer.call('user-create', { username: USER, role: 'crypto-user', password });
  });
  await withOfficer({ client, customer }, clusterId, async (officer) => {
    await officer.call('login', { username: USER, role: 'crypto-user', password });
    await officer.call('key-import', {
      format: 'raw',
      type: 'aes',
      value: raw.toString('base64'),
      label: LABEL,
    });
    await officer.call('key-import', { format: 'pkcs8-pem', pem: rsa, label: LABEL });
    await officer.call('key-import', { format: 'pkcs8-pem', pem: ec, label: LABEL });
  });
  const answers = [
    await client.own('TakeBackup', { ClusterId: clusterId }),
    await client.aws('DescribeClusters'),
    await client.own('GetStatus'),
  ];
  // Until a proof holds the keys: now they have crossed every wall there is.
  for (let tries = 0; ; tries += 1) {
    const backups = await client.all('DescribeBackups', 'Backups');
    if (backups.length > 2 && backups.every(({ BackupState }) => BackupState === 'READY')) {
      answers.push(
        ...backups,
        await client.own('GetBackupProof', { BackupId: String(backups[0]?.['BackupId']) }),
      );
      break;
    }
    assert.ok(tries < 200, JSON.stringify(backups));
    await clock.sleep(50);
  }

  const users = [
    ...formsOf('AES key', raw),
    ...formsOfPem('RSA key', rsa),
    ...formsOfPem('EC key', ec),
    ...[password, admin, app].flatMap((each, i) => formsOf(`password ${i}`, Buffer.from(each))),
  ];
  const mkbk = await rootKey(data, join('makers', 'keyark'));
  const akbk = await rootKey(data, join('owners', 'home'));
  const roots = [
    ...formsOf('MKBK', mkbk),
    ...formsOf('AKBK', akbk),
    ...formsOf('PBK', pbkOf(mkbk, akbk)),
  ];
  const names = [USER, LABEL].map((name) => ({ name, bytes: Buffer.from(name) }));
  const processes = await fleetProcesses(service.pid);
  const [hsm] = processes.hsms.values();
  assert.ok(hsm !== undefined);
  assert.notEqual(processes.host, service.pid);

  // First, that the search finds what is there: inside.
  const inside = await searchMemory(hsm, users);
  for (const name of ['AES key raw', 'RSA key d raw', 'EC key d raw']) {
    assert.ok(inside.includes(name), `${name} is not even found inside: ${inside}`);
  }

  for (const part of ['vault', 'catalog', 'kms', 'access', 'audit']) {
    assert.deepEqual(await foundInFiles(join(data, part), [...users, ...roots, ...names]), []);
  }
  assert.deepEqual(
    await foundInFiles(join(data, 'host', 'hsms'), [...users, ...roots, ...names]),
    [],
  );
  assert.deepEqual(searchBytes(Buffer.from(service.output()), [...users, ...roots, ...names]), []);
  assert.deepEqual(
    searchBytes(Buffer.from(JSON.stringify(answers)), [...users, ...roots, ...names]),
    [],
  );
  assert.deepEqual(await searchMemory(service.pid, [...users, ...roots]), []);
  assert.deepEqual(await searchMemory(processes.host, users), []);
});
