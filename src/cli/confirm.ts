/** The question before something that cannot be undone. Scripts answer it with `--yes`. */
import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import { type Context, hasOption } from './context.ts';
import { CommandFailed, EXIT } from './exit-codes.ts';

export function withYes(command: Command): Command {
  return command.option('--yes', 'do not ask');
}

/** @throws CommandFailed unless the answer is yes; nothing was changed then. */
export async function confirm(
  { print }: Pick<Context, 'print'>,
  command: Command,
  plan: string,
): Promise<void> {
  if (hasOption(command, 'yes')) return;
  print.note(plan);
  if (process.stdin.isTTY !== true) {
    throw new CommandFailed(
      EXIT.USAGE,
      'There is no terminal to ask at; say it with --yes. Nothing was changed.',
    );
  }
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    if (/^y(es)?$/i.test((await lines.question('Do that? [y/N] ')).trim())) return;
  } finally {
    lines.close();
  }
  throw new CommandFailed(EXIT.FAILED, 'Not done; nothing was changed.');
}
