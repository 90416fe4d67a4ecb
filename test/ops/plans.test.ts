/** The forecast misses nothing that will be done: clusters in any state, gone ones with backups, copies. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Backup } from '../../src/backups/backup.ts';
import { withOwnRetention } from '../../src/backups/retention.ts';
import { DEFAULT_SCHEDULE } from '../../src/backups/schedule.ts';
import type { Scope } from '../../src/catalog/catalog.ts';
import { forecastLines } from '../../src/cli/commands/forecast.ts';
import type { Cluster, ClusterState } from '../../src/clusters/cluster.ts';
import { DAY_MS } from '../../src/kernel/clock.ts';
import type { ClusterId } from '../../src/kernel/ids.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { createPlans } from '../../src/ops/plans.ts';
import {
  at,
  backupId,
  clusterId,
  deletedBackup,
  pendingBackup,
  readyBackup,
  sampleCluster,
} from '../support/catalog-samples.ts';
import { REGIONS, SCOPE, World } from '../support/world.ts';

const HOME: Scope = { account: SCOPE.account, region: REGIONS[0] };
const FAR: Scope = { account: SCOPE.account, region: REGIONS[1] };

function forecast(world: World, scope: Scope, id?: ClusterId): JsonObject {
  const { catalog, fleet, clock, backups } = world;
  return createPlans({
    catalog,
    fleet,
    clock,
    policy: DEFAULT_SCHEDULE,
    profile: 'own',
    fatesOf: (cluster) => backups.fates(cluster, cluster.id),
  }).forecast(scope, { clusterId: id, most: 100 });
}

interface Entry extends JsonObject {
  readonly ClusterId: string;
  readonly Backups: readonly JsonObject[];
  readonly Removals: readonly { BackupId: string; What: string; At: number; Why: string }[];
  readonly Drills: readonly { BackupId: string }[];
  readonly Notes: readonly string[];
}

// As `render` in plans.ts makes them.
const entriesOf = (answer: JsonObject) => answer['Clusters'] as readonly Entry[];

function put(world: World, clusters: readonly Cluster[], backups: readonly Backup[]): void {
  world.catalog.transact((writer) => {
    for (const cluster of clusters) writer.createCluster(cluster);
    for (const backup of backups) writer.createBackup(backup);
  });
}

/** A copy in the far region of the first cluster's backup, copied now. */
function copyOf(world: World, n: number, days?: number) {
  const copy = readyBackup(n, {
    ...FAR,
    createdAt: at(world.clock.now() - DAY_MS),
    copy: {
      copiedAt: world.clock.now(),
      sourceRegion: HOME.region,
      sourceBackup: backupId(1),
      sourceCluster: clusterId(1),
    },
  });
  return days === undefined ? copy : withOwnRetention(copy, days);
}

test('clusters in every state but DELETED are in the forecast', async () => {
  await using world = await World.open();
  const states: readonly ClusterState[] = [
    ...(['CREATE_IN_PROGRESS', 'UNINITIALIZED', 'INITIALIZE_IN_PROGRESS', 'INITIALIZED'] as const),
    ...(['ACTIVE', 'UPDATE_IN_PROGRESS', 'MODIFY_IN_PROGRESS', 'ROLLBACK_IN_PROGRESS'] as const),
    ...(['DEGRADED', 'DELETE_IN_PROGRESS', 'DELETED'] as const),
  ];
  const clusters = states.map((state, n) => sampleCluster(n, { ...HOME, state }));
  put(world, clusters, []);
  const answer = forecast(world, HOME);
  assert.deepEqual(
    entriesOf(answer).map(({ ClusterId: id }) => id),
    clusters
      .slice(0, -1)
      .map(({ id }) => id)
      .toReversed(),
  );
  assert.equal(answer['HasMoreClusters'], false);
});

test('a deleted cluster stays in the forecast until its last backup is gone', async () => {
  await using world = await World.open();
  const now = world.clock.now();
  put(
    world,
    [sampleCluster(1, { ...HOME, state: 'DELETED' })],
    [
      pendingBackup(1, now + 2 * DAY_MS, HOME),
      readyBackup(2, { ...HOME, createdAt: at(now - 89 * DAY_MS) }),
      readyBackup(3, { ...HOME, createdAt: now }),
    ],
  );
  const [entry] = entriesOf(forecast(world, HOME));
  assert.equal(entry?.ClusterId, clusterId(1));
  assert.deepEqual(
    entry?.Removals.map(({ BackupId: id, What: what }) => [id, what]),
    [
      [backupId(2), 'retention'],
      [backupId(1), 'purge'],
    ],
  );
  assert.deepEqual(entry.Backups, []);
  assert.match(entry.Notes.join(), /is DELETED/);
  world.catalog.transact((writer) => {
    for (const n of [1, 2, 3]) writer.putBackup(deletedBackup(n, HOME));
  });
  assert.deepEqual(entriesOf(forecast(world, HOME)), []);
});

test('the removal of a copy is forecast in its region, with and without the id of its cluster', async () => {
  await using world = await World.open();
  const end = (world.clock.now() + 10 * DAY_MS) / 1000;
  put(
    world,
    [sampleCluster(1, HOME)],
    [readyBackup(1, HOME), copyOf(world, 2, 10), copyOf(world, 3)],
  );
  for (const id of [undefined, clusterId(1)]) {
    const [entry, ...others] = entriesOf(forecast(world, FAR, id));
    assert.deepEqual(others, []);
    assert.partialDeepStrictEqual(entry?.Removals, [
      { BackupId: backupId(2), What: 'retention', At: end },
    ]);
    assert.match(entry?.Removals[0]?.Why ?? '', /its own retention of 10 days/);
    // That of the copy that is gone by then is not.
    assert.deepEqual(
      entry?.Drills.map(({ BackupId: drilled }) => drilled),
      [backupId(3)],
    );
    assert.match(entry?.Notes.join() ?? '', /not of this region/);
  }
  const [home] = entriesOf(forecast(world, HOME));
  assert.deepEqual(
    home?.Drills.map(({ BackupId: drilled }) => drilled),
    [backupId(1)],
  );
});

test('copies that stay say why, and so does the last READY backup of a cluster', async () => {
  await using world = await World.open();
  put(world, [sampleCluster(1, { ...HOME, state: 'DELETED' })], [copyOf(world, 2)]);
  const [stays] = entriesOf(forecast(world, FAR));
  assert.deepEqual(stays?.Removals, []);
  assert.match(stays?.Notes.join() ?? '', /no retention unless it was given one/);
  const [earlier, last] = [copyOf(world, 2, 10), copyOf(world, 3, 20)];
  put(world, [], [last]);
  world.catalog.transact((writer) => writer.putBackup(earlier));
  const [entry] = entriesOf(forecast(world, FAR));
  assert.deepEqual(
    entry?.Removals.map(({ BackupId: id }) => id),
    [backupId(2)],
  );
  // With another READY one anywhere it goes as well.
  put(world, [], [readyBackup(1, HOME)]);
  const [both] = entriesOf(forecast(world, FAR));
  assert.equal(both?.Removals.length, 2);
});

test('a cluster that is nowhere here is not found, nor is what another account has', async () => {
  await using world = await World.open();
  put(world, [sampleCluster(1, HOME)], [readyBackup(1, HOME)]);
  const notFound = { name: 'Refused', code: 'NotFound' };
  assert.throws(() => forecast(world, FAR, clusterId(1)), notFound);
  assert.throws(() => forecast(world, { ...HOME, account: '1' }, clusterId(1)), notFound);
  assert.deepEqual(entriesOf(forecast(world, FAR)), []);
});

test('a forecast of many clusters is bounded, leaves room for each kind, and says that there are more', async () => {
  await using world = await World.open();
  const many = Array.from({ length: 30 }, (_, n) => sampleCluster(100 + n, HOME));
  put(
    world,
    [...many, sampleCluster(1, { ...HOME, state: 'DELETED' })],
    [
      readyBackup(1, HOME),
      readyBackup(2, { ...copyOf(world, 2), ...HOME, clusterId: clusterId(2) }),
    ],
  );
  const answer = forecast(world, HOME);
  assert.equal(entriesOf(answer).length, 27);
  assert.equal(answer['HasMoreClusters'], true);
  assert.match(forecastLines(answer).at(-1) ?? '', /more: ask with --cluster-id/);
});

test('without anything the command says that nothing is planned', () => {
  const lines = forecastLines({ Profile: 'own', Clusters: [] });
  assert.match(lines.join('\n'), /No cluster and no copy .* nothing is planned/);
});
