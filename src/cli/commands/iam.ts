/** `keyark iam`: users of the API and what they may do. Users inside an HSM are `keyark user`'s. */
import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { confirm } from '../confirm.ts';
import { type Context, clientOf, hasOption, textOption, withData, withJson } from '../context.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';
import { listOf, textOf } from '../json.ts';

export function addIam(program: Command, context: Context): void {
  const iam = program
    .command('iam')
    .description("the API's users and what they may do")
    .addHelpText('after', '\nExample:\n  keyark iam user list');
  addUsers(iam, context);
  addPolicies(iam, context);
}

function addUsers(iam: Command, context: Context): void {
  const user = iam.command('user').description('users of the account: create, list, remove');

  const create = user
    .command('create')
    .description('make a user, who may do nothing until a policy allows it')
    .argument('<name>')
    .addHelpText('after', '\nExample:\n  keyark iam user create ada');
  withJson(withData(create)).action(async (name: string) => {
    const { client } = await clientOf(context, create);
    const answer = await client.own('CreateIamUser', { UserName: name });
    if (hasOption(create, 'json')) context.print.json(answer);
    else {
      context.print.line(
        `${name} may do nothing yet. Next: keyark iam policy put ${name} --managed AWSCloudHSMReadOnlyAccess; keyark credential create --user ${name}`,
      );
    }
  });

  const list = user
    .command('list')
    .description('users, their policies and how many keys they have')
    .addHelpText('after', '\nExample:\n  keyark iam user list');
  withJson(withData(list)).action(async () => {
    const { client } = await clientOf(context, list);
    const answer = await client.own('ListIamUsers');
    if (hasOption(list, 'json')) {
      context.print.json(answer);
      return;
    }
    const rows = listOf(answer, 'Users').map((each) => {
      const policies = each['Policies'];
      return [
        textOf(each, 'UserName'),
        String(each['AccessKeys']),
        Array.isArray(policies) ? policies.join(', ') : '',
      ];
    });
    context.print.table(['user', 'keys', 'policies'], rows);
  });

  const remove = user
    .command('remove')
    .description('remove a user with all keys and sessions')
    .argument('<name>')
    .addHelpText('after', '\nExample:\n  keyark iam user remove ada --yes');
  withData(remove.option('--yes', 'do not ask')).action(async (name: string) => {
    const { client } = await clientOf(context, remove);
    await confirm(context, {
      plan: [`${name}, every key and every session of ${name} stop working.`],
      name,
      isYes: hasOption(remove, 'yes'),
    });
    await client.own('DeleteIamUser', { UserName: name });
    context.print.line(`${name} is gone.`);
  });
}

function addPolicies(iam: Command, context: Context): void {
  const policy = iam.command('policy').description("a user's policies: put, list, remove");

  const put = policy
    .command('put')
    .description('set a policy from a file, or one that comes with Keyark')
    .argument('<user>')
    .option('--name <name>', 'what it is called')
    .option('--file <file>', 'the document, in JSON')
    .option(
      '--managed <name>',
      'AWSCloudHSMFullAccess, AWSCloudHSMReadOnlyAccess, KeyarkFullAccess or KeyarkReadOnlyAccess',
    )
    .addHelpText(
      'after',
      '\nExample:\n  keyark iam policy put ada --name backups --file backups.json\n  keyark iam policy put ada --managed AWSCloudHSMReadOnlyAccess',
    );
  withData(put).action(async (user: string) => {
    const [name, file, managed] = ['name', 'file', 'managed'].map((each) => textOption(put, each));
    const isWhole =
      managed === undefined ? name !== undefined && file !== undefined : !name && !file;
    if (!isWhole) {
      throw new CommandFailed(
        EXIT.USAGE,
        'Give --name and --file, or --managed alone; nothing was changed.',
      );
    }
    const { client } = await clientOf(context, put);
    await client.own('PutUserPolicy', {
      UserName: user,
      PolicyName: managed ?? name,
      PolicyDocument: file === undefined ? undefined : await readFile(file, 'utf8'),
    });
    context.print.line(`${user} has the policy ${managed ?? name}; it counts from now on.`);
  });

  const list = policy
    .command('list')
    .description("a user's policies with their documents")
    .argument('<user>')
    .addHelpText('after', '\nExample:\n  keyark iam policy list ada --json');
  withJson(withData(list)).action(async (user: string) => {
    const { client } = await clientOf(context, list);
    const answer = await client.own('ListUserPolicies', { UserName: user });
    if (hasOption(list, 'json')) {
      context.print.json(answer);
      return;
    }
    for (const each of listOf(answer, 'Policies')) {
      const kind = each['IsBuiltIn'] === true ? ' (comes with Keyark)' : '';
      context.print.line(`${textOf(each, 'PolicyName')}${kind}: ${textOf(each, 'PolicyDocument')}`);
    }
  });

  const remove = policy
    .command('remove')
    .description('take a policy from a user')
    .argument('<user>')
    .argument('<policy>')
    .addHelpText('after', '\nExample:\n  keyark iam policy remove ada backups --yes');
  withData(remove.option('--yes', 'do not ask')).action(async (user: string, name: string) => {
    const { client } = await clientOf(context, remove);
    await confirm(context, {
      plan: [`${user} loses what the policy ${name} allows and denies.`],
      name,
      isYes: hasOption(remove, 'yes'),
    });
    await client.own('DeleteUserPolicy', { UserName: user, PolicyName: name });
    context.print.line(`${user} no longer has the policy ${name}.`);
  });
}
