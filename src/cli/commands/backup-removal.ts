/** `keyark backup delete`, `undelete`, `retention`, `deletion-record`: how backups go, and how they do not. */
import type { Command } from 'commander';
import { isoTime } from '../../kernel/clock.ts';
import type { EpochMs, JsonObject } from '../../kernel/types.ts';
import type { Client } from '../client.ts';
import { confirm } from '../confirm.ts';
import { type Context, clientOf, hasOption, textOption, withData, withJson } from '../context.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';
import { listOf, numberOf, objectOf, optionalText, optionalTime, textOf } from '../json.ts';
import { rehearsalMark } from '../marks.ts';

export function addBackupRemoval(backup: Command, context: Context): void {
  const remove = backup
    .command('delete')
    .description('delete a backup: it can be brought back for 7 days, then it is gone for good')
    .argument('<backup-id>', 'its whole id')
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  keyark backup delete backup-…');
  withJson(withData(remove)).action(async (id: string) => {
    const { client } = await clientOf(context, remove);
    const plan = await deletionPlan(client, id);
    await confirm(context, { plan, name: id, isYes: hasOption(remove, 'yes') });
    const answer = await client.aws('DeleteBackup', { BackupId: id });
    if (hasOption(remove, 'json')) context.print.json(answer);
    else {
      const until = timeText(objectOf(answer, 'Backup'), 'DeleteTimestamp');
      context.print.line(`${id} goes at ${until}. Until then: keyark backup undelete ${id}`);
    }
  });

  const undelete = backup
    .command('undelete')
    .description('bring a deleted backup back, within 7 days (AWS calls it RestoreBackup)')
    .argument('<backup-id>')
    .addHelpText('after', '\nExample:\n  keyark backup undelete backup-…');
  withJson(withData(undelete)).action(async (id: string) => {
    const { client } = await clientOf(context, undelete);
    const answer = await client.aws('RestoreBackup', { BackupId: id });
    if (hasOption(undelete, 'json')) context.print.json(answer);
    else {
      context.print.line(
        `${id} is READY again. Retention and thinning leave it alone for 7 days, or until its policy is changed; in the profile aws-exact the next purge takes it again, as AWS's does.`,
      );
    }
  });

  const retention = backup
    .command('retention')
    .description('give a copy in another region a retention of its own; AWS has none for copies')
    .requiredOption('--backup-id <id>', 'the copy')
    .option('--days <days>', '7 to 379, counted from the copying')
    .option('--none', 'kept until deleted by hand, as copies are at first')
    .addHelpText('after', '\nExample:\n  keyark backup retention --backup-id backup-… --days 30');
  withJson(withData(retention)).action(async () => {
    const days = textOption(retention, 'days');
    if ((days === undefined) !== hasOption(retention, 'none')) {
      throw new CommandFailed(EXIT.USAGE, 'Give either --days or --none. Nothing was changed.');
    }
    if (days !== undefined && !/^\d{1,4}$/.test(days)) {
      throw new CommandFailed(EXIT.USAGE, `"${days}" is no number of days. Nothing was changed.`);
    }
    const { client } = await clientOf(context, retention);
    const id = textOption(retention, 'backupId') ?? '';
    const answer = await client.own('ModifyBackupRetention', {
      BackupId: id,
      ...(days === undefined ? {} : { Days: Number(days) }),
    });
    if (hasOption(retention, 'json')) context.print.json(answer);
    else {
      context.print.line(
        days === undefined
          ? `${id} is kept until somebody deletes it.`
          : `${id} is kept for ${days} days from its copying.`,
      );
    }
  });

  const record = backup
    .command('deletion-record')
    .description('what was removed of a DELETED backup, and that it was found absent')
    .argument('<backup-id>')
    .addHelpText('after', '\nExample:\n  keyark backup deletion-record backup-… --json');
  withJson(withData(record)).action(async (id: string) => {
    const { client } = await clientOf(context, record);
    const answer = await client.own('GetDeletionRecord', { BackupId: id });
    if (hasOption(record, 'json')) context.print.json(answer);
    else printRecord(context, answer);
  });
}

/** The facts that make a person stop. */
async function deletionPlan(client: Client, id: string): Promise<readonly string[]> {
  const [backup] = await client.all('DescribeBackups', 'Backups', { Filters: { backupIds: [id] } });
  if (backup === undefined) {
    throw new CommandFailed(EXIT.REFUSED, `There is no backup ${id} here. Nothing was deleted.`);
  }
  const clusterId = textOf(backup, 'ClusterId');
  const ready = await client.all('DescribeBackups', 'Backups', {
    Filters: { clusterIds: [clusterId], states: ['READY'] },
  });
  const others = ready.filter((each) => each['BackupId'] !== id).length;
  return [
    `Delete ${id} of ${clusterId}, taken ${timeText(backup, 'CreateTimestamp')}.`,
    others === 0
      ? `  It is the LAST READY backup of ${clusterId}: once it is gone, nothing of that cluster can be restored.`
      : `  ${others} other READY backup${others === 1 ? '' : 's'} of that cluster stay.`,
    '  It can be brought back for 7 days; then key records and body are destroyed.',
  ];
}

function printRecord({ print }: Context, answer: JsonObject): void {
  const profile = optionalText(answer, 'Profile');
  const now = textOf(objectOf(answer, 'AnsweredBy'), 'Profile');
  const about = profile ?? `not recorded; it is ${now} now`;
  print.line(
    `${rehearsalMark(answer)}${textOf(answer, 'BackupId')} is DELETED since ${timeText(answer, 'DeletedAt')} (profile ${about})`,
  );
  print.line(`  why: ${textOf(answer, 'Why')}`);
  const parts = listOf(answer, 'Parts');
  if (parts.length === 0) {
    print.line('  There is no record of parts: nothing of it was stored when it ended.');
    return;
  }
  print.table(
    ['  removed', 'at', 'found absent at'],
    parts.map((part) => [
      `  ${textOf(part, 'Name')}`,
      precise(part, 'RemovedAt'),
      precise(part, 'AbsentAt'),
    ]),
  );
}

// Seconds times a thousand are milliseconds.
const precise = (object: JsonObject, name: string): string =>
  new Date(Math.round(numberOf(object, name) * 1000)).toISOString();

function timeText(object: JsonObject, name: string): string {
  const at: EpochMs | undefined = optionalTime(object, name);
  return at === undefined ? 'an unknown time' : isoTime(at);
}
