/** Finding a cluster's door and standing before it as an officer: what the commands share. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { JsonObject } from '../kernel/types.ts';
import type { Client } from './client.ts';
import type { Context } from './context.ts';
import { CustomerFolder } from './customer.ts';
import { CommandFailed, EXIT } from './exit-codes.ts';
import { listOf, optionalObject, optionalText, textOf } from './json.ts';
import { connectOfficer, type Officer, type OfficerAddress } from './officer.ts';

export type { Officer } from './officer.ts';

/** Opens a line to the HSM that takes the cluster's writes, works, and closes it. */
export async function withOfficer<T>(
  { client, customer }: { client: Client; customer: { trustAnchor(): Promise<string> } },
  clusterId: string,
  work: (officer: Officer) => Promise<T>,
): Promise<T> {
  const door = await client.own('GetClusterDoor', { ClusterId: clusterId });
  await using officer = await connectOfficer({
    address: addressOf(door, clusterId),
    trust: { kind: 'customer-ca', certificate: await customer.trustAnchor() },
    clusterId,
  });
  return await work(officer);
}

function addressOf(door: JsonObject, clusterId: string): OfficerAddress {
  const hsms = listOf(door, 'Hsms').filter((hsm) => hsm['State'] === 'ACTIVE');
  const hsm = hsms.find((each) => each['TakesWrites'] === true) ?? hsms[0];
  const address = hsm && optionalObject(hsm, 'Officers');
  if (address === undefined) {
    throw new CommandFailed(
      EXIT.REFUSED,
      `${clusterId} is ${textOf(door, 'State')} and has no HSM that answers now; \`keyark status\` shows why.`,
    );
  }
  const path = optionalText(address, 'Path');
  if (path !== undefined) return { socketPath: path };
  return { host: textOf(address, 'Host'), port: Number(address['Port']) };
}

/** The folder with what the customer holds of this cluster; undefined when it was made elsewhere. */
export async function customerOf(
  context: Context,
  data: string,
  clusterId: string,
): Promise<CustomerFolder | undefined> {
  for (const name of await customerNames(data)) {
    const folder = new CustomerFolder({ ...context, data, name });
    if ((await folder.read('cluster-id')) === clusterId) return folder;
  }
  return undefined;
}

async function customerNames(data: string): Promise<readonly string[]> {
  try {
    return await readdir(join(data, 'customer'));
  } catch {
    // No folder, or not ours to read: then there is nothing of ours in it.
    return [];
  }
}

/** The customer's CA: from a file that was named, else from our folder. */
export async function trustAnchorOf(
  file: string | undefined,
  customer: CustomerFolder | undefined,
  clusterId: string,
): Promise<string> {
  const anchor = file === undefined ? await customer?.read('ca.crt') : await readFile(file, 'utf8');
  if (anchor !== undefined) return anchor;
  throw new CommandFailed(
    EXIT.USAGE,
    `Whose cluster is ${clusterId}? Give --trust-anchor FILE: the CA certificate it was initialised with.`,
  );
}

/** `--cluster-id`, else KEYARK_CLUSTER_ID, else the only cluster there is. */
export async function chooseCluster(
  client: Client,
  asked: string | undefined,
  fallback: string | undefined,
): Promise<string> {
  const named = asked ?? fallback;
  if (named !== undefined && named !== '') return named;
  const alive = (await client.all('DescribeClusters', 'Clusters')).filter(
    (cluster) => cluster['State'] !== 'DELETED',
  );
  const [only] = alive;
  if (only !== undefined && alive.length === 1) return textOf(only, 'ClusterId');
  throw new CommandFailed(
    EXIT.USAGE,
    alive.length === 0
      ? 'There is no cluster yet. Make one: `keyark up`, or `keyark aws cloudhsmv2 create-cluster …`.'
      : `There are ${alive.length} clusters; say which with --cluster-id. \`keyark cluster list\` shows them.`,
  );
}

/** A cluster as DescribeClusters shows it. */
export async function describeCluster(client: Client, clusterId: string): Promise<JsonObject> {
  const answer = await client.aws('DescribeClusters', { Filters: { clusterIds: [clusterId] } });
  const [cluster] = listOf(answer, 'Clusters');
  if (cluster === undefined) {
    throw new CommandFailed(EXIT.REFUSED, `There is no cluster ${clusterId} here.`);
  }
  return cluster;
}
