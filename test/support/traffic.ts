/**
 * What crosses between processes: every byte that the given ones, and those they start from now on, read
 * or write, whatever lies at the other end: pipe, socket, terminal or file.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { whoMayLook } from './processes.ts';
import { descriptorOf, messageOf, parseTrace, payloadOf, type SystemCall } from './strace.ts';
import { type TempFolder, tempFolder } from './temp-folder.ts';

const READS = ['read', 'readv', 'recvfrom', 'recvmsg', 'pread64', 'preadv'];
const WRITES = ['write', 'writev', 'sendto', 'sendmsg', 'pwrite64', 'pwritev'];
const START_MS = 20_000;

/** Why nothing can be recorded here; undefined when it can. */
export const cannotRecord: string | undefined = whyNot();

function whyNot(): string | undefined {
  if (!['/usr/bin/strace', '/bin/strace'].some(existsSync)) {
    return 'strace is not installed (Debian: apt-get install strace)';
  }
  return whoMayLook() > (process.getuid?.() === 0 ? 2 : 0)
    ? 'this system lets this user attach to no process (ptrace_scope)'
    : undefined;
}

export interface Stream {
  /** As strace names it: `21<socket:[4711]>`. */
  readonly name: string;
  readonly direction: 'in' | 'out';
  readonly bytes: Uint8Array;
}

export interface Recorder {
  /** Everything so far, each stream as one; the processes go on. */
  stop(): Promise<readonly Stream[]>;
}

export async function recordTraffic(pids: readonly number[]): Promise<Recorder> {
  const temp = await tempFolder();
  const file = join(temp.path, 'trace');
  const child = spawn(
    'strace',
    [
      ...['-f', '-y', '-xx', '-s', '33554432', '-e', `trace=${[...READS, ...WRITES].join(',')}`],
      ...['-o', file],
      ...pids.flatMap((pid) => ['-p', String(pid)]),
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  await attached(child.stderr, pids);
  return {
    stop: async () => {
      child.kill('SIGINT');
      await ended;
      return await streamsIn(file, temp);
    },
  };
}

/** strace says `Process N attached` once it sees everything that N does. */
async function attached(said: NodeJS.ReadableStream, pids: readonly number[]): Promise<void> {
  const missing = new Set(pids);
  const lines: string[] = [];
  const late = AbortSignal.timeout(START_MS);
  for await (const line of createInterface({ input: said, signal: late })) {
    lines.push(line);
    missing.delete(Number(/Process (\d+) attached/.exec(line)?.[1]));
    if (missing.size === 0) {
      // Of what it says of later processes nothing is needed, but its pipe must not fill.
      said.resume();
      return;
    }
  }
  throw new Error(`strace did not attach to ${[...missing].join(', ')}: ${lines.join(' ')}`);
}

async function streamsIn(file: string, temp: TempFolder): Promise<readonly Stream[]> {
  await using _ = temp;
  const parts = new Map<
    string,
    { name: string; direction: Stream['direction']; all: Uint8Array[] }
  >();
  for (const call of parseTrace(await readFile(file, 'latin1'))) {
    const [spelled = ''] = call.args;
    if (call.result <= 0 || Number.isNaN(descriptorOf(spelled))) continue;
    const name = spelled.replaceAll(/\\x([0-9a-f]{2})/g, (_, hex) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    );
    const direction = READS.includes(call.name) ? 'in' : 'out';
    const key = `${direction} ${name}`;
    const stream = parts.get(key) ?? { name, direction, all: [] };
    stream.all.push(bytesIn(call));
    parts.set(key, stream);
  }
  return [...parts.values()].map(({ all, ...stream }) => ({
    ...stream,
    bytes: Buffer.concat(all),
  }));
}

function bytesIn({ name, args: [, second = ''], result }: SystemCall): Uint8Array {
  const bytes = name.endsWith('msg') ? messageOf(second) : payloadOf(second);
  return bytes.subarray(0, result);
}
