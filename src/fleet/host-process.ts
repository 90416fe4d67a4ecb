/**
 * The host as a child process. As an ordinary user the child is the host and fd 3 its channel; as root it
 * is the guard, which sends the channel of each host that it starts.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

const HOST_PROGRAM = fileURLToPath(new URL('../../bin/host.ts', import.meta.url));
const PRLIMIT = '/usr/bin/prlimit';
const END_TIMEOUT_MS = 15_000;

export class HostProcess {
  /** Resolves with the reason when it is gone. Never rejects. */
  readonly exited: Promise<string>;
  readonly #child: ChildProcess;
  #reason: string | undefined;

  constructor(
    given: { data: string; user: string | undefined },
    onChannel: (stream: Socket) => void,
  ) {
    this.#child = start(given);
    this.#child.on('message', (message, handle) => this.#receive(message, handle, onChannel));
    this.exited = new Promise((resolve) => {
      this.#child.once('error', (cause) => resolve(`it could not be run: ${cause.message}`));
      this.#child.once('exit', (code, signal) =>
        resolve(this.#reason ?? (signal === null ? `exit code ${code}` : `ended by ${signal}`)),
      );
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Ends it by hanging up; a host that does not notice is killed after a while. */
  async end(): Promise<void> {
    this.#ownChannel()?.destroy();
    if (this.#child.connected) this.#child.disconnect();
    const late = setTimeout(() => this.#child.kill('SIGKILL'), END_TIMEOUT_MS);
    try {
      await this.exited;
    } finally {
      clearTimeout(late);
    }
  }

  #receive(message: unknown, handle: unknown, onChannel: (stream: Socket) => void): void {
    if (typeof message !== 'object' || message === null || !('kind' in message)) return;
    if (message.kind === 'failed' && 'message' in message) this.#reason = String(message.message);
    if (message.kind === 'channel' && handle instanceof Socket) onChannel(handle);
    if (message.kind === 'ready') {
      // From a host that is our child itself: its channel is the pipe it inherited.
      const own = this.#ownChannel();
      if (own !== undefined) onChannel(own);
    }
  }

  #ownChannel(): Socket | undefined {
    const stream = this.#child.stdio[3];
    return stream instanceof Socket ? stream : undefined;
  }
}

function start({ data, user }: { data: string; user: string | undefined }): ChildProcess {
  const node = [
    process.execPath,
    '--disable-sigusr1',
    HOST_PROGRAM,
    ...['--data', data],
    ...(user === undefined ? [] : ['--user', user]),
  ];
  const [command, ...args] = existsSync(PRLIMIT) ? [PRLIMIT, '--core=0:0', '--', ...node] : node;
  return spawn(command ?? process.execPath, args, {
    env: environment(),
    stdio: ['ignore', 'inherit', 'inherit', 'pipe', 'ipc'],
    serialization: 'advanced',
    // Its own session: Ctrl-C is for the control plane, which then hangs up.
    detached: true,
  });
}

/** What a host needs to know of its surroundings: where a systemd credential and compiled code lie, nothing else. */
function environment(): NodeJS.ProcessEnv {
  const names = ['CREDENTIALS_DIRECTORY', 'NODE_COMPILE_CACHE', 'PATH'];
  const given = names.map((name) => [name, process.env[name]] as const);
  return Object.fromEntries(given.filter(([, value]) => value !== undefined));
}
