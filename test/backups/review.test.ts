/** Retention and thinning as they act on rows, over weeks. Sealing has no part in it, so rows are samples. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { Backup } from '../../src/backups/backup.ts';
import type { Cluster } from '../../src/clusters/cluster.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/kernel/clock.ts';
import {
  at,
  backupId,
  clusterId,
  readyBackup,
  sampleCluster,
  unfinishedBackup,
} from '../support/catalog-samples.ts';
import { CALLER, SCOPE, World } from '../support/world.ts';

const CLUSTER = clusterId(1);
const HELD = { why: 'audit', by: 'somebody', at: at(0) };

type Changes = Parameters<typeof readyBackup>[1];

class Rows {
  readonly world: World;
  constructor(world: World) {
    this.world = world;
  }

  cluster(changes: Partial<Cluster> = {}, n = 1): void {
    const row = sampleCluster(n, { ...SCOPE, nextReviewAt: at(0), ...changes });
    this.world.catalog.transact((writer) => writer.createCluster(row));
  }

  /** A READY backup of now. */
  ready(n: number, changes: Changes = {}): void {
    const backup = readyBackup(n, { ...SCOPE, createdAt: this.world.clock.now(), ...changes });
    this.world.catalog.transact((writer) => {
      writer.createBackup(backup);
      const cluster = writer.cluster(backup.clusterId);
      if (cluster !== undefined) writer.putCluster({ ...cluster, nextReviewAt: at(0) });
    });
  }

  async after(ms: number): Promise<void> {
    this.world.clock.advance(ms);
    await this.look();
  }

  async look(): Promise<void> {
    await this.world.backups.purgeDue();
  }

  backup(n: number): Backup {
    const backup = this.world.catalog.read((reader) => reader.backup(backupId(n)));
    assert.ok(backup !== undefined, `no backup ${n}`);
    return backup;
  }

  /** `1 READY, 2 DELETED …`: one word for each backup. */
  states(...numbers: readonly number[]): string {
    return numbers.map((n) => this.backup(n).state).join(' ');
  }
}

async function withRows(work: (rows: Rows, world: World) => Promise<void>): Promise<void> {
  await using world = await World.open();
  await work(new Rows(world), world);
}

describe('retention', () => {
  test('marks at its age, destroys seven days later, and tells both with the reason', () =>
    withRows(async (rows, world) => {
      rows.cluster({ retentionDays: 7 });
      rows.ready(1);
      await rows.after(DAY_MS);
      rows.ready(2);
      await rows.after(6 * DAY_MS - 1);
      assert.equal(rows.states(1, 2), 'READY READY');
      await rows.after(1);
      const marked = rows.backup(1);
      assert.ok(marked.state === 'PENDING_DELETION');
      assert.equal(marked.purgeAt, world.clock.now() + 7 * DAY_MS);
      assert.deepEqual(marked.removal, {
        kind: 'retention',
        why: "older than its cluster's retention of 7 days",
        by: 'keyark',
      });
      await rows.after(7 * DAY_MS - 1);
      assert.equal(rows.states(1, 2), 'PENDING_DELETION READY');
      await rows.after(1);
      assert.equal(rows.states(1, 2), 'DELETED READY');
      const told = world.events.filter(({ kind }) => /Marked|Purged/.test(kind));
      assert.deepEqual(
        told.map(({ kind }) => kind),
        ['backupMarked', 'backupPurged'],
      );
    }));

  test('never takes the last READY backup, also when the others are deleted by hand', () =>
    withRows(async (rows, world) => {
      rows.cluster({ retentionDays: 7 });
      rows.ready(1);
      await rows.after(HOUR_MS);
      rows.ready(2);
      await world.backups.remove(CALLER, backupId(2));
      await rows.after(400 * DAY_MS);
      assert.equal(rows.states(1, 2), 'READY DELETED');
      rows.ready(3);
      await rows.look();
      assert.equal(rows.states(1, 3), 'PENDING_DELETION READY');
    }));

  test('goes on after the deletion of the cluster, and leaves its newest backup', () =>
    withRows(async (rows) => {
      rows.cluster({ retentionDays: 7, state: 'DELETED' });
      rows.ready(1);
      await rows.after(HOUR_MS);
      rows.ready(2);
      await rows.after(300 * DAY_MS);
      await rows.after(7 * DAY_MS);
      assert.equal(rows.states(1, 2), 'DELETED READY');
    }));

  test('follows a change of the policy at once, in both directions', () =>
    withRows(async (rows, world) => {
      rows.cluster({ retentionDays: 90 });
      rows.ready(1);
      await rows.after(30 * DAY_MS);
      rows.ready(2);
      await rows.look();
      assert.equal(rows.states(1), 'READY');
      await world.clusters.modifyRetention(SCOPE, CLUSTER, 20);
      await rows.look();
      assert.equal(rows.states(1, 2), 'PENDING_DELETION READY');
      await world.clusters.modifyRetention(SCOPE, CLUSTER, 90);
      await world.backups.undelete(CALLER, backupId(1));
      await rows.after(30 * DAY_MS);
      assert.equal(rows.states(1, 2), 'READY READY');
      await rows.after(30 * DAY_MS);
      assert.equal(rows.states(1, 2), 'PENDING_DELETION READY');
    }));

  test('honours a stored retention above 379 days', () =>
    withRows(async (rows) => {
      rows.cluster({ retentionDays: 455 });
      rows.ready(1);
      await rows.after(HOUR_MS);
      rows.ready(2);
      await rows.after(454 * DAY_MS);
      assert.equal(rows.states(1), 'READY');
      await rows.after(DAY_MS);
      assert.equal(rows.states(1, 2), 'PENDING_DELETION READY');
    }));

  test('lets one that was brought back be for seven days, or until the policy is changed', () =>
    withRows(async (rows, world) => {
      rows.cluster({ retentionDays: 7 });
      rows.ready(1);
      rows.ready(2, { createdAt: at(world.clock.now() + HOUR_MS) });
      await rows.after(7 * DAY_MS);
      await world.backups.undelete(CALLER, backupId(1));
      await rows.after(7 * DAY_MS - 1);
      assert.equal(rows.states(1), 'READY');
      await rows.after(1);
      assert.equal(rows.states(1), 'PENDING_DELETION');
      await world.backups.undelete(CALLER, backupId(1));
      await world.clusters.modifyRetention(SCOPE, CLUSTER, 8);
      await rows.look();
      assert.equal(rows.states(1), 'PENDING_DELETION');
    }));

  test('exempts what never expires, and takes it when it is put back under the policy', () =>
    withRows(async (rows, world) => {
      rows.cluster({ retentionDays: 7 });
      rows.ready(1);
      rows.ready(2, { createdAt: at(world.clock.now() + HOUR_MS) });
      await world.backups.modifyNeverExpires(SCOPE, backupId(1), true);
      await rows.after(300 * DAY_MS);
      assert.equal(rows.states(1, 2), 'READY READY');
      await world.backups.modifyNeverExpires(SCOPE, backupId(1), false);
      await rows.look();
      assert.equal(rows.states(1, 2), 'PENDING_DELETION READY');
    }));

  test('sets the time of the next look to the next thing that happens, or to none', () =>
    withRows(async (rows, world) => {
      rows.cluster({ retentionDays: 10 });
      rows.ready(1);
      await rows.look();
      assert.equal(world.cluster(CLUSTER).nextReviewAt, undefined);
      const { createdAt } = rows.backup(1);
      await rows.after(DAY_MS);
      rows.ready(2);
      await rows.look();
      assert.equal(world.cluster(CLUSTER).nextReviewAt, createdAt + 10 * DAY_MS);
    }));
});

describe('a copy', () => {
  const copyOf = (world: World) => ({
    region: 'eu-west-1',
    createdAt: at(world.clock.now() - 1_000 * DAY_MS),
    copy: {
      copiedAt: world.clock.now(),
      sourceRegion: SCOPE.region,
      sourceBackup: backupId(1),
      sourceCluster: CLUSTER,
    },
  });
  const THERE = { ...SCOPE, region: 'eu-west-1' };

  test('stays whatever its age and its cluster say, until it is given a retention', () =>
    withRows(async (rows, world) => {
      rows.cluster({ retentionDays: 7 });
      rows.ready(1);
      rows.ready(2, copyOf(world));
      await rows.after(500 * DAY_MS);
      assert.equal(rows.states(2), 'READY');
      await world.backups.modifyRetention(THERE, backupId(2), 379);
      await rows.look();
      assert.equal(rows.states(1, 2), 'READY PENDING_DELETION');
      await rows.after(7 * DAY_MS);
      assert.equal(rows.states(1, 2), 'READY DELETED');
    }));

  test('goes by its retention counted from the copying, not sooner', () =>
    withRows(async (rows, world) => {
      rows.cluster();
      rows.ready(1);
      rows.ready(2, copyOf(world));
      await world.backups.modifyRetention(THERE, backupId(2), 30);
      await rows.after(30 * DAY_MS - 1);
      assert.equal(rows.states(2), 'READY');
      await rows.after(1);
      assert.equal(rows.states(2), 'PENDING_DELETION');
    }));

  test('stays while it is the last READY backup of its cluster anywhere', () =>
    withRows(async (rows, world) => {
      rows.ready(2, copyOf(world));
      await world.backups.modifyRetention(THERE, backupId(2), 7);
      await rows.after(100 * DAY_MS);
      assert.equal(rows.states(2), 'READY');
      rows.ready(1);
      await rows.after(DAY_MS);
      assert.equal(rows.states(1, 2), 'READY PENDING_DELETION');
    }));

  test("that is held stands in nobody else's way", () =>
    withRows(async (rows, world) => {
      rows.cluster();
      rows.ready(999);
      for (let n = 0; n < 120; n += 1) {
        const holds = n < 100 ? [{ kind: 'legal' as const, ...HELD }] : [];
        rows.ready(n, { ...copyOf(world), holds });
        await world.backups.modifyRetention(THERE, backupId(n), 7);
      }
      await rows.after(7 * DAY_MS);
      assert.equal(rows.states(119), 'PENDING_DELETION');
      assert.equal(rows.states(0), 'READY');
    }));
});

describe('thinning', () => {
  /** A change each quarter of an hour for a day. */
  async function busyDay(rows: Rows, from: number): Promise<void> {
    for (let n = 0; n < 96; n += 1) {
      rows.ready(from + n, { cause: 'changed' });
      rows.world.clock.advance(15 * MINUTE_MS);
    }
  }

  test('turns a busy day into hours and then into one, each with seven days of undo', () =>
    withRows(async (rows, world) => {
      rows.cluster({ retentionDays: 30 });
      await busyDay(rows, 1);
      rows.ready(500);
      const ready = (): number =>
        world.ready(CLUSTER).filter(({ cause }) => cause === 'changed').length;
      await rows.look();
      assert.equal(ready(), 96);
      await rows.after(2 * DAY_MS);
      assert.ok(ready() >= 24 && ready() <= 25, String(ready()));
      const thinned = world.allBackups().find(({ state }) => state === 'PENDING_DELETION');
      assert.ok(thinned?.state === 'PENDING_DELETION');
      assert.equal(thinned.removal.kind, 'thinned');
      assert.equal((await world.backups.undelete(CALLER, thinned.id)).state, 'READY');
      await rows.look();
      assert.equal(ready() >= 25 && ready() <= 26, true);
      await rows.after(7 * DAY_MS);
      assert.ok(ready() <= 2, String(ready()));
    }));

  test('leaves alone the source of a copy under way, and the origin of a clone without backups', () =>
    withRows(async (rows, world) => {
      rows.cluster();
      rows.cluster({ sourceBackup: { id: backupId(2), asRequested: 'x' } }, 2);
      for (const n of [1, 2, 3, 4]) rows.ready(n, { cause: 'changed' });
      rows.ready(50, { createdAt: at(world.clock.now() + HOUR_MS) });
      const copy = {
        copiedAt: world.clock.now(),
        sourceRegion: SCOPE.region,
        sourceBackup: backupId(1),
        sourceCluster: CLUSTER,
      };
      world.catalog.transact((writer) =>
        writer.createBackup(unfinishedBackup(60, { ...SCOPE, region: 'eu-west-1', copy })),
      );
      await rows.after(3 * DAY_MS);
      assert.equal(rows.states(1, 2, 3, 4), 'READY READY PENDING_DELETION READY');
      rows.ready(70, { clusterId: clusterId(2) });
      world.catalog.transact((writer) =>
        writer.putBackup({ ...readyBackup(60, { ...SCOPE, region: 'eu-west-1', copy }) }),
      );
      await rows.after(10 * MINUTE_MS);
      assert.equal(
        rows.states(1, 2, 3, 4),
        'PENDING_DELETION PENDING_DELETION PENDING_DELETION READY',
      );
    }));
});

test('a look takes on a bounded number of clusters, and the next looks take on the rest', () =>
  withRows(async (rows, world) => {
    for (let n = 1; n <= 12; n += 1) {
      rows.cluster({ retentionDays: 7 }, n);
      rows.ready(2 * n, { clusterId: clusterId(n), createdAt: at(0) });
      rows.ready(2 * n + 1, { clusterId: clusterId(n) });
    }
    const marked = (): number =>
      world.allBackups().filter(({ state }) => state === 'PENDING_DELETION').length;
    await rows.look();
    assert.ok(marked() > 0 && marked() < 12, String(marked()));
    for (let i = 0; i < 4; i += 1) await rows.look();
    assert.equal(marked(), 12);
  }));

test('whichever write fails, a review marks each backup once or leaves it for the next look', () =>
  withRows(async (rows, world) => {
    rows.cluster({ retentionDays: 7 });
    rows.ready(1);
    rows.ready(2);
    rows.ready(3, { createdAt: at(world.clock.now() + HOUR_MS) });
    world.clock.advance(7 * DAY_MS);
    world.faults.reset(0);
    for (let n = 0; n < 4; n += 1) {
      world.faults.reset(n);
      await rows.look().catch(() => {});
      await world.restart();
    }
    await rows.look();
    assert.equal(rows.states(1, 2, 3), 'PENDING_DELETION PENDING_DELETION READY');
    const told = world.events.filter(({ kind }) => kind === 'backupMarked');
    assert.equal(told.length, 2);
  }));
