/** What backups do where AWS's documents do not say: their order, tags, what they hold and what they bring back. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serviceActs } from '../../src/audit/service-acts.ts';
import { listOf } from '../../src/cli/json.ts';
import type { HsmId } from '../../src/kernel/ids.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { listing } from '../support/listing.ts';
import { CALLER, SCOPE, World } from '../support/world.ts';
import { asking } from './rig.ts';

const app = { username: 'app', role: 'crypto-user', password: 'some-password-1' };

/** A crypto user with a key. @returns the key. */
async function addApp(world: World, hsmId: HsmId): Promise<string> {
  await world.asAdmin(hsmId, (call) => call('user-create', app));
  const key = await world.officer(hsmId, async (call) => {
    await call('login', app);
    const made = await call('key-generate-symmetric', { type: 'aes', bytes: 32, label: 'k' });
    return String((made['key'] as JsonObject)['key']);
  });
  await world.settle(hsmId);
  return key;
}

test('backups are listed newest first, and with SortAscending oldest first', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  for (let n = 0; n < 3; n += 1) {
    world.clock.advance(60_000);
    await world.backups.take(clusterId, 'manual');
  }
  const ask = asking(world);
  const ids = async (request: { SortAscending?: boolean }) =>
    listOf(await ask('DescribeBackups', request), 'Backups').map(({ BackupId }) => BackupId);
  const oldestFirst = [...world.ready(clusterId)]
    .sort((a, b) => a.createdAt - b.createdAt)
    .map(({ id }) => id);
  assert.deepEqual(await ids({}), [...oldestFirst].reverse());
  assert.deepEqual(await ids({ SortAscending: false }), [...oldestFirst].reverse());
  assert.deepEqual(await ids({ SortAscending: true }), oldestFirst);
});

test('tags of a cluster reach none of its backups', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster({ tags: new Map([['team', 'payments']]) });
  await world.backups.take(clusterId, 'scheduled');
  const backups = listOf(await asking(world)('DescribeBackups', {}), 'Backups');
  assert.ok(backups.length >= 2);
  for (const { TagList } of backups) assert.deepEqual(TagList, []);
});

test('the last READY backup of a cluster can be deleted by hand, and brought back', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const ask = asking(world);
  for (const { id } of world.ready(clusterId)) await ask('DeleteBackup', { BackupId: id });
  assert.deepEqual(world.ready(clusterId), []);
  for (const { id } of world.allBackups()) await ask('RestoreBackup', { BackupId: id });
  assert.ok(world.ready(clusterId).length > 0);
});

test('a cluster without a live HSM gets no backup', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId });
  await world.background.idle();
  const before = world.allBackups().length;
  await assert.rejects(world.backups.take(clusterId, 'scheduled'), { code: 'WrongState' });
  assert.equal(world.allBackups().length, before);
});

test('a new HSM made of a backup has the passwords of then, and no lock', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  await addApp(world, hsmId);
  const backup = await world.backups.take(clusterId, 'manual');
  const changed = { ...app, password: 'another-password' };
  await world.asAdmin(hsmId, (call) => call('user-change-password', changed));
  const login = (id: HsmId, who: typeof app) => world.officer(id, (call) => call('login', who));
  for (let n = 0; n < 6; n += 1) {
    await assert.rejects(login(hsmId, { ...app, password: 'wrong-password' }));
  }
  await assert.rejects(login(hsmId, changed), { code: 'LockedOut' });
  await world.settle(hsmId);

  await world.restores.start(CALLER, { clusterId, backupId: backup.id });
  await world.background.idle();
  const now = world.catalog.read((reader) => reader.hsmsOf(clusterId)).find((h) => h.takesWrites);
  assert.ok(now !== undefined);
  assert.notEqual(now.id, hsmId);
  await assert.rejects(login(now.id, changed), { code: 'NotAuthenticated' });
  await login(now.id, app);
});

test('what says that a key was deleted is in every later backup, and an older one brings the key back', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const key = await addApp(world, hsmId);
  const older = await world.backups.take(clusterId, 'manual');
  await world.officer(hsmId, async (call) => {
    await call('login', app);
    await call('key-delete', { key });
  });
  await world.settle(hsmId);
  const kinds = async (id: HsmId) =>
    (await listing(world, id)).filter((line) => /^{"kind":"(tombstone|object)/.test(line)).length;
  const tombstones = async (id: HsmId) =>
    (await listing(world, id)).filter((line) => line.startsWith('{"kind":"tombstone"'));
  const left = await tombstones(hsmId);
  assert.equal(left.length, 1);
  const lines = await kinds(hsmId);
  await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId });
  await world.background.idle();
  const successor = await world.addHsm(clusterId);
  assert.deepEqual(await tombstones(successor.id), left);
  assert.equal(await kinds(successor.id), lines);

  await world.restores.start(CALLER, { clusterId, backupId: older.id });
  await world.background.idle();
  const now = world.catalog.read((reader) => reader.hsmsOf(clusterId)).find((h) => h.takesWrites);
  assert.ok(now !== undefined);
  assert.deepEqual(await tombstones(now.id), []);
  await world.officer(now.id, async (call) => {
    await call('login', app);
    await call('encrypt', { key, mechanism: 'AES_GCM', data: 'AAAA' });
  });
});

test('backups and purges by the service are in the trail under the names of their events', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  await world.backups.take(clusterId, 'scheduled');
  const names: string[] = [];
  const acts = serviceActs({ act: ({ name }) => void names.push(name) }, () => undefined);
  for (const event of world.events) acts.emit(event);
  for (const name of ['BackupStarted', 'BackupProven']) assert.ok(names.includes(name), name);
});
