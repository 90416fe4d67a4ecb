/** READY backups are opened again: which one when (a table), and what comes of it (the real thing). */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DueDrills } from '../../src/backups/drill-due.ts';
import { ALL_AFTER_MS, dueDrill, nextDrillOf } from '../../src/backups/drill-plan.ts';
import { markDeleted } from '../../src/backups/remove.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/kernel/clock.ts';
import { objectName } from '../../src/vault/names.ts';
import { at, readyBackup } from '../support/catalog-samples.ts';
import { CALLER, SCOPE, World } from '../support/world.ts';

const NOW = at(1_800_000_000_000);
const ago = (ms: number) => at(NOW - ms);
const NONE = { failed: undefined, newest: undefined, any: undefined };

test('dueDrill() takes failures first, then newest ones, then the rest, and none before its time', () => {
  const failed = readyBackup(1, { drill: { at: ago(HOUR_MS), failure: 'x' } });
  const newest = readyBackup(2, { createdAt: ago(DAY_MS) });
  const any = readyBackup(3, { createdAt: ago(90 * DAY_MS), drill: { at: ago(ALL_AFTER_MS) } });
  assert.equal(dueDrill({ failed, newest, any }, NOW)?.backup.id, failed.id);
  assert.equal(dueDrill({ ...NONE, newest, any }, NOW)?.backup.id, newest.id);
  assert.equal(dueDrill({ ...NONE, any }, NOW)?.backup.id, any.id);
  assert.equal(dueDrill({ failed, newest, any }, ago(1)), undefined);
  assert.equal(dueDrill(NONE, NOW), undefined);
});

test('nextDrillOf() counts from the latest drill, else from the proof', () => {
  const fresh = readyBackup(1, { createdAt: NOW });
  const again = readyBackup(1, { createdAt: ago(50 * DAY_MS), drill: { at: NOW } });
  for (const backup of [fresh, again]) {
    assert.equal(nextDrillOf(backup, { isNewest: true }).at, NOW + DAY_MS);
    assert.equal(nextDrillOf(backup, { isNewest: false }).at, NOW + ALL_AFTER_MS);
  }
});

function drillsOf(world: World): DueDrills {
  return new DueDrills({
    catalog: world.catalog,
    fleet: world.fleet,
    storageOf: () => world.storage,
    clock: world.clock,
    events: { emit: (event) => void world.events.push(event) },
  });
}

async function runAll(world: World): Promise<number> {
  const drills = drillsOf(world);
  for (let n = 0; ; n += 1) {
    const drill = drills.next();
    if (drill === undefined) return n;
    assert.equal(drills.next(), undefined, 'a second one beside the first');
    await drill();
  }
}

const outcomes = (world: World) =>
  world.events.flatMap((event) => (event.kind === 'drilled' ? [event.outcome] : []));

test('the newest backup is opened again each day and all within 30 days, one at a time', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  await world.backups.take(clusterId, 'manual');
  const [older, newest] = world.ready(clusterId);
  assert.ok(older !== undefined && newest !== undefined);
  assert.equal(await runAll(world), 0);
  world.clock.advance(DAY_MS);
  assert.equal(await runAll(world), 1);
  const lastOf = (id: typeof older.id) =>
    world.ready(clusterId).find((each) => each.id === id)?.drill;
  assert.deepEqual([lastOf(older.id), lastOf(newest.id)].filter(Boolean).length, 1);
  world.clock.advance(24 * DAY_MS);
  assert.equal(await runAll(world), 2);
  assert.deepEqual(outcomes(world), ['opened', 'opened', 'opened']);
  assert.deepEqual(
    world.ready(clusterId).map(({ drill }) => drill),
    [{ at: world.clock.now() }, { at: world.clock.now() }],
  );
});

test('a backup that does not open any more is told, counts as no proof, is tried again, and another is due', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  await world.storage.vault.remove(objectName(backup.id, 'body'));
  world.clock.advance(DAY_MS);
  assert.equal(await runAll(world), 1);
  assert.deepEqual(outcomes(world), ['failed']);
  assert.equal(typeof world.ready(clusterId)[0]?.drill?.failure, 'string');
  world.catalog.read(({ protection }) => {
    assert.equal(protection.proven(clusterId), undefined);
    assert.equal(protection.totals().failing, 1);
    assert.equal(protection.totals().withoutProof, 1);
  });
  assert.equal(world.cluster(clusterId).nextBackupAt, world.clock.now());
  assert.equal(await runAll(world), 0);
  world.clock.advance(HOUR_MS);
  assert.equal(await runAll(world), 1);
});

for (const [kind, state] of [
  ['retention', 'READY'],
  ['thinned', 'READY'],
  ['asked', 'PENDING_DELETION'],
] as const) {
  test(`when the last backup that opened does not any more, one marked as ${kind} is ${state}`, async () => {
    await using world = await World.open();
    const { clusterId } = await world.activeCluster();
    await world.backups.take(clusterId, 'manual');
    const [older, newest] = world.ready(clusterId);
    assert.ok(older !== undefined && newest !== undefined);
    const removal = { kind, why: 'a reason', by: 'somebody' };
    world.catalog.transact((writer) =>
      writer.putBackup(markDeleted(older, world.clock.now(), removal)),
    );
    await world.storage.vault.remove(objectName(newest.id, 'body'));
    world.clock.advance(DAY_MS);
    // What comes back is opened at once too.
    assert.equal(await runAll(world), state === 'READY' ? 2 : 1);
    assert.equal(world.allBackups().find(({ id }) => id === older.id)?.state, state);
    const back = world.events.filter((event) => event.kind === 'backupUndeleted');
    assert.deepEqual(
      back,
      state === 'READY'
        ? [{ kind: 'backupUndeleted', backupId: older.id, clusterId, by: 'keyark' }]
        : [],
    );
    // For as long as it is the last one that opens it stays, whatever its age.
    world.clock.advance(400 * DAY_MS);
    const fate = world.backups.fates(SCOPE, clusterId).find(({ id }) => id === older.id);
    assert.equal(fate?.what, state === 'READY' ? 'kept' : undefined);
  });
}

test('trouble with host or key service says nothing about the backup, and is not repeated at once', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  world.clock.advance(DAY_MS);
  const drills = drillsOf(world);
  for (const point of ['fleet.drill', 'kms.unwrapDataKey']) {
    world.faults.failNext(point);
    await drills.next()?.();
    assert.equal(world.ready(clusterId)[0]?.drill, undefined, point);
    assert.equal(drills.next(), undefined, point);
    world.clock.advance(10 * MINUTE_MS);
  }
  assert.deepEqual(outcomes(world), []);
  assert.equal(world.events.filter(({ kind }) => kind === 'drillNotDone').length, 2);
  await drills.next()?.();
  assert.deepEqual(outcomes(world), ['opened']);
});

test('a backup that was deleted while it was opened keeps its deletion, and nothing is told', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  world.clock.advance(DAY_MS);
  const drill = drillsOf(world).next();
  assert.ok(drill !== undefined);
  const drilled = drill();
  await world.backups.remove(CALLER, backup.id);
  await drilled;
  assert.deepEqual(outcomes(world), []);
  assert.deepEqual(
    world.allBackups().map(({ state, drill: last }) => [state, last]),
    [['PENDING_DELETION', undefined]],
  );
});
