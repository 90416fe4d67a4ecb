/** Which error a request gets that cannot be done, and what a request does that was done already. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { OPERATIONS } from '../../src/api/shapes.ts';
import { resourceArn } from '../../src/aws/arn.ts';
import { objectOf } from '../../src/cli/json.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { SCOPE, World } from '../support/world.ts';
import { type Ask, asking, INVALID, NEW, NOT_FOUND } from './rig.ts';

const DAYS_8 = { Type: 'DAYS', Value: '8' } as const;
const ZONE = 'us-east-1a';

/** A policy that another account is let in by. */
const policyFor = (arn: string) =>
  JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Principal: { AWS: '000000000002' },
        Action: ['cloudhsm:CreateCluster', 'cloudhsm:DescribeBackups'],
        Resource: arn,
      },
    ],
  });

const typeOf = async (answer: Promise<JsonObject>) => (await answer)['__type'];

test('an id that nothing has is not found by every operation that takes one, but for the Describe calls', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const ask = asking(world);
  const ClusterId = 'cluster-keyarkaaaaaaaaaa';
  const BackupId = 'backup-keyarkaaaaaaaaaa';
  const TagList = [{ Key: 'team', Value: 'a' }];
  const cert = { SignedCert: 'MIIB', TrustAnchor: 'MIIB' };
  const ResourceArn = resourceArn(SCOPE, 'backup', BackupId);
  const asked: readonly ReturnType<Ask>[] = [
    ask('CreateCluster', { ...NEW, SourceBackupId: BackupId }),
    ask('CreateCluster', { ...NEW, SourceBackupId: ResourceArn }),
    ask('InitializeCluster', { ClusterId, ...cert }),
    ask('ModifyCluster', { ClusterId, BackupRetentionPolicy: DAYS_8 }),
    ask('ModifyCluster', { ClusterId, HsmType: 'hsm2m.medium' }),
    ask('DeleteCluster', { ClusterId }),
    ask('CreateHsm', { ClusterId, AvailabilityZone: ZONE }),
    ask('DeleteHsm', { ClusterId, HsmId: 'hsm-keyarkaaaaaaaaaa' }),
    ask('DeleteHsm', { ClusterId: clusterId, HsmId: 'hsm-keyarkaaaaaaaaaa' }),
    ask('DeleteHsm', { ClusterId: clusterId, EniIp: '10.255.255.255' }),
    ask('DeleteBackup', { BackupId }),
    ask('RestoreBackup', { BackupId }),
    ask('ModifyBackupAttributes', { BackupId, NeverExpires: true }),
    ask('CopyBackupToRegion', { BackupId, DestinationRegion: 'eu-west-1' }),
    ...[ClusterId, BackupId].flatMap((ResourceId) => [
      ask('TagResource', { ResourceId, TagList }),
      ask('UntagResource', { ResourceId, TagKeyList: ['team'] }),
      ask('ListTags', { ResourceId }),
    ]),
    ask('PutResourcePolicy', { ResourceArn, Policy: policyFor(ResourceArn) }),
    ask('GetResourcePolicy', { ResourceArn }),
    ask('DeleteResourcePolicy', { ResourceArn }),
  ];
  for (const [n, answer] of (await Promise.all(asked)).entries()) {
    assert.deepEqual(answer, { __type: NOT_FOUND }, `number ${n}`);
  }
});

test('unknown ids in the filters of Describe calls give empty lists', async () => {
  await using world = await World.open();
  const ask = asking(world);
  const clusterIds = ['cluster-keyarkaaaaaaaaaa'];
  const backupIds = ['backup-keyarkaaaaaaaaaa'];
  const clusters = await ask('DescribeClusters', { Filters: { clusterIds } });
  assert.deepEqual(clusters['Clusters'], []);
  for (const Filters of [{ backupIds }, { clusterIds }, { sourceBackupIds: backupIds }]) {
    assert.deepEqual((await ask('DescribeBackups', { Filters }))['Backups'], []);
  }
});

test('a filter takes as many values as its shape says, on the catalog too', async () => {
  await using world = await World.open();
  const clusterIds = Array<string>(100).fill('cluster-keyarkaaaaaaaaaa');
  const Filters = { clusterIds };
  const { Filters: names } = OPERATIONS.DescribeBackups.input.members;
  assert.equal(names.shape.names.clusterIds.max, clusterIds.length);
  assert.deepEqual((await asking(world)('DescribeBackups', { Filters }))['Backups'], []);
});

test('whatever a state does not allow is an invalid request, and repeating a change of state is', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const ask = asking(world);
  const ClusterId = clusterId;
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  const BackupId = backup.id;
  const ResourceArn = resourceArn(backup, 'backup', backup.id);
  const refused = async (what: string, answer: Promise<JsonObject>) =>
    assert.equal(await typeOf(answer), INVALID, what);
  const cert = { SignedCert: 'MIIB', TrustAnchor: 'MIIB' };
  await refused('with HSMs left', ask('DeleteCluster', { ClusterId }));
  await refused('initialised already', ask('InitializeCluster', { ClusterId, ...cert }));
  await refused('READY', ask('RestoreBackup', { BackupId }));
  for (const Value of ['6', '380', '0']) {
    const BackupRetentionPolicy = { Type: 'DAYS', Value } as const;
    await refused(Value, ask('ModifyCluster', { ClusterId, BackupRetentionPolicy }));
    await refused(Value, ask('CreateCluster', { ...NEW, BackupRetentionPolicy }));
  }
  await refused('mode', ask('CreateCluster', { ...NEW, SourceBackupId: BackupId, Mode: 'FIPS' }));
  const hsm1 = { ...NEW, HsmType: 'hsm1.medium', SourceBackupId: BackupId };
  await refused('type', ask('CreateCluster', hsm1));

  const deleted = await ask('DeleteBackup', { BackupId });
  assert.equal(objectOf(deleted, 'Backup')['BackupState'], 'PENDING_DELETION');
  await refused('deleted twice', ask('DeleteBackup', { BackupId }));
  await refused('not READY', ask('CreateCluster', { ...NEW, SourceBackupId: BackupId }));
  const Policy = policyFor(ResourceArn);
  await refused('shared', ask('PutResourcePolicy', { ResourceArn, Policy }));
  await refused('kept', ask('ModifyBackupAttributes', { BackupId, NeverExpires: true }));
  const restored = await ask('RestoreBackup', { BackupId });
  assert.equal(objectOf(restored, 'Backup')['BackupState'], 'READY');
  await refused('restored twice', ask('RestoreBackup', { BackupId }));

  assert.equal((await ask('DeleteHsm', { ClusterId, HsmId: hsmId }))['HsmId'], hsmId);
  await refused('deleted twice', ask('DeleteHsm', { ClusterId, HsmId: hsmId }));
  await world.background.idle();
  assert.equal(await typeOf(ask('DeleteHsm', { ClusterId, HsmId: hsmId })), NOT_FOUND);
  await ask('DeleteCluster', { ClusterId });
  await world.background.idle();
  await refused('deleted', ask('DeleteCluster', { ClusterId }));
  await refused('deleted', ask('CreateHsm', { ClusterId, AvailabilityZone: ZONE }));
});

test('setting what is set already, and removing what is not there, succeeds and changes nothing', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const ask = asking(world);
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  const ResourceArn = resourceArn(backup, 'backup', backup.id);
  for (const ResourceId of [clusterId, backup.id]) {
    const TagList = [{ Key: 'team', Value: 'a' }];
    for (let times = 0; times < 2; times += 1) {
      assert.deepEqual(await ask('TagResource', { ResourceId, TagList }), {});
      assert.deepEqual(await ask('UntagResource', { ResourceId, TagKeyList: ['never'] }), {});
      assert.deepEqual((await ask('ListTags', { ResourceId }))['TagList'], TagList);
    }
  }
  for (const NeverExpires of [false, true, true, false, false]) {
    const set: Promise<JsonObject> = ask('ModifyBackupAttributes', {
      BackupId: backup.id,
      NeverExpires,
    });
    assert.equal(objectOf(await set, 'Backup')['NeverExpires'], NeverExpires);
  }
  const Policy = policyFor(ResourceArn);
  for (let times = 0; times < 2; times += 1) {
    const put = await ask('PutResourcePolicy', { ResourceArn, Policy });
    assert.deepEqual(put, { ResourceArn, Policy });
  }
  assert.equal((await ask('DeleteResourcePolicy', { ResourceArn }))['Policy'], Policy);
  assert.equal((await ask('DeleteResourcePolicy', { ResourceArn }))['Policy'], undefined);
  const same = { ClusterId: clusterId, BackupRetentionPolicy: DAYS_8 };
  assert.deepEqual(await ask('ModifyCluster', same), await ask('ModifyCluster', same));
});
