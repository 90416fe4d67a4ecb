/** Before something that people regret: a plan is shown, and a person types the thing's name. Scripts say `--yes`. */
import { createInterface } from 'node:readline/promises';
import type { Context } from './context.ts';
import { CommandFailed, EXIT } from './exit-codes.ts';

/**
 * With `isYes` nobody is asked: whoever wrote the script spelled the name out.
 * @throws CommandFailed `USAGE` without a terminal, `FAILED` for any other answer; nothing was changed.
 */
export async function confirm(
  { print }: Pick<Context, 'print'>,
  what: { readonly plan: readonly string[]; readonly name: string; readonly isYes: boolean },
): Promise<void> {
  for (const line of what.plan) print.note(line);
  if (what.isYes) return;
  if (process.stdin.isTTY !== true) {
    throw new CommandFailed(
      EXIT.USAGE,
      'Not confirmed, so nothing was changed: there is no terminal to ask on. Scripts add --yes.',
    );
  }
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await lines.question(`Type ${what.name} to go on: `);
    if (answer.trim() === what.name) return;
  } finally {
    lines.close();
  }
  throw new CommandFailed(EXIT.FAILED, 'Not confirmed; nothing was changed.');
}
