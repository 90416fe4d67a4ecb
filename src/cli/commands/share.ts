/** `keyark share`: backups for other accounts. The policy is AWS's; promoting and accepting are RAM's part. */
import type { Command } from 'commander';
import type { JsonObject } from '../../kernel/types.ts';
import type { Client } from '../client.ts';
import { confirm } from '../confirm.ts';
import { type Context, clientOf, hasOption, withData, withJson } from '../context.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';
import { listOf, objectOf, textOf } from '../json.ts';

const ACTIONS = ['cloudhsm:CreateCluster', 'cloudhsm:DescribeBackups'];
const HEAD = ['backup', 'owner', 'shared with', 'state'];

export function addShare(program: Command, context: Context): void {
  const share = program
    .command('share')
    .description('backups for other accounts: create, promote, list, accept, remove')
    .addHelpText('after', '\nExample:\n  keyark share list');
  const clientIn = async (command: Command): Promise<Client> =>
    (await clientOf(context, command)).client;

  const create = share
    .command('create')
    .description('let other accounts restore a backup: writes its resource policy')
    .argument('<backup-id>')
    .requiredOption('--with <accounts...>', 'accounts of 12 digits, or ARNs of users and roles')
    .addHelpText('after', '\nExample:\n  keyark share create backup-… --with 000012345678');
  withJson(withData(create)).action(async (id: string) => {
    const client = await clientIn(create);
    const arn = await arnOf(client, id);
    const principals: unknown = create.opts()['with'];
    const policy = {
      Version: '2012-10-17',
      Statement: [
        { Effect: 'Allow', Principal: { AWS: principals }, Action: ACTIONS, Resource: arn },
      ],
    };
    const answer = await client.aws('PutResourcePolicy', {
      ResourceArn: arn,
      Policy: JSON.stringify(policy),
    });
    if (hasOption(create, 'json')) context.print.json(answer);
    else {
      context.print.line(`They can make clusters from ${arn}.`);
      context.print.line(`To have it in their lists as well: keyark share promote ${id}`);
    }
  });

  const promote = share
    .command('promote')
    .description('show a shared backup in the lists of those it is shared with')
    .argument('<backup-id>')
    .addHelpText('after', '\nExample:\n  keyark share promote backup-…');
  withJson(withData(promote)).action(async (id: string) => {
    const answer = await (await clientIn(promote)).own('PromoteShare', { Backup: id });
    if (hasOption(promote, 'json')) context.print.json(answer);
    else context.print.table(HEAD, listOf(answer, 'Shares').map(row));
  });

  const list = share
    .command('list')
    .description('what this account shares, and what others offer it')
    .addHelpText('after', '\nExample:\n  keyark share list');
  withJson(withData(list)).action(async () => {
    const answer = await (await clientIn(list)).own('ListShares');
    if (hasOption(list, 'json')) context.print.json(answer);
    else {
      context.print.table(HEAD, listOf(answer, 'Shares').map(row));
      if (answer['IsComplete'] !== true) context.print.note('There are more than are shown.');
    }
  });

  const accept = share
    .command('accept')
    .description('take a backup that another account offers into the own list')
    .argument('<backup>', 'its id or ARN')
    .addHelpText('after', '\nExample:\n  keyark share accept backup-…');
  withJson(withData(accept)).action(async (backup: string) => {
    const answer = await (await clientIn(accept)).own('AcceptShare', { Backup: backup });
    if (hasOption(accept, 'json')) context.print.json(answer);
    else {
      const arn = textOf(objectOf(answer, 'Share'), 'BackupArn');
      context.print.line(`Accepted. A cluster of it: create-cluster --source-backup-id ${arn}`);
    }
  });

  const remove = share
    .command('remove')
    .description('end a share of the own backup for everybody, or leave one of another account')
    .argument('<backup>', 'its id or ARN')
    .addHelpText('after', '\nExample:\n  keyark share remove backup-… --yes');
  withJson(withData(remove.option('--yes', 'do not ask'))).action(async (backup: string) => {
    const client = await clientIn(remove);
    const id = backup.slice(backup.lastIndexOf('/') + 1);
    const shares = listOf(await client.own('ListShares'), 'Shares').filter(
      (each) => each['BackupId'] === id,
    );
    const consumers = shares.map((each) => textOf(each, 'Consumer')).join(', ');
    await confirm(context, {
      plan: [
        `The share of ${id} ends for: ${consumers || 'everybody that its policy names'}.`,
        'If it is your backup its policy goes too, and nobody else can restore it any more. Clusters made of it live on.',
      ],
      name: id,
      isYes: hasOption(remove, 'yes'),
    });
    await client.own('RemoveShare', { Backup: backup });
    if (hasOption(remove, 'json')) context.print.json({ BackupId: id });
    else context.print.line(`The share of ${id} has ended.`);
  });
}

async function arnOf(client: Client, id: string): Promise<string> {
  const [backup] = await client.all('DescribeBackups', 'Backups', { Filters: { backupIds: [id] } });
  if (backup !== undefined) return textOf(backup, 'BackupArn');
  throw new CommandFailed(EXIT.REFUSED, `There is no backup ${id} of yours here.`);
}

function row(share: JsonObject): readonly string[] {
  return ['BackupId', 'Owner', 'Consumer', 'State'].map((name) => textOf(share, name));
}
