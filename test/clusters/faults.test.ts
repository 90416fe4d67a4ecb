/** Every crossing of a wall fails once, and a restart follows: nothing is lost, nothing stays half-done. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { retryDeletions } from '../../src/clusters/delete-hsm.ts';
import { retryClusters } from '../../src/clusters/recover.ts';
import type { CreateClusterRequest } from '../../src/clusters/requests.ts';
import { Refused } from '../../src/kernel/errors.ts';
import type { ClusterId, HsmId } from '../../src/kernel/ids.ts';
import { SCOPE, World } from '../support/world.ts';

const NEW_CLUSTER: CreateClusterRequest = {
  hsmType: 'hsm2m.medium',
  subnetIds: ['subnet-00000001', 'subnet-00000002'],
  mode: 'NON_FIPS',
  tags: new Map(),
};

/** How often the walls are crossed by `work`. */
async function crossings(world: World, work: () => Promise<unknown>): Promise<number> {
  world.faults.reset();
  await work();
  return world.faults.seen.length;
}

/** A refusal or failure at the door itself is an answer too; everything later shows in rows. */
async function quietly(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (cause) {
    assert.ok(cause instanceof Error && !(cause instanceof Refused), String(cause));
  }
}

async function deleteHsm(world: World, clusterId: ClusterId, hsmId: HsmId): Promise<void> {
  await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId });
  await world.background.idle();
}

const live = (world: World, clusterId: ClusterId) =>
  world.catalog.read((reader) => reader.hsmsOf(clusterId));

test('CreateHsm: whichever call fails, the HSM serves the whole state or not at all', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const digest = await world.fleet.hsm(hsmId).digest();
  await deleteHsm(world, clusterId, hsmId);
  const first = { id: hsmId };
  const count = await crossings(world, async () => {
    first.id = (await world.addHsm(clusterId)).id;
  });
  await deleteHsm(world, clusterId, first.id);
  assert.ok(count >= 7, String(count));

  for (let n = 0; n < count; n += 1) {
    world.faults.reset(n);
    await quietly(() => world.addHsm(clusterId));
    await world.restart();
    for (const hsm of live(world, clusterId)) {
      if (hsm.state === 'ACTIVE') {
        assert.deepEqual(await world.fleet.hsm(hsm.id).digest(), digest, `fault ${n}`);
      } else {
        assert.equal(hsm.state, 'DEGRADED', `fault ${n}`);
        assert.match(hsm.stateMessage ?? '', /Not usable/);
      }
      await deleteHsm(world, clusterId, hsm.id);
    }
    assert.deepEqual(live(world, clusterId), [], `fault ${n}`);
  }
});

test('DeleteHsm: whichever call fails, no state is destroyed that no proven backup has', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  let current = hsmId;
  const count = await crossings(world, () => deleteHsm(world, clusterId, current));
  current = (await world.addHsm(clusterId)).id;

  for (let n = 0; n < count; n += 1) {
    const name = `user${n}`;
    await world.asAdmin(current, (call) =>
      call('user-create', { username: name, role: 'crypto-user', password: 'some-password-1' }),
    );
    await world.settle(current);
    const { generation } = await world.fleet.hsm(current).digest();
    world.faults.reset(n);
    await quietly(() => deleteHsm(world, clusterId, current));
    await world.restart();
    retryDeletions(world.deps);
    await world.background.idle();
    const { state } = world.hsm(current);
    if (state === 'DELETED') {
      const newest = world.catalog.read((reader) => reader.newestReady(clusterId));
      assert.ok(newest !== undefined && newest.archive.seal.statement.generation >= generation);
      await world.mustOpen(newest);
      current = (await world.addHsm(clusterId)).id;
    } else {
      assert.equal(state, 'ACTIVE', `fault ${n}`);
    }
    const { generation: kept } = await world.fleet.hsm(current).digest();
    assert.ok(kept >= generation, `fault ${n}`);
  }
});

/** Each answers before the work is done, whose end is a write of its own. */
const BEGUN: Readonly<
  Record<string, (world: World, ready: { clusterId: ClusterId; hsmId: HsmId }) => Promise<unknown>>
> = {
  'CreateCluster of nothing': (world) => world.clusters.create(SCOPE, NEW_CLUSTER),
  'CreateCluster of a backup': (world, { clusterId }) => {
    const sourceBackup = String(world.ready(clusterId)[0]?.id);
    return world.clusters.create(SCOPE, { ...NEW_CLUSTER, sourceBackup });
  },
  DeleteHsm: (world, { clusterId, hsmId }) => world.clusters.deleteHsm(SCOPE, clusterId, { hsmId }),
  DeleteCluster: async (world) => {
    const { cluster } = await world.clusters.create(SCOPE, NEW_CLUSTER);
    await world.background.idle();
    await world.clusters.remove(SCOPE, cluster.id);
  },
};

for (const [name, begin] of Object.entries(BEGUN)) {
  test(`${name}: whichever write fails once, the process lives and nothing stays half-done`, async () => {
    for (let n = 0, isReached = true; isReached; n += 1) {
      await using world = await World.open();
      const ready = await world.activeCluster();
      world.faults.reset(n);
      await quietly(() => begin(world, ready));
      await world.background.idle();
      isReached = world.faults.seen.length > n;
      world.faults.reset();
      for (const retry of [retryClusters, retryDeletions]) {
        retry(world.deps);
        await world.background.idle();
      }
      const rows = world.catalog.read((reader) => [
        ...reader.clusters(SCOPE, {}, { limit: 9 }).items,
        ...reader.hsmsOf(ready.clusterId),
        ...reader.backupsIn(['CREATE_IN_PROGRESS']),
      ]);
      const left = rows.filter(({ state }) => state.endsWith('_IN_PROGRESS'));
      assert.deepEqual(left, [], `fault ${n}`);
    }
  });
}
