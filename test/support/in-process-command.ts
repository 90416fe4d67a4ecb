/** A command of `keyark` in this process: what it prints, how it ends. For commands that only talk to a service. */

import { CommandFailed } from '../../src/cli/exit-codes.ts';
import { runProgram } from '../../src/cli/main.ts';
import { type Printer, tableLines } from '../../src/cli/print.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import type { Outcome } from './command.ts';

export async function inProcess(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Outcome> {
  const [out, err]: [string[], string[]] = [[], []];
  const print: Printer = {
    line: (text = '') => void out.push(text),
    table: (head, rows) => void out.push(...tableLines(head, rows)),
    json: (value) => void out.push(JSON.stringify(value)),
    note: (text) => void err.push(text),
    progress: () => undefined,
    endProgress: () => undefined,
  };
  let code = 0;
  const endWith = (given: number): void => {
    code = given;
  };
  const around = { isRoot: false, home: '/nowhere', cwd: '/nowhere', env, isTerminal: false };
  const context = { print, clock: systemClock, random: systemRandom, around, endWith };
  try {
    await runProgram(args, context);
  } catch (cause) {
    if (!(cause instanceof CommandFailed)) throw cause;
    err.push(cause.message);
    code = cause.exitCode;
  }
  const text = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');
  return { code, stdout: text(out), stderr: text(err) };
}
