/**
 * AWS's JavaScript SDKs against the real service, in two regions: all eighteen operations through version 2,
 * every answer held against its model; and what version 3 does when an answer is lost on the way.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { createServer, request as httpRequest } from 'node:http';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import {
  CloudHSMV2Client,
  CreateClusterCommand,
  DescribeClustersCommand,
} from '@aws-sdk/client-cloudhsm-v2';
import { newAuthority, signRequestOfCluster } from '../../src/cli/customer.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import { checkAnswer, MODELLED_OPERATIONS } from '../support/api-model.ts';
import { type RunningService, startService, temporaryFolder } from '../support/service.ts';

const run = promisify(execFile);
const KEYARK = join(import.meta.dirname, '..', '..', 'bin', 'keyark');
const [HERE, THERE] = ['us-east-1', 'eu-west-1'] as const;
const WAIT_MS = 60_000;

type Json = Record<string, unknown>;

/** `aws-sdk` 2 is untyped here: its own types describe every service there is, and take a minute to check. */
interface Sdk2 {
  makeRequest(operation: string, params: Json): Sdk2Request;
}
interface Sdk2Request {
  promise(): Promise<Json & { $response: { httpResponse: { body: Buffer } } }>;
}
// The package has no ES module; what it exports is this one class.
const CloudHSMV2 = createRequire(import.meta.url)('aws-sdk/clients/cloudhsmv2') as new (
  options: Json,
) => Sdk2;

/** One region as a client sees it; remembers which operations were called. */
class Region {
  readonly #sdk: Sdk2;
  readonly #called: Set<string>;

  constructor({ env }: RunningService, region: string, called: Set<string>) {
    this.#called = called;
    this.#sdk = new CloudHSMV2({
      endpoint: env['AWS_ENDPOINT_URL'],
      region,
      accessKeyId: env['AWS_ACCESS_KEY_ID'],
      secretAccessKey: env['AWS_SECRET_ACCESS_KEY'],
      maxRetries: 0,
    });
  }

  async call(operation: string, params: Json = {}): Promise<Json> {
    const name = operation.charAt(0).toLowerCase() + operation.slice(1);
    const { $response, ...answer } = await this.#sdk.makeRequest(name, params).promise();
    checkAnswer(operation, JSON.parse($response.httpResponse.body.toString()));
    this.#called.add(operation);
    return answer;
  }

  async cluster(id: string): Promise<Json> {
    const { Clusters } = await this.call('DescribeClusters', { Filters: { clusterIds: [id] } });
    // The model was checked: a list of structures.
    const [cluster = {}] = Clusters as Json[];
    return cluster;
  }

  async backups(filters: Json): Promise<Json[]> {
    // As above.
    return (await this.call('DescribeBackups', { Filters: filters }))['Backups'] as Json[];
  }

  async until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
    const deadline = performance.now() + WAIT_MS;
    for (;;) {
      const seen = await look();
      if (seen !== undefined) return seen;
      assert.ok(performance.now() < deadline, `never: ${what}`);
      await sleep(100);
    }
  }

  untilCluster(id: string, holds: (cluster: Json) => boolean): Promise<Json> {
    return this.until(`${id} as wanted`, async () => {
      const cluster = await this.cluster(id);
      return holds(cluster) ? cluster : undefined;
    });
  }
}

const hsmsOf = (cluster: Json): readonly Json[] => cluster['Hsms'] as Json[];

test('all eighteen operations answer aws-sdk 2 in the shapes of its model', async (t) => {
  await using home = await temporaryFolder();
  const data = join(home.path, 'd');
  await using service = await startService(data, ['--region', `${HERE},${THERE}`]);
  const called = new Set<string>();
  const here = new Region(service, HERE, called);
  const there = new Region(service, THERE, called);
  let id = '';

  await t.test('a cluster comes up, is initialised and activated', async () => {
    const { Cluster } = await here.call('CreateCluster', {
      HsmType: 'hsm2m.medium',
      Mode: 'FIPS',
      SubnetIds: ['subnet-0a1b2c3d'],
      BackupRetentionPolicy: { Type: 'DAYS', Value: '30' },
      TagList: [{ Key: 'team', Value: 'payments' }],
    });
    id = String((Cluster as Json)['ClusterId']);
    await here.untilCluster(id, ({ State }) => State === 'UNINITIALIZED');
    await here.call('CreateHsm', { ClusterId: id, AvailabilityZone: `${HERE}a` });
    const cluster = await here.untilCluster(id, (seen) => hsmsOf(seen)[0]?.['State'] === 'ACTIVE');
    const parts = { clock: systemClock, random: systemRandom };
    const authority = newAuthority(parts);
    const { ClusterCsr } = cluster['Certificates'] as Record<string, string>;
    await here.call('InitializeCluster', {
      ClusterId: id,
      SignedCert: signRequestOfCluster(ClusterCsr ?? '', authority, parts),
      TrustAnchor: authority.certificate,
    });
    await here.untilCluster(id, ({ State }) => State === 'INITIALIZED');
    const files = { anchor: join(home.path, 'ca.crt'), password: join(home.path, 'admin.pw') };
    await writeFile(files.anchor, authority.certificate);
    await writeFile(files.password, 'correct-horse-7\n');
    await run(KEYARK, [
      ...['cluster', 'activate', '--data', data, '--cluster-id', id],
      ...['--trust-anchor', files.anchor, '--password-file', files.password],
    ]);
    await here.untilCluster(id, ({ State }) => State === 'ACTIVE');
  });

  const proven = () =>
    here.until('a proven backup', async () => {
      const [backup] = await here.backups({ clusterIds: [id], states: ['READY'] });
      return backup;
    });

  await t.test('cluster and backup carry tags, retention and attributes', async () => {
    const backup = await proven();
    for (const ResourceId of [id, backup['BackupId']]) {
      await here.call('TagResource', { ResourceId, TagList: [{ Key: 'stage', Value: 'test' }] });
      const { TagList } = await here.call('ListTags', { ResourceId });
      assert.ok((TagList as Json[]).some(({ Key }) => Key === 'stage'));
      await here.call('UntagResource', { ResourceId, TagKeyList: ['stage'] });
    }
    const policy = { Type: 'DAYS', Value: '45' };
    const changed = await here.call('ModifyCluster', {
      ClusterId: id,
      BackupRetentionPolicy: policy,
    });
    assert.deepEqual((changed['Cluster'] as Json)['BackupRetentionPolicy'], policy);
    const { Backup } = await here.call('ModifyBackupAttributes', {
      BackupId: backup['BackupId'],
      NeverExpires: true,
    });
    assert.equal((Backup as Json)['NeverExpires'], true);
  });

  await t.test('a backup is copied to the other region and found there by its source', async () => {
    const { BackupId } = await proven();
    const { DestinationBackup } = await here.call('CopyBackupToRegion', {
      BackupId,
      DestinationRegion: THERE,
    });
    assert.equal((DestinationBackup as Json)['SourceBackup'], BackupId);
    const copy = await there.until('the copy is READY', async () => {
      const filters = { sourceBackupIds: [BackupId], states: ['READY'] };
      const [found] = await there.backups(filters);
      return found;
    });
    assert.equal(copy['SourceRegion'], HERE);
    assert.deepEqual(await there.backups({ clusterIds: [id], states: ['DELETED'] }), []);
  });

  await t.test('a resource policy is put, read and removed', async () => {
    const { BackupArn } = await proven();
    const Policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { AWS: '000087654321' },
          Action: ['cloudhsm:CreateCluster', 'cloudhsm:DescribeBackups'],
          Resource: BackupArn,
        },
      ],
    });
    await here.call('PutResourcePolicy', { ResourceArn: BackupArn, Policy });
    const got = await here.call('GetResourcePolicy', { ResourceArn: BackupArn });
    assert.deepEqual(JSON.parse(String(got['Policy'])), JSON.parse(Policy));
    const gone = await here.call('DeleteResourcePolicy', { ResourceArn: BackupArn });
    assert.equal(gone['ResourceArn'], BackupArn);
  });

  await t.test('a backup is deleted and brought back', async () => {
    const { BackupId } = await proven();
    const { Backup } = await here.call('DeleteBackup', { BackupId });
    assert.equal((Backup as Json)['BackupState'], 'PENDING_DELETION');
    const restored = await here.call('RestoreBackup', { BackupId });
    assert.equal((restored['Backup'] as Json)['BackupState'], 'READY');
  });

  await t.test('HSM and cluster go, and every operation was called', async () => {
    const [hsm] = hsmsOf(await here.cluster(id));
    await here.call('DeleteHsm', { ClusterId: id, HsmId: hsm?.['HsmId'] });
    await here.untilCluster(id, (seen) => hsmsOf(seen).length === 0);
    await here.call('DeleteCluster', { ClusterId: id });
    await here.untilCluster(id, ({ State }) => State === 'DELETED');
    assert.deepEqual([...called].sort(), [...MODELLED_OPERATIONS].sort());
  });
});

test('a create whose answer is lost is made once, however often SDK 3 sends it', async () => {
  await using home = await temporaryFolder();
  await using service = await startService(join(home.path, 'd'));
  const { env } = service;
  await using proxy = await losingProxy(new URL(env['AWS_ENDPOINT_URL'] ?? ''), 2);
  const client = new CloudHSMV2Client({
    endpoint: proxy.url,
    region: HERE,
    credentials: {
      accessKeyId: env['AWS_ACCESS_KEY_ID'] ?? '',
      secretAccessKey: env['AWS_SECRET_ACCESS_KEY'] ?? '',
    },
  });
  try {
    const input = { HsmType: 'hsm2m.medium', SubnetIds: ['subnet-0a1b2c3d'] };
    const { Cluster } = await client.send(new CreateClusterCommand(input));
    assert.equal(proxy.lost(), 2);
    const { Clusters = [] } = await client.send(new DescribeClustersCommand({}));
    assert.deepEqual(
      Clusters.map(({ ClusterId }) => ClusterId),
      [Cluster?.ClusterId],
    );
    // A second wish is a second cluster.
    await client.send(new CreateClusterCommand(input));
    const after = await client.send(new DescribeClustersCommand({}));
    assert.equal(after.Clusters?.length, 2);
  } finally {
    client.destroy();
  }
});

/** Lets requests through, and the first answers not: the connection breaks after the work was done. */
async function losingProxy(
  target: URL,
  count: number,
): Promise<{ url: string; lost: () => number } & AsyncDisposable> {
  let lost = 0;
  const server = createServer((incoming, outgoing) => {
    // Signatures cover the host header: it goes on as it came.
    const { method, headers } = incoming;
    const forward = httpRequest(target, { method, headers }, (answer) => {
      if (lost < count) {
        lost += 1;
        answer.resume();
        answer.on('end', () => incoming.socket.destroy());
        return;
      }
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(forward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  // A server that listens on a port has an AddressInfo.
  const { port } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${port}`,
    lost: () => lost,
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
