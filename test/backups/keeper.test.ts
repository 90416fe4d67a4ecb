import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Keeper } from '../../src/backups/keeper.ts';
import { DEFAULT_SCHEDULE, type SchedulePolicy } from '../../src/backups/schedule.ts';
import { retryDeletions } from '../../src/clusters/delete-hsm.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/kernel/clock.ts';
import type { ClusterId, HsmId } from '../../src/kernel/ids.ts';
import { causesOf, change, tickAfter } from '../support/keeping.ts';
import { ADMIN_PASSWORD, CALLER, SCOPE, World } from '../support/world.ts';

function keeperOf(world: World, policy: SchedulePolicy = DEFAULT_SCHEDULE): Keeper {
  const keeper = new Keeper({
    catalog: world.catalog,
    backups: world.backups,
    clock: world.clock,
    background: world.background,
    policy,
    onIdle: () => {},
    onMinute: () => retryDeletions(world.deps),
  });
  return keeper;
}

test('a change of users is in a proven backup seconds after it, once', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const keeper = keeperOf(world);
  await change(world, keeper, hsmId, 'app');
  await tickAfter(world, keeper, 4 * SECOND_MS);
  assert.deepEqual(causesOf(world, clusterId), ['activated']);
  await tickAfter(world, keeper, SECOND_MS);
  assert.deepEqual(causesOf(world, clusterId), ['activated', 'changed']);
  await tickAfter(world, keeper, HOUR_MS);
  assert.deepEqual(causesOf(world, clusterId), ['activated', 'changed']);
});

/** The admin's password is set, the event has arrived; the first backup has only begun. */
async function beginActivation(world: World): Promise<ClusterId> {
  const { clusterId, hsmId } = await world.initializedCluster();
  await world.officer(hsmId, (call) => call('activate', { password: ADMIN_PASSWORD }));
  while (world.cluster(clusterId).state !== 'ACTIVE') await world.fleet.hsm(hsmId).hello();
  return clusterId;
}

test('a new cluster gets one backup, also when the schedule looks while it is being taken', async () => {
  await using world = await World.open();
  const keeper = keeperOf(world);
  const clusterId = await beginActivation(world);
  assert.deepEqual(world.ready(clusterId), []);
  keeper.tick();
  await world.background.idle();
  await tickAfter(world, keeper, HOUR_MS);
  assert.deepEqual(causesOf(world, clusterId), ['activated']);
});

test('a first backup that failed is made up for by the schedule a minute later', async () => {
  await using world = await World.open();
  const keeper = keeperOf(world, { ...DEFAULT_SCHEDULE, isChangeDriven: false });
  world.faults.failNext('kms.generateDataKey');
  const clusterId = await beginActivation(world);
  await world.background.idle();
  await tickAfter(world, keeper, MINUTE_MS - SECOND_MS);
  assert.deepEqual(world.ready(clusterId), []);
  await tickAfter(world, keeper, SECOND_MS);
  assert.deepEqual(
    world.ready(clusterId).map(({ cause }) => cause),
    ['scheduled'],
  );
});

test('with change-driven backups off a change waits for the schedule', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const keeper = keeperOf(world, { ...DEFAULT_SCHEDULE, isChangeDriven: false });
  await change(world, keeper, hsmId, 'app');
  await tickAfter(world, keeper, 10 * HOUR_MS);
  assert.deepEqual(causesOf(world, clusterId), ['activated']);
  await tickAfter(world, keeper, 10 * HOUR_MS);
  assert.deepEqual(causesOf(world, clusterId), ['activated', 'scheduled']);
});

test('every live cluster is backed up at least every 24 hours, also over restarts', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  let last = world.clock.now();
  for (let day = 0; day < 3; day += 1) {
    const before = world.ready(clusterId).length;
    for (let hour = 0; hour < 24; hour += 1) {
      await world.restart();
      await tickAfter(world, keeperOf(world), HOUR_MS);
      const newest = world.catalog.read((reader) => reader.newestReady(clusterId));
      if (newest !== undefined && newest.createdAt > last) last = newest.createdAt;
      assert.ok(world.clock.now() - last <= 24 * HOUR_MS);
    }
    assert.ok(world.ready(clusterId).length > before);
  }
});

test('a failed scheduled backup is retried with growing waits until one is proven', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const keeper = keeperOf(world);
  world.clock.advance(20 * HOUR_MS);
  const dueAt = world.clock.now();
  for (let failures = 1; failures <= 4; failures += 1) {
    world.faults.failNext('kms.generateDataKey');
    keeper.tick();
    await world.background.idle();
    const { nextBackupAt = world.clock.now(), backupFailures } = world.cluster(clusterId);
    assert.equal(backupFailures, failures);
    world.clock.advance(nextBackupAt - world.clock.now());
  }
  keeper.tick();
  await world.background.idle();
  assert.equal(world.cluster(clusterId).backupFailures, 0);
  const newest = world.catalog.read((reader) => reader.newestReady(clusterId));
  assert.equal(newest?.cause, 'scheduled');
  assert.ok(world.clock.now() - dueAt < 30 * MINUTE_MS);
});

test('followers are given every proven state', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const follower = await world.addHsm(clusterId, 'us-east-1b');
  const keeper = keeperOf(world);
  await change(world, keeper, hsmId, 'app');
  await tickAfter(world, keeper, 5 * SECOND_MS);
  const [first, second] = [
    await world.fleet.hsm(hsmId).digest(),
    await world.fleet.hsm(follower.id).digest(),
  ];
  assert.deepEqual(second, first);
});

test('followers are given what was proven by hand, or before another HSM was added, as well', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const follower = await world.addHsm(clusterId, 'us-east-1b');
  const keeper = keeperOf(world);
  await change(world, keeper, hsmId, 'app');
  await world.backups.takeManual(SCOPE, clusterId);
  await world.background.idle();
  const digest = (id: HsmId) => world.fleet.hsm(id).digest();
  assert.deepEqual(await digest(follower.id), await digest(hsmId));

  await change(world, keeper, hsmId, 'another');
  await world.addHsm(clusterId, 'us-east-1b');
  assert.deepEqual(await digest(follower.id), await digest(hsmId));
});

test('a deleted backup can be brought back for seven days, then it is gone from the vault', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const backup = await world.backups.take(clusterId, 'manual');
  const keeper = keeperOf(world, { ...DEFAULT_SCHEDULE, isChangeDriven: false });
  await world.backups.remove(CALLER, backup.id);
  await tickAfter(world, keeper, 6 * 24 * HOUR_MS);
  assert.equal((await world.backups.undelete(CALLER, backup.id)).state, 'READY');
  await world.mustOpen(backup);

  await world.backups.remove(CALLER, backup.id);
  world.clock.advance(7 * 24 * HOUR_MS);
  await assert.rejects(world.backups.undelete(CALLER, backup.id), { code: 'WrongState' });
  await world.backups.purgeDue();
  assert.equal(world.allBackups().find(({ id }) => id === backup.id)?.state, 'DELETED');
  assert.deepEqual(
    (await world.stored()).filter((name) => name.startsWith(backup.id)),
    [],
  );
});

test('a look that fails ends neither the keeper nor what an HSM said: the next one makes up for it', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const keeper = keeperOf(world);
  const stop = new AbortController();
  const running = keeper.run(stop.signal);
  const nextLook = async (): Promise<void> => {
    world.clock.advance(SECOND_MS);
    await setImmediate();
    await world.background.idle();
  };
  world.faults.die(0);
  await change(world, keeper, hsmId, 'app');
  await nextLook();
  assert.ok(world.events.some(({ kind }) => kind === 'internalError'));
  world.faults.reset();
  for (let n = 0; n < 6; n += 1) await nextLook();
  assert.deepEqual(causesOf(world, clusterId), ['activated', 'changed']);
  stop.abort();
  await running;
});
