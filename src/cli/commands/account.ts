/** `keyark account`: the accounts of this Keyark, for its owner. */
import type { Command } from 'commander';
import { isoTime } from '../../kernel/clock.ts';
import { type Context, clientOf, hasOption, textOption, withData, withJson } from '../context.ts';
import { listOf, objectOf, optionalText, optionalTime, textOf } from '../json.ts';
import { printNewKey } from '../new-key.ts';

export function addAccount(program: Command, context: Context): void {
  const account = program
    .command('account')
    .description('accounts: create, list')
    .addHelpText('after', '\nExample:\n  keyark account list');

  const create = account
    .command('create')
    .description("make an account and its root's first access key, whose secret is shown this once")
    .option('--account-id <id>', '12 digits that begin 0000 (default: made up)')
    .option('--label <text>', 'what people call it')
    .addHelpText('after', '\nExample:\n  keyark account create --label payments');
  withJson(withData(create)).action(async () => {
    const { client } = await clientOf(context, create);
    const answer = await client.own('CreateAccount', {
      Account: textOption(create, 'accountId'),
      Name: textOption(create, 'label'),
    });
    if (hasOption(create, 'json')) context.print.json(answer);
    else printNewKey(context, client, objectOf(answer, 'AccessKey'));
  });

  const list = account
    .command('list')
    .description('which accounts there are')
    .addHelpText('after', '\nExample:\n  keyark account list --json');
  withJson(withData(list)).action(async () => {
    const { client } = await clientOf(context, list);
    const answer = await client.own('ListAccounts');
    if (hasOption(list, 'json')) {
      context.print.json(answer);
      return;
    }
    const rows = listOf(answer, 'Accounts').map((each) => {
      const created = optionalTime(each, 'CreateTimestamp');
      return [
        textOf(each, 'Account'),
        optionalText(each, 'Name') ?? '',
        created === undefined ? '' : isoTime(created),
        each['IsOwner'] === true ? 'owns this Keyark' : '',
      ];
    });
    context.print.table(['account', 'name', 'created', ''], rows);
  });
}
