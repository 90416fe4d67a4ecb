/** The `keyark` command as people run it: the launcher, real processes, a throw-away data folder. */
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const LAUNCHER = join(import.meta.dirname, '..', '..', 'bin', 'keyark');
const START_MS = 60_000;

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
}

/** Runs one command to its end. */
export async function keyark(args: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  return await start(args, options).ended;
}

export interface Running extends AsyncDisposable {
  readonly pid: number;
  readonly ended: Promise<Outcome>;
  stdout(): string;
  stderr(): string;
  /** Resolves when stdout holds `text`; fails when the command ends before. */
  says(text: string): Promise<void>;
  /** The same for stderr, where the log goes. */
  logs(text: string): Promise<void>;
  end(signal?: NodeJS.Signals): Promise<Outcome>;
}

export function start(args: readonly string[], { env = {}, input = '' }: RunOptions = {}): Running {
  const child = spawn(LAUNCHER, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text: Buffer) => {
    stdout += text.toString();
  });
  child.stderr.on('data', (text: Buffer) => {
    stderr += text.toString();
  });
  // A command that reads nothing may end before its input was written.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const ended = new Promise<Outcome>((resolve) => {
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
  const hasEnded = (): boolean => child.exitCode !== null || child.signalCode !== null;
  const end = async (signal: NodeJS.Signals = 'SIGTERM'): Promise<Outcome> => {
    if (!hasEnded()) child.kill(signal);
    return await ended;
  };
  const waitFor = async (text: string, seen: () => string): Promise<void> => {
    const deadline = performance.now() + START_MS;
    while (!seen().includes(text)) {
      if (hasEnded() || performance.now() > deadline) {
        await end('SIGKILL');
        throw new Error(`"${text}" was never said:\n${stdout}\n${stderr}`);
      }
      await sleep(25);
    }
  };
  return {
    pid: child.pid ?? -1,
    ended,
    stdout: () => stdout,
    stderr: () => stderr,
    says: (text) => waitFor(text, () => stdout),
    logs: (text) => waitFor(text, () => stderr),
    end,
    [Symbol.asyncDispose]: async () => {
      await end();
    },
  };
}
