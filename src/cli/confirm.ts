/** Before something is destroyed: what will happen, and the question whether it shall. */
import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import { type Context, hasOption } from './context.ts';
import { CommandFailed, EXIT } from './exit-codes.ts';

export function withYes(command: Command): Command {
  return command.option('--yes', 'do not ask');
}

/**
 * Shows the plan and asks for a `yes`; `--yes` answers for scripts.
 * @throws CommandFailed `USAGE` where nobody can be asked, `FAILED` when the answer is another one.
 */
export async function confirm(
  { print }: Context,
  command: Command,
  plan: readonly string[],
): Promise<void> {
  if (hasOption(command, 'yes')) return;
  for (const line of plan) print.note(line);
  if (process.stdin.isTTY !== true) {
    throw new CommandFailed(EXIT.USAGE, 'Nothing was changed: nobody can be asked; give --yes.');
  }
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    if ((await lines.question('Go on? Type yes: ')).trim() === 'yes') return;
  } finally {
    lines.close();
  }
  throw new CommandFailed(EXIT.FAILED, 'Given up; nothing was changed.');
}
