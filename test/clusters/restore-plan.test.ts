/** Plans as the control plane makes them: which backup, how old, what changes, what blocks; and no names. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RESTORE_NATIVE } from '../../src/api/native-restore.ts';
import type { ReadyBackup } from '../../src/backups/backup.ts';
import { Keeper } from '../../src/backups/keeper.ts';
import { DEFAULT_SCHEDULE } from '../../src/backups/schedule.ts';
import {
  createClusterBlockers,
  createHsmBlockers,
  liveBlockers,
} from '../../src/clusters/restore-blockers.ts';
import { HOUR_MS } from '../../src/kernel/clock.ts';
import type { ClusterId, HsmId } from '../../src/kernel/ids.ts';
import {
  pendingBackup,
  readyBackup,
  sampleCluster,
  sampleHsm,
} from '../support/catalog-samples.ts';
import { CALLER, SCOPE, World } from '../support/world.ts';

async function addUser(world: World, hsmId: HsmId, username: string): Promise<void> {
  const user = { username, role: 'crypto-user', password: 'some-password-1' };
  await world.asAdmin(hsmId, (call) => call('user-create', user));
  await world.settle(hsmId);
}

async function deleteHsm(world: World, clusterId: ClusterId, hsmId: HsmId): Promise<void> {
  await world.clusters.deleteHsm(SCOPE, clusterId, { hsmId });
  await world.background.idle();
}

/** As the keeper writes them down while the service runs. */
function noteChanges(world: World): void {
  const keeper = new Keeper({
    ...world.deps,
    policy: DEFAULT_SCHEDULE,
    onIdle: () => {},
    onMinute: () => {},
  });
  for (const { clusterId, generation } of world.changes) keeper.noteChange(clusterId, generation);
}

const codes = (blockers: readonly { readonly code: string }[]): readonly string[] =>
  blockers.map(({ code }) => code);

test('a plan for a live cluster compares the newest backup with what the HSM holds now', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const [backup] = world.ready(clusterId);
  const before = await world.stored();
  const untouched = await world.restores.plan(SCOPE, { clusterId });
  assert.equal(untouched.comparison?.isSameState, true);
  assert.equal(untouched.comparison?.with, backup?.id);
  assert.equal(untouched.changesSince, 0);

  world.clock.advance(3 * HOUR_MS);
  await addUser(world, hsmId, 'app');
  await addUser(world, hsmId, 'other');
  const plan = await world.restores.plan(SCOPE, { clusterId });
  assert.equal(plan.way, 'StartRestore');
  assert.equal(plan.backup.id, backup?.id);
  assert.equal(plan.at - plan.backup.createdAt, 3 * HOUR_MS);
  assert.equal(plan.changesSince, 2);
  assert.equal(plan.comparison?.with, 'live');
  assert.equal(plan.comparison?.changes.users.vanish, 2);
  assert.deepEqual(plan.blockers, []);
  // It only looked: nothing was stored, nothing was begun, and the HSM takes changes.
  assert.deepEqual(await world.stored(), before);
  assert.deepEqual(world.restores.list(SCOPE), []);
  await addUser(world, hsmId, 'third');
});

test('no name or label is in what leaves an HSM for its host, in rows, events, answers or the vault', async () => {
  await using world = await World.open();
  const bytes: Buffer[] = [];
  world.fleet.tapWith((chunk) => bytes.push(Buffer.from(chunk)));
  const { clusterId, hsmId } = await world.activeCluster();
  const [user, label] = ['planted_user_name', 'planted-key-label'];
  await addUser(world, hsmId, user);
  await world.officer(hsmId, async (call) => {
    await call('login', { username: user, role: 'crypto-user', password: 'some-password-1' });
    await call('key-generate-symmetric', { type: 'aes', bytes: 32, label });
  });
  const native = { profile: 'own', time: { isRehearsal: true } };
  const faces = { restores: world.restores, native };
  const answer = await RESTORE_NATIVE.PlanRestore(faces, CALLER, { ClusterId: clusterId });
  assert.deepEqual([answer['Profile'], answer['IsRehearsal']], ['own', true]);
  const names = String(answer['Names']);
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  const { id } = await world.restores.start(CALLER, { clusterId, backupId: backup.id });
  await world.background.idle();
  const rows = [world.allBackups(), world.restores.list(SCOPE), world.cluster(clusterId), id];
  const said = JSON.stringify([answer, rows, world.events]);
  const crossed = Buffer.concat([...bytes, Buffer.from(said), Buffer.from(names, 'base64')]);
  assert.ok(crossed.length > 10_000);
  for (const planted of [user, label]) assert.equal(crossed.includes(planted), false, planted);

  // And an admin of the HSM that it was about reads both. (It was replaced meanwhile: undo, then plan again.)
  await world.restores.undo(CALLER, clusterId);
  await world.background.idle();
  const again = await world.restores.plan(SCOPE, { clusterId, backupId: backup.id });
  const now = world.catalog.read((reader) => reader.hsmsOf(clusterId))[0];
  assert.ok(now !== undefined);
  const text = await world.asAdmin(now.id, (call) =>
    call('plan-read', { plan: again.comparison?.names ?? '' }),
  );
  const lines = JSON.stringify(text['lines']);
  assert.ok(lines.includes(user) && lines.includes(label), lines);
  await assert.rejects(
    world.asAdmin(now.id, (call) => call('plan-read', { plan: names })),
    { code: 'DoesNotOpen' },
  );
});

test('a plan for an empty cluster says what CreateHsm would use, how old it is and what would be lost', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const [first] = world.ready(clusterId);
  assert.ok(first !== undefined);
  await addUser(world, hsmId, 'app');
  noteChanges(world);
  await deleteHsm(world, clusterId, hsmId);
  const plan = await world.restores.plan(SCOPE, { clusterId });
  assert.equal(plan.way, 'CreateHsm');
  assert.equal(plan.backup.cause, 'before-delete-hsm');
  assert.equal(plan.changesSince, 0);
  assert.deepEqual(plan.blockers, []);

  const older = await world.restores.plan(SCOPE, { clusterId, backupId: first.id });
  assert.deepEqual(codes(older.blockers), ['OTHER_BACKUP']);
  assert.equal(older.changesSince, 1);
  assert.equal(older.comparison?.changes.users.vanish, 1);

  // The newest one is deleted: then the older one is what CreateHsm uses, and the plan says what is lost.
  await world.backups.remove(CALLER, plan.backup.id);
  const left = await world.restores.plan(SCOPE, { clusterId });
  assert.equal(left.backup.id, first.id);
  assert.equal(left.changesSince, 1);
  await world.addHsm(clusterId);
  assert.equal((await world.restores.plan(SCOPE, { clusterId })).way, 'StartRestore');
});

test('a plan for CreateCluster says what the new cluster would begin as', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  await addUser(world, hsmId, 'app');
  const plan = await world.restores.plan(SCOPE, { backupId: backup.id });
  assert.equal(plan.way, 'CreateCluster');
  assert.deepEqual(plan.blockers, []);
  await world.backups.take(clusterId, 'manual');
  const later = await world.restores.plan(SCOPE, { backupId: backup.id });
  assert.equal(later.changesSince, 1);
  assert.equal(later.comparison?.changes.users.vanish, 1);
});

test('a plan against what a restore replaced counts differences, and no changes across lines', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  await addUser(world, hsmId, 'app');
  await world.restores.start(CALLER, { clusterId, backupId: backup.id });
  await world.background.idle();
  const [done] = world.restores.list(SCOPE, clusterId);
  assert.ok(done?.state === 'DONE');
  const plan = await world.restores.plan(SCOPE, { clusterId, backupId: done.safetyId });
  assert.equal(plan.comparison?.changes.users.appear, 1);
  assert.equal(plan.changesSince, undefined);
});

test('a plan of what nobody here may see, or of nothing, is refused', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const stranger = { account: '000099999999', region: SCOPE.region };
  const [backup] = world.ready(clusterId);
  for (const request of [{ clusterId }, { backupId: backup?.id }]) {
    await assert.rejects(world.restores.plan(stranger, request), { code: 'NotFound' });
  }
  await assert.rejects(world.restores.plan(SCOPE, {}), { code: 'InvalidRequest' });
  const { cluster } = await world.clusters.create(SCOPE, {
    hsmType: 'hsm2m.medium',
    subnetIds: ['subnet-00000001'],
    tags: new Map(),
  });
  await world.background.idle();
  await assert.rejects(world.restores.plan(SCOPE, { clusterId: cluster.id }), {
    code: 'WrongState',
  });
});

// ---- what stands in the way, each alone

const HOST = { areRootsLocked: false, maker: 'vendor', owner: 'owner' };
const LIVE = {
  cluster: sampleCluster(1),
  hsms: [sampleHsm(1)],
  underWay: undefined,
  backup: readyBackup(1),
  host: HOST,
};

test('nothing stands in the way of a READY backup of an ACTIVE cluster with a writing HSM', () => {
  assert.deepEqual(liveBlockers(LIVE), []);
  const source = { id: LIVE.backup.id, asRequested: 'arn' };
  const clone = { ...sampleCluster(2), sourceBackup: source };
  assert.deepEqual(liveBlockers({ ...LIVE, cluster: clone }), []);
});

test('each thing that stands in the way of a restore is said by its code', () => {
  const foreign = (domain: object): ReadyBackup => {
    const { seal } = LIVE.backup.archive;
    const statement = { ...seal.statement, domain: { ...seal.statement.domain, ...domain } };
    return { ...LIVE.backup, archive: { ...LIVE.backup.archive, seal: { ...seal, statement } } };
  };
  const cases: readonly [string, Partial<Parameters<typeof liveBlockers>[0]>][] = [
    ['ROOTS_LOCKED', { host: { ...HOST, areRootsLocked: true } }],
    ['CLUSTER_STATE', { cluster: sampleCluster(1, { state: 'INITIALIZED' }) }],
    ['NO_HSM', { hsms: [] }],
    ['HSM_BUSY', { hsms: [sampleHsm(1), sampleHsm(2, { state: 'CREATE_IN_PROGRESS' })] }],
    ['NO_WRITER', { hsms: [sampleHsm(1, { state: 'DEGRADED' })] }],
    ['NO_WRITER', { hsms: [sampleHsm(1, { takesWrites: false })] }],
    ['BACKUP_STATE', { backup: pendingBackup(1, 9) }],
    ['OTHER_LINEAGE', { cluster: sampleCluster(7) }],
    ['TYPE_OR_MODE', { cluster: sampleCluster(1, { mode: 'NON_FIPS' }) }],
    ['TYPE_OR_MODE', { cluster: sampleCluster(1, { type: 'hsm1.medium' }) }],
    ['WRONG_OWNER', { backup: foreign({ owner: 'old-office' }) }],
    ['WRONG_OWNER', { backup: foreign({ vendor: 'elsewhere' }) }],
  ];
  for (const [code, change] of cases) {
    assert.deepEqual(codes(liveBlockers({ ...LIVE, ...change })), [code], JSON.stringify(change));
  }
  const gone = { cluster: sampleCluster(1, { state: 'DELETED' }), backup: LIVE.backup, why: '' };
  assert.deepEqual(codes(createHsmBlockers({ ...gone, used: LIVE.backup, host: HOST })), [
    'CLUSTER_STATE',
  ]);
  const unfit = { ...LIVE.backup, type: 'hsm1.medium', mode: 'NON_FIPS' } as const;
  assert.deepEqual(codes(createClusterBlockers(unfit, HOST)), ['TYPE_OR_MODE']);
});
