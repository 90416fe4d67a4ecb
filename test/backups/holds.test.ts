import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { PURGE_ORDER } from '../../src/backups/parts.ts';
import { DAY_MS, HOUR_MS, isoTime } from '../../src/kernel/clock.ts';
import type { EpochMs } from '../../src/kernel/types.ts';
import { objectName } from '../../src/vault/names.ts';
import { backupId, clusterId } from '../support/catalog-samples.ts';
import { addCluster, addStored } from '../support/stored-rows.ts';
import { CALLER, SCOPE, World } from '../support/world.ts';

const ONE = backupId(1);
const LEGAL = { kind: 'legal' } as const;
const until = (world: World, ms: number) =>
  // A time plus a duration is a time.
  ({ kind: 'compliance', until: (world.clock.now() + ms) as EpochMs }) as const;

/** Backup 1 is old and change-driven, 2 stands for its hour, 3 is the newest. */
async function withBackups(work: (world: World) => Promise<void>): Promise<void> {
  await using world = await World.open();
  addCluster(world, 1, { retentionDays: 7 });
  await addStored(world, 1, { cause: 'changed' });
  await addStored(world, 2, { cause: 'changed' });
  world.clock.advance(HOUR_MS);
  await addStored(world, 3);
  await work(world);
}

const backup = (world: World, id = ONE) =>
  world.catalog.read((reader) => reader.backup(id)) ?? assert.fail();
const partsOf = async (world: World): Promise<number> =>
  (await world.stored()).filter((name) => name.startsWith(`${ONE}/`)).length;
const held = { code: 'WrongState', message: /\[HELD\]/ };

describe('a held backup', () => {
  for (const kind of ['compliance', 'legal'] as const) {
    test(`survives whatever anybody does, while its ${kind} hold stands`, () =>
      withBackups(async (world) => {
        const terms = kind === 'legal' ? LEGAL : until(world, 400 * DAY_MS);
        await world.backups.hold(CALLER, ONE, terms, 'audit');
        await assert.rejects(world.backups.remove(CALLER, ONE), {
          code: 'WrongState',
          message: /\[HELD\] backup-.*"audit".*can't be deleted or shortened.*keyark hold list/,
        });
        await world.backups.modifyNeverExpires(SCOPE, ONE, true);
        await world.backups.modifyNeverExpires(SCOPE, ONE, false);
        await world.clusters.modifyRetention(SCOPE, clusterId(1), 8);
        await world.clusters.remove(SCOPE, clusterId(1));
        await world.background.idle();
        for (let week = 0; week < 57; week += 1) {
          world.clock.advance(7 * DAY_MS);
          await world.backups.purgeDue();
        }
        await assert.rejects(world.backups.remove(CALLER, ONE), held);
        for (const part of PURGE_ORDER) {
          await assert.rejects(world.storage.vault.remove(objectName(ONE, part)), held);
        }
        assert.equal(backup(world).state, 'READY');
        assert.equal(await partsOf(world), 3);
        assert.equal(backup(world, backupId(2)).state, 'DELETED');
        assert.equal(backup(world, backupId(3)).state, 'READY');
      }));
  }

  test('goes when its date has passed and retention has ended, not a moment before', () =>
    withBackups(async (world) => {
      await world.backups.hold(CALLER, ONE, until(world, 100 * DAY_MS), 'audit');
      world.clock.advance(100 * DAY_MS - 1);
      await world.backups.purgeDue();
      assert.equal(backup(world).state, 'READY');
      world.clock.advance(1);
      await world.backups.purgeDue();
      assert.equal(backup(world).state, 'PENDING_DELETION');
      world.clock.advance(7 * DAY_MS);
      await world.backups.purgeDue();
      assert.equal(backup(world).state, 'DELETED');
      assert.equal(await partsOf(world), 0);
    }));

  test('says among the fates why it stays past its retention', () =>
    withBackups(async (world) => {
      const terms = until(world, 100 * DAY_MS);
      await world.backups.hold(CALLER, ONE, terms, 'audit');
      world.clock.advance(50 * DAY_MS);
      const fate = world.backups.fates(SCOPE, clusterId(1)).find(({ id }) => id === ONE);
      assert.ok(fate !== undefined && fate.what !== 'kept');
      assert.equal(fate.at, terms.until);
      assert.match(fate.why, new RegExp(`held until ${isoTime(terms.until)} \\("audit"\\)`));
    }));

  test('is still held by a clock that stepped beyond the date', () =>
    withBackups(async (world) => {
      await world.backups.hold(CALLER, ONE, until(world, 100 * DAY_MS), 'audit');
      world.clock.step(200 * DAY_MS);
      await assert.rejects(world.backups.remove(CALLER, ONE), held);
      assert.equal(backup(world).state, 'READY');
    }));
});

describe('a compliance hold', () => {
  test('can be prolonged and neither shortened nor lifted', () =>
    withBackups(async (world) => {
      const far = until(world, 20 * DAY_MS);
      await world.backups.hold(CALLER, ONE, until(world, 10 * DAY_MS), 'first');
      await world.backups.hold(CALLER, ONE, far, 'second');
      await assert.rejects(world.backups.hold(CALLER, ONE, until(world, DAY_MS), 'third'), held);
      await assert.rejects(world.backups.liftHold(CALLER, ONE), held);
      assert.deepEqual(
        backup(world).holds.map(({ kind, until: date, why }) => [kind, date, why]),
        [['compliance', far.until, 'second']],
      );
      for (const part of PURGE_ORDER) {
        assert.equal((await world.storage.vault.heldBy(objectName(ONE, part)))?.until, far.until);
      }
    }));

  test('is refused for a date that has passed or that nobody can mean', () =>
    withBackups(async (world) => {
      for (const ms of [0, -DAY_MS, 101 * 366 * DAY_MS]) {
        const wrong = world.backups.hold(CALLER, ONE, until(world, ms), 'audit');
        await assert.rejects(wrong, { code: 'InvalidRequest' });
      }
      assert.deepEqual(backup(world).holds, []);
    }));
});

describe('a legal hold', () => {
  test('ends when it is lifted, in the vault too, and leaves a date standing', () =>
    withBackups(async (world) => {
      await world.backups.hold(CALLER, ONE, LEGAL, 'case 7');
      await world.backups.hold(CALLER, ONE, until(world, DAY_MS), 'audit');
      await world.backups.liftHold(CALLER, ONE);
      await assert.rejects(world.backups.remove(CALLER, ONE), held);
      world.clock.advance(DAY_MS);
      await world.backups.remove(CALLER, ONE);
      world.clock.advance(7 * DAY_MS);
      await world.backups.purgeDue();
      assert.equal(backup(world).state, 'DELETED');
    }));

  test('stands once: a second reason is refused, the same one changes nothing', () =>
    withBackups(async (world) => {
      await world.backups.hold(CALLER, ONE, LEGAL, 'case 7');
      const before = backup(world).holds;
      await world.backups.hold(CALLER, ONE, LEGAL, 'case 7');
      await assert.rejects(world.backups.hold(CALLER, ONE, LEGAL, 'case 8'), held);
      assert.deepEqual(backup(world).holds, before);
    }));

  test('cannot be lifted where none is', () =>
    withBackups((world) => assert.rejects(world.backups.liftHold(CALLER, ONE), held)));
});

test('a backup that is deleted is held only after it was brought back', () =>
  withBackups(async (world) => {
    await world.backups.remove(CALLER, ONE);
    await assert.rejects(world.backups.hold(CALLER, ONE, LEGAL, 'audit'), {
      code: 'WrongState',
      message: /keyark backup undelete/,
    });
    assert.equal(await world.storage.vault.heldBy(objectName(ONE, 'body')), undefined);
    await world.backups.undelete(CALLER, ONE);
    await world.backups.hold(CALLER, ONE, LEGAL, 'audit');
  }));

test('holds of another account or region are neither seen nor set', () =>
  withBackups(async (world) => {
    await world.backups.hold(CALLER, ONE, LEGAL, 'audit');
    for (const other of [{ account: '000099999999' }, { region: 'eu-west-1' }]) {
      const caller = { ...CALLER, ...other };
      await assert.rejects(world.backups.hold(caller, ONE, LEGAL, 'x'), { code: 'NotFound' });
      await assert.rejects(world.backups.liftHold(caller, ONE), { code: 'NotFound' });
      assert.deepEqual(await world.backups.held(caller), []);
    }
    const [found] = await world.backups.held(CALLER);
    assert.deepEqual([found?.backup.id, found?.isInVault, found?.binds], [ONE, true, 'service']);
  }));

test('whichever call fails while a hold is set, a restart has it in row and vault, or in neither', () =>
  withBackups(async (world) => {
    world.faults.reset();
    await world.backups.hold(CALLER, backupId(3), LEGAL, 'audit');
    const count = world.faults.seen.length;
    assert.ok(count >= 4, String(count));
    for (let n = 0; n < count; n += 1) {
      const id = backupId(100 + n);
      await addStored(world, 100 + n);
      world.faults.reset(n);
      await assert.rejects(world.backups.hold(CALLER, id, LEGAL, 'audit'));
      await world.restart();
      const isInRow = backup(world, id).holds.length > 0;
      for (const part of PURGE_ORDER) {
        const hold = await world.storage.vault.heldBy(objectName(id, part));
        assert.equal(hold?.isLegal ?? false, isInRow, `fault ${n}: ${part}`);
      }
    }
  }));

test('whichever call fails while a hold is lifted, the vault never holds less than the row says', () =>
  withBackups(async (world) => {
    await world.backups.hold(CALLER, ONE, LEGAL, 'audit');
    world.faults.reset();
    await world.backups.liftHold(CALLER, ONE);
    const count = world.faults.seen.filter((point) => point !== 'catalog.transact').length + 1;
    for (let n = 0; n < count; n += 1) {
      await world.backups.hold(CALLER, ONE, LEGAL, 'audit');
      world.faults.reset(n);
      await assert.rejects(world.backups.liftHold(CALLER, ONE));
      await world.restart();
      assert.equal(backup(world).holds.length, 1, `fault ${n}`);
      for (const part of PURGE_ORDER) {
        const hold = await world.storage.vault.heldBy(objectName(ONE, part));
        assert.equal(hold?.isLegal, true, `fault ${n}: ${part}`);
      }
      await world.backups.liftHold(CALLER, ONE);
    }
  }));
