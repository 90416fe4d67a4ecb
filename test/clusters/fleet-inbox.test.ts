/** What the fleet tells while nothing can be recorded is recorded later, in order, and breaks nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FleetInbox } from '../../src/clusters/fleet-inbox.ts';
import type { FleetEvent } from '../../src/fleet/fleet.ts';
import { hsmId } from '../support/catalog-samples.ts';
import { World } from '../support/world.ts';

const changed = (generation: number): FleetEvent => ({
  kind: 'changed',
  hsmId: hsmId(1),
  generation,
});

test('events that cannot be handled wait, those behind them too, and all come in order', () => {
  const [seen, errors]: [number[], string[]] = [[], []];
  let isDiskFull = true;
  const inbox = new FleetInbox(
    (event) => {
      if (isDiskFull) throw new Error('disk full');
      if (event.kind === 'changed') seen.push(event.generation);
    },
    { emit: (event) => void errors.push(event.kind) },
  );
  for (const n of [1, 2, 3]) inbox.take(changed(n));
  inbox.retry();
  assert.deepEqual([seen, errors], [[], ['internalError', 'internalError']]);
  isDiskFull = false;
  inbox.take(changed(4));
  assert.deepEqual(seen, []);
  inbox.retry();
  assert.deepEqual(seen, [1, 2, 3, 4]);
  inbox.take(changed(5));
  assert.deepEqual(seen, [1, 2, 3, 4, 5]);
});

test('an event that is our own mistake does not hold up the others for ever', () => {
  const seen: number[] = [];
  const inbox = new FleetInbox(
    (event) => {
      if (event.kind === 'changed' && event.generation === 1) throw new Error('a bug');
      if (event.kind === 'changed') seen.push(event.generation);
    },
    { emit: () => {} },
  );
  for (const n of [1, 2]) inbox.take(changed(n));
  for (let minute = 0; minute < 60; minute += 1) inbox.retry();
  assert.deepEqual(seen, [2]);
});

test('a cluster becomes ACTIVE although the catalog refused when its HSM said so', async () => {
  await using world = await World.open();
  const { clusterId, hsmId: id } = await world.initializedCluster();
  world.faults.failNext('catalog.transact');
  await world.activate(id);
  assert.equal(world.cluster(clusterId).state, 'INITIALIZED');
  world.inbox.retry();
  await world.background.idle();
  assert.equal(world.cluster(clusterId).state, 'ACTIVE');
  assert.equal(world.ready(clusterId).length, 1);
});
