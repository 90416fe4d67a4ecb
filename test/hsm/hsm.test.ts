/** One HSM from the factory to a restored, proven sister, through the calls of its wall. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { verifyStatement } from '../../src/crypto/sign.ts';
import { checkIssued, readCertificate } from '../../src/crypto/x509.ts';
import { memoryDisk, noDisk } from '../../src/hsm/disk.ts';
import type { ProofClaims } from '../../src/hsm/protocol.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import type { JsonValue } from '../../src/kernel/types.ts';
import {
  activate,
  BACKUP,
  CLUSTER,
  Factory,
  HSM2M_FIPS,
  newAuthority,
  OTHER_CLUSTER,
  officer,
  Unit,
  USER_PASSWORD,
} from './support/factory.ts';

const CLAIMS: ProofClaims = {
  backupId: BACKUP,
  storedBodySha256: 'aa'.repeat(32),
  storedBytes: 1234,
  region: 'us-east-1',
};

const refused = (code: string) => ({ name: 'Refused', code });

test('an HSM is made, enrolled, certified, installed, activated, sealed, and proven by a drill', async () => {
  const factory = new Factory();
  const unit = await factory.factory();
  const states: string[] = [];
  const note = async () => states.push((await unit.call('hello', {})).lifecycle);
  await note();
  await factory.manufacture(unit);
  await note();
  await unit.call('enrol', await factory.enrolParams(unit));
  await note();
  await unit.call('certify', { clusterId: CLUSTER, ...HSM2M_FIPS });
  await note();
  await unit.call('install', await factory.installParams(unit));
  await note();
  await activate(factory, unit);
  await note();
  assert.deepEqual(states, ['FACTORY', 'MADE', 'BLANK', 'UNINITIALIZED', 'INITIALIZED', 'ACTIVE']);

  const { body, outcome } = await unit.seal();
  const drill = await factory.drill();
  const opened = await drill.open(body, outcome.sealRecord);
  assert.equal(opened.stateDigest, outcome.seal.statement.stateDigest);
  assert.equal(opened.stateDigest, (await unit.call('digest', {})).stateDigest);
  const exercised = await drill.call('exercise', {});
  assert.equal(exercised.passed, true);
  assert.deepEqual(
    exercised.tried.map(({ kind, present, tried, failed }) => [kind, present, tried, failed]),
    [
      ['aes', 1, 1, 0],
      ['generic-secret', 1, 1, 0],
      ['rsa', 1, 1, 0],
      ['ec', 1, 1, 0],
    ],
  );
  const proof = await drill.call('prove', { claims: CLAIMS, seal: outcome.seal });
  assert.deepEqual(proof.statement.opened, opened);
  checkIssued(proof.ownerHardwareCertificate, factory.owner.certificate);
  const key = readCertificate(proof.manufacturerHardwareCertificate).publicKey;
  const statement = JSON.parse(JSON.stringify(proof.statement)) as JsonValue;
  assert.equal(verifyStatement(key, statement, proof.signature), true);
  const { name } = unit.events.findLast((event) => event.name === 'activated') ?? {};
  assert.equal(name, 'activated');
  assert.deepEqual([...unit.broken, ...drill.broken], []);
});

test('the HSM certificate verifies under the maker’s and the owner’s hardware certificate', async () => {
  const factory = new Factory();
  const unit = await factory.initialized();
  const { certificates } = await unit.call('hello', {});
  const hsmCertificate = String(certificates?.hsmCertificate);
  checkIssued(hsmCertificate, String(certificates?.manufacturerHardwareCertificate));
  checkIssued(hsmCertificate, String(certificates?.ownerHardwareCertificate));
  checkIssued(String(certificates?.ownerHardwareCertificate), factory.owner.certificate);
  const { publicKey } = readCertificate(String(certificates?.clusterCertificate));
  assert.ok(readCertificate(hsmCertificate).publicKey.equals(publicKey));
});

test('a restored HSM keeps the incarnation, a clone gets one of its own, both sign with their device', async () => {
  const factory = new Factory();
  const unit = await factory.initialized();
  await activate(factory, unit);
  const { incarnation } = await unit.call('hello', {});
  const { body, outcome } = await unit.seal();

  const sister = await factory.blank();
  const restored = await sister.open(body, outcome.sealRecord);
  assert.equal(restored.incarnation, incarnation);
  assert.equal(restored.stateDigest, outcome.seal.statement.stateDigest);

  const clone = await factory.blank();
  const as = { clusterId: OTHER_CLUSTER, isClone: true };
  const cloned = await clone.open(body, outcome.sealRecord, as);
  assert.equal(cloned.sealedIncarnation, incarnation);
  assert.notEqual(cloned.incarnation, incarnation);
  assert.equal(cloned.stateDigest, outcome.seal.statement.stateDigest);

  for (const copy of [sister, clone]) {
    const hello = await copy.call('hello', {});
    assert.equal(hello.lifecycle, 'ACTIVE');
    const issuer = String(hello.certificates?.ownerHardwareCertificate);
    checkIssued(String(hello.certificates?.hsmCertificate), issuer);
    const peer = officer(copy, factory.customer.certificate);
    const user = { username: 'alice', role: 'crypto-user', password: USER_PASSWORD };
    await peer.call('login', user);
    const { result } = await peer.call('key-list', {});
    assert.equal(Array.isArray(result['keys']) && result['keys'].length, 6);
    peer.close();
  }
  const serials = await Promise.all([unit, sister].map((one) => one.call('hello', {})));
  assert.equal(new Set(serials.map(({ serial }) => serial)).size, 2);
});

test('a backup of another cluster opens as a clone only', async () => {
  const factory = new Factory();
  const unit = await factory.initialized();
  await activate(factory, unit);
  const { body, outcome } = await unit.seal();
  const target = await factory.blank();
  const as = { clusterId: OTHER_CLUSTER, isClone: false };
  await assert.rejects(target.open(body, outcome.sealRecord, as), refused('WrongState'));
  assert.equal((await target.call('hello', {})).lifecycle, 'BLANK');
});

test('a refused backup leaves an active HSM as it was, and a record of the attempt', async () => {
  const factory = new Factory();
  const unit = await factory.initialized();
  await activate(factory, unit);
  const { body, outcome } = await unit.seal();
  const before = await unit.call('digest', {});
  const flipped = body.slice();
  flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1;
  await assert.rejects(unit.open(flipped, outcome.sealRecord), refused('DoesNotOpen'));
  assert.deepEqual(await unit.call('digest', {}), before);
  const peer = officer(unit, factory.customer.certificate);
  const user = { username: 'admin', role: 'admin', password: 'first-admin-password' };
  await peer.call('login', user);
  const { result } = await peer.call('audit', { limit: 50 });
  const records = result['records'] as { opcode: string; response: number; sequence: number }[];
  const restores = records.filter(({ opcode }) => opcode.startsWith('CN_RESTORE'));
  assert.deepEqual(
    restores.map(({ opcode, response }) => [opcode, response]),
    [
      ['CN_RESTORE_BEGIN', 0],
      ['CN_RESTORE_END', 1],
    ],
  );
  const sequences = records.map(({ sequence }) => sequence);
  assert.deepEqual(
    sequences,
    sequences.map((_, i) => (sequences[0] ?? 0) + i),
  );
  peer.close();
});

test('a restore ends every session', async () => {
  const factory = new Factory();
  const unit = await factory.initialized();
  await activate(factory, unit);
  const { body, outcome } = await unit.seal();
  const peer = officer(unit, factory.customer.certificate);
  const user = { username: 'alice', role: 'crypto-user', password: USER_PASSWORD };
  await peer.call('login', user);
  await unit.open(body, outcome.sealRecord);
  await peer.closed;
  await assert.rejects(peer.call('key-list', {}));
});

test('HSMs of another maker or owner refuse the backup and say which domain it needs', async () => {
  const factory = new Factory();
  const unit = await factory.initialized();
  await activate(factory, unit);
  const { body, outcome } = await unit.seal();
  // The same names, other keys: the domain is right and the key is wrong.
  const impostor = await new Factory().blank();
  await assert.rejects(impostor.open(body, outcome.sealRecord), refused('DoesNotOpen'));
  const stranger = new Factory();
  Object.assign(stranger, { owner: newAuthority('stranger') });
  const foreign = await stranger.blank();
  await assert.rejects(foreign.open(body, outcome.sealRecord), {
    ...refused('InvalidRequest'),
    message: /owner "home"/,
  });
});

test('prove() refuses a seal whose every field differs from what was opened', async () => {
  const factory = new Factory();
  const unit = await factory.initialized();
  await activate(factory, unit);
  const { body, outcome } = await unit.seal();
  const other = await unit.seal();
  const drill = await factory.drill();
  const prove = (seal: typeof outcome.seal, claims = CLAIMS) =>
    drill.call('prove', { claims, seal });
  await assert.rejects(prove(outcome.seal), refused('WrongState'));
  await drill.open(body, outcome.sealRecord);
  await assert.rejects(prove(outcome.seal), refused('WrongState'));
  await drill.call('exercise', {});
  await assert.rejects(prove(other.outcome.seal), refused('InvalidRequest'));
  for (const field of Object.keys(outcome.seal.statement)) {
    const statement = { ...outcome.seal.statement, [field]: 'something else' };
    await assert.rejects(prove({ ...outcome.seal, statement }), refused('InvalidRequest'));
  }
  const stranger = await new Factory().blank();
  const { certificates } = await stranger.call('hello', {});
  const foreign = String(certificates?.ownerHardwareCertificate);
  await assert.rejects(
    prove({ ...outcome.seal, ownerHardwareCertificate: foreign }),
    refused('InvalidRequest'),
  );
  const about = { ...CLAIMS, backupId: 'backup-keyark7777abc' as typeof BACKUP };
  await assert.rejects(prove(outcome.seal, about), refused('InvalidRequest'));
  const long = { ...CLAIMS, profile: 'x'.repeat(33) };
  await assert.rejects(prove(outcome.seal, long), refused('InvalidRequest'));
  const proof = await prove(outcome.seal, { ...CLAIMS, profile: 'own' });
  assert.equal(proof.statement.claims.profile, 'own');
  const before = await prove(outcome.seal);
  assert.equal('profile' in before.statement.claims, false);
});

test('exercise() and prove() are answered by drills only, and a drill has no doors', async () => {
  const factory = new Factory();
  const unit = await factory.initialized();
  await activate(factory, unit);
  await assert.rejects(unit.call('exercise', {}), refused('WrongState'));
  const { body, outcome } = await unit.seal();
  const drill = await factory.drill();
  await drill.open(body, outcome.sealRecord);
  const peer = officer(drill, factory.customer.certificate);
  await peer.closed;
});

test('zeroise() leaves a blank device that can be certified again, or a factory-new one', async () => {
  const factory = new Factory();
  const unit = await factory.initialized();
  await activate(factory, unit);
  const before = await unit.call('hello', {});
  const blank = await unit.call('zeroise', { isFinal: false });
  assert.equal(blank.lifecycle, 'BLANK');
  assert.equal(blank.serial, before.serial);
  assert.equal(blank.certificates?.hsmCertificate, undefined);
  const again = await unit.call('certify', { clusterId: OTHER_CLUSTER, ...HSM2M_FIPS });
  assert.notEqual(again.incarnation, before.incarnation);
  const final = await unit.call('zeroise', { isFinal: true });
  assert.equal(final.lifecycle, 'FACTORY');
  assert.equal(final.serial, undefined);
  await factory.manufacture(unit);
  assert.deepEqual(unit.broken, []);
});

test('zeroise() of one state leaves another one as it is, and goes on taking changes', async () => {
  const factory = new Factory();
  const unit = await factory.initialized();
  const before = await unit.call('digest', {});
  await activate(factory, unit);
  const holding = before.stateDigest;
  await assert.rejects(unit.call('zeroise', { isFinal: true, holding }), refused('WrongState'));
  const peer = officer(unit, factory.customer.certificate);
  await peer.call('login', { username: 'admin', role: 'admin', password: 'first-admin-password' });
  await peer.call('user-create', {
    username: 'late',
    role: 'crypto-user',
    password: USER_PASSWORD,
  });
  const { stateDigest } = await unit.call('digest', {});
  const gone = await unit.call('zeroise', { isFinal: true, holding: stateDigest });
  assert.equal(gone.lifecycle, 'FACTORY');
  assert.equal((await unit.call('zeroise', { isFinal: true, holding })).lifecycle, 'FACTORY');
});

test('zeroise() ends a seal that is under way', async () => {
  const factory = new Factory();
  const unit = await factory.initialized();
  await activate(factory, unit);
  const reply = await unit.peer.call('seal', { backupId: BACKUP });
  const chunks = reply.body[Symbol.asyncIterator]();
  await unit.call('zeroise', { isFinal: false });
  const drain = async () => {
    while ((await chunks.next()).done !== true);
    await reply.trailer;
  };
  // A small state was sealed before the zeroise got its turn; then there is nothing to end.
  await drain().catch((cause: unknown) => assert.equal(Object(cause).code, 'WrongState'));
});

test('certify() and install() may be repeated with the same arguments, and with no others', async () => {
  const factory = new Factory();
  const unit = await factory.blank();
  const params = { clusterId: CLUSTER, ...HSM2M_FIPS };
  const first = await unit.call('certify', params);
  assert.deepEqual(await unit.call('certify', params), first);
  const other = { ...params, clusterId: OTHER_CLUSTER };
  await assert.rejects(unit.call('certify', other), refused('WrongState'));
  const install = await factory.installParams(unit);
  const installed = await unit.call('install', install);
  assert.deepEqual(await unit.call('install', install), installed);
  await assert.rejects(
    unit.call('install', await factory.installParams(unit)),
    refused('WrongState'),
  );
});

test('an HSM keeps everything over a restart and answers nobody under another storage key', async () => {
  const factory = new Factory();
  const disk = memoryDisk();
  const unit = await factory.initialized(disk);
  await activate(factory, unit);
  const before = await unit.call('hello', {});
  await unit.hsm.close();
  const again = await factory.factory(disk);
  assert.deepEqual(await again.call('hello', {}), before);
  await again.hsm.close();
  const thief = new Unit({ disk });
  const hello = await thief.powerOn(systemRandom.bytes(32));
  assert.equal(hello.lifecycle, 'ERROR');
  assert.match(String(hello.errorReason), /damaged, or is another device's/);
});

test('power-on refuses a box for another boot, and a drill that is none', async () => {
  const factory = new Factory();
  const other = new Unit();
  const unit = new Unit();
  const wrong = async () => {
    const { events } = other;
    while (events.length === 0) await new Promise((resolve) => setImmediate(resolve));
    const { sealBox } = await import('../../src/crypto/box.ts');
    return sealBox(String(events[0]?.params['bootKey']), factory.storageKey, 'storage-key');
  };
  const storageKey = await wrong();
  const isDrill = false;
  await assert.rejects(unit.call('power-on', { storageKey, isDrill }), refused('InvalidRequest'));
  await assert.rejects(
    unit.call('power-on', { storageKey: null, isDrill: true }),
    refused('InvalidRequest'),
  );
  assert.equal((await unit.powerOn(factory.storageKey)).lifecycle, 'FACTORY');
  const drill = new Unit({ disk: noDisk(), isDrill: true });
  await assert.rejects(drill.powerOn(factory.storageKey), refused('InvalidRequest'));
});
