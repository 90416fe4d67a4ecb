/**
 * The way from nothing to a cluster with a proven backup, and the process dies at every crossing of a wall on it:
 * the next one finds each resource in a state that is documented, and the way can be walked to its end.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CustomerFolder, signRequestOfCluster } from '../../src/cli/customer.ts';
import type { Cluster, Hsm } from '../../src/clusters/cluster.ts';
import { handleFleetEvent } from '../../src/clusters/hsm-events.ts';
import { Refused } from '../../src/kernel/errors.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import { SCOPE, World } from '../support/world.ts';

const NEW_CLUSTER = {
  hsmType: 'hsm2m.medium',
  subnetIds: ['subnet-00000001', 'subnet-00000002'],
  mode: 'NON_FIPS',
  tags: new Map(),
} as const;
const AT_REST = ['UNINITIALIZED', 'INITIALIZED', 'ACTIVE', 'DEGRADED', 'DELETED', 'READY'];

const clusterOf = (world: World): Cluster | undefined =>
  world.catalog.read((reader) => reader.clusters(SCOPE, {}, { limit: 9 }).items[0]);
const hsmOf = (world: World): Hsm | undefined =>
  world.catalog.read((reader) => reader.hsmsOf(found(clusterOf(world)).id))[0];

function found<T>(one: T | undefined): T {
  assert.ok(one !== undefined);
  return one;
}

/** Each step takes what the steps before it left. */
const STEPS: Readonly<Record<string, (world: World) => Promise<unknown>>> = {
  CreateCluster: (world) => world.clusters.create(SCOPE, NEW_CLUSTER),
  CreateHsm: (world) => world.addHsm(found(clusterOf(world)).id),
  InitializeCluster: async (world) => {
    const { id, certificates } = found(clusterOf(world));
    const parts = { clock: world.clock, random: systemRandom };
    const customer = new CustomerFolder({ data: world.folder, name: id, ...parts });
    const authority = await customer.authority();
    await world.clusters.initialize(SCOPE, {
      clusterId: id,
      signedCert: signRequestOfCluster(certificates.clusterCsr ?? '', authority, parts),
      trustAnchor: authority.certificate,
    });
  },
  'the first password': (world) => world.activate(found(hsmOf(world)).id),
};

/** As `onEvent` does for a new process: every HSM that is up says so again. */
async function restart(world: World): Promise<void> {
  await world.restart();
  for (const { hsmId } of await world.fleet.list()) {
    const hello = await world.fleet.hsm(hsmId).hello();
    handleFleetEvent(world.deps, { kind: 'up', hsmId, hello }, () => {});
  }
  await world.background.idle();
}

/** What a customer would do next, until his cluster has a proven backup. */
async function walkOn(world: World): Promise<void> {
  const run = async (step: string): Promise<void> => {
    await STEPS[step]?.(world);
    await world.background.idle();
  };
  if (clusterOf(world) === undefined) await run('CreateCluster');
  const left = hsmOf(world);
  if (left?.state === 'DEGRADED') {
    await world.clusters.deleteHsm(SCOPE, left.clusterId, { hsmId: left.id });
    await world.background.idle();
  }
  if (hsmOf(world) === undefined) await run('CreateHsm');
  if (clusterOf(world)?.state === 'UNINITIALIZED') await run('InitializeCluster');
  if (clusterOf(world)?.state === 'INITIALIZED') await run('the first password');
  const { id, state } = found(clusterOf(world));
  assert.equal(state, 'ACTIVE');
  if (world.ready(id).length === 0) await world.backups.take(id, 'manual');
  await world.mustOpen(found(world.ready(id)[0]));
}

const names = Object.keys(STEPS);
for (const [i, name] of names.entries()) {
  test(`${name}: wherever the process dies, the next one goes on`, async () => {
    let n = 0;
    for (let isReached = true; isReached; n += 1) {
      await using world = await World.open();
      for (const before of names.slice(0, i)) {
        await STEPS[before]?.(world);
        await world.background.idle();
      }
      world.faults.die(n);
      try {
        await STEPS[name]?.(world);
      } catch (cause) {
        assert.ok(cause instanceof Error && !(cause instanceof Refused), `${n}: ${cause}`);
      }
      await world.background.idle();
      isReached = world.faults.seen.length > n;
      await restart(world);
      const rows = world.catalog.read((reader) => [
        ...reader.clusters(SCOPE, {}, { limit: 9 }).items,
        ...reader.hsmsIn(['CREATE_IN_PROGRESS', 'DELETE_IN_PROGRESS', 'ACTIVE', 'DEGRADED']),
        ...reader.backupsIn(['CREATE_IN_PROGRESS']),
      ]);
      const moving = rows.filter(({ state }) => !AT_REST.includes(state));
      assert.deepEqual(
        moving.map(({ id, state }) => `${id} ${state}`),
        [],
        `death ${n}`,
      );
      await walkOn(world);
    }
    assert.ok(n > 1, 'nothing was crossed');
  });
}
