/** Finding Keyark's real processes, to end them or look at them: by parent and command line. */
import { readFileSync } from 'node:fs';
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';

export interface RunningProcess {
  readonly pid: number;
  readonly parent: number;
  readonly command: string;
}

async function all(): Promise<readonly RunningProcess[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(pids.map((pid) => look(Number(pid))));
  return found.filter((one) => one !== undefined);
}

async function look(pid: number): Promise<RunningProcess | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const command = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0').join(' ');
    // The name in brackets may hold anything; state and parent follow its last bracket.
    const [state, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return state === 'Z' ? undefined : { pid, parent: Number(parent), command };
  } catch {
    // Gone between the listing and the look.
    return undefined;
  }
}

/**
 * Who may look into a process that runs as the same user (Yama's `ptrace_scope`): 0 every process of the user,
 * 1 its ancestors, 2 root, 3 nobody.
 */
export function whoMayLook(): number {
  try {
    return Number(readFileSync('/proc/sys/kernel/yama/ptrace_scope', 'utf8'));
  } catch {
    // A kernel without that rule.
    return 0;
  }
}

export async function isAlive(pid: number): Promise<boolean> {
  return (await look(pid)) !== undefined;
}

/** Everything below `pid`, itself included. */
export async function family(pid: number): Promise<readonly RunningProcess[]> {
  const everybody = await all();
  const members = new Set([pid]);
  for (let before = 0; before < members.size; ) {
    before = members.size;
    for (const one of everybody) if (members.has(one.parent)) members.add(one.pid);
  }
  return everybody.filter((one) => members.has(one.pid));
}

/** Whose command line names this path: what was started on a data folder, whoever its parent is by now. */
export async function naming(path: string): Promise<readonly RunningProcess[]> {
  return (await all()).filter(({ pid, command }) => pid !== process.pid && command.includes(path));
}

export interface FleetProcesses {
  /** Only when the host was started as root. */
  readonly guard: number | undefined;
  readonly host: number;
  /** By the id in their folder's path. */
  readonly hsms: ReadonlyMap<string, number>;
  /** Those that wait to become an HSM, also while they start. */
  readonly spares: readonly number[];
  readonly drills: readonly number[];
}

/** The processes of a local fleet, by what they are; `pid` is the fleet's own or that of its service. */
export async function fleetProcesses(pid: number): Promise<FleetProcesses> {
  const members = await family(pid);
  const started = members.find(({ command }) => command.includes('bin/host.ts'))?.pid ?? pid;
  const hosted = members.find(({ command }) => command.includes('host.mjs'))?.pid;
  const hsms = new Map<string, number>();
  const spares: number[] = [];
  for (const { pid: hsm, command } of members) {
    if (!command.includes(' --dir ') || command.includes('flock')) continue;
    const id = / --dir \S*\/(hsm-[^/ ]+)\//.exec(command)?.[1] ?? (await hsmIdOf(hsm));
    if (id === undefined) spares.push(hsm);
    else hsms.set(id, hsm);
  }
  return {
    guard: hosted === undefined ? undefined : started,
    host: hosted ?? started,
    hsms,
    spares,
    drills: members.filter(({ command }) => command.includes(' --drill')).map((one) => one.pid),
  };
}

/** By where its open files lie now, for one that was a spare: its command line names the folder of its start. */
async function hsmIdOf(pid: number): Promise<string | undefined> {
  const descriptors = `/proc/${pid}/fd`;
  // A process that is gone has none.
  const names = await readdir(descriptors).catch(() => []);
  const paths = await Promise.all(
    names.map((name) => readlink(join(descriptors, name)).catch(() => '')),
  );
  return paths.flatMap((path) => /\/hsms\/(hsm-[^/]+)\//.exec(path)?.[1] ?? []).at(0);
}
