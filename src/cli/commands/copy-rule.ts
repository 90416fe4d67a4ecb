/** `keyark copy-rule`: which new backups are copied to which region by themselves. */
import type { Command } from 'commander';
import type { JsonObject } from '../../kernel/types.ts';
import { type Context, clientOf, hasOption, textOption, withData, withJson } from '../context.ts';
import { listOf, objectOf, optionalText, textOf } from '../json.ts';
import { wholeNumber } from './backup-copy.ts';

export function addCopyRule(program: Command, context: Context): void {
  const rule = program
    .command('copy-rule')
    .description('copies to other regions, made by themselves: add, list, remove')
    .addHelpText('after', '\nExample:\n  keyark copy-rule list');

  const add = rule
    .command('add')
    .description('copy every backup that becomes READY from now on')
    .requiredOption('--from <region>', 'where the backups are')
    .requiredOption('--to <region>', 'where their copies go')
    .option('--cluster-id <id>', 'of this cluster only')
    .option('--causes <list>', 'with these causes only, separated by commas')
    .option('--days <number>', 'how long to keep each copy (default: until it is deleted)')
    .addHelpText(
      'after',
      '\nExample:\n  keyark copy-rule add --from us-east-1 --to eu-west-1 --causes scheduled,manual --days 90',
    );
  withJson(withData(add)).action(async () => {
    const { client } = await clientOf(context, add);
    const made = objectOf(
      await client.own('CreateCopyRule', {
        FromRegion: textOption(add, 'from'),
        ToRegion: textOption(add, 'to'),
        ClusterId: textOption(add, 'clusterId'),
        Causes: textOption(add, 'causes')?.split(','),
        RetentionDays: wholeNumber(textOption(add, 'days'), '--days'),
      }),
      'CopyRule',
    );
    if (hasOption(add, 'json')) context.print.json(made);
    else context.print.line(`${textOf(made, 'CopyRuleId')}: from the next backup on.`);
  });

  const list = rule
    .command('list')
    .description('the rules of this account')
    .addHelpText('after', '\nExample:\n  keyark copy-rule list');
  withJson(withData(list)).action(async () => {
    const { client } = await clientOf(context, list);
    const answer = await client.own('ListCopyRules');
    if (hasOption(list, 'json')) context.print.json(answer);
    else {
      const rows = listOf(answer, 'CopyRules').map(row);
      context.print.table(['rule', 'from', 'to', 'cluster', 'causes', 'days'], rows);
    }
  });

  const remove = rule
    .command('remove')
    .description('no further copies by this rule; those there are stay')
    .argument('<rule-id>')
    .addHelpText('after', '\nExample:\n  keyark copy-rule remove copy-rule-…');
  withJson(withData(remove)).action(async (id: string) => {
    const { client } = await clientOf(context, remove);
    const answer = await client.own('DeleteCopyRule', { CopyRuleId: id });
    if (hasOption(remove, 'json')) context.print.json(answer);
    else context.print.line(`${id} is removed; its copies stay.`);
  });
}

function row(rule: JsonObject): readonly string[] {
  const causes = rule['Causes'];
  const days = rule['RetentionDays'];
  return [
    textOf(rule, 'CopyRuleId'),
    textOf(rule, 'FromRegion'),
    textOf(rule, 'ToRegion'),
    optionalText(rule, 'ClusterId') ?? 'all',
    Array.isArray(causes) ? causes.join(',') : 'all',
    typeof days === 'number' ? String(days) : 'until deleted',
  ];
}
