/** Whose facts a status counts, and that it agrees with the forecast. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_SCHEDULE } from '../../src/backups/schedule.ts';
import { statusLines } from '../../src/cli/commands/status.ts';
import { listOf, objectOf, textOf } from '../../src/cli/json.ts';
import { DAY_MS } from '../../src/kernel/clock.ts';
import type { ClusterId } from '../../src/kernel/ids.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { createPlans } from '../../src/ops/plans.ts';
import { protectionOf } from '../../src/ops/protection.ts';
import { createStatus } from '../../src/ops/status.ts';
import { at, readyBackup } from '../support/catalog-samples.ts';
import { statusFacts } from '../support/status-facts.ts';
import { callerOf, SCOPE, World } from '../support/world.ts';

function factsOf(world: World) {
  const { catalog, fleet, clock } = world;
  return createStatus({
    ...statusFacts(world),
    plans: createPlans({
      ...{ catalog, fleet, clock, profile: 'own', policy: DEFAULT_SCHEDULE },
      fatesOf: (cluster) => world.backups.fates(cluster, cluster.id),
    }),
    protection: (account) => protectionOf({ catalog, fleet, clock, isChangeDriven: true }, account),
  });
}

const levelOf = (status: JsonObject): string => textOf(objectOf(status, 'Health'), 'Level');

test('an overdue drill of one account makes no other account late', async () => {
  await using world = await World.open();
  const { clusterId: own } = await world.activeCluster();
  const other = callerOf('000087654321', SCOPE.region);
  const longAgo = at(world.clock.now() - 31 * DAY_MS);
  world.catalog.transact((writer) => {
    writer.createBackup(readyBackup(9, { ...scopeOf(other), createdAt: longAgo }));
  });
  const facts = factsOf(world);
  assert.equal(levelOf(await facts.status(SCOPE)), 'good');
  assert.equal(levelOf(await facts.status(other)), 'late');
  assert.equal(world.ready(own).length, 1);
});

test('of a cluster without HSMs status and forecast say that there is nothing to back up', async () => {
  await using world = await World.open();
  const { clusterId: id, hsmId } = await world.activeCluster();
  const facts = factsOf(world);
  const before = await seen(world, facts, id);
  assert.equal(before.next, before.forecast);
  assert.match(before.line, / in \d+ h/);

  await world.clusters.deleteHsm(SCOPE, id, { hsmId });
  await world.background.idle();
  // Its time may come and go.
  world.clock.advance(2 * DAY_MS);
  const after = await seen(world, facts, id);
  assert.deepEqual([after.next, after.forecast], [null, undefined]);
  assert.match(after.line, / nothing to back up$/);
  assert.match(String(after.notes), /nothing to back up/);
});

const scopeOf = ({ account, region }: typeof SCOPE) => ({ account, region });

async function seen(world: World, facts: ReturnType<typeof factsOf>, id: ClusterId) {
  const status = await facts.status(SCOPE);
  const asked = facts.forecast(SCOPE, { clusterId: id, most: 1 });
  const [cluster] = listOf(status, 'Clusters');
  const [planned] = listOf(asked, 'Clusters');
  const [backup] = listOf(planned ?? {}, 'Backups');
  const lines = statusLines(status, world.clock.now());
  return {
    next: cluster?.['NextBackupAt'],
    forecast: backup?.['At'],
    notes: planned?.['Notes'],
    line: lines.find((line) => line.startsWith(id)) ?? '',
  };
}
