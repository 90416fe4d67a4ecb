/** `keyark hold`: backups that nobody deletes or shortens, for a time or until it is lifted. */
import type { Command } from 'commander';
import { isoTime } from '../../kernel/clock.ts';
import type { JsonObject } from '../../kernel/types.ts';
import { confirm } from '../confirm.ts';
import { type Context, clientOf, hasOption, textOption, withData, withJson } from '../context.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';
import { listOf, optionalTime, textOf } from '../json.ts';
import { bindText } from '../marks.ts';
import { parseDate } from '../time-words.ts';

export function addHold(program: Command, context: Context): void {
  const hold = program
    .command('hold')
    .description('backups that must not go: set, list, lift')
    .addHelpText('after', '\nExample:\n  keyark hold list');

  const set = hold
    .command('set')
    .description('hold a READY backup until a date (nobody can end that), or until it is lifted')
    .requiredOption('--backup-id <id>', 'which backup')
    .requiredOption('--why <reason>', 'for whoever meets the hold later')
    .option('--until <date>', 'compliance hold: 2027-01-31 (to its end) or 2027-01-31T12:00:00Z')
    .option('--legal', 'legal hold: until `keyark hold lift`')
    .option('--yes', 'do not ask')
    .addHelpText(
      'after',
      '\nExample:\n  keyark hold set --backup-id backup-… --until 2027-01-31 --why "audit Q4"\n\nA compliance hold can be prolonged and never shortened.',
    );
  withJson(withData(set)).action(async () => {
    const until = textOption(set, 'until');
    if ((until === undefined) !== hasOption(set, 'legal')) {
      throw new CommandFailed(EXIT.USAGE, 'Give either --until or --legal. Nothing was held.');
    }
    const id = textOption(set, 'backupId') ?? '';
    const terms = until === undefined ? { Legal: true } : { Until: parseDate(until) / 1000 };
    const { client } = await clientOf(context, set);
    if (until !== undefined) {
      const plan = [
        `Hold ${id} until ${isoTime(parseDate(until))}.`,
        '  Until then nobody can delete or shorten it, you included; the date can only be moved away.',
      ];
      await confirm(context, { plan, name: id, isYes: hasOption(set, 'yes') });
    }
    const why = textOption(set, 'why') ?? '';
    const answer = await client.own('SetHold', { BackupId: id, Why: why, ...terms });
    if (hasOption(set, 'json')) context.print.json(answer);
    else context.print.line(`${id} is held. All holds: keyark hold list`);
  });

  const list = hold
    .command('list')
    .description('what is held, why and by whom, and whom it binds')
    .addHelpText('after', '\nExample:\n  keyark hold list');
  withJson(withData(list)).action(async () => {
    const { client } = await clientOf(context, list);
    const answer = await client.own('ListHolds');
    if (hasOption(list, 'json')) context.print.json(answer);
    else printHolds(context, listOf(answer, 'Backups'));
  });

  const lift = hold
    .command('lift')
    .description('end a legal hold; a compliance hold ends by its date only')
    .requiredOption('--backup-id <id>', 'which backup')
    .option('--yes', 'do not ask')
    .addHelpText('after', '\nExample:\n  keyark hold lift --backup-id backup-…');
  withJson(withData(lift)).action(async () => {
    const id = textOption(lift, 'backupId') ?? '';
    const { client } = await clientOf(context, lift);
    const plan = [`Lift the legal hold of ${id}.`, '  Retention then takes it when it is due.'];
    await confirm(context, { plan, name: id, isYes: hasOption(lift, 'yes') });
    const answer = await client.own('LiftHold', { BackupId: id });
    if (hasOption(lift, 'json')) context.print.json(answer);
    else context.print.line(`${id} is under no legal hold any more.`);
  });
}

function printHolds({ print }: Context, backups: readonly JsonObject[]): void {
  if (backups.length === 0) {
    print.line('Nothing is held.');
    return;
  }
  const rows = backups.flatMap((backup) =>
    listOf(backup, 'Holds').map((hold) => {
      const until = optionalTime(hold, 'Until');
      return [
        textOf(backup, 'BackupId'),
        textOf(hold, 'Kind'),
        until === undefined ? 'lifted' : isoTime(until),
        backup['IsInVault'] === true ? 'yes' : 'NO',
        textOf(hold, 'By'),
        textOf(hold, 'Why'),
      ];
    }),
  );
  print.table(['backup', 'kind', 'until', 'in the vault', 'set by', 'why'], rows);
  const isStore = backups.every((backup) => backup['Binds'] === 'store');
  print.line(`Whom it binds: ${bindText(isStore ? 'store' : 'service')}`);
}
