/** Credentials that were just made, as lines for a shell. What explains them goes to stderr. */
import type { JsonObject } from '../kernel/types.ts';
import type { Client } from './client.ts';
import type { Context } from './context.ts';
import { optionalText, textOf } from './json.ts';

export function printNewKey({ print }: Context, client: Client, key: JsonObject): void {
  const { url, region } = client.endpoint;
  const sessionToken = optionalText(key, 'SessionToken');
  const account = optionalText(key, 'Account');
  const user = optionalText(key, 'UserName');
  if (account !== undefined) print.note(`A key of ${user ?? 'the root'} of account ${account}.`);
  print.note('The secret is shown this once; nobody can show it again.');
  const variables = [
    ['AWS_ENDPOINT_URL_CLOUDHSM_V2', url.origin],
    ['AWS_ENDPOINT_URL', url.origin],
    ['AWS_REGION', region],
    ['AWS_DEFAULT_REGION', region],
    ['AWS_ACCESS_KEY_ID', textOf(key, 'AccessKeyId')],
    ['AWS_SECRET_ACCESS_KEY', textOf(key, 'SecretAccessKey')],
    ...(sessionToken === undefined ? [] : [['AWS_SESSION_TOKEN', sessionToken]]),
  ];
  for (const [name, value] of variables) print.line(`export ${name}='${value}'`);
  // A token of former credentials would be sent along with the new ones.
  if (sessionToken === undefined) print.line('unset AWS_SESSION_TOKEN');
}
