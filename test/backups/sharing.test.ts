/** Sharing, on real parts: an owner, a consumer, a stranger; and a cluster made of what is somebody else's. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Caller } from '../../src/access/caller.ts';
import { resourceArn } from '../../src/aws/arn.ts';
import type { Backup, ReadyBackup } from '../../src/backups/backup.ts';
import { createSharing, type Sharing } from '../../src/backups/sharing.ts';
import { DAY_MS } from '../../src/kernel/clock.ts';
import type { BackupId } from '../../src/kernel/ids.ts';
import { callerOf, REGIONS, SCOPE, World } from '../support/world.ts';

const [HERE, THERE] = REGIONS;
const OWNER = SCOPE;
const CONSUMER = callerOf('000000000002', HERE);
const STRANGER = callerOf('000000000003', HERE);
const NOT_FOUND = { name: 'Refused', code: 'NotFound' };
const DENIED = { name: 'Refused', code: 'AccessDenied' };
const WRONG_STATE = { name: 'Refused', code: 'WrongState' };
const INVALID = { name: 'Refused', code: 'InvalidRequest' };

interface Shared extends AsyncDisposable {
  readonly world: World;
  readonly sharing: Sharing;
  readonly backup: ReadyBackup;
  readonly arn: string;
}

/** A backup of the owner's. */
async function open(organization: readonly string[] = []): Promise<Shared> {
  const world = await World.open();
  const { clusterId } = await world.activeCluster();
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  return {
    world,
    sharing: createSharing({ catalog: world.catalog, organization }),
    backup,
    arn: arnOf(backup),
    [Symbol.asyncDispose]: () => world[Symbol.asyncDispose](),
  };
}

const arnOf = (backup: Backup): string => resourceArn(backup, 'backup', backup.id);

function policyFor(arn: string, accounts: readonly string[] = [CONSUMER.account]): string {
  return JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Principal: { AWS: accounts },
        Action: ['cloudhsm:CreateCluster', 'cloudhsm:DescribeBackups'],
        Resource: arn,
      },
    ],
  });
}

const share = ({ sharing, arn }: Shared, accounts?: readonly string[]) =>
  sharing.putPolicy(OWNER, { arn, policy: policyFor(arn, accounts) });

const seen = ({ sharing }: Shared, caller: Caller): readonly BackupId[] =>
  sharing.describe(caller, {}, { limit: 50 }).items.map(({ id }) => id);

const createFrom = ({ world }: Shared, caller: Caller, sourceBackup: string) =>
  world.clusters.create(caller, {
    hsmType: 'hsm2m.medium',
    subnetIds: ['subnet-00000009'],
    sourceBackup,
    tags: new Map(),
  });

test('a consumer restores a shared backup by ARN into a cluster of his own, which outlives the share', async () => {
  await using shared = await open();
  const { world, sharing, backup, arn } = shared;
  await assert.rejects(createFrom(shared, CONSUMER, arn), DENIED);
  await share(shared);
  const { cluster } = await createFrom(shared, CONSUMER, arn);
  assert.equal(cluster.account, CONSUMER.account);
  assert.deepEqual(cluster.sourceBackup, { id: backup.id, asRequested: arn });
  assert.ok(cluster.certificates.clusterCertificate !== undefined);
  await world.background.idle();

  // The owner takes the share back between the cluster and its first HSM.
  assert.equal(await sharing.deletePolicy(OWNER, arn), policyFor(arn));
  await assert.rejects(createFrom(shared, CONSUMER, arn), DENIED);
  const hsm = await world.addHsm(cluster.id, `${HERE}a`, CONSUMER);
  assert.equal(hsm.state, 'ACTIVE', String(hsm.stateMessage));
  const hello = await world.fleet.hsm(hsm.id).hello();
  assert.equal(hello.clusterId, cluster.id);
  assert.notEqual(hello.incarnation, backup.archive.seal.statement.incarnation);
  // And it is backed up as the consumer's.
  const own = await world.backups.take(cluster.id, 'manual');
  assert.equal(own.account, CONSUMER.account);
  await assert.rejects(world.backups.remove(OWNER, own.id), NOT_FOUND);
});

test('a consumer sees a backup once its share was promoted and, from outside, accepted', async () => {
  await using shared = await open();
  const { sharing, backup } = shared;
  await share(shared);
  assert.deepEqual(seen(shared, CONSUMER), []);
  await assert.rejects(sharing.accept(CONSUMER, backup.id), NOT_FOUND);
  assert.deepEqual(sharing.list(CONSUMER).shares, []);
  assert.deepEqual(
    (await sharing.promote(OWNER, backup.id)).map(({ state }) => state),
    ['INVITED'],
  );
  assert.deepEqual(seen(shared, CONSUMER), []);
  assert.equal(sharing.list(CONSUMER).shares[0]?.state, 'INVITED');
  await sharing.accept(CONSUMER, backup.id);
  assert.deepEqual(seen(shared, CONSUMER), [backup.id]);
  assert.deepEqual(seen(shared, OWNER), [], 'what is shared with the owner, not by him');
  assert.deepEqual(seen(shared, STRANGER), []);
  assert.deepEqual(seen(shared, callerOf(CONSUMER.account, THERE)), []);
});

test('within the organisation of the settings nobody is asked', async () => {
  await using shared = await open([OWNER.account, CONSUMER.account]);
  await share(shared, [CONSUMER.account, STRANGER.account]);
  const states = await shared.sharing.promote(OWNER, shared.backup.id);
  assert.deepEqual(
    states.map(({ consumer, state }) => [consumer, state]),
    [
      [CONSUMER.account, 'ACTIVE'],
      [STRANGER.account, 'INVITED'],
    ],
  );
  assert.deepEqual(seen(shared, CONSUMER), [shared.backup.id]);
});

test('a new policy keeps who is still named, drops who is not, and invites nobody by itself', async () => {
  await using shared = await open([OWNER.account, CONSUMER.account]);
  const { sharing, backup } = shared;
  await share(shared, [CONSUMER.account]);
  await sharing.promote(OWNER, backup.id);
  await share(shared, [CONSUMER.account, STRANGER.account]);
  assert.deepEqual(
    sharing.list(OWNER).shares.map(({ consumer, state }) => [consumer, state]),
    [
      [STRANGER.account, 'FROM_POLICY'],
      [CONSUMER.account, 'ACTIVE'],
    ],
  );
  await share(shared, [STRANGER.account]);
  assert.deepEqual(seen(shared, CONSUMER), []);
  await assert.rejects(createFrom(shared, CONSUMER, shared.arn), DENIED);
});

test('a consumer who leaves sees it no more; an owner who ends the share ends it for all', async () => {
  await using shared = await open([OWNER.account, CONSUMER.account]);
  const { sharing, backup, arn } = shared;
  await share(shared);
  await sharing.promote(OWNER, backup.id);
  await sharing.remove(CONSUMER, backup.id);
  assert.deepEqual(seen(shared, CONSUMER), []);
  await assert.rejects(sharing.remove(CONSUMER, backup.id), NOT_FOUND);
  assert.notEqual(sharing.policyOf(OWNER, arn), undefined);
  await sharing.remove(OWNER, backup.id);
  assert.equal(sharing.policyOf(OWNER, arn), undefined);
  assert.deepEqual(sharing.list(OWNER).shares, []);
});

test('a backup that its owner deletes is out of the list and cannot be restored; undone, it is back', async () => {
  await using shared = await open([OWNER.account, CONSUMER.account]);
  const { world, sharing, backup, arn } = shared;
  await share(shared);
  await sharing.promote(OWNER, backup.id);
  await world.backups.remove(OWNER, backup.id);
  assert.deepEqual(seen(shared, CONSUMER), []);
  await assert.rejects(createFrom(shared, CONSUMER, arn), WRONG_STATE);
  await assert.rejects(share(shared), WRONG_STATE);
  await world.backups.undelete(OWNER, backup.id);
  assert.deepEqual(seen(shared, CONSUMER), [backup.id]);
  await world.backups.remove(OWNER, backup.id);
  world.clock.advance(8 * DAY_MS);
  await world.backups.purgeDue();
  assert.deepEqual(sharing.list(OWNER).shares, []);
  await assert.rejects(createFrom(shared, CONSUMER, arn), WRONG_STATE);
});

test('who may do what with a shared backup', async () => {
  await using shared = await open([OWNER.account, CONSUMER.account]);
  const { world, sharing, backup, arn } = shared;
  await share(shared);
  await sharing.promote(OWNER, backup.id);
  const before = world.catalog.read((reader) => reader.backup(backup.id));
  const asked: readonly [string, (caller: Caller) => Promise<unknown>][] = [
    ['DeleteBackup', (caller) => world.backups.remove(caller, backup.id)],
    ['RestoreBackup', (caller) => world.backups.undelete(caller, backup.id)],
    ['ModifyBackupAttributes', (c) => world.backups.modifyNeverExpires(c, backup.id, true)],
    ['CopyBackupToRegion', (c) => world.backups.copy(c, backup.id, { toRegion: THERE })],
    ['PutResourcePolicy', (c) => sharing.putPolicy(c, { arn, policy: policyFor(arn) })],
    ['GetResourcePolicy', async (caller) => sharing.policyOf(caller, arn)],
    ['DeleteResourcePolicy', (caller) => sharing.deletePolicy(caller, arn)],
    ['PromoteShare', (caller) => sharing.promote(caller, backup.id)],
    ['CreateCluster by id', (caller) => createFrom(shared, caller, backup.id)],
  ];
  for (const [name, ask] of asked) {
    for (const caller of [CONSUMER, STRANGER, callerOf(OWNER.account, THERE)]) {
      await assert.rejects(ask(caller), NOT_FOUND, `${name} ${caller.account} ${caller.region}`);
    }
  }
  const listed = (caller: Caller) => world.backups.describe(caller, {}, { limit: 50 }).items.length;
  assert.deepEqual([listed(OWNER), listed(CONSUMER), listed(STRANGER)], [1, 0, 0]);
  await assert.rejects(createFrom(shared, STRANGER, arn), DENIED);
  assert.deepEqual(
    world.catalog.read((reader) => reader.backup(backup.id)),
    before,
  );
});

test('an ARN of another account gets one answer, whether the backup exists or not', async () => {
  await using shared = await open();
  const { arn } = shared;
  const texts = new Set<string>();
  for (const asked of [arn, arn.replace(/backup-keyark.*/, 'backup-keyarkaaaaaaaaaa')]) {
    await assert.rejects(createFrom(shared, STRANGER, asked), (cause: Error & { code: string }) => {
      texts.add(cause.message.replace(asked, 'ARN'));
      return cause.code === 'AccessDenied';
    });
  }
  assert.equal(texts.size, 1);
  // An ARN says where and whose; another one is another backup, also for its owner.
  for (const wrong of [
    arn.replace(HERE, THERE),
    arn.replace(OWNER.account, '000000000009'),
    arn.replace('arn:aws:', 'arn:aws-us-gov:'),
  ]) {
    await assert.rejects(createFrom(shared, OWNER, wrong), { name: 'Refused' }, wrong);
  }
  await createFrom(shared, OWNER, arn);
});

test('a policy that is refused changes nothing, and says all that is wrong', async () => {
  await using shared = await open();
  const { world, sharing, arn } = shared;
  await share(shared);
  const bad = policyFor(arn).replace('Allow', 'Deny').replace(`"${arn}"`, '"*"');
  await assert.rejects(sharing.putPolicy(OWNER, { arn, policy: bad }), (cause: Error) => {
    return /Effect.*Resource/s.test(cause.message);
  });
  const cluster = resourceArn(OWNER, 'cluster', shared.backup.clusterId);
  const policy = policyFor(arn);
  for (const given of [
    { arn: undefined, policy },
    { arn, policy: undefined },
    { arn: undefined, policy: undefined },
    { arn: cluster, policy },
    { arn: 'arn:aws:s3:::bucket', policy },
    { arn, policy: policy.padEnd(20_001, ' ') },
  ]) {
    await assert.rejects(sharing.putPolicy(OWNER, given), INVALID, JSON.stringify(given));
  }
  for (const wrong of [undefined, cluster]) {
    assert.throws(() => sharing.policyOf(OWNER, wrong), INVALID);
    await assert.rejects(sharing.deletePolicy(OWNER, wrong), INVALID);
  }
  assert.equal(sharing.policyOf(OWNER, arn), policyFor(arn));
  // Removing twice is removing once.
  await sharing.deletePolicy(OWNER, arn);
  assert.equal(await sharing.deletePolicy(OWNER, arn), undefined);
  await assert.rejects(sharing.promote(OWNER, shared.backup.id), WRONG_STATE);
  assert.equal(world.catalog.read((r) => r.backup(shared.backup.id))?.policy, undefined);
});

test('the rules of type and mode hold for a consumer as for the owner', async () => {
  await using shared = await open();
  await share(shared);
  const asked = shared.world.clusters.create(CONSUMER, {
    hsmType: 'hsm2m.medium',
    mode: 'FIPS',
    subnetIds: ['subnet-00000009'],
    sourceBackup: shared.arn,
    tags: new Map(),
  });
  await assert.rejects(asked, INVALID);
});

test('a copy carries no share: it is shared in its own region, by its owner', async () => {
  await using shared = await open([OWNER.account, CONSUMER.account]);
  const { world, sharing, backup } = shared;
  await share(shared);
  await sharing.promote(OWNER, backup.id);
  const { id } = await world.backups.copy(OWNER, backup.id, { toRegion: THERE });
  await world.background.idle();
  const copy = world.catalog.read((reader) => reader.backup(id));
  assert.ok(copy?.state === 'READY' && copy.policy === undefined);
  const there = callerOf(CONSUMER.account, THERE);
  await assert.rejects(createFrom(shared, there, arnOf(copy)), DENIED);
  const ownerThere = callerOf(OWNER.account, THERE);
  const arn = arnOf(copy);
  await sharing.putPolicy(ownerThere, { arn, policy: policyFor(arn) });
  const { cluster } = await createFrom(shared, there, arn);
  await world.background.idle();
  const hsm = await world.addHsm(cluster.id, `${THERE}a`, there);
  assert.equal(hsm.state, 'ACTIVE', String(hsm.stateMessage));
});
