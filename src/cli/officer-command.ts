/** What commands that stand before an HSM share: which cluster, which CA, who logs in. */
import type { Command } from 'commander';
import { type Context, clientOf, textOption, withData } from './context.ts';
import type { CustomerFolder } from './customer.ts';
import { chooseCluster, customerOf, type Officer, trustAnchorOf, withOfficer } from './officers.ts';
import { APP_USER } from './ready-made.ts';
import { readSecret } from './secret-input.ts';

export interface Login {
  readonly username: string;
  readonly role: 'admin' | 'crypto-user';
}

export const ADMIN: Login = { username: 'admin', role: 'admin' };

/** Adds `--cluster-id`, `--trust-anchor` and `--data`. */
export function withCluster(command: Command): Command {
  return withData(command)
    .option('--cluster-id <id>', 'which cluster (default: KEYARK_CLUSTER_ID, or the only one)')
    .option('--trust-anchor <file>', 'CA certificate the cluster was initialised with');
}

/** Adds `--as` and `--password-file` too. */
export function withLogin(command: Command, standard: string): Command {
  return withCluster(command)
    .option('--as <user>', `who logs in (default: ${standard})`)
    .option(
      '--password-file <file>',
      'the password of that user (default: what `up` kept, or asks)',
    );
}

/** Logs in as `standard`, or whom `--as` names, and works. */
export function asOfficer<T>(
  context: Context,
  command: Command,
  standard: Login,
  work: (officer: Officer) => Promise<T>,
): Promise<T> {
  return atDoor(context, command, async (officer, customer) => {
    const username = textOption(command, 'as') ?? standard.username;
    const password = await passwordOf(context, command, username, customer);
    await officer.call('login', { username, role: standard.role, password });
    return await work(officer);
  });
}

/** Works without a login: what anybody at the door may ask. */
export async function atDoor<T>(
  context: Context,
  command: Command,
  work: (officer: Officer, customer: CustomerFolder | undefined) => Promise<T>,
): Promise<T> {
  const { client, data, clusterId: fallback } = await clientOf(context, command);
  const clusterId = await chooseCluster(client, textOption(command, 'clusterId'), fallback);
  const customer = await customerOf(context, data, clusterId);
  const anchorFile = textOption(command, 'trustAnchor');
  const trustAnchor = () => trustAnchorOf(anchorFile, customer, clusterId);
  return await withOfficer({ client, customer: { trustAnchor } }, clusterId, (officer) =>
    work(officer, customer),
  );
}

/** The file that was named, else what `keyark up` kept for the users it made, else a question. */
async function passwordOf(
  context: Context,
  command: Command,
  username: string,
  customer: CustomerFolder | undefined,
): Promise<string> {
  const file = textOption(command, 'passwordFile');
  if (file === undefined) {
    const kept = { [ADMIN.username]: 'admin-password', [APP_USER]: 'app-password' } as const;
    const name = username === ADMIN.username || username === APP_USER ? kept[username] : undefined;
    const password = name && (await customer?.read(name));
    if (password !== undefined) return password;
  }
  return await readSecret(context, { prompt: `Password of ${username}: `, file });
}
