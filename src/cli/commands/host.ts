/** `keyark host`: makers, owners and their roots, by the operator's socket of the HSM host. */
import type { Command } from 'commander';
import type { JsonObject } from '../../kernel/types.ts';
import { type Context, configOf, hasOption, textOption, withData, withJson } from '../context.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';
import { listOf, textOf } from '../json.ts';
import { askOperator } from '../operator.ts';
import { readSecret } from '../secret-input.ts';

export function addHost(program: Command, context: Context): void {
  const host = program
    .command('host')
    .description('the HSM host: makers, owners and their roots')
    .addHelpText('after', '\nExample:\n  keyark host status');

  const status = host
    .command('status')
    .description('what the host holds and runs')
    .addHelpText('after', '\nExample:\n  keyark host status --json');
  withJson(withData(status)).action(async () => {
    const answer = await askOperator(dataOf(context, status), 'status', {});
    if (hasOption(status, 'json')) context.print.json(answer);
    else printStatus(context, answer);
  });

  const seal = host
    .command('seal')
    .description('seal the roots under a passphrase: from evaluation to real')
    .option('--passphrase-file <file>', 'read it from a file instead of the terminal')
    .addHelpText('after', '\nExample:\n  keyark host seal');
  withData(seal).action(async () => {
    const file = textOption(seal, 'passphraseFile');
    const passphrase = await readSecret(context, { prompt: 'New passphrase: ', file });
    const again =
      file === undefined ? await readSecret(context, { prompt: 'Once more: ', file }) : passphrase;
    if (passphrase !== again) {
      throw new CommandFailed(EXIT.USAGE, 'The two differ; nothing was changed.');
    }
    await askOperator(dataOf(context, seal), 'seal', { passphrase });
    context.print.line(
      'Sealed. The passphrase is asked for at every start: `keyark unlock`. Nobody can bring it back.',
    );
  });

  for (const kind of ['maker', 'owner'] as const) {
    const group = host.command(kind).description(`${kind}s: whose HSMs open whose backups`);
    const create = group
      .command('create')
      .description(`make another ${kind} with roots of its own`)
      .argument('<name>', 'small letters, digits and hyphens')
      .addHelpText('after', `\nExample:\n  keyark host ${kind} create other-${kind}`);
    withJson(withData(create)).action(async (name: string) => {
      const answer = await askOperator(dataOf(context, create), `${kind}-create`, { name });
      if (hasOption(create, 'json')) context.print.json(answer);
      else context.print.line(textOf(answer, 'certificate').trimEnd());
    });
  }
}

function dataOf(context: Context, command: Command): string {
  return configOf(context, command).config.data;
}

function printStatus({ print }: Context, answer: JsonObject): void {
  const isEvaluation = answer['isEvaluation'] === true;
  const state = answer['areRootsLocked'] === true ? 'locked' : 'unlocked';
  print.line(`roots     ${state}${isEvaluation ? ', evaluation: not sealed by a passphrase' : ''}`);
  for (const name of ['makers', 'owners'] as const) {
    const names = answer[name];
    if (Array.isArray(names)) print.line(`${name.padEnd(9)} ${names.join(', ')}`);
  }
  print.line(`HSM code  ${textOf(answer, 'codeSha256')}`);
  const rows = listOf(answer, 'hsms').map((hsm) => [
    textOf(hsm, 'hsmId'),
    hsm['isRunning'] === true ? 'running' : 'down',
  ]);
  if (rows.length > 0) print.table(['HSM', ''], rows);
}
