/** The keeper on the real control plane: what it starts, what it leaves, and what a restart changes (nothing). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Keeper } from '../../src/backups/keeper.ts';
import { DEFAULT_SCHEDULE, type SchedulePolicy } from '../../src/backups/schedule.ts';
import { Watch } from '../../src/backups/watch.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/kernel/clock.ts';
import { at } from '../support/catalog-samples.ts';
import { causesOf, change, tickAfter } from '../support/keeping.ts';
import { CALLER, SCOPE, World } from '../support/world.ts';

function keeperOf(world: World, policy: SchedulePolicy = DEFAULT_SCHEDULE): Keeper {
  const { catalog, backups, clock, background } = world;
  const idle = { onIdle: () => {}, onMinute: () => {} };
  return new Keeper({ catalog, backups, clock, background, policy, ...idle });
}

test('a change that waits is backed up after a restart too, at its own time', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  await change(world, keeperOf(world), hsmId, 'app');
  world.clock.advance(3 * SECOND_MS);
  await world.restart();
  const keeper = keeperOf(world);
  await tickAfter(world, keeper, SECOND_MS);
  assert.deepEqual(causesOf(world, clusterId), ['activated']);
  await tickAfter(world, keeper, SECOND_MS);
  assert.deepEqual(causesOf(world, clusterId), ['activated', 'changed']);
  assert.equal(world.cluster(clusterId).unprovenSince, undefined);
});

test('many changes within a second cost two writes, and the last one counts', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const keeper = keeperOf(world);
  const before = world.faults.seen.length;
  for (let generation = 100; generation < 200; generation += 1) {
    keeper.noteChange(clusterId, generation);
  }
  keeper.tick();
  const writes = world.faults.seen.slice(before).filter((point) => point === 'catalog.transact');
  assert.equal(writes.length, 2);
  assert.equal(world.cluster(clusterId).newestChange?.generation, 199);
});

test('a backup on request that is proven first makes the waiting one of the same change needless', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const keeper = keeperOf(world);
  await change(world, keeper, hsmId, 'app');
  world.clock.advance(5 * SECOND_MS);
  const manual = world.backups.take(clusterId, 'manual');
  keeper.tick();
  await manual;
  await world.background.idle();
  await tickAfter(world, keeper, HOUR_MS);
  assert.deepEqual(causesOf(world, clusterId), ['activated', 'manual']);
});

test('a backup on request is taken also when nothing changed', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  await world.backups.take(clusterId, 'manual');
  assert.deepEqual(causesOf(world, clusterId), ['activated', 'manual']);
});

test('a change that arrives while a backup is taken is backed up next, not lost', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const keeper = keeperOf(world);
  await change(world, keeper, hsmId, 'app');
  world.clock.advance(5 * SECOND_MS);
  keeper.tick();
  const { generation } = await world.fleet.hsm(hsmId).hello();
  keeper.noteChange(clusterId, generation + 1);
  await world.background.idle();
  assert.equal(world.cluster(clusterId).newestChange?.generation, generation + 1);
  assert.notEqual(world.cluster(clusterId).changeDueAt, undefined);
  await tickAfter(world, keeper, 5 * SECOND_MS);
  assert.deepEqual(causesOf(world, clusterId), ['activated', 'changed', 'changed']);
});

/** How many backups were under way at the same time, by what was told. */
function mostAtOnce({ events }: World): number {
  let [running, most] = [0, 0];
  for (const { kind } of events) {
    if (kind === 'backupStarted') running += 1;
    if (kind === 'backupProven' || kind === 'backupFailed') running -= 1;
    most = Math.max(most, running);
  }
  return most;
}

test('never more than the allowed number of backups run at once, and all are caught up after a day off', async () => {
  await using world = await World.open();
  const clusters = [];
  for (let n = 0; n < 4; n += 1) clusters.push((await world.activeCluster()).clusterId);
  world.clock.advance(30 * HOUR_MS);
  await world.restart();
  const keeper = keeperOf(world);
  for (let second = 0; second < 60; second += 1) {
    world.clock.advance(SECOND_MS);
    keeper.tick();
    if (second % 3 === 0) await world.background.idle();
  }
  await world.background.idle();
  const most = mostAtOnce(world);
  assert.ok(most >= 1 && most <= DEFAULT_SCHEDULE.atOnce, `${most}`);
  for (const id of clusters) assert.deepEqual(causesOf(world, id), ['activated', 'scheduled']);
});

test('an HSM that is away asks for no backup; once it is back, what was missed is taken', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const keeper = keeperOf(world);
  world.catalog.transact((writer) => writer.putHsm({ ...world.hsm(hsmId), state: 'DEGRADED' }));
  await tickAfter(world, keeper, 48 * HOUR_MS);
  assert.deepEqual(causesOf(world, clusterId), ['activated']);
  world.catalog.transact((writer) => writer.putHsm({ ...world.hsm(hsmId), state: 'ACTIVE' }));
  await tickAfter(world, keeper, SECOND_MS);
  assert.deepEqual(causesOf(world, clusterId), ['activated', 'scheduled']);
});

function watchOf(world: World, policy: SchedulePolicy = DEFAULT_SCHEDULE): Watch {
  const events = { emit: (event: (typeof world.events)[number]) => void world.events.push(event) };
  return new Watch({ catalog: world.catalog, clock: world.clock, events, policy });
}

const deadlines = (world: World) =>
  world.events.flatMap((event) =>
    event.kind === 'deadlineMissed' || event.kind === 'deadlineMetAgain'
      ? [`${event.kind} ${event.deadline}`]
      : [],
  );

test('a missed deadline is told once, and so is its end', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const watch = watchOf(world);
  world.clock.advance(24 * HOUR_MS);
  watch.look();
  assert.deepEqual(deadlines(world), []);
  world.clock.advance(1);
  watch.look();
  watch.look();
  assert.deepEqual(deadlines(world), ['deadlineMissed floor']);
  await world.backups.take(clusterId, 'manual');
  watch.look();
  assert.deepEqual(deadlines(world), ['deadlineMissed floor', 'deadlineMetAgain floor']);
});

test('a change that no backup could take is told after ten minutes, but not where it was never promised', async () => {
  await using world = await World.open();
  const { hsmId } = await world.activeCluster();
  await change(world, keeperOf(world), hsmId, 'app');
  world.clock.advance(10 * MINUTE_MS + 1);
  watchOf(world, { ...DEFAULT_SCHEDULE, isChangeDriven: false }).look();
  assert.deepEqual(deadlines(world), []);
  watchOf(world).look();
  assert.deepEqual(deadlines(world), ['deadlineMissed change']);
});

test('a state that lost its newest backup to a deletion is backed up again', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const keeper = keeperOf(world);
  await change(world, keeper, hsmId, 'app');
  await tickAfter(world, keeper, 5 * SECOND_MS);
  const [, newest] = world.ready(clusterId);
  assert.ok(newest !== undefined);
  await world.backups.remove(CALLER, newest.id);
  watchOf(world).look();
  await tickAfter(world, keeper, SECOND_MS);
  assert.deepEqual(causesOf(world, clusterId), ['activated', 'changed', 'changed']);
});

test('a plan that a wrong clock made years ahead is put right', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const farAway = at(world.clock.now() + 10_000 * HOUR_MS);
  world.catalog.transact((writer) =>
    writer.putCluster({ ...world.cluster(clusterId), nextBackupAt: farAway }),
  );
  watchOf(world).look();
  await tickAfter(world, keeperOf(world), SECOND_MS);
  assert.deepEqual(causesOf(world, clusterId), ['activated', 'scheduled']);
});

test('a cluster without any plan gets one', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const { nextBackupAt: _none, ...unplanned } = world.cluster(clusterId);
  world.catalog.transact((writer) => writer.putCluster(unplanned));
  watchOf(world).look();
  assert.equal(world.cluster(clusterId).nextBackupAt, world.clock.now());
});

test('every proof names the profile that it was made under, and the drill HSM signs the name', async () => {
  await using world = await World.open();
  world.profile = 'aws-exact';
  await world.restart();
  const { clusterId } = await world.activeCluster();
  const [backup] = world.ready(clusterId);
  assert.equal(backup?.proof.statement.claims.profile, 'aws-exact');
});

test('aws-exact refuses a backup on request with a sentence, and takes none', async () => {
  await using world = await World.open();
  world.profile = 'aws-exact';
  await world.restart();
  const { clusterId } = await world.activeCluster();
  await assert.rejects(world.backups.takeManual(SCOPE, clusterId), {
    code: 'InvalidRequest',
    message: /^\[PROFILE\] .*aws-exact.*Nothing was done/,
  });
  assert.deepEqual(causesOf(world, clusterId), ['activated']);
});

test('an HSM counts the keys that no backup of a generation can hold', async () => {
  await using world = await World.open();
  const { hsmId } = await world.activeCluster();
  await world.asAdmin(hsmId, (call) =>
    call('user-create', { username: 'app', role: 'crypto-user', password: 'some-password-1' }),
  );
  const hsm = world.fleet.hsm(hsmId);
  const { generation } = await hsm.hello();
  assert.deepEqual(await hsm.keysNewerThan(generation), { generation, keys: 0 });
  await world.officer(hsmId, async (call) => {
    await call('login', { username: 'app', role: 'crypto-user', password: 'some-password-1' });
    await call('key-generate-many', { kinds: ['ec-p256', 'aes-256'], labelPrefix: 'k-' });
  });
  assert.equal((await hsm.keysNewerThan(generation)).keys, 2);
  assert.equal((await hsm.keysNewerThan(0)).keys, 2);
  assert.equal((await hsm.keysNewerThan((await hsm.hello()).generation)).keys, 0);
});
