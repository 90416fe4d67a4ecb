/** Every crossing of a wall fails once, and a restart follows: nothing is lost, nothing stays half-done. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { retryDeletions } from '../../src/clusters/delete-hsm.ts';
import { Refused } from '../../src/kernel/errors.ts';
import type { ClusterId, HsmId } from '../../src/kernel/ids.ts';
import { SCOPE, World } from '../support/world.ts';

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
