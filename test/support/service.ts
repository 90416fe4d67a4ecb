/** `keyark serve` as a real process on a throw-away folder; ends with the block that started it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const KEYARK = join(import.meta.dirname, '..', '..', 'bin', 'keyark');
const START_MS = 30_000;
const STOP_MS = 20_000;

export interface RunningService extends AsyncDisposable {
  readonly data: string;
  readonly env: Readonly<Record<string, string>>;
  readonly pid: number;
  /** Everything it wrote to stdout and stderr so far. */
  output(): string;
  /** Its exit code, once it has ended. */
  readonly ended: Promise<number | null>;
  kill(signal: NodeJS.Signals): Promise<number | null>;
}

/** A folder for one test; gone after its block. Paths are short: sockets live in it. */
export async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'ka-'));
  // Open to pass through, so that a service started by root runs as its separate users.
  await chmod(path, 0o755);
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export interface StartOptions {
  /** What runs the command, and then becomes it. */
  readonly through?: readonly string[];
  readonly cwd?: string;
}

export async function startService(
  data: string,
  args: readonly string[] = [],
  { through = [], cwd = process.cwd() }: StartOptions = {},
): Promise<RunningService> {
  await rm(join(data, 'env'), { force: true });
  const serve = ['serve', '--data', data, '--port', '0', ...args];
  const [command = KEYARK, ...rest] = [...through, KEYARK, ...serve];
  const child = spawn(command, rest, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (text: Buffer) => {
    output += text.toString();
  });
  child.stderr.on('data', (text: Buffer) => {
    output += text.toString();
  });
  const exited = exitOf(child);
  const env = await waitForEnv(data, child, () => output);
  const kill = async (signal: NodeJS.Signals): Promise<number | null> => {
    child.kill(signal);
    const late = sleep(STOP_MS, 'late' as const, { ref: false });
    const code = await Promise.race([exited, late]);
    if (code === 'late') {
      child.kill('SIGKILL');
      throw new Error(`the service did not end on ${signal}:\n${output}`);
    }
    return code;
  };
  return {
    data,
    env,
    pid: child.pid ?? -1,
    output: () => output,
    ended: exited,
    kill,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null && child.signalCode === null) await kill('SIGTERM');
    },
  };
}

/** @returns `DATA/env` as a record. */
export async function readEnv(data: string): Promise<Record<string, string>> {
  const lines = (await readFile(join(data, 'env'), 'utf8')).trim().split('\n');
  return Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
}

async function waitForEnv(
  data: string,
  child: ChildProcess,
  output: () => string,
): Promise<Record<string, string>> {
  const deadline = Date.now() + START_MS;
  while (Date.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`the service ended at its start:\n${output()}`);
    if (existsSync(join(data, 'env'))) return await readEnv(data);
    await sleep(20);
  }
  child.kill('SIGKILL');
  throw new Error(`the service did not start within ${START_MS} ms:\n${output()}`);
}

function exitOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => {
    child.once('exit', (code) => resolve(code));
  });
}
