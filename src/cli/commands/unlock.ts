/** `keyark unlock`: the roots' passphrase, from the terminal to the host and nowhere else. */
import type { Command } from 'commander';
import { type Context, configOf, textOption, withData } from '../context.ts';
import { askOperator } from '../operator.ts';
import { readSecret } from '../secret-input.ts';

export function addUnlock(program: Command, context: Context): void {
  const command = program
    .command('unlock')
    .description("unlock the roots with the passphrase (at the host's machine)")
    .option('--passphrase-file <file>', 'read it from a file instead of the terminal')
    .addHelpText(
      'after',
      '\nExample:\n  keyark unlock\n\nThe passphrase goes to the HSM host directly, never through the service, and is never an argument or a variable.',
    );
  withData(command).action(async () => {
    const { data } = configOf(context, command).config;
    const passphrase = await readSecret(context, {
      prompt: 'Passphrase of the roots: ',
      file: textOption(command, 'passphraseFile'),
    });
    await askOperator(data, 'unlock', { passphrase });
    context.print.line('Unlocked. The HSMs are starting.');
  });
}
