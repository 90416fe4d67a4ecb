/**
 * What Terraform's AWS provider (5.x) sends for `aws_cloudhsm_v2_cluster` and `aws_cloudhsm_v2_hsm`, replayed as
 * signed requests against the real service. The provider itself needs the network for its download, so its
 * behaviour is rebuilt here: which calls in which order, which states it waits through, what it takes from an
 * answer, when it would replace a resource. Its polls are 30 seconds apart; these are not.
 */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, ServiceRefused } from '../../src/cli/client.ts';
import { newAuthority, signRequestOfCluster } from '../../src/cli/customer.ts';
import { listOf, objectOf, textOf } from '../../src/cli/json.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { checkAnswer } from '../support/api-model.ts';
import { readyCluster } from '../support/ready-cluster.ts';
import { startService, temporaryFolder } from '../support/service.ts';

const POLL_MS = 50;
const TIMEOUT_MS = 60_000;
const NOT_FOUND = 'CloudHsmResourceNotFoundException';
const CERTIFICATES = {
  cluster_certificate: 'ClusterCertificate',
  cluster_csr: 'ClusterCsr',
  aws_hardware_certificate: 'AwsHardwareCertificate',
  hsm_certificate: 'HsmCertificate',
  manufacturer_hardware_certificate: 'ManufacturerHardwareCertificate',
} as const;
/** Which of them the provider reads in which state; in others none. */
const READ_IN: Readonly<Record<string, readonly (keyof typeof CERTIFICATES)[]>> = {
  ACTIVE: ['cluster_certificate'],
  UNINITIALIZED: [
    'cluster_csr',
    'aws_hardware_certificate',
    'hsm_certificate',
    'manufacturer_hardware_certificate',
  ],
};

interface ClusterConfig {
  readonly hsm_type: string;
  readonly subnet_ids: readonly string[];
  readonly source_backup_identifier?: string;
  readonly tags?: Readonly<Record<string, string>>;
}

/** The provider, as far as this API sees it. */
class Provider {
  readonly #client: Client;
  constructor(client: Client) {
    this.#client = client;
  }

  async call(operation: string, params: JsonObject): Promise<JsonObject> {
    const answer = await this.#client.aws(operation, params);
    checkAnswer(operation, answer);
    return answer;
  }

  async createCluster(config: ClusterConfig): Promise<string> {
    const source = config.source_backup_identifier;
    const made = await this.call('CreateCluster', {
      HsmType: config.hsm_type,
      SubnetIds: config.subnet_ids,
      ...(source !== undefined && { SourceBackupId: source }),
      ...(config.tags !== undefined && { TagList: tagList(config.tags) }),
    });
    const id = textOf(objectOf(made, 'Cluster'), 'ClusterId');
    await this.#waitForCluster(id, {
      pending: ['CREATE_IN_PROGRESS', 'INITIALIZE_IN_PROGRESS'],
      target: source === undefined ? 'UNINITIALIZED' : 'ACTIVE',
    });
    return id;
  }

  /** @returns undefined for what counts as gone. */
  async findCluster(id: string): Promise<JsonObject | undefined> {
    const params = { Filters: { clusterIds: [id] } };
    const found = listOf(await this.call('DescribeClusters', params), 'Clusters');
    assert.ok(found.length <= 1, 'the provider fails on more than one');
    return found[0]?.['State'] === 'DELETED' ? undefined : found[0];
  }

  /** The attributes of the resource after a refresh. */
  async readCluster(id: string): Promise<JsonObject> {
    const cluster = await this.findCluster(id);
    assert.ok(cluster !== undefined, `${id} is gone`);
    const state = textOf(cluster, 'State');
    const certificates = objectOf(cluster, 'Certificates');
    return {
      cluster_state: state,
      hsm_type: cluster['HsmType'],
      source_backup_identifier: cluster['SourceBackupId'],
      security_group_id: cluster['SecurityGroup'],
      vpc_id: cluster['VpcId'],
      subnet_ids: Object.values(objectOf(cluster, 'SubnetMapping')).map(String),
      cluster_certificates: Object.fromEntries(
        (READ_IN[state] ?? []).map((name) => [name, certificates[CERTIFICATES[name]]]),
      ),
      tags: Object.fromEntries(
        listOf(cluster, 'TagList').map((tag) => [textOf(tag, 'Key'), textOf(tag, 'Value')]),
      ),
    };
  }

  /** What is taken away goes first, then what is new or other is set. */
  async updateTags(
    id: string,
    before: Readonly<Record<string, string>>,
    after: Readonly<Record<string, string>>,
  ): Promise<void> {
    const TagKeyList = Object.keys(before).filter((key) => !(key in after));
    if (TagKeyList.length > 0) await this.call('UntagResource', { ResourceId: id, TagKeyList });
    const changed = Object.entries(after).filter(([key, value]) => before[key] !== value);
    if (changed.length > 0) {
      const TagList = tagList(Object.fromEntries(changed));
      await this.call('TagResource', { ResourceId: id, TagList });
    }
  }

  async deleteCluster(id: string): Promise<void> {
    await this.#unlessGone('DeleteCluster', { ClusterId: id });
    await this.#waitForCluster(id, { pending: ['DELETE_IN_PROGRESS'], target: undefined });
  }

  async createHsm(clusterId: string, where: { subnet_id: string } | { az: string }) {
    const AvailabilityZone =
      'az' in where ? where.az : await this.#zoneOf(clusterId, where.subnet_id);
    const made = await this.call('CreateHsm', { ClusterId: clusterId, AvailabilityZone });
    const id = textOf(objectOf(made, 'Hsm'), 'HsmId');
    return await this.#until(`${id} is ACTIVE`, async () => {
      const hsm = await this.findHsm(id);
      const state = hsm?.['State'];
      if (state === 'ACTIVE') return hsm;
      assert.equal(state, 'CREATE_IN_PROGRESS', 'the provider fails on any other state');
      return undefined;
    });
  }

  /** By its id or by that of its interface, out of everything there is. */
  async findHsm(id: string): Promise<JsonObject | undefined> {
    const clusters = listOf(await this.call('DescribeClusters', {}), 'Clusters');
    const hsms = clusters.flatMap((cluster) => listOf(cluster, 'Hsms'));
    for (const hsm of hsms) {
      // While it waits it compares with an empty id: an HSM without one would be any HSM.
      assert.match(textOf(hsm, 'EniId'), /^eni-[0-9a-f]{8,17}$/);
    }
    return hsms.find((hsm) => hsm['HsmId'] === id || hsm['EniId'] === id);
  }

  async deleteHsm(clusterId: string, hsmId: string): Promise<void> {
    await this.#unlessGone('DeleteHsm', { ClusterId: clusterId, HsmId: hsmId });
    await this.#until(`${hsmId} is gone`, async () =>
      (await this.findHsm(hsmId)) === undefined ? true : undefined,
    );
  }

  async #zoneOf(clusterId: string, subnetId: string): Promise<string> {
    const cluster = await this.findCluster(clusterId);
    const subnets = Object.entries(objectOf(cluster ?? {}, 'SubnetMapping'));
    const [zone] = subnets.find(([, subnet]) => subnet === subnetId) ?? [];
    assert.ok(zone !== undefined, `${subnetId} is in no zone`);
    return zone;
  }

  async #unlessGone(operation: string, params: JsonObject): Promise<void> {
    try {
      await this.call(operation, params);
    } catch (cause) {
      if (!(cause instanceof ServiceRefused) || cause.type !== NOT_FOUND) throw cause;
    }
  }

  #waitForCluster(
    id: string,
    { pending, target }: { pending: readonly string[]; target: string | undefined },
  ): Promise<true> {
    return this.#until(`${id} is ${target ?? 'gone'}`, async () => {
      const state = (await this.findCluster(id))?.['State'];
      if (state === target) return true;
      assert.ok(pending.includes(String(state)), `the provider fails on ${state}`);
      return undefined;
    });
  }

  async #until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
    const deadline = performance.now() + TIMEOUT_MS;
    for (;;) {
      await sleep(POLL_MS);
      const seen = await look();
      if (seen !== undefined) return seen;
      assert.ok(performance.now() < deadline, `never: ${what}`);
    }
  }
}

const tagList = (tags: Readonly<Record<string, string>>) =>
  Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));

/** Which of its force-new arguments differ after a refresh: with any, a plan wants to replace the resource. */
const replacedBecause = (config: ClusterConfig, read: JsonObject): string[] =>
  (['hsm_type', 'source_backup_identifier'] as const).filter((name) => config[name] !== read[name]);

test("Terraform's provider comes to its end and plans no changes", async (t) => {
  await using home = await temporaryFolder();
  await using service = await startService(join(home.path, 'd'), ['--quota-clusters', '10']);
  const ready = await readyCluster({ data: service.data, customers: join(home.path, 'customers') });
  const provider = new Provider(ready.client);
  const config: ClusterConfig = {
    hsm_type: 'hsm2m.medium',
    subnet_ids: ['subnet-0a1b2c3d', 'subnet-0a1b2c3e'],
    tags: { team: 'payments', stage: 'test' },
  };
  let id = '';

  await t.test('a cluster is created, read and needs no second apply', async () => {
    id = await provider.createCluster(config);
    const read = await provider.readCluster(id);
    assert.deepEqual(replacedBecause(config, read), []);
    assert.deepEqual(read['subnet_ids'], config.subnet_ids);
    assert.deepEqual(read['tags'], config.tags);
    assert.match(textOf(read, 'vpc_id'), /^vpc-[0-9a-f]{8,17}$/);
    assert.match(textOf(read, 'security_group_id'), /^sg-[0-9a-f]{8,17}$/);
  });

  await t.test('changed tags are read back as they were set', async () => {
    const tags = { team: 'risk', owner: 'b' };
    await provider.updateTags(id, config.tags ?? {}, tags);
    assert.deepEqual((await provider.readCluster(id))['tags'], tags);
  });

  await t.test('of two HSMs in parallel one wins before the cluster is active', async () => {
    const tries = await Promise.allSettled(
      config.subnet_ids.map((subnet_id) => provider.createHsm(id, { subnet_id })),
    );
    const refused = tries.filter((tried) => tried.status === 'rejected');
    assert.equal(refused.length, 1);
    assert.equal(refused[0]?.reason.type, 'CloudHsmInvalidRequestException');
  });

  await t.test('an HSM is found by its id and by that of its interface', async () => {
    const [hsm] = listOf((await provider.findCluster(id)) ?? {}, 'Hsms');
    assert.ok(hsm !== undefined);
    assert.deepEqual(await provider.findHsm(textOf(hsm, 'HsmId')), hsm);
    assert.deepEqual(await provider.findHsm(textOf(hsm, 'EniId')), hsm);
    assert.equal(await provider.findHsm('hsm-aaaaaaaaaaa'), undefined);
  });

  await t.test('certificates are there in the states in which they are read', async () => {
    const fresh = objectOf(await provider.readCluster(id), 'cluster_certificates');
    for (const name of READ_IN['UNINITIALIZED'] ?? []) {
      assert.match(String(fresh[name]), /^-----BEGIN CERTIFICATE/, name);
    }
    const parts = { clock: systemClock, random: systemRandom };
    const authority = newAuthority(parts);
    await provider.call('InitializeCluster', {
      ClusterId: id,
      SignedCert: signRequestOfCluster(textOf(fresh, 'cluster_csr'), authority, parts),
      TrustAnchor: authority.certificate,
    });
    const active = objectOf(await provider.readCluster(ready.clusterId), 'cluster_certificates');
    assert.match(String(active['cluster_certificate']), /^-----BEGIN CERTIFICATE-----/);
  });

  const backups = listOf(
    await provider.call('DescribeBackups', { Filters: { states: ['READY'] } }),
    'Backups',
  );
  for (const member of ['BackupId', 'BackupArn'] as const) {
    await t.test(`a cluster from a ${member} is active at once and is not replaced`, async () => {
      const source = textOf(backups[0] ?? {}, member);
      const restored: ClusterConfig = { ...config, source_backup_identifier: source };
      const clone = await provider.createCluster(restored);
      assert.deepEqual(replacedBecause(restored, await provider.readCluster(clone)), []);
      await provider.deleteCluster(clone);
      assert.equal(await provider.findCluster(clone), undefined);
    });
  }

  await t.test('HSM and cluster go, and going twice is no error', async () => {
    const [hsm] = listOf((await provider.findCluster(id)) ?? {}, 'Hsms');
    const hsmId = textOf(hsm ?? {}, 'HsmId');
    await provider.deleteHsm(id, hsmId);
    await provider.deleteHsm(id, hsmId);
    await provider.deleteCluster(id);
    await provider.deleteCluster('cluster-aaaaaaaaaaa');
    assert.equal(await provider.findCluster(id), undefined);
  });
});
