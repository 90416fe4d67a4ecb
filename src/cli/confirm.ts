/** Asking before something that people regret: on a terminal by its name, in scripts by `--yes`. */
import { createInterface } from 'node:readline/promises';
import { CommandFailed, EXIT } from './exit-codes.ts';

/**
 * Asks for `name` to be typed. With `isYes` nobody is asked: whoever wrote the script spelled the name out.
 * @throws CommandFailed `USAGE` without a terminal, `FAILED` for any other answer; nothing was changed.
 */
export async function confirm(what: {
  readonly question: string;
  readonly name: string;
  readonly isYes: boolean;
}): Promise<void> {
  if (what.isYes) return;
  if (process.stdin.isTTY !== true) {
    throw new CommandFailed(
      EXIT.USAGE,
      'There is no terminal to ask on; give --yes. Nothing was changed.',
    );
  }
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await lines.question(`${what.question} Type ${what.name} to go on: `);
    if (answer.trim() === what.name) return;
  } finally {
    lines.close();
  }
  throw new CommandFailed(EXIT.FAILED, 'Given up; nothing was changed.');
}
