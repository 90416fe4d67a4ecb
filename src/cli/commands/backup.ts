/** `keyark backup`: list, take, and show the proof that a second HSM opened one. */
import type { Command } from 'commander';
import { isoTime, MINUTE_MS } from '../../kernel/clock.ts';
import type { JsonObject } from '../../kernel/types.ts';
import type { Client } from '../client.ts';
import { type Context, clientOf, hasOption, textOption, withData, withJson } from '../context.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';
import { listOf, numberOf, objectOf, optionalText, optionalTime, textOf } from '../json.ts';
import { rehearsalMark } from '../marks.ts';
import { chooseCluster } from '../officers.ts';
import { counted } from '../print.ts';
import { waitFor } from '../wait.ts';
import { addBackupRemoval } from './backup-removal.ts';
import { addBackupWait } from './backup-wait.ts';

const TAKE_MS = 10 * MINUTE_MS;

export function addBackup(program: Command, context: Context): void {
  const backup = program
    .command('backup')
    .description('backups: list, take, wait, proof, copy, delete and bring back')
    .addHelpText('after', '\nExample:\n  keyark backup take     then: keyark backup list');

  const list = backup
    .command('list')
    .description('backups, newest first')
    .option('--cluster-id <id>', 'of this cluster only')
    .addHelpText('after', '\nExample:\n  keyark backup list');
  withJson(withData(list)).action(async () => {
    const { client } = await clientOf(context, list);
    const clusterId = textOption(list, 'clusterId');
    const filters = clusterId === undefined ? {} : { Filters: { clusterIds: [clusterId] } };
    const backups = await client.all('DescribeBackups', 'Backups', filters);
    if (hasOption(list, 'json')) context.print.json({ Backups: backups });
    else context.print.table(['backup', 'cluster', 'state', 'created'], backups.map(row));
  });

  const take = backup
    .command('take')
    .description('take a backup now, and wait until another HSM has opened it')
    .option('--cluster-id <id>', 'of which cluster (default: KEYARK_CLUSTER_ID, or the only one)')
    .addHelpText('after', '\nExample:\n  keyark backup take');
  withJson(withData(take)).action(async () => {
    const { client, clusterId: fallback } = await clientOf(context, take);
    const clusterId = await chooseCluster(client, textOption(take, 'clusterId'), fallback);
    const started = objectOf(await client.own('TakeBackup', { ClusterId: clusterId }), 'Backup');
    const id = textOf(started, 'BackupId');
    context.print.progress(`${id}: sealing, storing, opening on a second HSM …`);
    const ready = await untilReady(context, client, id);
    if (hasOption(take, 'json')) context.print.json(ready);
    else printProof(context, await client.own('GetBackupProof', { BackupId: id }));
  });

  addBackupWait(backup, context);

  const proof = backup
    .command('proof')
    .description('what was restored and compared before this backup was called READY')
    .argument('<backup-id>')
    .addHelpText('after', '\nExample:\n  keyark backup proof backup-… --json > proof.json');
  withJson(withData(proof)).action(async (id: string) => {
    const { client } = await clientOf(context, proof);
    const answer = await client.own('GetBackupProof', { BackupId: id });
    if (hasOption(proof, 'json')) context.print.json(answer);
    else printProof(context, answer);
  });

  addBackupRemoval(backup, context);
}

export async function untilReady(
  context: Context,
  client: Client,
  id: string,
): Promise<JsonObject> {
  return await waitFor(context.clock, { until: `${id} is READY`, atMostMs: TAKE_MS }, async () => {
    const [seen] = await client.all('DescribeBackups', 'Backups', { Filters: { backupIds: [id] } });
    if (seen?.['BackupState'] === 'CREATE_IN_PROGRESS') return undefined;
    if (seen?.['BackupState'] === 'READY') return seen;
    throw new CommandFailed(
      EXIT.FAILED,
      `[NOT_PROVEN] ${id} did not become READY; the service's log says why. Earlier backups are untouched.`,
    );
  });
}

function row(backup: JsonObject): readonly string[] {
  const created = optionalTime(backup, 'CreateTimestamp');
  return [
    textOf(backup, 'BackupId'),
    textOf(backup, 'ClusterId'),
    textOf(backup, 'BackupState'),
    created === undefined ? '' : isoTime(created),
  ];
}

export function printProof({ print }: Context, answer: JsonObject): void {
  const statement = objectOf(objectOf(answer, 'Proof'), 'statement');
  const opened = objectOf(statement, 'opened');
  const counts = objectOf(opened, 'counts');
  const tried = listOf(objectOf(statement, 'exercised'), 'tried').filter(
    (kind) => numberOf(kind, 'present') > 0,
  );
  const profile = optionalText(answer, 'Profile');
  print.line(
    `${rehearsalMark(answer)}${textOf(answer, 'BackupId')} is proven${profile === undefined ? '' : ` (profile ${profile})`}:`,
  );
  print.line(
    `  opened on HSM ${textOf(statement, 'drillSerial')}, which was wiped afterwards: ` +
      `${counted(numberOf(counts, 'users'), 'user')}, ${counted(numberOf(counts, 'keys'), 'key')}, state digest equal`,
  );
  for (const kind of tried) {
    print.line(
      `  ${textOf(kind, 'kind')}: ${numberOf(kind, 'tried')} of ${numberOf(kind, 'present')} tried, ${numberOf(kind, 'failed')} failed`,
    );
  }
  print.line(
    `  stored: ${numberOf(answer, 'StoredBytes')} bytes, SHA-256 ${textOf(answer, 'StoredBodySha256')}`,
  );
  const left = statement['notExercised'];
  if (Array.isArray(left) && left.length > 0) print.line(`  not exercised: ${left.join('; ')}`);
}
