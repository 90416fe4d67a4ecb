/** How long this machine runs, from the machine itself: what no setting of the time can move. */
import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { toHex } from './kernel/bytes.ts';
import type { Uptime } from './kernel/clock.ts';
import type { Random } from './kernel/random.ts';

const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/** Linux counts sleep in. Where a machine does not say which start this is, each process counts as one. */
export function machineUptime(random: Random): Uptime {
  const upMs = (): number => Math.round(uptime() * 1000);
  const bootId = bootIdOf();
  if (bootId !== undefined) return { bootId: () => bootId, elapsedMs: upMs };
  const startedMs = upMs();
  const processId = `process ${toHex(random.bytes(8))}`;
  return { bootId: () => processId, elapsedMs: () => upMs() - startedMs };
}

function bootIdOf(): string | undefined {
  try {
    return readFileSync(BOOT_ID, 'utf8').trim();
  } catch {
    // Not Linux, or hidden from us: the answer above is the careful one.
    return undefined;
  }
}
