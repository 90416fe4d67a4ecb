/** `keyark credential`: access keys of an account's root or users, and temporary credentials. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { isoTime } from '../../kernel/clock.ts';
import type { JsonObject } from '../../kernel/types.ts';
import { confirm } from '../confirm.ts';
import { type Context, clientOf, hasOption, textOption, withData, withJson } from '../context.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';
import { listOf, objectOf, optionalText, optionalTime, textOf } from '../json.ts';
import { printNewKey } from '../new-key.ts';
import { ago } from '../print.ts';

const UNIT_SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600 };

export function addCredential(program: Command, context: Context): void {
  const credential = program
    .command('credential')
    .description('access keys: create, list, disable, enable, remove; session: temporary ones')
    .addHelpText('after', '\nExample:\n  keyark credential list');

  const create = withHolder(credential.command('create'))
    .description('make an access key; its secret is shown this once')
    .addHelpText('after', '\nExample:\n  eval "$(keyark credential create --user ada)"');
  withJson(withData(create)).action(async () => {
    const { client } = await clientOf(context, create);
    const answer = await client.own('CreateAccessKey', holderOf(create));
    if (hasOption(create, 'json')) context.print.json(answer);
    else printNewKey(context, client, objectOf(answer, 'AccessKey'));
  });

  const list = withHolder(credential.command('list'))
    .description('access keys and when they were last used; never their secrets')
    .addHelpText('after', '\nExample:\n  keyark credential list --user ada');
  withJson(withData(list)).action(async () => {
    const { client } = await clientOf(context, list);
    const answer = await client.own('ListAccessKeys', holderOf(list));
    if (hasOption(list, 'json')) context.print.json(answer);
    else {
      const rows = listOf(answer, 'AccessKeys').map((key) => rowOf(context, key));
      context.print.table(['access key', 'of', 'status', 'created', 'last used'], rows);
    }
  });

  for (const [word, status, what] of [
    ['disable', 'Inactive', 'switch a key off; sessions made from it end for good'],
    ['enable', 'Active', 'switch a key on again'],
  ] as const) {
    const change = credential
      .command(word)
      .description(what)
      .argument('<access-key-id>')
      .addHelpText('after', `\nExample:\n  keyark credential ${word} KEYARKABCDEFGHIJKLMN`);
    withData(change).action(async (id: string) => {
      const { client } = await clientOf(context, change);
      await client.own('UpdateAccessKey', { AccessKeyId: id, Status: status });
      context.print.line(`${id} is ${status === 'Active' ? 'on' : 'off'}.`);
    });
  }

  const remove = credential
    .command('remove')
    .description('remove a key for good, and the sessions made from it')
    .argument('<access-key-id>')
    .addHelpText('after', '\nExample:\n  keyark credential remove KEYARKABCDEFGHIJKLMN --yes');
  withData(remove.option('--yes', 'do not ask')).action(async (id: string) => {
    const { client } = await clientOf(context, remove);
    await confirm(context, {
      plan: [`${id} and every session made from it stop working for good.`],
      name: id,
      isYes: hasOption(remove, 'yes'),
    });
    await client.own('DeleteAccessKey', { AccessKeyId: id });
    context.print.line(`${id} is gone.`);
  });

  const session = credential
    .command('session')
    .description('temporary credentials with what you may do, or less')
    .option('--duration <time>', '15m to 36h', '12h')
    .option('--policy <file>', 'a policy document that narrows them further')
    .addHelpText(
      'after',
      '\nExample:\n  eval "$(keyark credential session --duration 1h --policy read-only.json)"',
    );
  withJson(withData(session)).action(async () => {
    const { client } = await clientOf(context, session);
    const file = textOption(session, 'policy');
    const answer = await client.own('GetSessionToken', {
      DurationSeconds: secondsIn(textOption(session, 'duration') ?? ''),
      Policy: file === undefined ? undefined : await readFile(file, 'utf8'),
    });
    if (hasOption(session, 'json')) {
      context.print.json(answer);
      return;
    }
    const made = objectOf(answer, 'Credentials');
    const until = optionalTime(made, 'Expiration');
    if (until !== undefined) context.print.note(`Good until ${isoTime(until)}.`);
    printNewKey(context, client, made);
  });
}

function withHolder(command: Command): Command {
  return command
    .option('--user <name>', "this user's (default: your own)")
    .option('--account-id <id>', "another account's root's, for the owner of this Keyark");
}

const holderOf = (command: Command): JsonObject => ({
  UserName: textOption(command, 'user'),
  Account: textOption(command, 'accountId'),
});

function rowOf({ clock }: Context, key: JsonObject): readonly string[] {
  const created = optionalTime(key, 'CreateTimestamp');
  const used = optionalTime(key, 'LastUsedTimestamp');
  return [
    textOf(key, 'AccessKeyId'),
    optionalText(key, 'UserName') ?? 'root',
    textOf(key, 'Status'),
    created === undefined ? '' : isoTime(created),
    used === undefined ? 'never' : ago(used, clock.now()),
  ];
}

/** `90s`, `15m`, `12h`. */
function secondsIn(text: string): number {
  const [, number, unit] = /^(\d{1,6})([smh])$/.exec(text) ?? [];
  const factor = UNIT_SECONDS[unit ?? ''];
  if (number !== undefined && factor !== undefined) return Number(number) * factor;
  throw new CommandFailed(EXIT.USAGE, `"${text}" is no time; one looks like 90s, 15m or 12h.`);
}
