import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/kernel/clock.ts';
import { objectName } from '../../src/vault/names.ts';
import { backupId } from '../support/catalog-samples.ts';
import { addCluster, addStored } from '../support/stored-rows.ts';
import { CALLER, World } from '../support/world.ts';

const ONE = backupId(1);

async function withDeleted(work: (world: World) => Promise<void>): Promise<void> {
  await using world = await World.open();
  addCluster(world, 1);
  await addStored(world, 1);
  await addStored(world, 2);
  await world.backups.remove(CALLER, ONE);
  world.clock.advance(7 * DAY_MS);
  await work(world);
}

const backup = (world: World, id = ONE) =>
  world.catalog.read((reader) => reader.backup(id)) ?? assert.fail();
const partsOf = async (world: World, id = ONE): Promise<readonly string[]> =>
  (await world.stored()).filter((name) => name.startsWith(`${id}/`));
const failures = (world: World): number =>
  world.events.filter(({ kind }) => kind === 'purgeFailed').length;

test('a purge destroys key records first, finds every part absent, and records both', () =>
  withDeleted(async (world) => {
    world.faults.reset();
    await world.backups.purgeDue();
    const gone = backup(world);
    assert.ok(gone.state === 'DELETED');
    assert.deepEqual(
      gone.record?.parts.map(({ name }) => name),
      ['outer-1', 'seal-1', 'body'],
    );
    assert.equal(gone.record?.profile, 'own');
    for (const { removedAt, absentAt } of gone.record?.parts ?? []) {
      assert.equal(removedAt, world.clock.now());
      assert.ok(absentAt >= removedAt);
    }
    assert.match(gone.why, /seven days after its deletion \(asked for\)/);
    assert.deepEqual(await partsOf(world), []);
    assert.equal((await partsOf(world, backupId(2))).length, 3);
    const last = world.faults.seen.lastIndexOf('vault.remove');
    assert.ok(world.faults.seen.indexOf('vault.stat') > last, 'looked for before all was removed');
  }));

test('parts that this version does not know go too, and are in the record', () =>
  withDeleted(async (world) => {
    await world.storage.vault.put(objectName(ONE, 'outer-2'), noBytes());
    await world.backups.purgeDue();
    const gone = backup(world);
    assert.ok(
      gone.state === 'DELETED' && gone.record?.parts.some(({ name }) => name === 'outer-2'),
    );
    assert.deepEqual(await partsOf(world), []);
  }));

for (const [what, point] of [
  ['cannot remove', 'vault.remove'],
  ['cannot list', 'vault.list'],
  ['cannot confirm that a part is absent', 'vault.stat'],
  ['cannot say whether a part is held', 'vault.heldBy'],
] as const) {
  test(`a vault that ${what} leaves PENDING_DELETION, tells it, and is asked again later`, () =>
    withDeleted(async (world) => {
      world.faults.failNext(point);
      await world.backups.purgeDue();
      assert.equal(backup(world).state, 'PENDING_DELETION');
      assert.equal(failures(world), 1);
      await world.backups.purgeDue();
      assert.equal(backup(world).state, 'PENDING_DELETION', 'asked again too soon');
      world.clock.advance(MINUTE_MS);
      await world.backups.purgeDue();
      assert.equal(backup(world).state, 'DELETED');
      assert.deepEqual(await partsOf(world), []);
    }));
}

test("one that cannot be purged stands in nobody else's way", () =>
  withDeleted(async (world) => {
    await world.storage.vault.hold(objectName(ONE, 'body'), 'legal');
    await addStored(world, 3);
    await addStored(world, 4);
    await world.backups.remove(CALLER, backupId(3));
    world.clock.advance(7 * DAY_MS);
    await world.backups.purgeDue();
    assert.equal(backup(world).state, 'PENDING_DELETION');
    assert.equal(backup(world, backupId(3)).state, 'DELETED');
    assert.equal((await partsOf(world)).length, 3);
  }));

test('whichever call fails, a restart and the next look finish the purge', async () => {
  let count = 0;
  await withDeleted(async (world) => {
    world.faults.reset();
    await world.backups.purgeDue();
    count = world.faults.seen.length;
  });
  assert.ok(count >= 12, String(count));
  await using world = await World.open();
  addCluster(world, 1);
  await addStored(world, 0);
  for (let n = 0; n < count; n += 1) {
    const id = backupId(100 + n);
    await addStored(world, 100 + n);
    await world.backups.remove(CALLER, id);
    world.clock.advance(7 * DAY_MS);
    world.faults.reset(n);
    await world.backups.purgeDue().catch(() => {});
    const interrupted = backup(world, id);
    if (interrupted.state === 'DELETED') {
      assert.deepEqual(await partsOf(world, id), [], `fault ${n}: DELETED with parts`);
    }
    const isWhole = (await partsOf(world, id)).length === 3;
    await world.restart();
    // Half of it may be gone, so the clock going back must not bring it to life again.
    if (interrupted.state === 'PENDING_DELETION' && !isWhole) {
      world.clock.step(-HOUR_MS);
      await assert.rejects(world.backups.undelete(CALLER, id), { code: 'WrongState' });
      world.clock.step(HOUR_MS);
    }
    await world.backups.purgeDue();
    const gone = backup(world, id);
    assert.ok(gone.state === 'DELETED', `fault ${n}`);
    assert.equal(gone.record?.parts.length, 3);
    assert.deepEqual(await partsOf(world, id), [], `fault ${n}`);
  }
});

test('a clock that stepped stops review, expiry and purge until it is confirmed', () =>
  withDeleted(async (world) => {
    world.clock.step(2 * 365 * DAY_MS);
    await addStored(world, 3);
    for (let i = 0; i < 3; i += 1) {
      await world.backups.purgeDue();
      world.clock.advance(HOUR_MS);
    }
    assert.equal(backup(world).state, 'PENDING_DELETION');
    assert.equal(backup(world, backupId(2)).state, 'READY');
    await world.restart();
    await world.backups.purgeDue();
    assert.equal(backup(world).state, 'PENDING_DELETION');
    assert.equal((await partsOf(world)).length, 3);
    world.watch.confirm(CALLER.principal);
    await world.backups.purgeDue();
    assert.equal(backup(world).state, 'DELETED');
    assert.equal(backup(world, backupId(2)).state, 'PENDING_DELETION');
    const told = world.events.map(({ kind }) => kind);
    assert.ok(told.includes('clockStepped') && told.includes('clockConfirmed'));
  }));

test('who asks for a look while one is under way shares it', () =>
  withDeleted(async (world) => {
    await Promise.all([world.backups.purgeDue(), world.backups.purgeDue()]);
    const told = world.events.filter(({ kind }) => kind === 'backupPurged');
    assert.equal(told.length, 1);
  }));

async function* noBytes(): AsyncIterable<Uint8Array> {}
