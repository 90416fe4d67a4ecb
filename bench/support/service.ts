/** A real `keyark serve` on a throw-away folder, as long as a bench needs it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Client } from '../../src/cli/client.ts';
import { type Endpoint, environmentFile, findEndpoint } from '../../src/cli/environment.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import type { JsonObject } from '../../src/kernel/types.ts';

const PROGRAM = join(import.meta.dirname, '..', '..', 'bin', 'keyark');
const START_MS = 30_000;
const STOP_MS = 20_000;
const LOOK_EVERY_MS = 2;
const MAX_KEPT_LINES = 200;

export interface Heard {
  readonly event: JsonObject;
  /** Of `performance.now()`, when its line arrived here. */
  readonly at: number;
}

export interface BenchService extends AsyncDisposable {
  readonly data: string;
  readonly pid: number;
  readonly endpoint: Endpoint;
  readonly client: Client;
  /** From the start of the process to the answer to a first signed request. */
  readonly firstAnswerMs: number;
  /** The first line of the log from now on that `isIt`; ask before doing what causes it. */
  hear(isIt: (event: JsonObject) => boolean): Promise<Heard>;
  /** The newest lines of its log. */
  log(): string;
}

/** A folder for one run; gone after its block. */
export async function temporaryFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'ka-'));
  // Open to pass through, so that a service started by root runs as its separate users.
  await chmod(path, 0o755);
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

export interface StartOptions {
  /** Of the service's own process; the host and its HSMs get none of them. */
  readonly nodeFlags?: readonly string[];
  /** Flags of `keyark serve`. */
  readonly settings?: readonly string[];
}

export async function startService(
  data: string,
  { nodeFlags = [], settings: more = [] }: StartOptions = {},
): Promise<BenchService> {
  await rm(environmentFile(data), { force: true });
  const startedAt = performance.now();
  const settings = ['--port', '0', '--log-format', 'json', '--backup-on-change', 'false', ...more];
  const child = spawn(PROGRAM, ['serve', '--data', data, ...settings], {
    env: { ...process.env, NODE_OPTIONS: nodeFlags.join(' ') },
    // The last channel carries nothing; its end tells the service that this process is gone.
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  });
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const log = new Log(child);
  try {
    await untilItAnswers(data, child);
    const endpoint = await findEndpoint({ data }, {});
    const client = new Client(endpoint, systemClock);
    await client.aws('DescribeBackups');
    return {
      data,
      pid: child.pid ?? -1,
      endpoint,
      client,
      firstAnswerMs: performance.now() - startedAt,
      hear: (isIt) => log.hear(isIt),
      log: () => log.text(),
      [Symbol.asyncDispose]: () => stop(child, ended),
    };
  } catch (cause) {
    await stop(child, ended);
    throw new Error(`the service did not start:\n${log.text()}`, { cause });
  }
}

async function untilItAnswers(data: string, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + START_MS;
  while (!existsSync(environmentFile(data))) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`);
    if (performance.now() > deadline) throw new Error(`no answer within ${START_MS} ms`);
    await systemClock.sleep(LOOK_EVERY_MS);
  }
}

async function stop(child: ChildProcess, ended: Promise<void>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const patience = new AbortController();
  const late = systemClock.sleep(STOP_MS, patience.signal).then(
    () => child.kill('SIGKILL'),
    // Aborted: it ended in time.
    () => {},
  );
  await ended;
  patience.abort();
  await late;
}

/** The service's log: the newest lines, and whoever waits for one. */
class Log {
  readonly #lines: string[] = [];
  readonly #waiting = new Set<(event: JsonObject) => void>();

  constructor({ stderr }: ChildProcess) {
    if (stderr === null) throw new Error('the service has no log');
    createInterface({ input: stderr }).on('line', (line) => this.#take(line));
  }

  text(): string {
    return this.#lines.join('\n');
  }

  hear(isIt: (event: JsonObject) => boolean): Promise<Heard> {
    return new Promise((resolve) => {
      const look = (event: JsonObject): void => {
        if (!isIt(event)) return;
        this.#waiting.delete(look);
        resolve({ event, at: performance.now() });
      };
      this.#waiting.add(look);
    });
  }

  #take(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > MAX_KEPT_LINES) this.#lines.shift();
    if (!line.startsWith('{')) return;
    // A line of the service's own log in JSON is an object.
    const event = JSON.parse(line) as JsonObject;
    for (const look of this.#waiting) look(event);
  }
}
