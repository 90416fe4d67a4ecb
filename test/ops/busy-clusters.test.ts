/** A cluster that something is done to stays in every judgement about lateness, and on every list. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_SCHEDULE } from '../../src/backups/schedule.ts';
import { Watch } from '../../src/backups/watch.ts';
import type { ClusterState } from '../../src/clusters/cluster.ts';
import { DAY_MS } from '../../src/kernel/clock.ts';
import { protectionOf } from '../../src/ops/protection.ts';
import { createStatus } from '../../src/ops/status.ts';
import {
  at,
  clusterId,
  readyBackup,
  sampleCluster,
  sampleHsm,
} from '../support/catalog-samples.ts';
import { statusFacts } from '../support/status-facts.ts';
import { SCOPE, World } from '../support/world.ts';

/** From activation until deletion. */
const IN_USE: readonly ClusterState[] = [
  'ACTIVE',
  'DEGRADED',
  'UPDATE_IN_PROGRESS',
  'MODIFY_IN_PROGRESS',
  'ROLLBACK_IN_PROGRESS',
];

/** One cluster in this state, whose newest proof is three days old and has not its newest change. */
async function lateWorld(state: ClusterState): Promise<World> {
  const world = await World.open();
  const createdAt = at(world.clock.now() - 3 * DAY_MS);
  const here = { account: SCOPE.account, region: SCOPE.region };
  world.catalog.transact((writer) => {
    const newestChange = { generation: 9, at: createdAt };
    writer.createCluster(sampleCluster(1, { ...here, state, newestChange }));
    writer.createHsm(sampleHsm(1));
    writer.createBackup(readyBackup(1, { ...here, createdAt }));
  });
  return world;
}

const protectionIn = ({ catalog, fleet, clock }: World) =>
  protectionOf({ catalog, fleet, clock, isChangeDriven: true }, SCOPE.account);

for (const state of IN_USE) {
  test(`a late cluster that is ${state} is counted, at risk, and told`, async () => {
    await using world = await lateWorld(state);
    const { totals, health } = await protectionIn(world);
    assert.deepEqual(
      [totals.clusters, totals.oldestProofOf, totals.unproven, health.level],
      [1, clusterId(1), 1, 'at risk'],
    );
    assert.equal(health.reasons.length, 2);
    const told: string[] = [];
    const watch = new Watch({
      catalog: world.catalog,
      clock: world.clock,
      events: { emit: (event) => void ('deadline' in event && told.push(event.deadline)) },
      policy: DEFAULT_SCHEDULE,
    });
    watch.look();
    assert.deepEqual(told.toSorted(), ['change', 'floor']);
  });

  test(`status lists a cluster that is ${state}`, async () => {
    await using world = await lateWorld(state);
    const status = createStatus({
      ...statusFacts(world),
      plans: { forecast: () => ({}), generation: async () => ({}) },
      protection: () => protectionIn(world),
    });
    const { Clusters: clusters, Headline: headline } = await status.status(SCOPE);
    assert.partialDeepStrictEqual(clusters, [{ ClusterId: clusterId(1), State: state }]);
    assert.partialDeepStrictEqual(headline, { Clusters: 1, OldestClusterId: clusterId(1) });
  });
}

test('before activation and after deletion nothing is late', async () => {
  for (const state of ['UNINITIALIZED', 'INITIALIZED', 'DELETE_IN_PROGRESS', 'DELETED'] as const) {
    await using world = await lateWorld(state);
    const { totals, health } = await protectionIn(world);
    assert.deepEqual([totals.clusters, totals.unproven, health.level], [0, 0, 'good'], state);
  }
});
