/** How much memory the processes of one service take, watched from outside. */
import { readdirSync, readFileSync } from 'node:fs';
import { systemClock } from '../../src/kernel/clock.ts';
import type { BenchService } from './service.ts';

const LOOK_EVERY_MS = 20;

export type Role = 'control plane' | 'HSM' | 'drill HSM';

/** MiB that are resident, by role; the largest where a role has several. */
export type Resident = ReadonlyMap<Role, number>;

export function residentNow(service: BenchService): Resident {
  const found = new Map<Role, number>();
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid)) continue;
    const role = Number(pid) === service.pid ? 'control plane' : roleOf(pid, service.data);
    if (role === undefined) continue;
    found.set(role, Math.max(found.get(role) ?? 0, statusMiB(pid, 'VmRSS')));
  }
  return found;
}

/** The most that each role took while `work` ran, as seen every 20 ms. */
export async function peakDuring<T>(
  service: BenchService,
  work: () => Promise<T>,
): Promise<{ peak: Resident; result: T }> {
  const peak = new Map<Role, number>();
  const ended = new AbortController();
  const watching = (async () => {
    while (!ended.signal.aborted) {
      for (const [role, mib] of residentNow(service)) {
        peak.set(role, Math.max(peak.get(role) ?? 0, mib));
      }
      await systemClock.sleep(LOOK_EVERY_MS);
    }
  })();
  try {
    return { result: await work(), peak };
  } finally {
    ended.abort();
    await watching;
  }
}

/** An HSM is known by its command line: the code it runs is in the service's folder. */
function roleOf(pid: string, data: string): Role | undefined {
  const words = read(`/proc/${pid}/cmdline`).split('\0');
  if (!words.some((word) => word.startsWith(`${data}/`)) || !words[0]?.endsWith('node')) {
    return undefined;
  }
  if (words.includes('--drill')) return 'drill HSM';
  return words.includes('--dir') ? 'HSM' : undefined;
}

function statusMiB(pid: string, field: string): number {
  const match = new RegExp(`^${field}:\\s+(\\d+) kB`, 'm').exec(read(`/proc/${pid}/status`));
  return Number(match?.[1] ?? 0) / 1024;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Gone between the listing and the look.
    return '';
  }
}
