/**
 * A command of `keyark` inside the test's own process: the same program and the same signed calls, without
 * the second that a process takes to start. What the launcher does is other tests' business.
 */
import type { Context } from '../../src/cli/context.ts';
import { CommandFailed } from '../../src/cli/exit-codes.ts';
import { programOf } from '../../src/cli/main.ts';
import { tableLines } from '../../src/cli/print.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import type { Outcome } from './command.ts';

export async function command(args: readonly string[]): Promise<Outcome> {
  const out: string[] = [];
  const err: string[] = [];
  let code = 0;
  const context: Context = {
    print: {
      line: (text = '') => void out.push(text),
      table: (head, rows) => void out.push(...tableLines(head, rows)),
      json: (value) => void out.push(JSON.stringify(value)),
      note: (text) => void err.push(text),
      progress: () => {},
      endProgress: () => {},
    },
    clock: systemClock,
    random: systemRandom,
    around: { isRoot: false, home: '/nowhere', cwd: '/', env: {}, isTerminal: false },
    endWith: (given) => {
      code = given;
    },
  };
  try {
    await programOf(context).parseAsync([...args], { from: 'user' });
  } catch (cause) {
    if (!(cause instanceof CommandFailed)) throw cause;
    code = cause.exitCode;
    err.push(cause.message);
  }
  const text = (lines: readonly string[]): string => lines.map((line) => `${line}\n`).join('');
  return { code, stdout: text(out), stderr: text(err) };
}
