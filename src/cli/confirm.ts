/** Before something is taken away: a plan is shown, and a person says yes. Scripts say it with `--yes`. */
import { createInterface } from 'node:readline/promises';
import type { Context } from './context.ts';
import { CommandFailed, EXIT } from './exit-codes.ts';

/** @throws CommandFailed when it is not confirmed; nothing was changed then. */
export async function confirm(
  { print }: Pick<Context, 'print'>,
  plan: readonly string[],
  given: { readonly isYes: boolean },
): Promise<void> {
  for (const line of plan) print.note(line);
  if (given.isYes) return;
  if (process.stdin.isTTY !== true) {
    throw new CommandFailed(
      EXIT.USAGE,
      'Not confirmed, so nothing was changed: there is no terminal to ask on. Scripts add --yes.',
    );
  }
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await lines.question('Type yes to do this: ');
    if (answer.trim() === 'yes') return;
  } finally {
    lines.close();
  }
  throw new CommandFailed(EXIT.FAILED, 'Not confirmed; nothing was changed.');
}
