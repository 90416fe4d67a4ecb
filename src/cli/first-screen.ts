/** What `keyark up` says once everything is there. Facts only, asked from the running service. */
import type { Config } from '../config.ts';
import { isoTime } from '../kernel/clock.ts';
import type { EpochMs, JsonObject } from '../kernel/types.ts';
import type { Client } from './client.ts';
import { rootsLines, survivalLines } from './commands/status.ts';
import type { Context } from './context.ts';
import type { CustomerFolder } from './customer.ts';
import { environmentFile } from './environment.ts';
import { listOf, numberOf, objectOf, textOf } from './json.ts';
import { markLines } from './marks.ts';
import { counted } from './print.ts';
import { APP_USER, HSM_TYPE, type ReadyMade } from './ready-made.ts';

export async function firstScreen(parts: {
  context: Context;
  client: Client;
  config: Config;
  customer: CustomerFolder;
  made: ReadyMade;
}): Promise<readonly string[]> {
  const { client, config, customer, made } = parts;
  const status = await client.own('GetStatus');
  const backupId = textOf(made.backup, 'BackupId');
  const proof = await client.own('GetBackupProof', { BackupId: backupId });
  const statement = objectOf(objectOf(proof, 'Proof'), 'statement');
  const counts = objectOf(objectOf(statement, 'opened'), 'counts');
  // Milliseconds since 1970 on the service's clock are what EpochMs brands.
  const provenAt = numberOf(statement, 'provenAt') as EpochMs;
  const where = config.data === defaultDataOf(parts.context) ? '' : ` --data ${config.data}`;
  return [
    ...markLines(status),
    `Keyark runs. ${client.endpoint.url.origin}   data in ${config.data}`,
    '',
    `  ${made.name.padEnd(9)} ${made.clusterId}   ${hsmsOf(status, made.clusterId)}, ${HSM_TYPE}, ${config.home.mode} (not FIPS-validated), profile ${textOf(status, 'Profile')}`,
    `  backup    ${backupId}   proven ${isoTime(provenAt)}: a second HSM restored it (${counted(numberOf(counts, 'users'), 'user')}, ${counted(numberOf(counts, 'keys'), 'key')}), compared, and was wiped`,
    `  clients   ${environmentFile(config.data)}   endpoint, access key, cluster id and PIN (0600)`,
    `  admin     ${customer.file('admin-password')}   user ${APP_USER}: ${customer.file('app-password')}`,
    '',
    ...survivalLines(status),
    ...rootsLines(status),
    '',
    'Next, in another shell:',
    `  1 make a key, see it proven     npx keyark key generate tls${where} && npx keyark status${where}`,
    `  2 ask with AWS's own tool       npx keyark aws${where} cloudhsmv2 describe-backups`,
    `  3 take a backup, read its proof npx keyark backup take${where}`,
    'Stop with Ctrl-C.',
  ];
}

function hsmsOf(status: JsonObject, clusterId: string): string {
  const cluster = listOf(status, 'Clusters').find((each) => each['ClusterId'] === clusterId);
  const count = cluster === undefined ? 0 : numberOf(cluster, 'Hsms');
  return count === 1 ? 'one HSM' : `${count} HSMs`;
}

function defaultDataOf({ around }: Context): string {
  return around.isRoot ? '/var/lib/keyark' : `${around.home}/.local/share/keyark`;
}
