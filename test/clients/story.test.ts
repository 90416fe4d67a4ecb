/**
 * The story as a person tells it by hand: Debian's `aws` and `openssl`, our command line for passwords,
 * against the real service. Nothing of the service is called but its doors.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type RunningService, startService, temporaryFolder } from '../support/service.ts';

const AWS = '/usr/bin/aws';
const OPENSSL = '/usr/bin/openssl';
const KEYARK = join(import.meta.dirname, '..', '..', 'bin', 'keyark');
const WAIT_MS = 30_000;
const skip = [AWS, OPENSSL].every(existsSync) ? false : 'needs Debian packages awscli and openssl';
const run = promisify(execFile);

type Json = Record<string, unknown>;

class Hand {
  readonly service: RunningService;
  readonly folder: string;
  constructor(service: RunningService, folder: string) {
    this.service = service;
    this.folder = folder;
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  async aws(...args: string[]): Promise<Json> {
    const { env } = this.service;
    const endpoint = ['--endpoint-url', env['AWS_ENDPOINT_URL'] ?? '', '--output', 'json'];
    const { stdout } = await run(AWS, ['cloudhsmv2', ...args, ...endpoint], {
      env: { ...env, PATH: '/usr/bin:/bin', HOME: this.folder, AWS_PAGER: '' },
    });
    return stdout.trim() === '' ? {} : (JSON.parse(stdout) as Json);
  }

  async openssl(...args: string[]): Promise<string> {
    const { stdout } = await run(OPENSSL, args, { cwd: this.folder });
    return stdout;
  }

  async keyark(...args: string[]): Promise<string> {
    const { stdout } = await run(KEYARK, [...args, '--data', this.service.data], {
      cwd: this.folder,
    });
    return stdout;
  }

  async cluster(id: string): Promise<Json> {
    const { Clusters } = await this.aws('describe-clusters', '--filters', `clusterIds=${id}`);
    const [cluster] = Clusters as Json[];
    assert.ok(cluster !== undefined);
    return cluster;
  }

  /** Polls as every AWS client does: no waiters ship for this API. */
  async until(id: string, holds: (cluster: Json, hsms: Json[]) => boolean): Promise<Json> {
    const deadline = Date.now() + WAIT_MS;
    for (;;) {
      const cluster = await this.cluster(id);
      if (holds(cluster, cluster['Hsms'] as Json[])) return cluster;
      assert.ok(Date.now() < deadline, JSON.stringify(cluster));
      await sleep(100);
    }
  }

  async ready(id: string): Promise<Json[]> {
    const { Backups } = await this.aws(
      'describe-backups',
      '--filters',
      `clusterIds=${id},states=READY`,
    );
    return Backups as Json[];
  }
}

test('a cluster is made, initialised, used, lost and restored with aws and openssl', {
  skip,
}, async (t) => {
  await using home = await temporaryFolder();
  await using service = await startService(join(home.path, 'd'));
  const hand = new Hand(service, home.path);

  const created = await hand.aws(
    'create-cluster',
    '--hsm-type',
    'hsm2m.medium',
    '--subnet-ids',
    'subnet-0a1b2c3d',
    'subnet-0a1b2c3e',
    '--backup-retention-policy',
    'Type=DAYS,Value=30',
    '--tag-list',
    'Key=team,Value=payments',
  );
  const id = String((created['Cluster'] as Json)['ClusterId']);

  await t.test(
    'the new cluster has no CSR before its first HSM, and all of them after',
    async () => {
      await hand.until(id, (cluster) => cluster['State'] === 'UNINITIALIZED');
      await hand.aws('create-hsm', '--cluster-id', id, '--availability-zone', 'us-east-1a');
      const cluster = await hand.until(id, (_, hsms) => hsms[0]?.['State'] === 'ACTIVE');
      const certificates = cluster['Certificates'] as Record<string, string>;
      for (const [name, file] of [
        ['ClusterCsr', 'cluster.csr'],
        ['HsmCertificate', 'hsm.crt'],
        ['AwsHardwareCertificate', 'owner-hardware.crt'],
        ['ManufacturerHardwareCertificate', 'maker-hardware.crt'],
      ] as const) {
        await writeFile(hand.path(file), certificates[name] ?? '');
      }
    },
  );

  await t.test(
    'both hardware chains verify with openssl, and the CSR holds the key of the HSM',
    async () => {
      const status = JSON.parse(await hand.keyark('status', '--json')) as Json;
      const roots = status['Roots'] as Json;
      await writeFile(hand.path('maker-root.crt'), String(roots['MakerRoot']));
      await writeFile(hand.path('owner-root.crt'), String(roots['OwnerRoot']));
      for (const side of ['maker', 'owner']) {
        const verified = await hand.openssl(
          'verify',
          '-CAfile',
          `${side}-root.crt`,
          '-untrusted',
          `${side}-hardware.crt`,
          'hsm.crt',
        );
        assert.match(verified, /hsm\.crt: OK/);
      }
      const ofCsr = await hand.openssl('req', '-in', 'cluster.csr', '-noout', '-pubkey', '-verify');
      const ofHsm = await hand.openssl('x509', '-in', 'hsm.crt', '-noout', '-pubkey');
      assert.equal(ofCsr.trim(), ofHsm.trim());
    },
  );

  await t.test('the customer signs the CSR, and another certificate is refused', async () => {
    await hand.openssl(
      'req',
      '-x509',
      '-newkey',
      'rsa:2048',
      '-nodes',
      '-keyout',
      'customerCA.key',
      '-out',
      'customerCA.crt',
      '-days',
      '3652',
      '-subj',
      '/CN=Customer CA',
    );
    await hand.openssl(
      'x509',
      '-req',
      '-in',
      'cluster.csr',
      '-CA',
      'customerCA.crt',
      '-CAkey',
      'customerCA.key',
      '-CAcreateserial',
      '-days',
      '3652',
      '-out',
      'cluster.crt',
    );
    const files = (cert: string) => [
      '--signed-cert',
      `file://${hand.path(cert)}`,
      '--trust-anchor',
      `file://${hand.path('customerCA.crt')}`,
    ];
    await assert.rejects(
      hand.aws('initialize-cluster', '--cluster-id', id, ...files('customerCA.crt')),
      /CloudHsmInvalidRequestException/,
    );
    await hand.aws('initialize-cluster', '--cluster-id', id, ...files('cluster.crt'));
    await hand.until(id, (cluster) => cluster['State'] === 'INITIALIZED');
  });

  await t.test('a second HSM is refused until the cluster is active', async () => {
    await assert.rejects(
      hand.aws('create-hsm', '--cluster-id', id, '--availability-zone', 'us-east-1b'),
      /CloudHsmInvalidRequestException.*INITIALIZED/s,
    );
  });

  const officer = ['--cluster-id', id, '--trust-anchor', hand.path('customerCA.crt')];
  await t.test(
    'activation sets the first password at the HSM and leaves a proven backup',
    async () => {
      await writeFile(hand.path('admin.pw'), 'correct-horse-7\n');
      await writeFile(hand.path('app.pw'), 'battery-staple-8\n');
      await hand.keyark('cluster', 'activate', ...officer, '--password-file', 'admin.pw');
      await hand.until(id, (cluster) => cluster['State'] === 'ACTIVE');
      await waitFor(async () => (await hand.ready(id)).length > 0);
      await hand.keyark(
        'user',
        'create',
        'app',
        ...officer,
        '--password-file',
        'admin.pw',
        '--new-password-file',
        'app.pw',
      );
      await hand.keyark('key', 'generate', 'web', ...officer, '--password-file', 'app.pw');
    },
  );

  let users = '';
  await t.test('deleting the last HSM backs up what was made since', async () => {
    users = await hand.keyark('user', 'list', ...officer);
    const [hsm] = (await hand.cluster(id))['Hsms'] as Json[];
    await hand.aws('delete-hsm', '--cluster-id', id, '--hsm-id', String(hsm?.['HsmId']));
    await hand.until(id, (_, hsms) => hsms.length === 0);
    assert.ok((await hand.ready(id)).length >= 2);
  });

  await t.test('a new HSM has the same users, passwords and keys', async () => {
    await hand.aws('create-hsm', '--cluster-id', id, '--availability-zone', 'us-east-1b');
    await hand.until(id, (_, hsms) => hsms[0]?.['State'] === 'ACTIVE');
    assert.equal(await hand.keyark('user', 'list', ...officer), users);
    const keys = await hand.keyark('key', 'list', ...officer, '--password-file', 'app.pw');
    assert.match(keys, /web/);
  });

  await t.test(
    'a second cluster comes from the backup and answers to the same customer CA',
    async () => {
      const [newest] = await hand.ready(id);
      const answer = await hand.aws(
        'create-cluster',
        '--hsm-type',
        'hsm2m.medium',
        '--subnet-ids',
        'subnet-0a1b2c3d',
        '--source-backup-id',
        String(newest?.['BackupId']),
      );
      const clone = String((answer['Cluster'] as Json)['ClusterId']);
      const cluster = await hand.until(clone, (seen) => seen['State'] === 'ACTIVE');
      assert.equal(cluster['SourceBackupId'], newest?.['BackupId']);
      assert.equal(
        (cluster['Certificates'] as Json)['ClusterCertificate'],
        await readFile(hand.path('cluster.crt'), 'utf8'),
      );
      await hand.aws('create-hsm', '--cluster-id', clone, '--availability-zone', 'us-east-1a');
      await hand.until(clone, (_, hsms) => hsms[0]?.['State'] === 'ACTIVE');
      const there = ['--cluster-id', clone, '--trust-anchor', hand.path('customerCA.crt')];
      assert.equal(await hand.keyark('user', 'list', ...there), users);
    },
  );

  await t.test(
    'a cluster with HSMs is not deleted, one without is, and its backups stay',
    async () => {
      await assert.rejects(
        hand.aws('delete-cluster', '--cluster-id', id),
        /CloudHsmInvalidRequestException/,
      );
      const [hsm] = (await hand.cluster(id))['Hsms'] as Json[];
      await hand.aws('delete-hsm', '--cluster-id', id, '--eni-ip', String(hsm?.['EniIp']));
      await hand.until(id, (_, hsms) => hsms.length === 0);
      await hand.aws('delete-cluster', '--cluster-id', id);
      await hand.until(id, (cluster) => cluster['State'] === 'DELETED');
      assert.ok((await hand.ready(id)).length >= 3);
    },
  );

  await t.test('the service ends cleanly, and a second start finds everything', async () => {
    assert.equal(await service.kill('SIGTERM'), 0);
    await using again = await startService(service.data);
    const { Clusters } = await new Hand(again, home.path).aws('describe-clusters');
    assert.ok((Clusters as Json[]).length >= 1);
  });
});

test('a second start on one folder is refused and says who uses it', { skip }, async () => {
  await using home = await temporaryFolder();
  const data = join(home.path, 'd');
  await using service = await startService(data);
  await assert.rejects(
    run(KEYARK, ['serve', '--data', data, '--port', '0']),
    (cause: { stderr?: string; code?: number }) =>
      cause.code !== 0 &&
      (cause.stderr ?? '').includes('[DATA_IN_USE]') &&
      (cause.stderr ?? '').includes(String(service.pid)),
  );
});

async function waitFor(holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + WAIT_MS;
  while (!(await holds())) {
    assert.ok(Date.now() < deadline, 'waited in vain');
    await sleep(100);
  }
}
