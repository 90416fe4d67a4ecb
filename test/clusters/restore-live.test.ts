/** Restores into a live cluster: what comes back, what goes, how it is undone, and that nothing is lost. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { retryDeletions } from '../../src/clusters/delete-hsm.ts';
import type { Restore } from '../../src/clusters/restore.ts';
import { retryRestores } from '../../src/clusters/restore-recover.ts';
import { createRestores } from '../../src/clusters/restores.ts';
import { SCHEMA } from '../../src/hsm/backup/records.ts';
import { HOUR_MS } from '../../src/kernel/clock.ts';
import type { BackupId, ClusterId, HsmId } from '../../src/kernel/ids.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { listing } from '../support/listing.ts';
import { CALLER, SCOPE, UNDO_MS, World } from '../support/world.ts';

const PASSWORD = 'some-password-1';
const app = { username: 'app', role: 'crypto-user', password: PASSWORD };

async function addUser(world: World, hsmId: HsmId, username: string): Promise<void> {
  await world.asAdmin(hsmId, (call) => call('user-create', { ...app, username }));
  await world.settle(hsmId);
}

const writer = (world: World, clusterId: ClusterId) => {
  const found = world.catalog
    .read((reader) => reader.hsmsOf(clusterId))
    .find((hsm) => hsm.takesWrites);
  assert.ok(found !== undefined, 'no HSM takes writes');
  return found;
};

async function restore(world: World, clusterId: ClusterId, backupId: BackupId): Promise<Restore> {
  const { id } = await world.restores.start(CALLER, { clusterId, backupId });
  await world.background.idle();
  return ended(world, id);
}

async function undo(world: World, clusterId: ClusterId): Promise<Restore> {
  const { id } = await world.restores.undo(CALLER, clusterId);
  await world.background.idle();
  return ended(world, id);
}

function ended(world: World, id: Restore['id']): Restore {
  const found = world.catalog.read((reader) => reader.restore(id));
  assert.ok(found !== undefined);
  return found;
}

/** No restore under way, the cluster ACTIVE, one HSM that takes writes and does take them. */
async function mustServe(world: World, clusterId: ClusterId, username: string): Promise<void> {
  assert.deepEqual(
    world.catalog.read((reader) => reader.restoresUnderWay(clusterId)),
    [],
  );
  assert.equal(world.cluster(clusterId).state, 'ACTIVE');
  const hsm = writer(world, clusterId);
  assert.equal(hsm.state, 'ACTIVE', String(hsm.stateMessage));
  await addUser(world, hsm.id, username);
}

test('a restore brings users, passwords, keys, attributes and policies back, and undo the later state', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  await addUser(world, hsmId, 'app');
  await addUser(world, hsmId, 'early');
  const key = await world.officer(hsmId, async (call) => {
    await call('login', app);
    const made = await call('key-generate-symmetric', { type: 'aes', bytes: 32, label: 'kept' });
    return String((made['key'] as JsonObject)['key']);
  });
  const backup = await world.backups.take(clusterId, 'manual');
  const before = await listing(world, hsmId);

  await world.officer(hsmId, async (call) => {
    await call('login', app);
    await call('key-set-attribute', { key, attributes: { label: 'renamed' } });
    await call('key-share', { key, username: 'early' });
    await call('key-generate-symmetric', { type: 'aes', bytes: 16, label: 'later' });
  });
  await world.asAdmin(hsmId, async (call) => {
    await call('user-change-password', { ...app, password: 'another-password' });
    await call('policy-set', { name: 'lockout-limit', value: 9 });
    await call('user-create', { ...app, username: 'later' });
  });
  await world.officer(hsmId, async (call) => {
    await call('login', { ...app, password: 'another-password' });
    await call('key-unshare', { key, username: 'early' });
  });
  await world.asAdmin(hsmId, (call) =>
    call('user-delete', { username: 'early', role: 'crypto-user' }),
  );
  await world.settle(hsmId);
  const later = await listing(world, hsmId);
  const old = world.hsm(hsmId);
  const oldHello = await world.fleet.hsm(hsmId).hello();

  const done = await restore(world, clusterId, backup.id);
  assert.equal(done.state, 'DONE', JSON.stringify(done));
  const now = writer(world, clusterId);
  assert.deepEqual(await listing(world, now.id), before);
  await world.officer(now.id, (call) => call('login', app));

  // A replacement: a new HSM in the old one's place, which is gone.
  assert.notEqual(now.id, old.id);
  assert.deepEqual(
    [now.eniId, now.eniIp, now.availabilityZone],
    [old.eniId, old.eniIp, old.availabilityZone],
  );
  assert.equal(world.hsm(old.id).state, 'DELETED');
  assert.deepEqual(
    (await world.fleet.list()).map((hsm) => hsm.hsmId),
    [now.id],
  );
  assert.equal(world.fleet.preferred.get(clusterId), now.id);

  // A new line, whose generations go on, and which has a proven backup of its own.
  const hello = await world.fleet.hsm(now.id).hello();
  assert.notEqual(hello.incarnation, oldHello.incarnation);
  assert.ok(hello.generation > oldHello.generation);
  const newest = world.catalog.read((reader) => reader.newestReady(clusterId));
  assert.equal(newest?.cause, 'restored');
  assert.equal(newest?.archive.seal.statement.incarnation, hello.incarnation);
  const { records } = await world.asAdmin(now.id, (call) => call('audit', { limit: 100 }));
  assert.match(
    JSON.stringify(records),
    new RegExp(
      `"CN_RESTORE_END"[^}]*is ${hello.incarnation}/${hello.generation}, sealed ${oldHello.incarnation}/`,
    ),
  );

  const undone = await undo(world, clusterId);
  assert.equal(undone.state, 'DONE');
  assert.equal(undone.undoes, done.id);
  assert.deepEqual(await listing(world, writer(world, clusterId).id), later);
  await mustServe(world, clusterId, 'more');
  await world.backups.take(clusterId, 'manual');
  assert.deepEqual(
    world.restores.list(SCOPE, clusterId).map(({ id }) => id),
    [undone.id, done.id].sort().reverse(),
  );
});

test('a safety backup is spared until the undo is over, and then undo says what is left', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const [first] = world.ready(clusterId);
  assert.ok(first !== undefined);
  await assert.rejects(world.restores.undo(CALLER, clusterId), /NOTHING_TO_UNDO/);
  const done = await restore(world, clusterId, first.id);
  assert.ok(done.state === 'DONE');
  assert.equal(done.undoUntil - done.finishedAt, UNDO_MS);
  const safety = world.catalog.read((reader) => reader.backup(done.safetyId));
  assert.equal(safety?.sparedUntil, done.undoUntil);
  assert.equal(safety?.cause, 'before-restore');
  world.clock.advance(UNDO_MS - 1);
  assert.equal((await undo(world, clusterId)).state, 'DONE');
  world.clock.advance(UNDO_MS);
  await assert.rejects(world.restores.undo(CALLER, clusterId), {
    code: 'WrongState',
    message: /UNDO_OVER.*restore it by its id/,
  });
});

test('followers are fed the restored state, and refuse changes as before', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const backup = await world.backups.take(clusterId, 'manual');
  await addUser(world, hsmId, 'later');
  const follower = await world.addHsm(clusterId, 'us-east-1b');
  assert.equal((await restore(world, clusterId, backup.id)).state, 'DONE');
  const now = writer(world, clusterId);
  assert.deepEqual(
    await world.fleet.hsm(follower.id).digest(),
    await world.fleet.hsm(now.id).digest(),
  );
  await assert.rejects(addUser(world, follower.id, 'app'), { code: 'WritesFrozen' });
  assert.equal(world.hsm(follower.id).state, 'ACTIVE');
});

test('a cluster made from a backup can be restored to that backup, and to no stranger’s', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const source = await world.backups.take(clusterId, 'manual');
  const clone = await world.clusters.create(SCOPE, {
    hsmType: 'hsm2m.medium',
    subnetIds: ['subnet-00000001'],
    sourceBackup: source.id,
    tags: new Map(),
  });
  await world.background.idle();
  const { id } = clone.cluster;
  const hsm = await world.addHsm(id);
  await addUser(world, hsm.id, 'later');
  await world.backups.take(id, 'manual');
  const { length } = await listing(world, hsm.id);
  assert.equal((await restore(world, id, source.id)).state, 'DONE');
  assert.equal((await listing(world, writer(world, id).id)).length, length - 1);

  const later = await world.backups.take(clusterId, 'manual');
  await assert.rejects(restore(world, id, later.id), {
    code: 'WrongState',
    message: /OTHER_LINEAGE.*CreateCluster with SourceBackupId.*Nothing was changed/,
  });
  const [own] = world.ready(id);
  assert.ok(own !== undefined);
  await assert.rejects(restore(world, clusterId, own.id), /OTHER_LINEAGE/);
  await mustServe(world, id, 'more');
});

test('whichever call fails during a restore, the cluster serves a whole state and nothing is lost', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const backup = await world.backups.take(clusterId, 'manual');
  const early = await listing(world, hsmId);
  await addUser(world, hsmId, 'later');
  world.faults.reset();
  await restore(world, clusterId, backup.id);
  const count = world.faults.seen.length;
  assert.ok(count > 40, String(count));
  const ends = new Map<string, number>();
  let isRestored = true;

  for (const [n, way] of everyCrossing(count)) {
    const where = `${way} at ${n}`;
    world.faults.reset();
    if (isRestored) assert.equal((await undo(world, clusterId)).state, 'DONE', where);
    isRestored = false;
    const before = writer(world, clusterId);
    const later = await listing(world, before.id);
    if (way === 'fail') world.faults.reset(n);
    else world.faults.die(n);
    const last = await startQuietly(world, clusterId, backup.id);
    // What is missing is done by the minute's look, or by the next start.
    if (way === 'fail') {
      world.faults.reset();
      retryRestores(world.deps);
      await world.background.idle();
      retryDeletions(world.deps);
      await world.background.idle();
    } else {
      await world.restart();
    }
    if (last === undefined) {
      assert.deepEqual(await listing(world, before.id), later, where);
      continue;
    }
    const { state } = ended(world, last);
    ends.set(`${way} ${state}`, (ends.get(`${way} ${state}`) ?? 0) + 1);
    const after = writer(world, clusterId);
    assert.equal(world.cluster(clusterId).state, 'ACTIVE', where);
    if (state === 'FAILED') {
      assert.equal(after.id, before.id, where);
      assert.deepEqual(await listing(world, after.id), later, where);
      assert.match(
        world.cluster(clusterId).stateMessage ?? '',
        /failed, nothing was changed/,
        where,
      );
    } else {
      isRestored = true;
      assert.equal(state, 'DONE', where);
      assert.deepEqual(await listing(world, after.id), early, where);
    }
    // The newest proven backup is of the line that serves, not of one that never came about.
    const newest = world.catalog.read((reader) => reader.newestReady(clusterId));
    const { incarnation } = await world.fleet.hsm(after.id).hello();
    assert.equal(newest?.archive.seal.statement.incarnation, incarnation, where);
    // Nobody is left over on the host.
    const known = (await world.fleet.list()).map((hsm) => hsm.hsmId);
    const rows = world.catalog.read((reader) => reader.hsmsOf(clusterId)).map(({ id }) => id);
    assert.deepEqual([...known].sort(), [...rows].sort(), where);
    await mustServe(world, clusterId, `u${n}${way}`);
  }
  // Both ends were seen, after a failed call and after a death.
  for (const end of ['fail FAILED', 'fail DONE', 'die FAILED', 'die DONE']) {
    assert.ok((ends.get(end) ?? 0) > 0, `${end}: ${JSON.stringify([...ends])}`);
  }
});

/** Each crossing in turn: odd ones die, even ones fail, so that half the runs cover both ways everywhere. */
function* everyCrossing(count: number): Generator<[number, 'fail' | 'die']> {
  for (let n = 0; n < count; n += 1) yield [n, n % 2 === 0 ? 'fail' : 'die'];
}

async function startQuietly(
  world: World,
  clusterId: ClusterId,
  backupId: BackupId,
): Promise<Restore['id'] | undefined> {
  try {
    const { id } = await world.restores.start(CALLER, { clusterId, backupId });
    return id;
  } catch (cause) {
    // The very first crossing: the intent itself was not written.
    assert.match(String(cause), /planted fault/);
    return undefined;
  } finally {
    await world.background.idle();
  }
}

test('no acknowledged change is lost: it is in the safety backup, or it was refused', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  const acknowledged: string[] = [];
  const refusals: string[] = [];
  const officer = world.asAdmin(hsmId, async (call) => {
    for (let n = 0; n < 200; n += 1) {
      try {
        await call('policy-set', { name: 'lockout-limit', value: 1 + (n % 20) });
        acknowledged.push(String(1 + (n % 20)));
      } catch (cause) {
        refusals.push(String(cause));
        if (!/held back/.test(String(cause))) return;
      }
    }
  });
  await world.restores.start(CALLER, { clusterId, backupId: backup.id });
  await officer;
  await world.background.idle();
  assert.ok(refusals.length > 0, 'the restore never held a change back');
  assert.equal((await undo(world, clusterId)).state, 'DONE');
  const lines = await listing(world, writer(world, clusterId).id);
  const kept = lines.find((line) => line.includes('"lockout-limit"')) ?? '';
  const last = acknowledged.at(-1) ?? '5';
  assert.equal((JSON.parse(kept) as { value: number }).value, Number(last));
});

test('an HSM that comes back thawed and takes a change stops the restore; nothing is lost', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  const take: typeof world.backups.take = async (id, cause, options) => {
    const taken = await world.backups.take(id, cause, options);
    if (cause === 'restored') {
      await world.fleet.restartWith(hsmId, SCHEMA);
      await world.asAdmin(hsmId, (call) => call('user-create', { ...app, username: 'between' }));
    }
    return taken;
  };
  const backups = { ...world.backups, take };
  const restores = createRestores({
    ...world.deps,
    backups,
    undoMs: UNDO_MS,
    profile: world.profile,
  });
  const { id } = await restores.start(CALLER, { clusterId, backupId: backup.id });
  await world.background.idle();
  assert.equal(ended(world, id).state, 'FAILED');
  assert.equal(writer(world, clusterId).id, hsmId);
  assert.ok((await listing(world, hsmId)).some((line) => line.includes('"between"')));
  const newest = world.catalog.read((reader) => reader.newestReady(clusterId));
  assert.equal(newest?.cause, 'before-restore');
});

test('an old HSM that took a change in the moment of the switch stays, and says what deleting it gives up', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  const prefer = world.fleet.prefer.bind(world.fleet);
  world.fleet.prefer = async (...args) => {
    await world.fleet.restartWith(hsmId, SCHEMA);
    await world.asAdmin(hsmId, (call) => call('user-create', { ...app, username: 'between' }));
    await prefer(...args);
  };
  assert.equal((await restore(world, clusterId, backup.id)).state, 'DONE');
  const old = world.hsm(hsmId);
  assert.equal(old.state, 'DEGRADED');
  assert.match(
    old.stateMessage ?? '',
    /holds changes up to generation \d+.*Deleting it gives that up/,
  );
  assert.ok((await listing(world, hsmId)).some((line) => line.includes('"between"')));
  assert.notEqual(writer(world, clusterId).id, hsmId);
  await mustServe(world, clusterId, 'more');
});

test('of a restore and whatever else changes a cluster’s HSMs one wins', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  const wanted = { clusterId, backupId: backup.id };
  const refused = { name: 'Refused', code: 'WrongState' };

  const { id } = await world.restores.start(CALLER, wanted);
  assert.equal(world.cluster(clusterId).state, 'UPDATE_IN_PROGRESS');
  assert.match(world.cluster(clusterId).stateMessage ?? '', new RegExp(id));
  await assert.rejects(world.restores.start(CALLER, wanted), /RESTORE_UNDER_WAY/);
  await assert.rejects(world.clusters.deleteHsm(SCOPE, clusterId, { hsmId }), refused);
  const request = { clusterId, availabilityZone: 'us-east-1b' };
  await assert.rejects(world.clusters.createHsm(SCOPE, request), refused);
  await assert.rejects(world.backups.takeManual(SCOPE, clusterId), refused);
  await assert.rejects(world.clusters.remove(SCOPE, clusterId), refused);
  await world.background.idle();
  assert.equal(ended(world, id).state, 'DONE');

  const now = writer(world, clusterId);
  await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId: now.id });
  await assert.rejects(world.restores.start(CALLER, wanted), /HSM_BUSY.*Nothing was changed/);
  await world.background.idle();
  await assert.rejects(world.restores.start(CALLER, wanted), /NO_HSM.*CreateHsm/);
  await world.clusters.createHsm(SCOPE, request);
  await assert.rejects(world.restores.start(CALLER, wanted), /HSM_BUSY/);
  await world.background.idle();

  // A backup that runs already is finished first; the restore then goes on.
  await world.backups.takeManual(SCOPE, clusterId);
  assert.equal((await restore(world, clusterId, backup.id)).state, 'DONE');
  await mustServe(world, clusterId, 'more');
});

test('a backup that is not READY, or from before the first password, is not restored', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.initializedCluster();
  await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId });
  await world.background.idle();
  const [unactivated] = world.ready(clusterId);
  assert.ok(unactivated !== undefined);
  const hsm = await world.addHsm(clusterId);
  await world.activate(hsm.id);
  const before = await listing(world, hsm.id);
  const failed = await restore(world, clusterId, unactivated.id);
  assert.ok(failed.state === 'FAILED');
  assert.match(failed.why, /before the first admin password/);
  assert.deepEqual(await listing(world, hsm.id), before);

  const backup = await world.backups.take(clusterId, 'manual');
  await world.backups.remove(CALLER, backup.id);
  await assert.rejects(restore(world, clusterId, backup.id), /BACKUP_STATE.*PENDING_DELETION/);
  await mustServe(world, clusterId, 'more');
});

test('the schedule goes on after a restore: the next change is backed up, and counts as newer', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  for (const name of ['a', 'b', 'c']) await addUser(world, hsmId, name);
  await restore(world, clusterId, backup.id);
  const { newestChange, nextBackupAt } = world.cluster(clusterId);
  const newest = world.catalog.read((reader) => reader.newestReady(clusterId));
  assert.equal(newest?.archive.seal.statement.generation, newestChange?.generation);
  assert.ok((nextBackupAt ?? 0) > world.clock.now() + HOUR_MS);
  world.changes.length = 0;
  await addUser(world, writer(world, clusterId).id, 'after');
  assert.ok(world.changes.some(({ generation }) => generation > (newestChange?.generation ?? 0)));
});

test('aws-exact restores into no live cluster, as AWS, and still plans one', async () => {
  await using world = await World.open();
  world.profile = 'aws-exact';
  await world.restart();
  const { clusterId } = await world.activeCluster();
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  const isRefused = { code: 'InvalidRequest', message: /^\[PROFILE\] Restores .*Nothing was done/ };
  await assert.rejects(world.restores.start(CALLER, { clusterId, backupId: backup.id }), isRefused);
  await assert.rejects(world.restores.undo(CALLER, clusterId), isRefused);
  assert.deepEqual(world.restores.list(SCOPE), []);
  const { blockers, comparison } = await world.restores.plan(SCOPE, { clusterId });
  assert.match(blockers[0]?.text ?? '', /not in the profile aws-exact.*CreateCluster/);
  assert.deepEqual([blockers.length, blockers[0]?.code], [1, 'PROFILE']);
  const anew = await world.restores.plan(SCOPE, { backupId: backup.id });
  assert.deepEqual(anew.blockers, []);
  assert.equal(comparison?.isSameState, true);
});
