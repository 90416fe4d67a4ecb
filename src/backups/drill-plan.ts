/**
 * Which READY backup is opened again next, and why. Pure.
 *
 * A proof says that a backup opened when it was made; disks and keys get older. So the newest backup of each cluster is
 * opened again when a day has passed since it was proven or opened, and every READY backup within 30 days. One that
 * failed is tried each hour until it opens or somebody removes it.
 */
import { DAY_MS, HOUR_MS } from '../kernel/clock.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { ReadyBackup } from './backup.ts';

export const FAILED_AGAIN_MS = HOUR_MS;
export const NEWEST_EVERY_MS = DAY_MS;
/** Begun after 25 days, so that five are left to come round to all of them one at a time. */
export const ALL_AFTER_MS = 25 * DAY_MS;
export const ALL_WITHIN_MS = 30 * DAY_MS;

export interface DrillCandidates {
  /** The one that failed longest ago. */
  readonly failed: ReadyBackup | undefined;
  /** The newest of the cluster whose newest was opened longest ago. */
  readonly newest: ReadyBackup | undefined;
  /** The one of all that was opened longest ago. */
  readonly any: ReadyBackup | undefined;
}

export interface PlannedDrill {
  readonly backup: ReadyBackup;
  readonly at: EpochMs;
  readonly why: string;
}

/** Times before which the candidates were last opened. */
export function drillHorizons(now: EpochMs): Readonly<Record<keyof DrillCandidates, EpochMs>> {
  // A time minus a duration is a time.
  return {
    failed: (now - FAILED_AGAIN_MS) as EpochMs,
    newest: (now - NEWEST_EVERY_MS) as EpochMs,
    any: (now - ALL_AFTER_MS) as EpochMs,
  };
}

/** The one that is due, failures first, then newest ones; undefined when none is. */
export function dueDrill(
  { failed, newest, any }: DrillCandidates,
  now: EpochMs,
): PlannedDrill | undefined {
  const planned = [
    failed && nextDrillOf(failed, { isNewest: false }),
    newest && nextDrillOf(newest, { isNewest: true }),
    any && nextDrillOf(any, { isNewest: false }),
  ];
  return planned.find((each) => each !== undefined && each.at <= now);
}

/** When this backup is opened again, if it is still there and nothing changes. */
export function nextDrillOf(
  backup: ReadyBackup,
  { isNewest }: { isNewest: boolean },
): PlannedDrill {
  const { drill, createdAt } = backup;
  const last = drill?.at ?? createdAt;
  // A time plus a duration is a time.
  const after = (ms: number): EpochMs => (last + ms) as EpochMs;
  if (drill?.failure !== undefined) {
    return { backup, at: after(FAILED_AGAIN_MS), why: 'it failed; tried each hour' };
  }
  return isNewest
    ? { backup, at: after(NEWEST_EVERY_MS), why: 'the newest of its cluster: each day' }
    : { backup, at: after(ALL_AFTER_MS), why: 'every READY backup within 30 days' };
}
