/** The real AWS CLI of Debian against the API. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { AccessKey } from '../../src/access/accounts.ts';
import { Refused } from '../../src/kernel/errors.ts';
import {
  ACCOUNT,
  BACKUP,
  CLUSTER,
  HSM,
  KEY,
  REGION,
  type Stand,
  stand,
  VIEW,
} from '../api/stand.ts';

const AWS = '/usr/bin/aws';
const skip = existsSync(AWS) ? false : `${AWS} is not installed (Debian package awscli)`;
const run = promisify(execFile);

interface CliResult {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function aws({ url }: Stand, args: readonly string[], key = KEY): Promise<CliResult> {
  const env = {
    PATH: '/usr/bin:/bin',
    HOME: '/nonexistent',
    AWS_ACCESS_KEY_ID: key.accessKeyId,
    AWS_SECRET_ACCESS_KEY: key.secretAccessKey,
    AWS_DEFAULT_REGION: REGION,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_MAX_ATTEMPTS: '1',
    AWS_PAGER: '',
  };
  const all = ['--endpoint-url', url.origin, '--output', 'json', 'cloudhsmv2', ...args];
  try {
    const { stdout, stderr } = await run(AWS, all, { env });
    return { code: 0, out: stdout, err: stderr };
  } catch (cause) {
    // execFile rejects with an Error that carries these three.
    const failed = cause as Error & { code: number; stdout: string; stderr: string };
    return { code: failed.code, out: failed.stdout, err: failed.stderr };
  }
}

describe('the AWS CLI', { skip, concurrency: 2 }, () => {
  it('reads clusters with their HSMs, times and certificates', async () => {
    await using api = await stand();
    const { code, out, err } = await aws(api, ['describe-clusters']);
    assert.equal(code, 0, err);
    const [cluster] = JSON.parse(out).Clusters;
    assert.equal(cluster.ClusterId, CLUSTER.id);
    assert.equal(Date.parse(cluster.CreateTimestamp), CLUSTER.createdAt);
    assert.deepEqual(cluster.BackupRetentionPolicy, { Type: 'DAYS', Value: '90' });
    assert.equal(cluster.Hsms[0].HsmId, HSM.id);
    assert.equal(cluster.Certificates.ClusterCsr, 'CSR');
  });

  it('creates a cluster with retention and tags', async () => {
    await using api = await stand();
    // Mode and NetworkType came after Debian's CLI was made; test/api covers them.
    const { code, err } = await aws(api, [
      'create-cluster',
      '--hsm-type=hsm2m.medium',
      '--subnet-ids=subnet-0123456789abcdef0',
      '--backup-retention-policy=Type=DAYS,Value=30',
      '--tag-list=Key=team,Value=payments',
    ]);
    assert.equal(code, 0, err);
    const [, request] = api.calls[0]?.args ?? [];
    assert.deepEqual(request, {
      hsmType: 'hsm2m.medium',
      subnetIds: ['subnet-0123456789abcdef0'],
      tags: new Map([['team', 'payments']]),
      retentionDays: 30,
    });
  });

  it('drives the other operations of the story', async () => {
    await using api = await stand();
    const cluster = `--cluster-id=${CLUSTER.id}`;
    const backup = `--backup-id=${BACKUP.id}`;
    for (const args of [
      ['create-hsm', cluster, '--availability-zone=us-east-1a'],
      ['initialize-cluster', cluster, '--signed-cert=cert', '--trust-anchor=anchor'],
      ['modify-cluster', cluster, '--backup-retention-policy=Type=DAYS,Value=379'],
      ['describe-backups', '--sort-ascending', '--filters', `clusterIds=${CLUSTER.id}`],
      ['modify-backup-attributes', backup, '--never-expires'],
      ['delete-backup', backup],
      ['restore-backup', backup],
      ['delete-hsm', cluster, `--hsm-id=${HSM.id}`],
      ['delete-cluster', cluster],
    ]) {
      const { code, err } = await aws(api, args);
      assert.equal(code, 0, `${args[0]}: ${err}`);
    }
    assert.deepEqual(
      api.calls.map(({ method }) => method),
      [
        'createHsm',
        'initialize',
        'modifyRetention',
        'describeBackups',
        'modifyNeverExpires',
        'removeBackup',
        'undelete',
        'deleteHsm',
        'remove',
      ],
    );
  });

  it('follows the pages to their end', async () => {
    const pages = new Map([
      [undefined, { items: [VIEW], nextToken: 'two' }],
      ['two', { items: [VIEW], nextToken: 'three' }],
      ['three', { items: [VIEW] }],
    ]);
    await using api = await stand({
      clusters: {
        describe: (_scope, _query, { nextToken }) => pages.get(nextToken) ?? assert.fail(nextToken),
      },
    });
    const { out } = await aws(api, ['describe-clusters', '--page-size', '1']);
    assert.equal(JSON.parse(out).Clusters.length, 3);
  });

  it('prints the documented error with our sentence', async () => {
    await using api = await stand({
      clusters: {
        remove: async () => {
          throw new Refused('NotFound', `${CLUSTER.id} does not exist here.`);
        },
      },
    });
    const { code, err } = await aws(api, ['delete-cluster', '--cluster-id', CLUSTER.id]);
    assert.equal(code, 254);
    assert.match(err, /\(CloudHsmResourceNotFoundException\).*DeleteCluster.*does not exist here/);
  });

  it('is told where it landed when its key looks like a real one', async () => {
    await using api = await stand();
    const key = new AccessKey({
      accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
      account: ACCOUNT,
      secretAccessKey: KEY.secretAccessKey,
    });
    const { err } = await aws(api, ['describe-clusters'], key);
    assert.match(err, /\(UnrecognizedClientException\).*This is Keyark at 127\.0\.0\.1:\d+/);
    assert.match(err, /"AKIA…MPLE", which looks like a real AWS key/);
  });
});
