/** `keyark policy`: the HSM's settings, at the officers' door. They are part of every backup. */
import type { Command } from 'commander';
import { type Context, hasOption, withJson } from '../context.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';
import { listOf, numberOf, textOf } from '../json.ts';
import { ADMIN, asOfficer, atDoor, withCluster, withLogin } from '../officer-command.ts';

export function addPolicy(program: Command, context: Context): void {
  const policy = program
    .command('policy')
    .description('settings of the HSM: list, set')
    .addHelpText('after', '\nExample:\n  keyark policy list');

  const list = policy
    .command('list')
    .description('what is in force, and how far it can be moved; needs no login')
    .addHelpText('after', '\nExample:\n  keyark policy list');
  withJson(withCluster(list)).action(async () => {
    const answer = await atDoor(context, list, (at) => at.call('policy-list', {}));
    const policies = listOf(answer, 'policies');
    if (hasOption(list, 'json')) {
      context.print.json({ policies });
      return;
    }
    const rows = policies.map((each) => [
      textOf(each, 'name'),
      String(numberOf(each, 'value')),
      each['isSettable'] === true
        ? `${numberOf(each, 'min')} to ${numberOf(each, 'max')}`
        : 'fixed by type and mode',
    ]);
    context.print.table(['policy', 'value', 'possible'], rows);
  });

  const set = policy
    .command('set')
    .description('change a setting (as admin)')
    .argument('<name>')
    .argument('<value>')
    .addHelpText('after', '\nExample:\n  keyark policy set lockout-limit 7');
  withJson(withLogin(set, ADMIN.username)).action(async (name: string, text: string) => {
    const value = /^\d{1,7}$/.test(text) ? Number(text) : undefined;
    if (value === undefined) {
      throw new CommandFailed(EXIT.USAGE, `"${text}" is not a whole number; nothing was changed.`);
    }
    const answer = await asOfficer(context, set, ADMIN, (officer) =>
      officer.call('policy-set', { name, value }),
    );
    if (hasOption(set, 'json')) context.print.json(answer);
    else context.print.line(`${name} is ${value} now; the next proven backup has it.`);
  });
}
