/** Copies to another region, on real parts: two vaults, two key services, HSMs. */
import assert from 'node:assert/strict';
import { chmod, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Backup, ReadyBackup } from '../../src/backups/backup.ts';
import { checkRegions, decideCopy } from '../../src/backups/copy.ts';
import { openStored } from '../../src/backups/restore.ts';
import { DAY_MS, MINUTE_MS } from '../../src/kernel/clock.ts';
import { Failed, Refused } from '../../src/kernel/errors.ts';
import type { BackupId, ClusterId, HsmId } from '../../src/kernel/ids.ts';
import { objectName } from '../../src/vault/names.ts';
import {
  at,
  backupId,
  deletedBackup,
  pendingBackup,
  readyBackup,
} from '../support/catalog-samples.ts';
import { callerOf, REGIONS, SCOPE, World } from '../support/world.ts';

const [HERE, THERE] = REGIONS;
const THERE_CALLER = callerOf(SCOPE.account, THERE);

/** A cluster with a user besides the admin, and a backup that has it. */
async function sourceIn(
  world: World,
): Promise<{ clusterId: ClusterId; hsmId: HsmId; source: ReadyBackup }> {
  const { clusterId, hsmId } = await world.activeCluster();
  await world.asAdmin(hsmId, async (call) => {
    await call('user-create', {
      username: 'app',
      role: 'crypto-user',
      password: 'some-password-1',
    });
  });
  await world.settle(hsmId);
  return { clusterId, hsmId, source: await world.backups.take(clusterId, 'manual') };
}

function row(world: World, id: BackupId): Backup {
  const backup = world.catalog.read((reader) => reader.backup(id));
  assert.ok(backup !== undefined);
  return backup;
}

function ready(world: World, id: BackupId): ReadyBackup {
  const backup = row(world, id);
  assert.ok(backup.state === 'READY', `${backup.state} ${JSON.stringify(world.events)}`);
  return backup;
}

async function copied(world: World, source: Backup): Promise<ReadyBackup> {
  const { id } = await world.backups.copy(SCOPE, source.id, { toRegion: THERE });
  await world.background.idle();
  return ready(world, id);
}

const copiesOf = (world: World, source: BackupId): readonly Backup[] =>
  world.allBackups().filter(({ copy }) => copy?.sourceBackup === source);

test('a copy is proven in its region, keeps time, tags and lineage, and becomes a cluster there', async () => {
  await using world = await World.open();
  const { clusterId, source } = await sourceIn(world);
  world.catalog.transact((writer) =>
    writer.putBackup({ ...source, tags: new Map([['team', 'payments']]), neverExpires: true }),
  );
  world.clock.advance(MINUTE_MS);
  const copiedAt = world.clock.now();
  const begun = await world.backups.copy(SCOPE, source.id, { toRegion: THERE });
  assert.equal(begun.state, 'CREATE_IN_PROGRESS');
  await world.background.idle();

  const copy = ready(world, begun.id);
  assert.deepEqual(copy.copy, {
    copiedAt,
    sourceRegion: HERE,
    sourceBackup: source.id,
    sourceCluster: clusterId,
  });
  assert.equal(copy.createdAt, source.createdAt);
  assert.deepEqual([...copy.tags], [['team', 'payments']]);
  assert.equal(copy.neverExpires, false);
  assert.equal(copy.ownRetention, undefined);
  const { claims, opened } = copy.proof.statement;
  assert.equal(claims.region, THERE);
  assert.equal(claims.storedBodySha256, copy.archive.storedBodySha256);
  assert.notEqual(copy.archive.storedBodySha256, source.archive.storedBodySha256);
  assert.equal(opened.stateDigest, source.proof.statement.opened.stateDigest);
  await world.mustOpen(copy);
  // Each region lists its own; the filter finds the copy.
  const found = (caller: typeof SCOPE, query: object) =>
    world.backups.describe(caller, query, { limit: 50 }).items.map(({ id }) => id);
  assert.deepEqual(found(THERE_CALLER, { sourceBackupIds: [source.id] }), [copy.id]);
  assert.deepEqual(found(SCOPE, { sourceBackupIds: [source.id] }), []);

  // The source cluster is gone by the time the copy is needed.
  const { id: hsmId } = world.catalog.read((reader) => reader.hsmsOf(clusterId))[0] ?? {};
  assert.ok(hsmId !== undefined);
  await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId });
  await world.background.idle();
  await world.clusters.remove(SCOPE, clusterId);
  await world.background.idle();
  const { cluster } = await world.clusters.create(THERE_CALLER, {
    hsmType: 'hsm2m.medium',
    subnetIds: ['subnet-00000009'],
    sourceBackup: copy.id,
    tags: new Map(),
  });
  assert.equal(
    cluster.certificates.clusterCertificate,
    world.cluster(clusterId).certificates.clusterCertificate,
  );
  assert.ok(cluster.certificates.clusterCertificate !== undefined);
  await world.background.idle();
  const hsm = await world.addHsm(cluster.id, `${THERE}a`, THERE_CALLER);
  assert.equal(hsm.state, 'ACTIVE', String(hsm.stateMessage));
  const users = await world.officer(hsm.id, async (call) => (await call('user-list'))['users']);
  assert.deepEqual(
    (users as readonly { username: string }[]).map(({ username }) => username).sort(),
    ['admin', 'app'],
  );
});

test('tags of the request replace those of the source', async () => {
  await using world = await World.open();
  const { source } = await sourceIn(world);
  world.catalog.transact((writer) =>
    writer.putBackup({ ...source, tags: new Map([['old', '1']]) }),
  );
  const { id } = await world.backups.copy(SCOPE, source.id, {
    toRegion: THERE,
    tags: new Map([['new', '2']]),
    retentionDays: 7,
  });
  await world.background.idle();
  const copy = ready(world, id);
  assert.deepEqual([...copy.tags], [['new', '2']]);
  assert.deepEqual(copy.ownRetention, { days: 7, expiresAt: world.clock.now() + 7 * DAY_MS });
});

test('whichever call fails, a copy ends READY and proven, or DELETED with nothing left, and the source stands', async () => {
  await using world = await World.open();
  const { source } = await sourceIn(world);
  world.faults.reset();
  await copied(world, source);
  const crossings = [...world.faults.seen];
  assert.ok(crossings.length > 12, crossings.join(', '));
  for (let n = 0; n < crossings.length; n += 1) {
    const where = `${n}: ${crossings[n]}`;
    const before = copiesOf(world, source.id).length;
    world.faults.reset(n);
    // At the very first crossing the request itself fails, and then there is no copy at all.
    await world.backups.copy(SCOPE, source.id, { toRegion: THERE }).catch(() => {});
    await world.background.idle();
    await world.restart();
    const copies = copiesOf(world, source.id);
    assert.ok(copies.length <= before + 1, where);
    for (const copy of copies) assert.ok(['READY', 'DELETED'].includes(copy.state), where);
    const kept = new Set<string>(
      copies.filter(({ state }) => state === 'READY').map(({ id }) => id),
    );
    const stored = await world.stored(THERE);
    assert.deepEqual(
      stored.filter((name) => !kept.has(name.split('/')[0] ?? '')),
      [],
      where,
    );
    assert.equal(stored.length, kept.size * 3, where);
  }
  for (const copy of copiesOf(world, source.id)) {
    if (copy.state === 'READY') await world.mustOpen(copy);
  }
  await world.mustOpen(source);
});

test('a copy that a dead process left half-way is made anew at the next start', async () => {
  await using world = await World.open();
  const { source } = await sourceIn(world);
  const copy = decideCopy(
    source,
    { toRegion: THERE },
    { id: backupId(1), now: world.clock.now(), regions: REGIONS },
  );
  world.catalog.transact((writer) => writer.createBackup(copy));
  // What a torn try may have left under its name.
  async function* torn(): AsyncIterable<Uint8Array> {
    yield new Uint8Array(100);
  }
  await world.storageOf(THERE).vault.put(objectName(copy.id, 'body'), torn());
  await world.restart();
  await world.mustOpen(ready(world, copy.id));
});

test('a copy whose source went meanwhile is DELETED and says so', async () => {
  await using world = await World.open();
  const { source } = await sourceIn(world);
  const copy = decideCopy(
    source,
    { toRegion: THERE },
    { id: backupId(1), now: world.clock.now(), regions: REGIONS },
  );
  world.catalog.transact((writer) => {
    writer.createBackup(copy);
    writer.putBackup({ ...deletedBackup(2), id: source.id });
  });
  await world.restart();
  const ended = row(world, copy.id);
  assert.ok(ended.state === 'DELETED');
  assert.match(ended.why, /is DELETED/);
  assert.ok(ended.copy !== undefined, 'its lineage stays');
});

test('while the roots are locked a copy waits, and goes on by itself afterwards', async () => {
  await using world = await World.open();
  const { source } = await sourceIn(world);
  const { drill } = world.fleet;
  world.fleet.drill = async () => {
    throw new Refused('RootsLocked', 'the roots are locked');
  };
  const { id } = await world.backups.copy(SCOPE, source.id, { toRegion: THERE });
  await world.background.idle();
  assert.equal(row(world, id).state, 'CREATE_IN_PROGRESS');
  world.fleet.drill = drill;
  await world.backups.copyDue();
  await world.background.idle();
  await world.mustOpen(ready(world, id));
});

test('a damaged source is refused: no copy becomes READY, nothing is left, the source is untouched', async () => {
  await using world = await World.open();
  const { source } = await sourceIn(world);
  const vault = join(world.folder, 'vault', HERE);
  const names = await readdir(vault, { recursive: true });
  const parts = names.filter(
    (name) => /(body|seal-1|outer-1)$/.test(name) && name.includes(source.id),
  );
  assert.equal(parts.length, 3, names.join(' '));
  for (const name of parts) {
    const path = join(vault, name);
    await chmod(path, 0o600);
    const whole = await readFile(path);
    const damaged = Buffer.from(whole);
    damaged[whole.length >> 1] = (damaged[whole.length >> 1] ?? 0) ^ 1;
    await writeFile(path, damaged);
    const { id } = await world.backups.copy(SCOPE, source.id, { toRegion: THERE });
    await world.background.idle();
    assert.equal(row(world, id).state, 'DELETED', name);
    assert.deepEqual(await world.stored(THERE), [], name);
    assert.ok(
      world.events.some((event) => event.kind === 'copyFailed' && event.backupId === id),
      name,
    );
    assert.deepEqual(await readFile(path), damaged, name);
    await writeFile(path, whole);
  }
  await copied(world, source);
});

test('a source whose bytes are sound but not those that were sealed is refused before any drill', async () => {
  await using world = await World.open();
  const { clusterId, source } = await sourceIn(world);
  const other = await world.backups.take(clusterId, 'manual');
  // The catalog swears that one backup's seal belongs to the other's bytes.
  world.catalog.transact((writer) =>
    writer.putBackup({ ...source, archive: { ...source.archive, seal: other.archive.seal } }),
  );
  world.faults.reset();
  const { id } = await world.backups.copy(SCOPE, source.id, { toRegion: THERE });
  await world.background.idle();
  const ended = row(world, id);
  assert.ok(ended.state === 'DELETED');
  assert.match(ended.why, /not what its HSM sealed/);
  assert.ok(!world.faults.seen.some((point) => point.startsWith('drill hsm.open')));
  assert.deepEqual(await world.stored(THERE), []);
});

test('a copy opens with the key of its own region only', async () => {
  await using world = await World.open();
  const { source } = await sourceIn(world);
  const copy = await copied(world, source);
  const open = async (vaultOf: string, kmsOf: string, backup: Backup) => {
    await using drill = await world.fleet.drill();
    const storage = { vault: world.storageOf(vaultOf).vault, kms: world.storageOf(kmsOf).kms };
    return await openStored(storage, backup, {
      opener: drill,
      as: { clusterId: backup.clusterId, isClone: false },
    });
  };
  await open(THERE, THERE, copy);
  for (const wrong of [
    () => open(THERE, HERE, copy),
    // Under the source's name, account or region the data key does not come out either.
    () => open(THERE, THERE, { ...copy, region: HERE }),
    () => open(THERE, THERE, { ...copy, account: '000000000001' }),
    () =>
      open(THERE, THERE, { ...copy, clusterId: source.clusterId.replace(/.$/, 'x') as ClusterId }),
  ]) {
    await assert.rejects(wrong(), (cause) => cause instanceof Failed && cause.code === 'KMS');
  }
});

test('nothing that is sealed is opened during a copy but by its drill', async () => {
  await using world = await World.open();
  const { source } = await sourceIn(world);
  world.faults.reset();
  await copied(world, source);
  const inside = world.faults.seen.filter((point) => /hsm\.|fleet|drill/.test(point));
  assert.deepEqual(inside, ['fleet.drill', 'drill hsm.open', 'drill prove']);
});

test('a source is not purged while a copy of it is under way', async () => {
  await using world = await World.open();
  const { source } = await sourceIn(world);
  await world.backups.remove(SCOPE, source.id);
  // Allowed until the end of the seven days; the copy then races with the purge.
  const hold = Promise.withResolvers<void>();
  const { drill } = world.fleet;
  world.fleet.drill = async (...given) => {
    await hold.promise;
    return await drill.apply(world.fleet, given);
  };
  const { id } = await world.backups.copy(SCOPE, source.id, { toRegion: THERE });
  world.clock.advance(8 * DAY_MS);
  await world.backups.purgeDue();
  assert.equal(row(world, source.id).state, 'PENDING_DELETION');
  hold.resolve();
  await world.background.idle();
  await world.mustOpen(ready(world, id));
  await world.backups.purgeDue();
  assert.equal(row(world, source.id).state, 'DELETED');
  await world.mustOpen(ready(world, id));
});

test('the newest backup of a cluster is never a copy, not even one that came back', async () => {
  await using world = await World.open();
  const { clusterId, source } = await sourceIn(world);
  const copy = await copied(world, source);
  const newer = await world.backups.take(clusterId, 'manual');
  const { id } = await world.backups.copy(THERE_CALLER, copy.id, { toRegion: HERE });
  await world.background.idle();
  const back = ready(world, id);
  assert.equal(back.copy?.sourceBackup, copy.id);
  await world.mustOpen(back);
  assert.equal(world.catalog.read((reader) => reader.newestReady(clusterId))?.id, newer.id);
});

test('two requests for the same copy make two copies, each whole', async () => {
  await using world = await World.open();
  const { source } = await sourceIn(world);
  const begun = await Promise.all(
    [1, 2, 3].map(() => world.backups.copy(SCOPE, source.id, { toRegion: THERE })),
  );
  await world.background.idle();
  assert.equal(new Set(begun.map(({ id }) => id)).size, 3);
  for (const { id } of begun) await world.mustOpen(ready(world, id));
});

test("another account's backup, and one of another region, is not there to be copied", async () => {
  await using world = await World.open();
  const { source } = await sourceIn(world);
  const notFound = { name: 'Refused', code: 'NotFound' };
  for (const caller of [callerOf('000000000001', HERE), THERE_CALLER]) {
    await assert.rejects(world.backups.copy(caller, source.id, { toRegion: THERE }), notFound);
  }
  assert.deepEqual(copiesOf(world, source.id), []);
});

test('only what is READY, or PENDING_DELETION with time left, is copied', () => {
  const now = at(1_000);
  const decide = (source: Backup) =>
    decideCopy(source, { toRegion: THERE }, { id: backupId(9), now, regions: REGIONS });
  assert.equal(decide(readyBackup(1)).state, 'CREATE_IN_PROGRESS');
  assert.equal(decide(pendingBackup(1, 1_001)).state, 'CREATE_IN_PROGRESS');
  const { archive: _archive, proof: _proof, ...rest } = readyBackup(1);
  for (const source of [
    pendingBackup(1, 1_000),
    deletedBackup(1),
    { ...rest, state: 'CREATE_IN_PROGRESS' as const },
  ]) {
    assert.throws(() => decide(source), { name: 'Refused', code: 'WrongState' });
  }
});

test('regions: not the same, served, and on the same island', () => {
  const served = ['us-east-1', 'eu-west-1', 'us-gov-west-1', 'us-gov-east-1', 'cn-north-1'];
  checkRegions('us-east-1', 'eu-west-1', served);
  checkRegions('us-gov-west-1', 'us-gov-east-1', served);
  for (const [from, to] of [
    ['us-east-1', 'us-east-1'],
    ['us-east-1', 'ap-south-1'],
    ['us-east-1', 'us-gov-west-1'],
    ['us-gov-west-1', 'us-east-1'],
    ['us-east-1', 'cn-north-1'],
  ] as const) {
    assert.throws(
      () => checkRegions(from, to, served),
      { name: 'Refused', code: 'InvalidRequest' },
      `${from} ${to}`,
    );
  }
});
