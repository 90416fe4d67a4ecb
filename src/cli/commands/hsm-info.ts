/** `keyark hsm-info`: what the HSM says of itself, over TLS that ends inside it. */
import type { Command } from 'commander';
import { type Context, hasOption, withJson } from '../context.ts';
import { numberOf, objectOf, optionalText, textOf } from '../json.ts';
import { atDoor, withCluster } from '../officer-command.ts';
import { counted } from '../print.ts';

export function addHsmInfo(program: Command, context: Context): void {
  const command = program
    .command('hsm-info')
    .description('what the HSM says of itself: state, serial, incarnation, generation, code')
    .addHelpText('after', '\nExample:\n  keyark hsm-info --json');
  withJson(withCluster(command)).action(async () => {
    const { print } = context;
    const info = await atDoor(context, command, (officer) => officer.call('info', {}));
    if (hasOption(command, 'json')) {
      print.json(info);
      return;
    }
    const counts = objectOf(info, 'counts');
    print.table(
      ['', ''],
      [
        ['state', textOf(info, 'lifecycle')],
        ['serial', optionalText(info, 'serial') ?? '-'],
        ['cluster', optionalText(info, 'clusterId') ?? '-'],
        ['incarnation', optionalText(info, 'incarnation') ?? '-'],
        ['generation', String(numberOf(info, 'generation'))],
        [
          'type, mode',
          `${optionalText(info, 'type') ?? '-'}, ${optionalText(info, 'mode') ?? '-'}`,
        ],
        [
          'inside',
          `${counted(numberOf(counts, 'users'), 'user')}, ${counted(numberOf(counts, 'keys'), 'key')}`,
        ],
        ['code', `SHA-256 ${textOf(info, 'codeSha256')}`],
      ],
    );
  });
}
