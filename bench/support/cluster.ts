/** A ready cluster of a bench's own service: filled, backed up and restored by its clients. */
import type { Context } from '../../src/cli/context.ts';
import { CustomerFolder } from '../../src/cli/customer.ts';
import { listOf, objectOf, textOf } from '../../src/cli/json.ts';
import { type Officer, withOfficer } from '../../src/cli/officers.ts';
import { createPrinter } from '../../src/cli/print.ts';
import { APP_USER, makeReady } from '../../src/cli/ready-made.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import type { BenchService } from './service.ts';

const OFFICERS = 4;
const CALLS_UNDER_WAY = 4;

export interface ClusterOfBench {
  readonly service: BenchService;
  readonly customer: CustomerFolder;
  readonly clusterId: string;
}

export async function readyCluster(service: BenchService): Promise<ClusterOfBench> {
  const signal = new AbortController().signal;
  const context = contextOfBench(service);
  const customer = new CustomerFolder({ ...context, data: service.data, name: 'bench' });
  const home = { name: 'bench', mode: 'NON_FIPS' } as const;
  const { client } = service;
  const { clusterId } = await makeReady({ client, customer, context, home, signal });
  return { service, customer, clusterId };
}

function contextOfBench({ data }: BenchService): Context {
  return {
    print: createPrinter(process.stdout, process.stderr),
    clock: systemClock,
    random: systemRandom,
    around: { env: {}, home: data, cwd: data, isRoot: false, isTerminal: false },
    endWith: () => {},
  };
}

export type Call = readonly [name: string, params: JsonObject];

/** Over several connections, with a few calls under way on each. */
export async function callAll(cluster: ClusterOfBench, calls: readonly Call[]): Promise<void> {
  const left = calls.values();
  const connection = async (officer: Officer): Promise<void> => {
    const password = await cluster.customer.password('app-password');
    await officer.call('login', { username: APP_USER, role: 'crypto-user', password });
    const line = async (): Promise<void> => {
      for (const [name, params] of left) await officer.call(name, params);
    };
    await Promise.all(Array.from({ length: CALLS_UNDER_WAY }, line));
  };
  const { customer, clusterId } = cluster;
  const parts = { client: cluster.service.client, customer };
  await Promise.all(
    Array.from({ length: OFFICERS }, () => withOfficer(parts, clusterId, connection)),
  );
}

/** From the call until the service says that the backup is proven, which is when it is READY. */
export async function backUp({ service, clusterId }: ClusterOfBench) {
  const done = service.hear((event) => /^backup(Proven|Failed)$/.test(textOf(event, 'kind')));
  const start = performance.now();
  await service.client.own('TakeBackup', { ClusterId: clusterId });
  const { event, at } = await done;
  if (event['kind'] !== 'backupProven') throw new Error(`the backup failed: ${event['why']}`);
  return { ms: at - start, proven: event };
}

/** From CreateHsm until the new HSM is ACTIVE; the one before it is deleted first. */
export async function restore({ service, clusterId }: ClusterOfBench): Promise<number> {
  const { client } = service;
  const filters = { Filters: { clusterIds: [clusterId] } };
  const [cluster = {}] = listOf(await client.aws('DescribeClusters', filters), 'Clusters');
  const [hsm = {}] = listOf(cluster, 'Hsms');
  const HsmId = textOf(hsm, 'HsmId');
  const deleted = service.hear((event) => event['hsmId'] === HsmId && event['state'] === 'DELETED');
  await client.aws('DeleteHsm', { ClusterId: clusterId, HsmId });
  await deleted;

  const [AvailabilityZone] = Object.keys(objectOf(cluster, 'SubnetMapping'));
  const ready = service.hear(
    (event) =>
      event['clusterId'] === clusterId && /^(ACTIVE|DEGRADED)$/.test(String(event['state'])),
  );
  const start = performance.now();
  await client.aws('CreateHsm', { ClusterId: clusterId, AvailabilityZone });
  const { event, at } = await ready;
  if (event['state'] !== 'ACTIVE') throw new Error(`the restore failed: ${event['why']}`);
  return at - start;
}
