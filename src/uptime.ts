/** How long this machine runs, from the machine itself: what no setting of the time can move. */
import { readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { toHex } from './kernel/bytes.ts';
import type { Uptime } from './kernel/clock.ts';
import type { Random } from './kernel/random.ts';

const BOOT_ID = '/proc/sys/kernel/random/boot_id';

/** Linux counts sleep in; a machine that does not say which start this is counts each process as one. */
export function machineUptime(random: Random): Uptime {
  const bootId = bootIdOf() ?? `process ${toHex(random.bytes(8))}`;
  return { bootId: () => bootId, elapsedMs: () => Math.round(uptime() * 1000) };
}

function bootIdOf(): string | undefined {
  try {
    return readFileSync(BOOT_ID, 'utf8').trim();
  } catch {
    // Not Linux, or hidden from us: the answer above is the careful one.
    return undefined;
  }
}
