/**
 * Starts the process that is an HSM: no network, no children, no files but its own, an environment that
 * says one thing about memory, no core dumps. fd 3 carries calls, IPC carries the doors' sockets and nothing else.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { sealBox } from '../crypto/box.ts';
import type { AdoptMessage, Hello } from '../hsm/protocol.ts';
import type { Clock } from '../kernel/clock.ts';
import { Failed } from '../kernel/errors.ts';
import type { Secret } from '../kernel/secret.ts';
import type { JsonObject } from '../kernel/types.ts';
import { WirePeer } from '../kernel/wire.ts';
import type { HsmCode } from './code.ts';
import { HsmLine } from './line.ts';

/** Until the answer of `power-on`: Node's own start, self-tests and reading a full disk. */
const START_TIMEOUT_MS = 30_000;
/** How long a start waits for a dying predecessor to let go of the disk. */
const DISK_LOCK_WAIT_S = 10;
/** Sockets on their way to one HSM; more than this means that it does not take them. */
const MAX_SOCKETS_UNDER_WAY = 256;

/**
 * What V8's heap may grow to, a limit that ends the process. A full HSM has about 20 MiB there (keys lie
 * outside it), so this leaves room for the tombstones of two million deleted keys.
 */
const MAX_HEAP_MIB = 512;
/** V8 grows its young generation to three times this before it looks for garbage; by default 16 MiB. */
const SEMI_SPACE_MIB = 1;
/**
 * One arena: glibc otherwise keeps the 19 MiB of a password's hash once, or twice, for each of libuv's four
 * threads, although only one hash is under way at a time.
 */
const ENVIRONMENT = { MALLOC_ARENA_MAX: '1' } as const;

export interface HsmBoot {
  readonly code: HsmCode;
  /** `null` is a drill: no disk at all. The folder holds the disk's files, `lock` beside it is ours. */
  readonly disk: { readonly folder: string; readonly lock: string } | null;
}

export interface HsmPower {
  /** For texts: an HSM's id, or `drill HSM`. */
  readonly name: string;
  readonly storageKey: Secret | null;
  readonly clock: Clock;
  readonly onEvent: (name: string, params: JsonObject) => void;
}

/** A process that waits for power: it holds no key yet, and does nothing but say so. */
export interface BootingHsm {
  /** It has its files open and asks for power. @throws Failed `START` when it never comes to that. */
  booted(): Promise<void>;
  /** Resolves with the reason when the process is gone. Never rejects. */
  readonly exited: Promise<string>;
  /** Once. @throws Failed `START` with the reason when it does not come up in time, or runs other code. */
  powerOn(power: HsmPower): Promise<HsmProcess>;
  kill(): Promise<void>;
}

export interface HsmProcess {
  readonly line: HsmLine;
  readonly pid: number;
  /** As told by the first call of this start. */
  readonly hello: Hello;
  /** Resolves with the reason when the process is gone. Never rejects. */
  readonly exited: Promise<string>;
  /** Hands the socket over; a socket that does not arrive is closed, so that its client notices. */
  adopt(socket: Socket, door: AdoptMessage['door']): void;
  /** Ends it at once: an HSM's durable state needs no goodbye. */
  kill(): Promise<void>;
}

/** @throws Failed `START` with the reason when it does not come up in time, or runs other code. */
export async function startHsm(start: HsmBoot & HsmPower): Promise<HsmProcess> {
  return await bootHsm(start).powerOn(start);
}

export function bootHsm(boot: HsmBoot): BootingHsm {
  const child = spawnChild(boot);
  const exited = exitOf(child);
  const booted = Promise.withResolvers<{ bootKey: string }>();
  booted.promise.catch(() => {});
  let onEvent: HsmPower['onEvent'] = () => {};
  const peer = new WirePeer(channelOf(child), new Map(), (name, params) => {
    if (name === 'booted') acceptBoot(params, boot.code, booted);
    else onEvent(name, params);
  });
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL');
    await exited;
  };
  return {
    async booted() {
      const gone = exited.then((reason) => {
        throw new Failed('START', `it did not start: ${reason}`);
      });
      await Promise.race([booted.promise, gone]);
    },
    exited,
    kill,
    async powerOn(power) {
      const { name, clock } = power;
      onEvent = power.onEvent;
      const line = new HsmLine(peer, name);
      const isStarted = new AbortController();
      try {
        const hello = await Promise.race([
          powerOn(line, booted.promise, { ...boot, ...power }),
          exited.then((reason) => {
            throw new Failed('START', `${name} did not start: ${reason}`);
          }),
          clock.sleep(START_TIMEOUT_MS, isStarted.signal).then(() => {
            throw new Failed('START', `${name} did not start within ${START_TIMEOUT_MS} ms`);
          }),
        ]);
        return new Running(child, { line, hello, exited });
      } catch (cause) {
        await kill();
        throw cause;
      } finally {
        isStarted.abort();
      }
    },
  };
}

class Running implements HsmProcess {
  readonly line: HsmLine;
  readonly hello: Hello;
  readonly exited: Promise<string>;
  readonly #child: ChildProcess;
  /** In the order they were sent, which is the order in which the HSM takes them. */
  readonly #underWay: Socket[] = [];

  constructor(
    child: ChildProcess,
    given: { line: HsmLine; hello: Hello; exited: Promise<string> },
  ) {
    this.#child = child;
    this.line = given.line;
    this.hello = given.hello;
    this.#child.on('message', () => this.#underWay.shift()?.destroy());
    this.exited = given.exited.then((reason) => {
      for (const socket of this.#underWay.splice(0)) socket.destroy();
      return reason;
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /**
   * Our end stays open until the HSM says that it has its own. Left to node (`keepOpen: false`), a socket
   * whose receiver died before acknowledging it is never closed, and its client waits for ever.
   */
  adopt(socket: Socket, door: AdoptMessage['door']): void {
    if (!this.#child.connected || this.#underWay.length >= MAX_SOCKETS_UNDER_WAY) {
      socket.destroy();
      return;
    }
    const message: AdoptMessage = { kind: 'adopt', door };
    this.#underWay.push(socket);
    this.#child.send(message, socket, { keepOpen: true }, (cause) => {
      if (cause === null) return;
      const at = this.#underWay.indexOf(socket);
      if (at >= 0) this.#underWay.splice(at, 1);
      socket.destroy();
    });
  }

  async kill(): Promise<void> {
    this.#child.kill('SIGKILL');
    await this.exited;
  }
}

async function powerOn(
  line: HsmLine,
  booted: Promise<{ bootKey: string }>,
  { disk, storageKey, code, name }: HsmBoot & HsmPower,
): Promise<Hello> {
  const { bootKey } = await booted;
  const hello = await line.call('power-on', {
    storageKey: storageKey === null ? null : sealBox(bootKey, storageKey.expose(), 'storage-key'),
    isDrill: disk === null,
  });
  if (hello.codeSha256 !== code.sha256) throw wrongCode(name);
  return hello;
}

function acceptBoot(
  params: JsonObject,
  code: HsmCode,
  booted: PromiseWithResolvers<{ bootKey: string }>,
): void {
  const { bootKey, codeSha256 } = params;
  if (codeSha256 !== code.sha256) booted.reject(wrongCode('the HSM'));
  else if (typeof bootKey !== 'string') booted.reject(new Failed('START', 'no boot key'));
  else booted.resolve({ bootKey });
}

const wrongCode = (name: string) =>
  new Failed('START', `${name} runs other code than this host installed`);

function spawnChild(boot: HsmBoot): ChildProcess {
  const [command, ...args] = commandLine(boot);
  return spawn(command, args, {
    // The code's own folder: whatever the host was started in stays out of sight.
    cwd: boot.code.folder,
    env: ENVIRONMENT,
    stdio: ['ignore', 'inherit', 'inherit', 'pipe', 'ipc'],
    serialization: 'advanced',
    // Its own session: Ctrl-C reaches whoever is in charge, not the HSM half-way through a write.
    detached: true,
  });
}

/**
 * No secure heap: OpenSSL would take Argon2id's whole 19 MiB out of it, and it holds no AES keys anyway.
 *
 * `flock` and `prlimit` replace themselves by the next program, so fd 3, IPC and the pid
 * stay.
 */
export function commandLine({ code, disk }: HsmBoot): [string, ...string[]] {
  const flock = findProgram('flock');
  const prlimit = findProgram('prlimit');
  const files =
    disk === null ? [] : [`--allow-fs-read=${disk.folder}`, `--allow-fs-write=${disk.folder}`];
  const node = [
    code.node,
    '--permission',
    `--allow-fs-read=${code.bundle}`,
    ...files,
    '--disable-sigusr1',
    `--max-old-space-size=${MAX_HEAP_MIB}`,
    `--max-semi-space-size=${SEMI_SPACE_MIB}`,
    '--disallow-code-generation-from-strings',
    code.bundle,
    ...(disk === null ? ['--drill'] : ['--dir', disk.folder]),
  ];
  const limited = prlimit === undefined ? node : [prlimit, '--core=0:0', '--', ...node];
  const locked =
    disk === null || flock === undefined
      ? limited
      : [flock, '-F', '-x', '-w', String(DISK_LOCK_WAIT_S), disk.lock, ...limited];
  const [command, ...args] = locked;
  return [command ?? code.node, ...args];
}

/** What this machine lacks of the two programs above, for the log. */
export function missingPrograms(): readonly string[] {
  return ['flock', 'prlimit'].filter((name) => findProgram(name) === undefined);
}

function findProgram(name: string): string | undefined {
  return ['/usr/bin', '/bin', '/usr/sbin', '/sbin'].map((dir) => join(dir, name)).find(existsSync);
}

function channelOf(child: ChildProcess): Socket {
  const stream = child.stdio[3];
  if (!(stream instanceof Socket)) throw new Failed('START', 'the HSM has no channel');
  return stream;
}

function exitOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.once('error', (cause) => resolve(`it could not be run: ${cause.message}`));
    child.once('exit', (code, signal) =>
      resolve(signal === null ? `it exited with code ${code}` : `it was ended by ${signal}`),
    );
  });
}
