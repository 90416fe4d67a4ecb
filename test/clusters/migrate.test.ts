/** Moves to another HSM type and back: what stays, what is refused meanwhile, and that nothing is lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderCluster } from '../../src/api/render.ts';
import { createClusters } from '../../src/clusters/clusters.ts';
import { restoresTo } from '../../src/clusters/create.ts';
import { retryDeletions } from '../../src/clusters/delete-hsm.ts';
import { retryMigrations } from '../../src/clusters/migrate-recover.ts';
import { judgeMove, ROLLBACK_MS } from '../../src/clusters/migration.ts';
import { SCHEMA } from '../../src/hsm/backup/records.ts';
import type { HsmMode, HsmType } from '../../src/hsm/protocol.ts';
import { Refused } from '../../src/kernel/errors.ts';
import type { ClusterId, HsmId } from '../../src/kernel/ids.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import {
  at,
  backupId,
  pendingBackup,
  readyBackup,
  sampleCluster,
  sampleHsm,
} from '../support/catalog-samples.ts';
import { listing as wholeListing } from '../support/listing.ts';
import { SCOPE, World } from '../support/world.ts';

const HSM1 = { hsmType: 'hsm1.medium', mode: 'FIPS' } as const;
const app = { username: 'app', role: 'crypto-user', password: 'some-password-1' };

/** An ACTIVE cluster of the old type with a user, a key and a policy that is not the default. */
async function oldCluster(
  world: World,
  hsms: 1 | 2,
): Promise<{ clusterId: ClusterId; key: string }> {
  world.legacy.hsm1 = true;
  const { clusterId, hsmId } = await world.activeCluster(HSM1);
  await addUser(world, hsmId, app.username);
  await world.asAdmin(hsmId, (call) => call('policy-set', { name: 'lockout-limit', value: 9 }));
  const key = await world.officer(hsmId, async (call) => {
    await call('login', app);
    const made = await call('key-generate-symmetric', { type: 'aes', bytes: 32, label: 'kept' });
    return String((made['key'] as JsonObject)['key']);
  });
  await world.settle(hsmId);
  if (hsms === 2) await world.addHsm(clusterId, 'us-east-1b');
  return { clusterId, key };
}

async function addUser(world: World, hsmId: HsmId, username: string): Promise<void> {
  await world.asAdmin(hsmId, (call) => call('user-create', { ...app, username }));
  await world.settle(hsmId);
}

/** Everything inside, but for what the type fixes. */
async function listing(world: World, hsmId: HsmId): Promise<readonly string[]> {
  const isOfType = /^{"kind":"(partition"|policy","name":"max-)/;
  return (await wholeListing(world, hsmId)).filter((line) => !isOfType.test(line));
}

const hsmsOf = (world: World, id: ClusterId) => world.catalog.read((reader) => reader.hsmsOf(id));

const writer = (world: World, id: ClusterId) => {
  const found = hsmsOf(world, id).filter((hsm) => hsm.takesWrites);
  assert.equal(found.length, 1, 'exactly one HSM takes changes');
  const [hsm] = found;
  assert.ok(hsm !== undefined);
  return hsm;
};

async function move(world: World, id: ClusterId, to: HsmType): Promise<void> {
  await world.clusters.migrate(SCOPE, id, to);
  await world.background.idle();
}

const wire = (world: World, id: ClusterId) =>
  renderCluster({ cluster: world.cluster(id), hsms: hsmsOf(world, id) });

/** ACTIVE, everything of one type and alike, the host and the rows at one, and changes are taken. */
async function mustServe(
  world: World,
  id: ClusterId,
  { type, hsms, username }: { type: HsmType; hsms: number; username: string },
  where = '',
): Promise<void> {
  const cluster = world.cluster(id);
  assert.equal(cluster.state, 'ACTIVE', where);
  assert.equal(cluster.type, type, where);
  const rows = hsmsOf(world, id);
  assert.deepEqual(
    rows.map((hsm) => [hsm.state, hsm.type, hsm.stateMessage]),
    rows.map(() => ['ACTIVE', type, undefined]),
    where,
  );
  assert.equal(rows.length, hsms, where);
  const known = (await world.fleet.list()).map(({ hsmId }) => hsmId);
  assert.deepEqual([...known].sort(), rows.map((hsm) => hsm.id).sort(), where);
  const newest = world.catalog.read((reader) => reader.newestReady(id));
  assert.equal(newest?.type, type, where);
  await addUser(world, writer(world, id).id, username);
  for (const hsm of rows) {
    if (!hsm.takesWrites) {
      await assert.rejects(addUser(world, hsm.id, 'elsewhere'), /this one follows/, where);
    }
  }
  await world.backups.take(id, 'manual');
  await world.background.idle();
  const digests = await Promise.all(rows.map((hsm) => world.fleet.hsm(hsm.id).digest()));
  for (const digest of digests) assert.deepEqual(digest, digests[0], where);
}

const placesOf = (world: World, id: ClusterId) =>
  hsmsOf(world, id)
    .map(({ eniId, eniIp, subnetId, availabilityZone }) => [
      eniId,
      eniIp,
      subnetId,
      availabilityZone,
    ])
    .sort();

for (const hsms of [1, 2] as const) {
  test(`a cluster of ${hsms} moves to the new type with users, passwords, keys, policies and addresses`, async () => {
    await using world = await World.open();
    const { clusterId, key } = await oldCluster(world, hsms);
    const before = await listing(world, writer(world, clusterId).id);
    const places = placesOf(world, clusterId);
    const old = hsmsOf(world, clusterId).map(({ id }) => id);
    const startedAt = world.clock.now();

    const { cluster } = await world.clusters.migrate(SCOPE, clusterId, 'hsm2m.medium');
    assert.equal(cluster.state, 'MODIFY_IN_PROGRESS');
    assert.match(cluster.stateMessage ?? '', /from hsm1.medium to hsm2m.medium/);
    await world.background.idle();

    const now = hsmsOf(world, clusterId);
    for (const { id } of now) {
      assert.deepEqual(await listing(world, id), before);
      await world.officer(id, async (call) => {
        await call('login', app);
        await call('key-get', { key });
      });
      assert.ok(!old.includes(id), 'a new HSM has an id of its own');
    }
    assert.deepEqual(placesOf(world, clusterId), places);
    for (const id of old) assert.equal(world.hsm(id).state, 'DELETED');
    assert.equal(world.fleet.preferred.get(clusterId), writer(world, clusterId).id);
    const hello = await world.fleet.hsm(writer(world, clusterId).id).hello();
    assert.equal(hello.type, 'hsm2m.medium');
    // A full backup of the old type, and one of what came of it.
    const causes = world.ready(clusterId).map(({ cause, type }) => `${cause} ${type}`);
    assert.equal(causes.filter((cause) => cause === 'before-migration hsm1.medium').length, 1);
    assert.equal(causes.filter((cause) => cause === 'migrated hsm2m.medium').length, 1);
    assert.equal(
      wire(world, clusterId)['HsmTypeRollbackExpiration'],
      (startedAt + ROLLBACK_MS) / 1000,
    );
    await mustServe(world, clusterId, { type: 'hsm2m.medium', hsms, username: 'more' });
  });
}

test('meanwhile keys can be used, changes are refused with a sentence, and nothing else decides about the HSMs', async () => {
  await using world = await World.open();
  const { clusterId, key } = await oldCluster(world, 1);
  const [old] = hsmsOf(world, clusterId);
  assert.ok(old !== undefined);
  const encrypt = (id: HsmId) =>
    world.officer(id, async (call) => {
      await call('login', app);
      await call('encrypt', { key, mechanism: 'AES_GCM', data: 'AAAA' });
    });
  const seen: string[] = [];
  const take: typeof world.backups.take = async (id, cause, options) => {
    const taken = await world.backups.take(id, cause, options);
    // In the middle: the successor is built, and nothing is switched yet.
    if (cause !== 'migrated') return taken;
    await encrypt(old.id);
    await assert.rejects(addUser(world, old.id, 'late'), {
      code: 'WritesFrozen',
      message: /moves from hsm1.medium to hsm2m.medium.*Try again when the cluster is ACTIVE/,
    });
    const refused = { name: 'Refused', code: 'WrongState' };
    const request = { clusterId, availabilityZone: 'us-east-1b' };
    await assert.rejects(world.clusters.createHsm(SCOPE, request), refused);
    await assert.rejects(world.clusters.deleteHsm(SCOPE, clusterId, { hsmId: old.id }), refused);
    const which = { clusterId, hsmId: old.id };
    await assert.rejects(world.clusters.giveUpHsm(SCOPE, which), refused);
    await assert.rejects(world.clusters.remove(SCOPE, clusterId), refused);
    await assert.rejects(world.backups.takeManual(SCOPE, clusterId), refused);
    await assert.rejects(world.clusters.migrate(SCOPE, clusterId, 'hsm2m.medium'), refused);
    seen.push(world.cluster(clusterId).state);
    return taken;
  };
  const clusters = createClusters({ ...world.deps, backups: { ...world.backups, take } });
  const asked = [1, 2].map(() => clusters.migrate(SCOPE, clusterId, 'hsm2m.medium'));
  const outcomes = await Promise.allSettled(asked);
  assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  await world.background.idle();
  assert.deepEqual(seen, ['MODIFY_IN_PROGRESS'], String(world.cluster(clusterId).stateMessage));
  await encrypt(writer(world, clusterId).id);
  await mustServe(world, clusterId, { type: 'hsm2m.medium', hsms: 1, username: 'more' });
});

test('going back within 24 hours brings the state before the move, and keeps what was made since in a backup', async () => {
  await using world = await World.open();
  const { clusterId } = await oldCluster(world, 2);
  const before = await listing(world, writer(world, clusterId).id);
  const places = placesOf(world, clusterId);
  await move(world, clusterId, 'hsm2m.medium');
  const { migration } = world.cluster(clusterId);
  assert.ok(migration?.state === 'DONE');
  for (const name of ['a', 'b', 'c']) await addUser(world, writer(world, clusterId).id, name);
  const later = await listing(world, writer(world, clusterId).id);
  world.clock.advance(ROLLBACK_MS - 1);

  const { cluster } = await world.clusters.migrate(SCOPE, clusterId, 'hsm1.medium');
  assert.equal(cluster.state, 'ROLLBACK_IN_PROGRESS');
  await world.background.idle();
  for (const { id } of hsmsOf(world, clusterId)) assert.deepEqual(await listing(world, id), before);
  assert.deepEqual(placesOf(world, clusterId), places);
  const message = world.cluster(clusterId).stateMessage ?? '';
  assert.match(
    message,
    new RegExp(`as of ${migration.oldBackupId}: 3 changes made since are gone`),
  );
  const [, safetyId] = /; (backup-\S+) has them/.exec(message) ?? [];
  const safety = world.ready(clusterId).find(({ id }) => id === safetyId);
  assert.equal(safety?.type, 'hsm2m.medium');
  assert.ok(safety !== undefined);
  await world.mustOpen(safety);
  assert.equal(wire(world, clusterId)['HsmTypeRollbackExpiration'], undefined);
  // Generations of the new line go on above what was given up.
  const newest = world.catalog.read((reader) => reader.newestReady(clusterId));
  const generation = newest?.archive.seal.statement.generation ?? 0;
  assert.ok(generation > safety.archive.seal.statement.generation);
  assert.equal(world.cluster(clusterId).newestChange?.generation, generation);
  await mustServe(world, clusterId, { type: 'hsm1.medium', hsms: 2, username: 'more' });

  // What was given up can be had: a cluster of the new type from the safety backup.
  const clone = await world.clusters.create(SCOPE, {
    hsmType: 'hsm2m.medium',
    subnetIds: ['subnet-00000001'],
    sourceBackup: safety.id,
    tags: new Map(),
  });
  await world.background.idle();
  const hsm = await world.addHsm(clone.cluster.id);
  assert.equal((await listing(world, hsm.id)).length, later.length);
  // And it can move again.
  await move(world, clusterId, 'hsm2m.medium');
  assert.equal(world.cluster(clusterId).type, 'hsm2m.medium');
});

test('after 24 hours there is no way back, and the old backup is an ordinary one', async () => {
  await using world = await World.open();
  const { clusterId } = await oldCluster(world, 1);
  await move(world, clusterId, 'hsm2m.medium');
  const { migration } = world.cluster(clusterId);
  assert.ok(migration?.state === 'DONE');
  const fate = () =>
    world.backups.fates(SCOPE, clusterId).find(({ id }) => id === migration.oldBackupId);
  assert.equal(fate()?.what, 'kept');
  assert.match(fate()?.why ?? '', /can go back to its former HSM type by it until/);
  assert.equal(world.catalog.read((r) => r.backup(migration.oldBackupId))?.type, 'hsm1.medium');
  world.clock.advance(ROLLBACK_MS);
  const back = () => world.clusters.migrate(SCOPE, clusterId, 'hsm1.medium');
  await assert.rejects(back(), { code: 'WrongState', message: /until .*Nothing was changed/ });
  assert.doesNotMatch(fate()?.why ?? 'gone', /gone|former HSM type/);
  retryMigrations(world.deps);
  assert.equal(wire(world, clusterId)['HsmTypeRollbackExpiration'], undefined);
  await assert.rejects(back(), { code: 'InvalidRequest', message: /within 24 hours/ });
  assert.equal(world.cluster(clusterId).state, 'ACTIVE');
});

test('an HSM that comes back thawed and takes a change stops the move; nothing is lost', async () => {
  await using world = await World.open();
  const { clusterId } = await oldCluster(world, 2);
  const old = writer(world, clusterId);
  const take: typeof world.backups.take = async (id, cause, options) => {
    const taken = await world.backups.take(id, cause, options);
    if (cause === 'migrated') {
      await world.fleet.restartWith(old.id, SCHEMA);
      await world.asAdmin(old.id, (call) => call('user-create', { ...app, username: 'between' }));
    }
    return taken;
  };
  const clusters = createClusters({ ...world.deps, backups: { ...world.backups, take } });
  await clusters.migrate(SCOPE, clusterId, 'hsm2m.medium');
  await world.background.idle();
  assert.equal(writer(world, clusterId).id, old.id);
  assert.ok((await listing(world, old.id)).some((line) => line.includes('"between"')));
  await mustServe(world, clusterId, { type: 'hsm1.medium', hsms: 2, username: 'more' });
});

test('the old type, asked for at any moment of a move, is kept with nothing lost', async () => {
  await using world = await World.open();
  const { clusterId } = await oldCluster(world, 2);
  const before = writer(world, clusterId);
  const digest = await world.fleet.hsm(before.id).digest();
  let takenBack = 0;
  for (let n = 1; world.cluster(clusterId).type === 'hsm1.medium'; n += 3) {
    const where = `asked for at ${n}`;
    const { at } = world.faults;
    let answer: Promise<string> | undefined;
    Object.assign(world.faults, {
      at: (point: string) => {
        at(point);
        if (world.faults.seen.length >= n) answer ??= askBack(world, clusterId);
      },
    });
    world.faults.reset();
    await world.clusters.migrate(SCOPE, clusterId, 'hsm2m.medium');
    await world.background.idle();
    Object.assign(world.faults, { at });
    const answered = (await answer) ?? 'never asked';
    await world.background.idle();
    await mustBeWhole(world, clusterId, where);
    const { type, stateMessage } = world.cluster(clusterId);
    // Asked a moment later: the move was over, and this was the way back of a whole one.
    if (stateMessage?.startsWith('Back on hsm1.medium')) break;
    if (answered !== 'ROLLBACK_IN_PROGRESS') continue;
    assert.equal(type, 'hsm1.medium', where);
    assert.match(stateMessage ?? '', /was taken back, as asked for; nothing was lost/, where);
    assert.equal(writer(world, clusterId).id, before.id, where);
    for (const { id } of hsmsOf(world, clusterId)) {
      assert.deepEqual(await world.fleet.hsm(id).digest(), digest, where);
    }
    assert.equal(wire(world, clusterId)['HsmTypeRollbackExpiration'], undefined, where);
    takenBack += 1;
  }
  assert.ok(takenBack > 10, String(takenBack));
});

test('in the last moment of a move the old type is refused, and nothing is changed', async () => {
  await using world = await World.open();
  const { oldBackupId, ...move } = done;
  const swap = { oldHsmId: sampleHsm(1).id, newHsmId: sampleHsm(2).id, backHsmId: sampleHsm(3).id };
  const row = sampleCluster(1, {
    ...SCOPE,
    state: 'MODIFY_IN_PROGRESS',
    migration: { ...move, state: 'SWITCHED', beforeId: oldBackupId, writer: swap, followers: [] },
  });
  world.catalog.transact((writer) => writer.createCluster(row));
  const before = world.cluster(row.id);
  assert.equal(await askBack(world, row.id), 'WrongState');
  assert.deepEqual(world.cluster(row.id), before);
});

test('a move that was taken back is gone back to its end also when the service dies on the way', async () => {
  await using world = await World.open();
  const { clusterId } = await oldCluster(world, 2);
  const before = writer(world, clusterId);
  const digest = await world.fleet.hsm(before.id).digest();
  const take: typeof world.backups.take = async (id, cause, options) => {
    const taken = await world.backups.take(id, cause, options);
    if (cause === 'migrated') {
      assert.equal(await askBack(world, clusterId), 'ROLLBACK_IN_PROGRESS');
      world.faults.die(0);
    }
    return taken;
  };
  const clusters = createClusters({ ...world.deps, backups: { ...world.backups, take } });
  await clusters.migrate(SCOPE, clusterId, 'hsm2m.medium');
  await world.background.idle();
  assert.equal(world.cluster(clusterId).state, 'ROLLBACK_IN_PROGRESS');
  await world.restart();
  retryDeletions(world.deps);
  await world.background.idle();
  await mustBeWhole(world, clusterId, 'after the restart');
  assert.equal(writer(world, clusterId).id, before.id);
  assert.deepEqual(await world.fleet.hsm(before.id).digest(), digest);
  assert.match(world.cluster(clusterId).stateMessage ?? '', /was taken back, as asked for/);
});

/** @returns the state that was answered, or the code of the refusal. */
async function askBack(world: World, id: ClusterId): Promise<string> {
  try {
    return (await world.clusters.migrate(SCOPE, id, 'hsm1.medium')).cluster.state;
  } catch (cause) {
    assert.ok(cause instanceof Refused, String(cause));
    assert.match(cause.message, /Nothing was changed/);
    return cause.code;
  }
}

test('whichever call fails on the way there or back, the cluster is whole, of one type, and nothing is lost', async () => {
  await using world = await World.open();
  const { clusterId } = await oldCluster(world, 2);
  let old = await listing(world, writer(world, clusterId).id);
  world.faults.reset();
  await move(world, clusterId, 'hsm2m.medium');
  // The doors lead to the new HSM, one transaction says that it is over; what follows is ordinary feeding.
  const count = world.faults.seen.lastIndexOf('fleet.prefer') + 2;
  assert.ok(count > 50, String(count));
  const ends = new Map<string, number>();
  let seen = { digest: '', lines: old };

  for (const [to, from, first] of [
    ['hsm2m.medium', 'hsm1.medium', 0],
    ['hsm1.medium', 'hsm2m.medium', 1],
  ] as const) {
    for (let n = first; n < count; n += 2) {
      const way = n % 4 < 2 ? 'fail' : 'die';
      const where = `${way} at ${n} on the way to ${to}`;
      world.faults.reset();
      if (world.cluster(clusterId).type === to) {
        if (to === 'hsm1.medium') old = await listing(world, writer(world, clusterId).id);
        await move(world, clusterId, from);
      }
      await mustBeWhole(world, clusterId, `before ${where}`);
      const before = writer(world, clusterId);
      const digest = await world.fleet.hsm(before.id).digest();
      if (seen.digest !== digest.stateDigest) {
        seen = { digest: digest.stateDigest, lines: await listing(world, before.id) };
      }
      const { lines } = seen;
      if (way === 'fail') world.faults.reset(n);
      else world.faults.die(n);
      const hasBegun = await beginQuietly(world, clusterId, to);
      // What is missing is done by the minute's look, or by the next start.
      if (way === 'die') await world.restart();
      world.faults.reset();
      for (const look of [retryMigrations, retryDeletions]) {
        look(world.deps);
        await world.background.idle();
      }
      await mustBeWhole(world, clusterId, where);
      const { type, migration, stateMessage } = world.cluster(clusterId);
      if (type === from) {
        assert.equal(writer(world, clusterId).id, before.id, where);
        assert.deepEqual(await world.fleet.hsm(before.id).digest(), digest, where);
        assert.equal(migration?.state, from === 'hsm1.medium' ? undefined : 'DONE', where);
        if (hasBegun) assert.match(stateMessage ?? '', /failed, nothing was lost: /, where);
      } else {
        const expected = to === 'hsm2m.medium' ? lines : old;
        assert.deepEqual(await listing(world, writer(world, clusterId).id), expected, where);
        if (to === 'hsm2m.medium') old = lines;
      }
      const end = `${way}: ${type === to ? 'there' : 'stayed'}, to ${to}`;
      ends.set(end, (ends.get(end) ?? 0) + 1);
      // Now and then, because a login takes its time: changes are taken again.
      if (type === to || n % 8 < 2) {
        const value = 1 + (n % 20);
        await world.asAdmin(writer(world, clusterId).id, (call) =>
          call('policy-set', { name: 'lockout-limit', value }),
        );
      }
    }
  }
  // Both ends were seen, both ways, after a failed call and after a death.
  assert.equal(ends.size, 8, JSON.stringify([...ends]));
});

test('a way back that dies anywhere, with a follower replaced already, is gone to its end after the restart', async () => {
  await using world = await World.open();
  const { clusterId } = await oldCluster(world, 2);
  world.faults.reset();
  await move(world, clusterId, 'hsm2m.medium');
  // The old follower is removed and its row says so; the next transaction would be the switch.
  const switching = world.faults.seen.indexOf('fleet.discard') + 2;
  await move(world, clusterId, 'hsm1.medium');
  const before = writer(world, clusterId);
  const digest = await world.fleet.hsm(before.id).digest();
  for (let n = 1; n <= 19; n += 2) {
    world.faults.die(switching + n);
    world.faults.failAt = switching;
    await world.clusters.migrate(SCOPE, clusterId, 'hsm2m.medium');
    await world.background.idle();
    const where = `dead ${n} crossings after the switch failed (${world.faults.seen.at(-1)})`;
    assert.equal(world.faults.seen[switching], 'catalog.transact', where);
    await world.restart();
    retryDeletions(world.deps);
    await world.background.idle();
    await mustBeWhole(world, clusterId, where);
    assert.equal(world.cluster(clusterId).type, 'hsm1.medium', where);
    assert.equal(writer(world, clusterId).id, before.id, where);
    for (const { id } of hsmsOf(world, clusterId)) {
      assert.deepEqual(await world.fleet.hsm(id).digest(), digest, where);
    }
  }
});

async function beginQuietly(world: World, id: ClusterId, to: HsmType): Promise<boolean> {
  try {
    await world.clusters.migrate(SCOPE, id, to);
    return true;
  } catch (cause) {
    // The very first crossing: the intent itself was not written.
    assert.match(String(cause), /planted fault/);
    return false;
  } finally {
    await world.background.idle();
  }
}

/** ACTIVE and of one type throughout: HSMs, their states, the host, the newest backup. */
async function mustBeWhole(world: World, id: ClusterId, where: string): Promise<void> {
  const { state, type } = world.cluster(id);
  assert.equal(state, 'ACTIVE', where);
  const rows = hsmsOf(world, id);
  assert.deepEqual(
    rows.map((hsm) => [hsm.state, hsm.type, hsm.stateMessage]),
    [1, 2].map(() => ['ACTIVE', type, undefined]),
    where,
  );
  const known = (await world.fleet.list()).map(({ hsmId }) => hsmId);
  assert.deepEqual([...known].sort(), rows.map((hsm) => hsm.id).sort(), where);
  const newest = world.catalog.read((reader) => reader.newestReady(id));
  assert.equal(newest?.type, type, where);
  for (const hsm of rows) {
    const hello = await world.fleet.hsm(hsm.id).hello();
    assert.equal(hello.type, type, where);
    assert.equal(hello.incarnation, newest.archive.seal.statement.incarnation, where);
  }
}

const T0 = 1_000_000;
const done = {
  state: 'DONE',
  from: 'hsm1.medium',
  to: 'hsm2m.medium',
  startedAt: at(T0),
  rollbackUntil: at(T0 + ROLLBACK_MS),
  oldBackupId: backupId(1),
} as const;
const old = { type: 'hsm1.medium', mode: 'FIPS' } as const;

test('judgeMove() lets a whole cluster of the old type go forward, and one that went go back', () => {
  const facts = { hsms: [sampleHsm(1)], oldBackup: undefined, now: T0 };
  const forward = judgeMove({ ...facts, cluster: sampleCluster(1, old), to: 'hsm2m.medium' });
  assert.equal(forward.writer.id, sampleHsm(1).id);
  assert.equal(forward.undoes, undefined);
  const cluster = sampleCluster(1, { migration: done });
  const oldBackup = readyBackup(1);
  const back = judgeMove({ ...facts, cluster, oldBackup, to: 'hsm1.medium' });
  assert.equal(back.undoes, done);
});

test('judgeMove() refuses everything else, says what would work, and that nothing was changed', () => {
  const many = (n: number) =>
    Array.from({ length: n }, (_, i) => sampleHsm(i + 1, { takesWrites: i === 0 }));
  const went = sampleCluster(1, { migration: done });
  const cases: readonly [RegExp, Partial<Parameters<typeof judgeMove>[0]>][] = [
    [/already/, { cluster: sampleCluster(1) }],
    [/already/, { cluster: sampleCluster(1, old), to: 'hsm1.medium' }],
    [
      /cannot become hsm1.medium.*within 24 hours/,
      { cluster: sampleCluster(1), to: 'hsm1.medium' },
    ],
    [
      /could go back to hsm1.medium until/,
      { cluster: went, to: 'hsm1.medium', now: T0 + ROLLBACK_MS },
    ],
    [/which is gone/, { cluster: went, to: 'hsm1.medium' }],
    [
      /PENDING_DELETION; bring it back first/,
      { cluster: went, to: 'hsm1.medium', oldBackup: pendingBackup(1, 9) },
    ],
    [/no HSM that takes changes.*Create an HSM first/, { hsms: [] }],
    [/no HSM that takes changes/, { hsms: [sampleHsm(1, { takesWrites: false })] }],
    [/28 HSMs; with at most 27.*Delete 1 first/, { hsms: many(28) }],
    [
      /is DEGRADED.*Wait, or delete it/,
      { hsms: [sampleHsm(1), sampleHsm(2, { state: 'DEGRADED', takesWrites: false })] },
    ],
    ...(
      [
        'UNINITIALIZED',
        'INITIALIZED',
        'UPDATE_IN_PROGRESS',
        'MODIFY_IN_PROGRESS',
        'ROLLBACK_IN_PROGRESS',
        'DEGRADED',
        'DELETED',
      ] as const
    ).map(
      (state) =>
        [new RegExp(`is ${state}`), { cluster: sampleCluster(1, { ...old, state }) }] as [
          RegExp,
          object,
        ],
    ),
  ];
  const fine = {
    cluster: sampleCluster(1, old),
    hsms: [sampleHsm(1)],
    to: 'hsm2m.medium',
    oldBackup: undefined,
    now: T0,
  } as const;
  for (const [text, changes] of cases) {
    assert.throws(
      () => judgeMove({ ...fine, ...changes }),
      (cause) => {
        assert.ok(cause instanceof Refused);
        assert.match(cause.message, text);
        assert.match(cause.message, /Nothing was changed\.$/);
        return true;
      },
      String(text),
    );
  }
  judgeMove({ ...fine, hsms: many(27) });
});

test('backups become clusters by the table of types and modes; hsm1.medium takes its own where it is made', () => {
  const table: readonly [HsmType, HsmMode, boolean, readonly string[]][] = [
    ['hsm1.medium', 'FIPS', false, ['hsm2m.medium FIPS']],
    ['hsm1.medium', 'FIPS', true, ['hsm1.medium FIPS', 'hsm2m.medium FIPS']],
    ['hsm2m.medium', 'FIPS', true, ['hsm2m.medium FIPS']],
    ['hsm2m.medium', 'NON_FIPS', true, ['hsm2m.medium NON_FIPS']],
    ['hsm1.medium', 'NON_FIPS', true, []],
  ];
  for (const [type, mode, hsm1, clusters] of table) {
    assert.deepEqual(restoresTo({ type, mode }, { hsm1 }), clusters);
  }
});

test('hsm1.medium is made only where the setting says so, in FIPS mode, with IPv4', async () => {
  await using world = await World.open();
  const request = {
    hsmType: 'hsm1.medium',
    subnetIds: ['subnet-00000001'],
    tags: new Map(),
  } as const;
  const create = (changes: object = {}) => world.clusters.create(SCOPE, { ...request, ...changes });
  await assert.rejects(create(), { code: 'InvalidRequest', message: /legacy.hsm1 = true/ });
  world.legacy.hsm1 = true;
  await assert.rejects(create({ mode: 'NON_FIPS' }), /FIPS mode only/);
  await assert.rejects(create({ networkType: 'DUALSTACK' }), /hsm2m.medium only/);
  assert.deepEqual(world.clusters.describe(SCOPE, {}, { limit: 10 }).items, []);
  const { cluster } = await create();
  assert.deepEqual([cluster.type, cluster.mode], ['hsm1.medium', 'FIPS']);
});
