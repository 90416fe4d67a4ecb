/**
 * Members and operations that came after most clients were made, by signed raw requests against the real service:
 * dual-stack networks, the types of HSMs, modes, shared backups and policies.
 */
import assert from 'node:assert/strict';
import { isIPv6 } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { ServiceRefused } from '../../src/cli/client.ts';
import { listOf, objectOf, textOf } from '../../src/cli/json.ts';
import { waitFor } from '../../src/cli/wait.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { checkAnswer } from '../support/api-model.ts';
import { readyCluster } from '../support/ready-cluster.ts';
import { startService, temporaryFolder } from '../support/service.ts';

const WAIT_MS = 60_000;
const INVALID = 'CloudHsmInvalidRequestException';

test('the newest members mean what AWS says', async (t) => {
  await using home = await temporaryFolder();
  await using service = await startService(join(home.path, 'd'));
  const { client, clusterId } = await readyCluster({
    data: service.data,
    customers: join(home.path, 'customers'),
  });
  const call = async (operation: string, params: JsonObject): Promise<JsonObject> => {
    const answer = await client.aws(operation, params);
    checkAnswer(operation, answer);
    return answer;
  };
  const refused = (operation: string, params: JsonObject, error = INVALID) =>
    assert.rejects(
      call(operation, params),
      (cause) => cause instanceof ServiceRefused && cause.type === error,
    );
  const cluster = async (id: string): Promise<JsonObject> => {
    const answer = await call('DescribeClusters', { Filters: { clusterIds: [id] } });
    return listOf(answer, 'Clusters')[0] ?? {};
  };
  const create = async (params: JsonObject): Promise<JsonObject> => {
    const SubnetIds = ['subnet-0a1b2c3d'];
    return objectOf(
      await call('CreateCluster', { HsmType: 'hsm2m.medium', SubnetIds, ...params }),
      'Cluster',
    );
  };

  await t.test(
    'a DUALSTACK cluster gives each HSM an address of both kinds, others one',
    async () => {
      const made = await create({ NetworkType: 'DUALSTACK', Mode: 'FIPS' });
      assert.equal(made['NetworkType'], 'DUALSTACK');
      assert.equal(made['Mode'], 'FIPS');
      const ClusterId = textOf(made, 'ClusterId');
      await waitFor(systemClock, { until: 'it is there', atMostMs: WAIT_MS }, async () =>
        (await cluster(ClusterId))['State'] === 'UNINITIALIZED' ? true : undefined,
      );
      await call('CreateHsm', { ClusterId, AvailabilityZone: 'us-east-1a' });
      const hsm = await waitFor(systemClock, { until: 'an HSM', atMostMs: WAIT_MS }, async () =>
        listOf(await cluster(ClusterId), 'Hsms').find(({ State }) => State === 'ACTIVE'),
      );
      assert.ok(isIPv6(textOf(hsm, 'EniIpV6')), textOf(hsm, 'EniIpV6'));
      assert.equal(hsm['HsmType'], 'hsm2m.medium');
      const ready = await cluster(clusterId);
      assert.equal(ready['NetworkType'], 'IPV4');
      assert.equal(listOf(ready, 'Hsms')[0]?.['EniIpV6'], undefined);
      await call('DeleteHsm', { ClusterId, HsmId: textOf(hsm, 'HsmId') });
    },
  );

  const backups = async (params: JsonObject) =>
    listOf(await call('DescribeBackups', params), 'Backups');
  const [backup = {}] = await backups({ Filters: { states: ['READY'] } });
  const arn = textOf(backup, 'BackupArn');

  await t.test('the mode goes from cluster to backup, and binds what is made of it', async () => {
    assert.equal((await cluster(clusterId))['Mode'], 'NON_FIPS');
    assert.equal(backup['Mode'], 'NON_FIPS');
    assert.equal(backup['HsmType'], 'hsm2m.medium');
    const SourceBackupId = textOf(backup, 'BackupId');
    await refused('CreateCluster', {
      HsmType: 'hsm2m.medium',
      SubnetIds: ['subnet-0a1b2c3d'],
      SourceBackupId,
      Mode: 'FIPS',
    });
    const made = await create({ SourceBackupId, Mode: 'NON_FIPS' });
    await waitFor(systemClock, { until: 'the clone', atMostMs: WAIT_MS }, async () =>
      (await cluster(textOf(made, 'ClusterId')))['State'] === 'ACTIVE' ? true : undefined,
    );
  });

  await t.test('what is not in the enumerations makes nothing', async () => {
    const before = listOf(await call('DescribeClusters', {}), 'Clusters').length;
    const right = { HsmType: 'hsm2m.medium', SubnetIds: ['subnet-0a1b2c3d'] };
    for (const wrong of [{ NetworkType: 'IPV6' }, { Mode: 'fips' }, { NetworkType: '' }]) {
      await refused('CreateCluster', { ...right, ...wrong });
    }
    assert.equal(listOf(await call('DescribeClusters', {}), 'Clusters').length, before);
  });

  await t.test('Shared lists what others share, not what one shares oneself', async () => {
    const Policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { AWS: '000087654321' },
          Action: ['cloudhsm:CreateCluster', 'cloudhsm:DescribeBackups'],
          Resource: arn,
        },
      ],
    });
    const put = await call('PutResourcePolicy', { ResourceArn: arn, Policy });
    assert.equal(put['ResourceArn'], arn);
    assert.deepEqual(await backups({ Shared: true }), []);
    const own = await backups({ Shared: false });
    assert.ok(own.some(({ BackupId }) => BackupId === backup['BackupId']));
  });

  await t.test('a policy is read, removed once with its text, and then is none', async () => {
    const got = await call('GetResourcePolicy', { ResourceArn: arn });
    const removed = await call('DeleteResourcePolicy', { ResourceArn: arn });
    assert.equal(removed['Policy'], got['Policy']);
    assert.deepEqual(await call('GetResourcePolicy', { ResourceArn: arn }), {});
  });

  await t.test(
    'policies without their members, and of anything but backups, are refused',
    async () => {
      await refused('PutResourcePolicy', {});
      await refused('GetResourcePolicy', {});
      await refused('DeleteResourcePolicy', {});
      await refused('GetResourcePolicy', {
        ResourceArn: arn.replace(/backup\/.*$/, `cluster/${clusterId}`),
      });
      await refused(
        'GetResourcePolicy',
        { ResourceArn: arn.replace(/backup-.*$/, 'backup-aaaaaaaaaaa') },
        'CloudHsmResourceNotFoundException',
      );
    },
  );
});
