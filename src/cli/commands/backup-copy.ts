/** `keyark backup copy`: to another region, and wait until it is proven there. */
import type { Command } from 'commander';
import { assert } from '../../kernel/errors.ts';
import type { JsonObject } from '../../kernel/types.ts';
import { type Context, clientOf, hasOption, textOption, withData, withJson } from '../context.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';
import { objectOf, textOf } from '../json.ts';
import { printProof, untilReady } from './backup.ts';

/** Joins the group that `backup.ts` has made. */
export function addBackupCopy(program: Command, context: Context): void {
  const backup = program.commands.find((group) => group.name() === 'backup');
  assert(backup !== undefined, 'the group of `keyark backup` is made first');
  const copy = backup
    .command('copy')
    .description('copy a backup to another region, and wait until it is proven there')
    .argument('<backup-id>')
    .requiredOption('--to <region>', 'destination')
    .option('--from <region>', "where the backup is (default: the service's first region)")
    .option('--days <number>', 'how long to keep the copy (default: until it is deleted)')
    .option('--tag <key=value...>', "tags in place of the backup's own")
    .option('--no-wait', 'answer as soon as the copy has begun')
    .addHelpText('after', '\nExample:\n  keyark backup copy backup-… --to eu-west-1 --days 90');
  withJson(withData(copy)).action(async (id: string) => {
    const { client: here } = await clientOf(context, copy);
    const client = here.in(textOption(copy, 'from'));
    const region = textOption(copy, 'to') ?? '';
    const started = objectOf(
      await client.own('CopyBackup', {
        BackupId: id,
        DestinationRegion: region,
        RetentionDays: wholeNumber(textOption(copy, 'days'), '--days'),
        TagList: tagsOf(copy),
      }),
      'Backup',
    );
    const copyId = textOf(started, 'BackupId');
    if (copy.opts()['wait'] === false) {
      if (hasOption(copy, 'json')) context.print.json(started);
      else context.print.line(`${copyId} in ${region}: begun.`);
      return;
    }
    context.print.progress(`${copyId}: copying, opening on a second HSM …`);
    const there = client.in(region);
    const ready = await untilReady(context, there, copyId);
    if (hasOption(copy, 'json')) context.print.json(ready);
    else printProof(context, await there.own('GetBackupProof', { BackupId: copyId }));
  });
}

/** @throws CommandFailed `USAGE`. */
export function wholeNumber(text: string | undefined, flag: string): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,4}$/.test(text)) return Number(text);
  throw new CommandFailed(EXIT.USAGE, `${flag} ${text}: a whole number is expected.`);
}

function tagsOf(command: Command): readonly JsonObject[] | undefined {
  const given: unknown = command.opts()['tag'];
  if (!Array.isArray(given)) return undefined;
  return given.map((tag: unknown) => {
    const [, key, value] = /^([^=]+)=(.*)$/s.exec(String(tag)) ?? [];
    if (key === undefined || value === undefined) {
      throw new CommandFailed(EXIT.USAGE, `--tag ${String(tag)}: key=value is expected.`);
    }
    return { Key: key, Value: value };
  });
}
