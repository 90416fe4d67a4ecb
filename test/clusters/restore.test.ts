import assert from 'node:assert/strict';
import { test } from 'node:test';
import { handleFleetEvent } from '../../src/clusters/hsm-events.ts';
import type { FleetEvent } from '../../src/fleet/fleet.ts';
import type { ClusterId, HsmId } from '../../src/kernel/ids.ts';
import { objectName } from '../../src/vault/names.ts';
import { CALLER, SCOPE, World } from '../support/world.ts';

async function addUser(world: World, hsmId: HsmId, username: string): Promise<void> {
  await world.asAdmin(hsmId, async (call) => {
    await call('user-create', { username, role: 'crypto-user', password: 'some-password-1' });
  });
  await world.settle(hsmId);
}

function causes(world: World, clusterId: ClusterId): ReadonlySet<string> {
  return new Set(world.ready(clusterId).map(({ cause }) => cause));
}

async function usersOf(world: World, hsmId: HsmId): Promise<readonly string[]> {
  return await world.officer(hsmId, async (call) => {
    const { users } = await call('user-list');
    // The officers' protocol answers this shape (src/hsm/calls.ts).
    return (users as readonly { readonly username: string }[])
      .map(({ username }) => username)
      .sort();
  });
}

test('deleting the last HSM backs up first, and a new HSM is the same HSM again', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  await addUser(world, hsmId, 'app');
  const before = await world.fleet.hsm(hsmId).digest();

  await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId });
  await world.background.idle();
  assert.equal(world.hsm(hsmId).state, 'DELETED');
  assert.equal(causes(world, clusterId).has('before-delete-hsm'), true);

  const hsm = await world.addHsm(clusterId);
  assert.equal(hsm.state, 'ACTIVE', String(hsm.stateMessage));
  assert.equal(hsm.takesWrites, true);
  assert.deepEqual(await world.fleet.hsm(hsm.id).digest(), before);
  assert.deepEqual(await usersOf(world, hsm.id), ['admin', 'app']);
  // And it can be changed again: the old passwords hold.
  await addUser(world, hsm.id, 'later');
});

test('DeleteHsm keeps the HSM, and says why, when the backup before it fails', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  await addUser(world, hsmId, 'app');
  const { at } = world.faults;
  // Every write to the vault fails from here on.
  Object.assign(world.faults, {
    at: (point: string) => {
      at(point);
      if (point === 'vault.put') throw new Error('the disk is full');
    },
  });
  await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId });
  await world.background.idle();
  const hsm = world.hsm(hsmId);
  assert.equal(hsm.state, 'ACTIVE');
  assert.match(hsm.stateMessage ?? '', /Not deleted.*disk is full/);
  assert.deepEqual(await usersOf(world, hsmId), ['admin', 'app']);
  // It serves on, changes and all.
  await addUser(world, hsmId, 'later');
});

test('DeleteHsm acknowledges no change that its last backup does not have', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const acknowledged: string[] = [];
  const changing = world.asAdmin(hsmId, async (call) => {
    for (let n = 0; ; n += 1) {
      const username = `user${n}`;
      await call('user-create', { username, role: 'crypto-user', password: 'some-password-1' });
      acknowledged.push(username);
      if (n === 0) await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId });
    }
  });
  await assert.rejects(changing, { code: 'WritesFrozen' });
  await world.background.idle();
  assert.equal(world.hsm(hsmId).state, 'DELETED');
  const successor = await world.addHsm(clusterId);
  const users = await usersOf(world, successor.id);
  assert.deepEqual(users, ['admin', ...acknowledged].sort());
});

test('a second HSM is fed from a backup of the first, refuses changes, and follows', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const second = await world.addHsm(clusterId, 'us-east-1b');
  assert.equal(second.state, 'ACTIVE', String(second.stateMessage));
  assert.equal(second.takesWrites, false);
  assert.equal(causes(world, clusterId).has('before-add-hsm'), true);
  await assert.rejects(addUser(world, second.id, 'app'), { code: 'WritesFrozen' });
  assert.deepEqual(await usersOf(world, second.id), ['admin']);

  // The writer leaves: the follower gets its last state and takes the writes.
  await addUser(world, hsmId, 'app');
  await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId });
  await world.background.idle();
  assert.equal(world.hsm(second.id).takesWrites, true);
  assert.deepEqual(await usersOf(world, second.id), ['admin', 'app']);
  await addUser(world, second.id, 'later');
});

test('the only follower takes the writes also when it is restarted while the writer leaves', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const second = await world.addHsm(clusterId, 'us-east-1b');
  await addUser(world, hsmId, 'app');
  const tell = (event: FleetEvent) => handleFleetEvent(world.deps, event, () => {});
  tell({ kind: 'down', hsmId: second.id, reason: 'killed.' });
  await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId });
  await world.background.idle();
  const hello = await world.fleet.hsm(second.id).hello();
  tell({ kind: 'up', hsmId: second.id, hello });
  await world.background.idle();
  assert.equal(world.hsm(second.id).state, 'ACTIVE');
  await addUser(world, second.id, 'later');
  assert.deepEqual(await usersOf(world, second.id), ['admin', 'app', 'later']);
});

test('an HSM that is added while the writer is being restarted follows it', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  await addUser(world, hsmId, 'app');
  handleFleetEvent(world.deps, { kind: 'down', hsmId, reason: 'killed.' }, () => {});
  assert.equal(world.hsm(hsmId).state, 'DEGRADED');
  const second = await world.addHsm(clusterId, 'us-east-1b');
  assert.equal(second.state, 'ACTIVE', String(second.stateMessage));
  assert.deepEqual(await usersOf(world, second.id), ['admin', 'app']);
  assert.equal(second.takesWrites, false);
  assert.equal(world.hsm(hsmId).takesWrites, true);
});

test('a cluster made from a backup has the same users and keys, and an incarnation of its own', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  await addUser(world, hsmId, 'app');
  const backup = await world.backups.take(clusterId, 'manual');
  const clone = await world.clusters.create(SCOPE, {
    hsmType: 'hsm2m.medium',
    subnetIds: ['subnet-00000001'],
    sourceBackup: backup.id,
    tags: new Map(),
  });
  await world.background.idle();
  assert.equal(world.cluster(clone.cluster.id).state, 'ACTIVE');
  assert.equal(
    world.cluster(clone.cluster.id).certificates.clusterCertificate,
    world.cluster(clusterId).certificates.clusterCertificate,
  );
  const hsm = await world.addHsm(clone.cluster.id);
  assert.equal(hsm.state, 'ACTIVE', String(hsm.stateMessage));
  assert.deepEqual(await usersOf(world, hsm.id), ['admin', 'app']);
  const [original, copy] = [
    await world.fleet.hsm(hsmId).hello(),
    await world.fleet.hsm(hsm.id).hello(),
  ];
  assert.equal(copy.clusterId, clone.cluster.id);
  assert.notEqual(copy.incarnation, original.incarnation);
});

test("a foreign maker's or owner's HSM refuses, by key, and says which domain the file needs", async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  await world.fleet.createMaker('elsewhere');
  await world.fleet.createOwner('stranger');
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  assert.deepEqual((await world.backups.drill(SCOPE, backup.id)).opened, true);
  for (const roots of [{ maker: 'elsewhere' }, { owner: 'stranger' }]) {
    const outcome = await world.backups.drill(SCOPE, backup.id, roots);
    assert.ok(!outcome.opened);
    assert.match(outcome.why, /keyark.*home/s);
  }
});

test('CreateHsm is refused while a first HSM waits for activation', async () => {
  await using world = await World.open();
  const { cluster } = await world.clusters.create(SCOPE, {
    hsmType: 'hsm2m.medium',
    subnetIds: ['subnet-00000001'],
    tags: new Map(),
  });
  await world.background.idle();
  await world.addHsm(cluster.id);
  await assert.rejects(world.addHsm(cluster.id), { code: 'WrongState' });
});

test('an HSM replaced before initialisation makes a new CSR', async () => {
  await using world = await World.open();
  const { cluster } = await world.clusters.create(SCOPE, {
    hsmType: 'hsm2m.medium',
    subnetIds: ['subnet-00000001'],
    tags: new Map(),
  });
  await world.background.idle();
  const first = await world.addHsm(cluster.id);
  const csr = world.cluster(cluster.id).certificates.clusterCsr;
  await world.clusters.deleteHsm(SCOPE, cluster.id, { hsmId: first.id });
  await world.background.idle();
  assert.deepEqual(world.cluster(cluster.id).certificates, {});
  await world.addHsm(cluster.id);
  const replaced = world.cluster(cluster.id).certificates.clusterCsr;
  assert.ok(csr !== undefined && replaced !== undefined && csr !== replaced);
});

test('an HSM deleted between initialisation and activation comes back with the customer certificate', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.initializedCluster();
  await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId });
  await world.background.idle();
  assert.equal(world.hsm(hsmId).state, 'DELETED', String(world.hsm(hsmId).stateMessage));
  const { id, state, stateMessage } = await world.addHsm(clusterId);
  assert.equal(state, 'ACTIVE', String(stateMessage));
  await world.activate(id);
  assert.equal(world.cluster(clusterId).state, 'ACTIVE');
});

test('an HSM whose backup does not open says which one would, and is made from that once the other is deleted', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const [sound] = world.ready(clusterId);
  world.clock.advance(1_000);
  await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId });
  await world.background.idle();
  const newest = world.ready(clusterId).at(-1);
  assert.ok(sound !== undefined && newest !== undefined && sound.id !== newest.id);
  await world.storage.vault.remove(objectName(newest.id, 'body'));

  const { id, state, stateMessage = '' } = await world.addHsm(clusterId);
  assert.equal(state, 'DEGRADED');
  assert.match(stateMessage, new RegExp(`^Not usable; delete it and try again. ${newest.id}`));
  const noted = world.ready(clusterId).find(({ id: each }) => each === newest.id);
  assert.match(noted?.drill?.failure ?? '', /not in the vault/, 'nobody waits for a drill');
  const told = world.events.filter(({ kind }) => kind === 'backupBroken' || kind === 'drilled');
  assert.deepEqual(
    told.map(({ kind }) => kind),
    ['backupBroken'],
  );
  assert.match(stateMessage, new RegExp(`${sound.id} of .*: .* delete ${newest.id}\\.`));

  await world.backups.remove(CALLER, newest.id);
  await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId: id });
  await world.background.idle();
  assert.equal((await world.addHsm(clusterId)).state, 'ACTIVE');
});
