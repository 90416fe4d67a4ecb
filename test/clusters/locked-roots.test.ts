/** HSMs that are asked for, or were being made, while the roots are locked: they wait, and are made afterwards. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { noteLockedRoots } from '../../src/clusters/locked-roots.ts';
import { WAITS_FOR_ROOTS } from '../../src/kernel/roots-locked.ts';
import { SCOPE, World } from '../support/world.ts';

test('an HSM that is asked for while the roots are locked is made once they are unlocked', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  world.fleet.areRootsLocked = true;
  const wanted = { clusterId, availabilityZone: 'us-east-1b' };
  const { id } = await world.clusters.createHsm(SCOPE, wanted);
  await world.background.idle();
  const { state, stateMessage } = world.hsm(id);
  assert.deepEqual([state, stateMessage], ['CREATE_IN_PROGRESS', WAITS_FOR_ROOTS]);

  await noteLockedRoots(world.deps);
  await world.background.idle();
  assert.equal(world.hsm(id).state, 'CREATE_IN_PROGRESS', 'still locked');

  world.fleet.areRootsLocked = false;
  await noteLockedRoots(world.deps);
  await noteLockedRoots(world.deps);
  await world.background.idle();
  assert.equal(world.hsm(id).state, 'ACTIVE');
  assert.equal(world.hsm(id).stateMessage, undefined);
});

test('an HSM that a dead process was making waits too, and is made', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const { id } = await world.addHsm(clusterId, 'us-east-1b');
  const { serial: _made, ...row } = world.hsm(id);
  world.catalog.transact((writer) => writer.putHsm({ ...row, state: 'CREATE_IN_PROGRESS' }));
  world.fleet.areRootsLocked = true;
  await world.restart();
  assert.equal(world.hsm(id).stateMessage, WAITS_FOR_ROOTS);
  world.fleet.areRootsLocked = false;
  await noteLockedRoots(world.deps);
  await world.background.idle();
  assert.equal(world.hsm(id).state, 'ACTIVE');
});
