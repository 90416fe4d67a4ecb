/**
 * Started as root, this small process stays root so that nobody else has to: it installs the code, gives
 * the folders to their users, starts the host as the host's user and, should it die, again. It never
 * reads a root, and it takes no requests; each new host's channel goes to the control plane by IPC.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { chmod, chown, lchown, lstat, mkdir, readdir } from 'node:fs/promises';
import { Socket } from 'node:net';
import { dirname, join } from 'node:path';
import type { Clock } from '../kernel/clock.ts';
import { Failed } from '../kernel/errors.ts';
import { bundle, type HsmCode, install, isEnterable, reachableNode } from './code.ts';
import { checkClustersFolder } from './doors.ts';
import { controlPlaneUser, doorGroup, type SystemUser } from './users.ts';

const BACKOFF_MS = [0, 100, 500, 2_000, 10_000] as const;
const LONG_LIFE_MS = 60_000;
const END_TIMEOUT_MS = 6_000;

export interface GuardParts {
  readonly data: string;
  readonly checkout: string;
  readonly user: SystemUser;
  readonly clock: Clock;
  readonly passphrase: Uint8Array | undefined;
  readonly say: (line: string) => void;
  /** Hands a new host's channel to the control plane. */
  readonly onChannel: (channel: Socket) => void;
}

/** Runs until `signal` aborts (the control plane is gone), then waits for the host's end. */
export async function guard(parts: GuardParts, signal: AbortSignal): Promise<void> {
  checkClustersFolder(join(parts.data, 'clusters'));
  await checkWay(parts.data, parts.user);
  await shareFolders(parts.data, parts.user);
  const { host, hsm } = await installFor(parts.data, parts.checkout, parts.user);
  for (let deaths = 0; !signal.aborted; ) {
    const since = parts.clock.now();
    const { reason, wasReady, isDone } = await runHost(parts, host, hsm, signal);
    // A host that ends by itself was hung up on, perhaps before this process noticed the same.
    if (signal.aborted || isDone) return;
    // What never worked is a mistake to be told, not a fault to be ridden out.
    if (!wasReady && deaths === 0) throw new Failed('START', reason);
    parts.say(`the host is down: ${reason}`);
    deaths = parts.clock.now() - since > LONG_LIFE_MS ? 0 : deaths + 1;
    const ms = BACKOFF_MS[Math.min(deaths - 1, BACKOFF_MS.length - 1)] ?? 0;
    // Aborting ends the pause early; the loop then sees it.
    await parts.clock.sleep(ms, signal).catch(() => {});
  }
}

async function runHost(
  parts: GuardParts,
  host: string,
  hsm: HsmCode,
  signal: AbortSignal,
): Promise<{ reason: string; wasReady: boolean; isDone: boolean }> {
  const args = ['--data', parts.data, '--code', hsm.bundle, '--node', hsm.node];
  const child = spawn(hsm.node, ['--disable-sigusr1', host, ...args], {
    cwd: hsm.folder,
    env: {},
    uid: parts.user.uid,
    gid: parts.user.gid,
    stdio: ['pipe', 'inherit', 'inherit', 'pipe', 'ipc'],
    detached: true,
  });
  let said: string | undefined;
  let wasReady = false;
  child.on('message', (message) => {
    if (typeof message !== 'object' || message === null || !('kind' in message)) return;
    if (message.kind === 'ready') wasReady = true;
    if (message.kind === 'failed' && 'message' in message) said = String(message.message);
  });
  const exited = new Promise<string>((resolve) => {
    child.once('error', (cause) => resolve(cause.message));
    child.once('exit', (code, by) =>
      resolve(said ?? (by === null ? `exit code ${code}` : `ended by ${by}`)),
    );
  });
  givePassphrase(child, parts.passphrase);
  const channel = child.stdio[3];
  if (channel instanceof Socket) parts.onChannel(channel);
  const isOver = new AbortController();
  const ending = () => {
    parts.clock.sleep(END_TIMEOUT_MS, isOver.signal).then(
      () => child.kill('SIGKILL'),
      () => {},
    );
  };
  signal.addEventListener('abort', ending, { once: true });
  try {
    const reason = await exited;
    return { reason, wasReady, isDone: child.exitCode === 0 };
  } finally {
    isOver.abort();
    signal.removeEventListener('abort', ending);
  }
}

/** The systemd credential, which only root may read; an empty stdin says that there is none. */
function givePassphrase(child: ChildProcess, passphrase: Uint8Array | undefined): void {
  // A host that dies early breaks the pipe; its exit tells.
  child.stdin?.on('error', () => {});
  child.stdin?.end(passphrase ?? new Uint8Array(0));
}

async function installFor(
  data: string,
  checkout: string,
  user: SystemUser,
): Promise<{ host: string; hsm: HsmCode }> {
  const folder = join(data, 'host', 'code');
  await mkdir(folder, { recursive: true });
  // Whatever the umask: the host's user has to reach the code, and no more than reach it.
  await chmod(folder, 0o755);
  const hsm = await install(folder, 'hsm.mjs', await bundle(checkout, 'hsm'));
  const host = await install(folder, 'host.mjs', await bundle(checkout, 'host'));
  const node = await reachableNode(folder, user);
  return {
    host: host.file,
    hsm: { folder: hsm.folder, bundle: hsm.file, sha256: hsm.sha256, node },
  };
}

/** A folder under somebody's private one would fail later, and say less. */
async function checkWay(data: string, user: SystemUser): Promise<void> {
  for (let at = dirname(data); ; at = dirname(at)) {
    if (!(await isEnterable(at, user))) {
      throw new Failed(
        'START',
        `The HSM host runs as user ${user.uid}, who may not enter ${at}. Use a data folder outside it, such as /var/lib/keyark.`,
      );
    }
    if (dirname(at) === at) return;
  }
}

/**
 * DATA stays root's and sticky: the control plane makes files in it, but cannot move the host's folder
 * away and put another in its place. DATA/host and DATA/clusters are the host's.
 */
async function shareFolders(data: string, user: SystemUser): Promise<void> {
  await chown(data, 0, controlPlaneUser().gid);
  await chmod(data, 0o1771);
  const host = join(data, 'host');
  await giveFolder(host, user, user.gid);
  await chmod(host, 0o700);
  const clusters = join(data, 'clusters');
  await giveFolder(clusters, user, doorGroup() ?? user.gid);
  // Folders made inside inherit the group, which the host's user need not belong to.
  await chmod(clusters, 0o2751);
}

async function giveFolder(path: string, user: SystemUser, gid: number): Promise<void> {
  await mkdir(path, { recursive: true });
  const found = await lstat(path);
  if (!found.isDirectory() || (found.uid !== 0 && found.uid !== user.uid)) {
    throw new Failed(
      'START',
      `${path} belongs to user ${found.uid}, not to the HSM host's (${user.uid})`,
    );
  }
  if (found.uid === user.uid) return;
  for (const name of await readdir(path, { recursive: true })) {
    await lchown(join(path, name), user.uid, gid);
  }
  await lchown(path, user.uid, gid);
}
