/** A cluster as `keyark up` leaves it, made by a client of a running service; and the customer's folder for it. */
import { Client } from '../../src/cli/client.ts';
import { CustomerFolder } from '../../src/cli/customer.ts';
import { findEndpoint } from '../../src/cli/environment.ts';
import { createPrinter } from '../../src/cli/print.ts';
import { makeReady } from '../../src/cli/ready-made.ts';
import { systemClock as clock } from '../../src/kernel/clock.ts';
import { systemRandom as random } from '../../src/kernel/random.ts';

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
