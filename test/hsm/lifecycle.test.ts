/** Which calls an HSM answers in which state, walked whole; and what error means. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runSelfTests } from '../../src/crypto/self-test.ts';
import { memoryDisk } from '../../src/hsm/disk.ts';
import { ALLOWED_IN, checkAllowed, DRILL_ONLY, type Mood } from '../../src/hsm/lifecycle.ts';
import type { HsmCall } from '../../src/hsm/protocol.ts';
import { toBase64, toHex } from '../../src/kernel/bytes.ts';
import { Refused } from '../../src/kernel/errors.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import {
  ADMIN_PASSWORD,
  activate,
  BACKUP,
  CLUSTER,
  Factory,
  HSM2M_FIPS,
  newAuthority,
  Unit,
  USER_PASSWORD,
} from './support/factory.ts';

const CALLS = Object.keys(ALLOWED_IN) as HsmCall[];
const MOODS = [
  'OFF',
  'FACTORY',
  'MADE',
  'BLANK',
  'UNINITIALIZED',
  'INITIALIZED',
  'ACTIVE',
  'ERROR',
] as const satisfies readonly Mood[];

const refused = (code: string) => ({ name: 'Refused', code });

/** An HSM in each state; what a call gets there, judged by its code alone. */
const WORLD: Record<Mood, (factory: Factory) => Promise<Unit>> = {
  OFF: async () => new Unit(),
  FACTORY: (factory) => factory.factory(),
  MADE: async (factory) => await factory.manufacture(await factory.factory()),
  BLANK: (factory) => factory.blank(),
  UNINITIALIZED: async (factory) => {
    const unit = await factory.blank();
    await unit.call('certify', { clusterId: CLUSTER, ...HSM2M_FIPS });
    return unit;
  },
  INITIALIZED: (factory) => factory.initialized(),
  ACTIVE: async (factory) => {
    const unit = await factory.initialized();
    await activate(factory, unit);
    return unit;
  },
  ERROR: async (factory) => {
    const unit = new Unit({ selfTest: () => runSelfTests({ wrongAnswer: 'KWP wrap' }) });
    await unit.powerOn(factory.storageKey);
    return unit;
  },
};

for (const mood of MOODS) {
  test(`an HSM that is ${mood} refuses exactly the calls that its table does not name`, async () => {
    const factory = new Factory();
    const unit = await WORLD[mood](factory);
    for (const call of CALLS) {
      const moods: readonly Mood[] = ALLOWED_IN[call];
      // No parameters: a call that is let through fails on those, or needs none.
      const outcome = await unit.peer.call(call, {}).then(
        () => 'answered',
        (cause: unknown) => (cause instanceof Refused ? cause.code : String(cause)),
      );
      const isDrillCall = DRILL_ONLY.has(call);
      if (moods.includes(mood) && !isDrillCall) assert.notEqual(outcome, 'WrongState', call);
      else assert.equal(outcome, 'WrongState', call);
      assert.equal(toAllowed(call, mood), moods.includes(mood));
    }
    assert.deepEqual(unit.broken, []);
  });
}

function toAllowed(call: HsmCall, mood: Mood): boolean {
  try {
    checkAllowed(call, mood, true);
    return true;
  } catch {
    return false;
  }
}

test('a failed self-test is told, sticks, and leaves only status and the final zeroisation', async () => {
  const factory = new Factory();
  const disk = memoryDisk();
  const healthy = await factory.initialized(disk);
  await healthy.hsm.close();
  const selfTest = () => runSelfTests({ wrongAnswer: 'KWP wrap' });
  const unit = new Unit({ disk, selfTest });
  const hello = await unit.powerOn(factory.storageKey);
  assert.equal(hello.lifecycle, 'ERROR');
  assert.match(String(hello.errorReason), /KWP wrap/);
  assert.equal(hello.certificates, undefined);
  assert.ok(unit.events.some(({ name }) => name === 'failed'));
  await assert.rejects(unit.powerOn(factory.storageKey), refused('WrongState'));
  await assert.rejects(unit.call('zeroise', { isFinal: false }), refused('WrongState'));
  // Nothing was touched so far: a healthy start finds everything.
  assert.equal((await factory.factory(disk)).broken.length, 0);
  assert.equal((await unit.call('zeroise', { isFinal: true })).lifecycle, 'ERROR');
  const fresh = await factory.factory(disk);
  assert.equal((await fresh.call('hello', {})).lifecycle, 'FACTORY');
});

test('a disk that fails puts the HSM into its error state, for good', async () => {
  const factory = new Factory();
  const inner = memoryDisk();
  let isBroken = false;
  const disk = {
    ...inner,
    write: async (...args: Parameters<typeof inner.write>) => {
      if (isBroken) throw new Error('EIO');
      await inner.write(...args);
    },
  };
  const unit = await factory.initialized(disk);
  isBroken = true;
  const params = await factory.enrolParams(unit, { epoch: 2 });
  await assert.rejects(unit.call('enrol', params));
  isBroken = false;
  assert.equal((await unit.call('hello', {})).lifecycle, 'ERROR');
  await assert.rejects(unit.call('enrol', params), refused('WrongState'));
});

test('manufacture() takes only a certificate of this maker for this device’s own key', async () => {
  const factory = new Factory();
  const unit = await factory.factory();
  const request = { serial: 'KA9', vendor: factory.maker.name, line: factory.line };
  const { csr } = await unit.call('device-request', request);
  const other = await (await factory.factory()).call('device-request', request);
  const good = factory.manufactureParams(csr);
  const foreign = factory.manufactureParams(other.csr);
  const { manufacturerHardwareCertificate } = foreign;
  const bad = [
    { ...good, manufacturerHardwareCertificate },
    { ...good, makerRoot: newAuthority('Keyark Works').certificate },
    { ...good, mkbk: foreign.mkbk },
    { ...good, mkbkEpoch: 2 },
    { ...good, makerRoot: good.manufacturerHardwareCertificate },
  ];
  for (const params of bad) {
    await assert.rejects(unit.call('manufacture', params), refused('InvalidRequest'));
  }
  assert.equal((await unit.call('hello', {})).lifecycle, 'FACTORY');
  assert.equal((await unit.call('manufacture', good)).lifecycle, 'MADE');
});

test('enrol() pins the owner’s key the first time and refuses every other afterwards', async () => {
  const factory = new Factory();
  const unit = await factory.blank();
  const namesake = newAuthority('home');
  const stranger = newAuthority('stranger');
  for (const owner of [namesake, stranger]) {
    const params = await factory.enrolParams(unit, { owner, epoch: 2 });
    await assert.rejects(unit.call('enrol', params), refused('AccessDenied'));
  }
  const good = await factory.enrolParams(unit, { epoch: 2 });
  await assert.rejects(unit.call('enrol', { ...good, akbkEpoch: 3 }), refused('AccessDenied'));
  assert.deepEqual((await unit.call('enrol', good)).epochs, { mkbk: 1, akbk: 2 });
});

test('epochs only grow, and older ones still open what was sealed under them', async () => {
  const factory = new Factory();
  const disk = memoryDisk();
  const unit = await factory.initialized(disk);
  await activate(factory, unit);
  const { body, outcome } = await unit.seal();
  const key = systemRandom.bytes(32);
  await unit.call('enrol', await factory.enrolParams(unit, { epoch: 3, key }));
  const again = await unit.call('enrol', await factory.enrolParams(unit, { epoch: 3, key }));
  assert.deepEqual(again.epochs, { mkbk: 1, akbk: 3 });
  const backwards = await factory.enrolParams(unit, { epoch: 2 });
  await assert.rejects(unit.call('enrol', backwards), refused('Conflict'));
  const other = await factory.enrolParams(unit, { epoch: 3 });
  await assert.rejects(unit.call('enrol', other), refused('Conflict'));
  await unit.hsm.close();
  const restarted = await factory.factory(disk);
  await restarted.open(body, outcome.sealRecord);
  const { outcome: next } = await restarted.seal();
  assert.deepEqual(next.seal.statement.epochs, { mkbk: 1, akbk: 3 });
});

test('enrol() refuses a box for another device or another purpose', async () => {
  const factory = new Factory();
  const unit = await factory.manufacture(await factory.factory());
  const other = await factory.manufacture(await factory.factory());
  const good = await factory.enrolParams(unit);
  await assert.rejects(
    other.call('enrol', { ...good }),
    (cause: unknown) => cause instanceof Refused,
  );
  // A box for epoch 1 in a statement for epoch 2, signed by the owner: only the purpose is wrong.
  const { signStatement } = await import('../../src/crypto/sign.ts');
  const { owner, akbk } = good;
  const { serial } = await unit.call('hello', {});
  const statement = { owner, akbkEpoch: 2, akbk: { ...akbk }, serial: String(serial) };
  const signature = signStatement(factory.owner.key, statement);
  await assert.rejects(
    unit.call('enrol', { ...good, akbkEpoch: 2, signature }),
    refused('InvalidRequest'),
  );
  assert.equal((await unit.call('hello', {})).lifecycle, 'MADE');
});

test('install() takes only a certificate for its own CSR by the anchor, which signs itself', async () => {
  const factory = new Factory();
  const unit = await factory.blank();
  await unit.call('certify', { clusterId: CLUSTER, ...HSM2M_FIPS });
  const good = await factory.installParams(unit);
  const other = await factory.initialized();
  const { certificates } = await other.call('hello', {});
  const bad = [
    { ...good, clusterCertificate: String(certificates?.clusterCertificate) },
    { ...good, trustAnchor: newAuthority('customer').certificate },
    { ...good, trustAnchor: String(certificates?.manufacturerHardwareCertificate) },
    { clusterCertificate: good.trustAnchor, trustAnchor: good.trustAnchor },
    { ...good, trustAnchor: good.clusterCertificate },
  ];
  for (const params of bad) {
    await assert.rejects(unit.call('install', params), refused('InvalidRequest'));
  }
  assert.equal((await unit.call('install', good)).lifecycle, 'INITIALIZED');
});

test('no answer, event or refusal of the wall holds a planted root key, storage key or password', async () => {
  const factory = new Factory();
  const unit = await factory.initialized();
  await activate(factory, unit);
  const said: string[] = [];
  const heed = async (call: Promise<unknown>) => {
    const told = await call.catch((cause: unknown) => String(cause));
    said.push(JSON.stringify(told));
  };
  const { body, outcome } = await unit.seal();
  said.push(JSON.stringify(outcome), toHex(body), toBase64(body));
  await heed(unit.call('hello', {}));
  await heed(unit.call('digest', {}));
  await heed(unit.open(body, outcome.sealRecord));
  const drill = await factory.drill();
  await heed(drill.open(body, outcome.sealRecord));
  await heed(drill.call('exercise', {}));
  const claims = { backupId: BACKUP, storedBodySha256: 'x', storedBytes: 1, region: 'r' };
  await heed(drill.call('prove', { claims, seal: outcome.seal }));
  for (const call of CALLS) {
    const junk: JsonObject = { password: ADMIN_PASSWORD, key: toBase64(factory.storageKey) };
    await heed(unit.peer.call(call, junk));
  }
  await heed(unit.call('zeroise', { isFinal: false }));
  said.push(JSON.stringify([...unit.events, ...drill.events]));
  const everything = said.join('\n');
  const secrets = [factory.storageKey, factory.maker.rootKey, factory.owner.rootKey];
  const forms = secrets.flatMap((secret) => [toHex(secret), toBase64(secret)]);
  for (const planted of [...forms, ADMIN_PASSWORD, USER_PASSWORD, 'PRIVATE KEY']) {
    assert.equal(everything.includes(planted), false);
  }
});
