/** Before something is taken away: what will be gone, and a yes from a person or `--yes` from a script. */
import { createInterface } from 'node:readline/promises';
import type { Command } from 'commander';
import { type Context, hasOption } from './context.ts';
import { CommandFailed, EXIT } from './exit-codes.ts';

export function withYes(command: Command): Command {
  return command.option('--yes', 'do not ask');
}

/** @throws CommandFailed when the answer is no, or when there is nobody to ask. */
export async function askYes(context: Context, command: Command, plan: string): Promise<void> {
  if (hasOption(command, 'yes')) return;
  context.print.note(plan);
  if (process.stdin.isTTY !== true) {
    throw new CommandFailed(EXIT.USAGE, 'Nobody to ask here; give --yes. Nothing was changed.');
  }
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await lines.question('Go on? Type yes: ');
    if (answer.trim() === 'yes') return;
  } finally {
    lines.close();
  }
  throw new CommandFailed(EXIT.FAILED, 'Not confirmed; nothing was changed.');
}
