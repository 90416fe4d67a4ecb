/** DeleteHsm never destroys what was acknowledged: neither a change made meanwhile nor one that only that HSM has. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { retryDeletions } from '../../src/clusters/delete-hsm.ts';
import { handleFleetEvent } from '../../src/clusters/hsm-events.ts';
import { FOLLOWER_FROZEN } from '../../src/clusters/write-turn.ts';
import { Refused } from '../../src/kernel/errors.ts';
import type { ClusterId, HsmId } from '../../src/kernel/ids.ts';
import { SCOPE, World } from '../support/world.ts';

const user = (username: string) => ({
  username,
  role: 'crypto-user',
  password: 'some-password-1',
});

async function addUser(world: World, hsmId: HsmId, name: string): Promise<void> {
  await world.asAdmin(hsmId, (call) => call('user-create', user(name)));
  await world.settle(hsmId);
}

async function usersOf(world: World, hsmId: HsmId): Promise<readonly string[]> {
  const { users } = await world.officer(hsmId, (call) => call('user-list'));
  // The officers' protocol answers this shape (src/hsm/calls.ts).
  return (users as readonly { readonly username: string }[]).map(({ username }) => username).sort();
}

async function deleteHsm(world: World, clusterId: ClusterId, hsmId: HsmId): Promise<void> {
  await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId });
  await world.background.idle();
}

function down(world: World, hsmId: HsmId): void {
  world.fleet.away.add(hsmId);
  handleFleetEvent(world.deps, { kind: 'down', hsmId, reason: 'it died.' }, () => {});
}

async function up(world: World, hsmId: HsmId): Promise<void> {
  world.fleet.away.delete(hsmId);
  const hello = await world.fleet.hsm(hsmId).hello();
  handleFleetEvent(world.deps, { kind: 'up', hsmId, hello }, () => {});
  await world.background.idle();
}

/** An HSM that was replaced while it was away, and holds a user that no proven backup has. */
async function replacedWriter(world: World) {
  const { clusterId, hsmId } = await world.activeCluster();
  await addUser(world, hsmId, 'unproven');
  down(world, hsmId);
  const successor = await world.addHsm(clusterId, 'us-east-1b');
  assert.equal(successor.takesWrites, true, String(successor.stateMessage));
  return { clusterId, hsmId, successor: successor.id };
}

test('a writer that goes on during DeleteHsm finds every acknowledged change on the restored HSM', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const acknowledged: string[] = [];
  let refusal: unknown;
  await world.asAdmin(hsmId, async (call) => {
    const writing = (async () => {
      for (;;) {
        const name = `user${acknowledged.length}`;
        await call('user-create', user(name));
        acknowledged.push(name);
        if (acknowledged.length === 3) await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId });
      }
    })();
    refusal = await writing.catch((cause: unknown) => cause);
  });
  await world.background.idle();
  assert.ok(refusal instanceof Refused && refusal.code === 'WritesFrozen', String(refusal));
  assert.match(refusal.message, /being deleted/);
  assert.equal(world.hsm(hsmId).state, 'DELETED');
  const restored = await world.addHsm(clusterId);
  assert.deepEqual(await usersOf(world, restored.id), ['admin', ...acknowledged].sort());
});

test('DeleteHsm that fails leaves an HSM that takes changes again', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  world.faults.failNext('kms.generateDataKey');
  await deleteHsm(world, clusterId, hsmId);
  assert.equal(world.hsm(hsmId).state, 'ACTIVE');
  await addUser(world, hsmId, 'later');
});

test('a follower that is not deleted after all goes on refusing changes', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const follower = await world.addHsm(clusterId, 'us-east-1b');
  world.faults.failNext('kms.generateDataKey');
  await deleteHsm(world, clusterId, follower.id);
  assert.equal(world.hsm(follower.id).state, 'ACTIVE');
  await assert.rejects(addUser(world, follower.id, 'app'), {
    code: 'WritesFrozen',
    message: FOLLOWER_FROZEN,
  });
});

test('an HSM that took a change after it was sealed is not discarded', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const drill = world.fleet.drill.bind(world.fleet);
  Object.assign(world.fleet, {
    drill: async () => {
      const made = await drill();
      return {
        ...made,
        prove: async (...args: Parameters<typeof made.prove>) => {
          const proof = await made.prove(...args);
          // As when it is started again in the middle, which makes it forget that it is frozen.
          await world.fleet.hsm(hsmId).limit(null);
          await world.asAdmin(hsmId, (call) => call('user-create', user('late')));
          return proof;
        },
      };
    },
  });
  await deleteHsm(world, clusterId, hsmId);
  const { state, stateMessage = '' } = world.hsm(hsmId);
  assert.equal(state, 'ACTIVE');
  assert.match(stateMessage, /Not deleted.*no proven backup/);
  assert.deepEqual(await usersOf(world, hsmId), ['admin', 'late']);
  await addUser(world, hsmId, 'later');
});

test('an HSM that is started again in the last moment keeps what it took then, and goes with the next backup', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const { discard } = world.fleet;
  let discards = 0;
  Object.assign(world.fleet, {
    discard: async (...args: Parameters<typeof discard>) => {
      discards += 1;
      if (discards === 1) {
        await world.fleet.hsm(hsmId).limit(null);
        await world.asAdmin(hsmId, (call) => call('user-create', user('late')));
      }
      await discard.call(world.fleet, ...args);
    },
  });
  await deleteHsm(world, clusterId, hsmId);
  const { state, stateMessage = '' } = world.hsm(hsmId);
  assert.equal(state, 'DELETE_IN_PROGRESS');
  assert.match(stateMessage, /Not removed yet: It holds changes up to generation/);
  retryDeletions(world.deps);
  await world.background.idle();
  assert.equal(world.hsm(hsmId).state, 'DELETED');
  const restored = await world.addHsm(clusterId);
  assert.deepEqual(await usersOf(world, restored.id), ['admin', 'late']);
});

test('a deletion that a dead process left is finished after the restart, with what came in between', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  world.catalog.transact((writer) => {
    writer.putHsm({ ...world.hsm(hsmId), state: 'DELETE_IN_PROGRESS' });
  });
  await addUser(world, hsmId, 'between');
  await world.restart();
  assert.equal(world.hsm(hsmId).state, 'DELETED');
  const restored = await world.addHsm(clusterId);
  assert.deepEqual(await usersOf(world, restored.id), ['admin', 'between']);
});

test('an HSM that is started again while it is being deleted is frozen again', async () => {
  await using world = await World.open();
  const { hsmId } = await world.activeCluster();
  world.catalog.transact((writer) => {
    writer.putHsm({ ...world.hsm(hsmId), state: 'DELETE_IN_PROGRESS' });
  });
  await up(world, hsmId);
  assert.equal(world.hsm(hsmId).state, 'DELETE_IN_PROGRESS');
  await assert.rejects(addUser(world, hsmId, 'late'), { code: 'WritesFrozen' });
});

test('DeleteHsm keeps a replaced HSM whose changes are in no proven backup, until it is given up', async () => {
  await using world = await World.open();
  const { clusterId, hsmId, successor } = await replacedWriter(world);
  await up(world, hsmId);
  assert.equal(world.hsm(hsmId).state, 'DEGRADED');
  await deleteHsm(world, clusterId, hsmId);
  const { state, stateMessage = '' } = world.hsm(hsmId);
  assert.equal(state, 'DEGRADED');
  assert.match(stateMessage, /Not deleted.*no proven backup.*keyark cluster give-up hsm-/);
  assert.deepEqual(await usersOf(world, hsmId), ['admin', 'unproven']);

  await assert.rejects(world.clusters.giveUpHsm(SCOPE, { clusterId, hsmId: successor }), {
    code: 'WrongState',
  });
  await world.clusters.giveUpHsm(SCOPE, { clusterId, hsmId });
  await world.background.idle();
  assert.equal(world.hsm(hsmId).state, 'DELETED');
  assert.equal(world.hsm(successor).state, 'ACTIVE');
});

test('a replaced HSM is not fed over its own changes, however far the cluster has gone on', async () => {
  await using world = await World.open();
  const { clusterId, hsmId, successor } = await replacedWriter(world);
  for (const name of ['one', 'two', 'three']) await addUser(world, successor, name);
  await world.backups.take(clusterId, 'manual');
  await up(world, hsmId);
  await world.backups.take(clusterId, 'manual');
  await world.background.idle();
  assert.equal(world.hsm(hsmId).state, 'DEGRADED');
  assert.deepEqual(await usersOf(world, hsmId), ['admin', 'unproven']);
});

test('a replaced HSM that holds nothing of its own follows again, and is fed at once', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  down(world, hsmId);
  const successor = await world.addHsm(clusterId, 'us-east-1b');
  await addUser(world, successor.id, 'app');
  await world.backups.take(clusterId, 'manual');
  await up(world, hsmId);
  assert.equal(world.hsm(hsmId).state, 'ACTIVE');
  assert.deepEqual(await usersOf(world, hsmId), ['admin', 'app']);
  await deleteHsm(world, clusterId, hsmId);
  assert.equal(world.hsm(hsmId).state, 'DELETED');
});

test('an HSM that does not answer is not deleted, and can be given up', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const reach = world.fleet.hsm.bind(world.fleet);
  const silent = async () => {
    throw new Error('no answer.');
  };
  Object.assign(world.fleet, {
    hsm: (id: HsmId) =>
      id === hsmId ? { ...reach(id), hello: silent, limit: silent, digest: silent } : reach(id),
  });
  await deleteHsm(world, clusterId, hsmId);
  const { state, stateMessage = '' } = world.hsm(hsmId);
  assert.equal(state, 'DEGRADED');
  assert.match(stateMessage, /Nobody can tell.*no answer.*give-up/);
  await world.clusters.giveUpHsm(SCOPE, { clusterId, hsmId });
  await world.background.idle();
  assert.equal(world.hsm(hsmId).state, 'DELETED');
});
