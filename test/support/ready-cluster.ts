/** A cluster as `keyark up` leaves it, made by a client of a running service; and the customer's folder for it. */
import { Client } from '../../src/cli/client.ts';
import { CustomerFolder } from '../../src/cli/customer.ts';
import { findEndpoint } from '../../src/cli/environment.ts';
import { listOf, objectOf, textOf } from '../../src/cli/json.ts';
import { describeCluster } from '../../src/cli/officers.ts';
import { createPrinter } from '../../src/cli/print.ts';
import { makeReady } from '../../src/cli/ready-made.ts';
import { waitFor } from '../../src/cli/wait.ts';
import { systemClock as clock } from '../../src/kernel/clock.ts';
import { systemRandom as random } from '../../src/kernel/random.ts';
import type { JsonObject } from '../../src/kernel/types.ts';

const WAIT_MS = 60_000;

export interface ReadyCluster {
  readonly client: Client;
  readonly customer: CustomerFolder;
  readonly clusterId: string;
}

/** Safe to repeat, also after a restart: the client is then one of the new service. */
export async function readyCluster(at: {
  /** The service's data folder. */
  readonly data: string;
  /** Where the customer keeps what the service never sees. */
  readonly customers: string;
}): Promise<ReadyCluster> {
  const client = await clientOf(at.data);
  const customer = new CustomerFolder({ data: at.customers, name: 'home', clock, random });
  const around = { env: {}, home: at.data, cwd: at.data, isRoot: false, isTerminal: false };
  const print = createPrinter(process.stdout, process.stderr);
  const { clusterId } = await makeReady({
    client,
    customer,
    context: { print, clock, random, around, endWith: () => {} },
    home: { name: 'home', mode: 'NON_FIPS' },
    signal: new AbortController().signal,
  });
  return { client, customer, clusterId };
}

/** As commands find it: by `DATA/env`. */
export const clientOf = async (data: string): Promise<Client> =>
  new Client(await findEndpoint({ data }, {}), clock);

/** All HSMs go, each after its backup, and one new HSM is made of the newest. */
export async function replaceHsms(client: Client, clusterId: string): Promise<void> {
  const cluster = await describeCluster(client, clusterId);
  const hsms = async () => listOf(await describeCluster(client, clusterId), 'Hsms');
  for (const hsm of listOf(cluster, 'Hsms')) {
    await client.aws('DeleteHsm', { ClusterId: clusterId, HsmId: textOf(hsm, 'HsmId') });
  }
  await waitFor(clock, { until: 'no HSM is left', atMostMs: WAIT_MS }, async () =>
    (await hsms()).length === 0 ? true : undefined,
  );
  await addHsm(client, cluster);
  await waitFor(clock, { until: 'the new HSM is ACTIVE', atMostMs: WAIT_MS }, async () =>
    (await hsms())[0]?.['State'] === 'ACTIVE' ? true : undefined,
  );
}

/** Starts to; `cluster` is as DescribeClusters showed it. */
export async function addHsm(client: Client, cluster: JsonObject): Promise<void> {
  const [AvailabilityZone] = Object.keys(objectOf(cluster, 'SubnetMapping'));
  await client.aws('CreateHsm', { ClusterId: textOf(cluster, 'ClusterId'), AvailabilityZone });
}
