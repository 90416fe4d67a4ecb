/** Asking a person before something is destroyed. Without a terminal there is nobody to ask: scripts say --yes. */
import { createInterface } from 'node:readline/promises';
import type { Context } from './context.ts';
import { CommandFailed, EXIT } from './exit-codes.ts';

/** @throws CommandFailed `USAGE` when nobody can answer. */
export async function confirmed({ around }: Pick<Context, 'around'>, question: string) {
  if (!around.isTerminal || process.stdin.isTTY !== true) {
    throw new CommandFailed(
      EXIT.USAGE,
      `${question} There is no terminal to ask at: give --yes. Nothing was done.`,
    );
  }
  const lines = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await lines.question(`${question} [y/N] `)).trim());
  } finally {
    lines.close();
  }
}
