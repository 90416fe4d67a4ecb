/** `keyark stop`: ends the Keyark that uses a data folder, and waits until it has ended. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { SECOND_MS } from '../../kernel/clock.ts';
import { type Context, configOf, withData } from '../context.ts';
import { CommandFailed, EXIT } from '../exit-codes.ts';
import { waitFor } from '../wait.ts';

const STOP_MS = 60 * SECOND_MS;

export function addStop(program: Command, context: Context): void {
  const command = program
    .command('stop')
    .description('end the Keyark that uses the data folder')
    .addHelpText('after', '\nExample:\n  keyark stop --data ./data');
  withData(command).action(async () => {
    const { data } = configOf(context, command).config;
    const pid = userOf(data);
    if (pid === undefined || !isKeyark(pid)) {
      throw new CommandFailed(EXIT.NOT_RUNNING, `[NOT_RUNNING] No Keyark uses ${data}.`);
    }
    signal(pid);
    await waitFor(
      context.clock,
      { until: `process ${pid} has ended`, atMostMs: STOP_MS },
      async () => (isKeyark(pid) ? undefined : true),
    );
    context.print.line(`Stopped (process ${pid}).`);
  });
}

/** The note that the user of the folder leaves there. */
function userOf(data: string): number | undefined {
  try {
    const match = /^process (\d+),/.exec(readFileSync(join(data, 'user'), 'utf8'));
    return match === null ? undefined : Number(match[1]);
  } catch {
    // No note: nobody was ever there, or it is not ours to read, which the signal would tell too.
    return undefined;
  }
}

/** The note may be old and its number somebody else's by now. */
function isKeyark(pid: number): boolean {
  try {
    const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
    return /bin\/(keyark|control-plane)\.ts/.test(command);
  } catch {
    // No such process.
    return false;
  }
}

function signal(pid: number): void {
  try {
    process.kill(pid, 'SIGTERM');
  } catch (cause) {
    throw new CommandFailed(
      EXIT.REFUSED,
      `Process ${pid} belongs to another user; stop it as that user or as root.`,
      { cause },
    );
  }
}
