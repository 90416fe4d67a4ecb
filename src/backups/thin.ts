/**
 * Thinning: under constant change there is a backup every few minutes, and most of them are not needed
 * for long. Pure; knows nothing of holds and policies, which `retention.ts` puts on top.
 *
 * The rule, for change-driven backups: all for 24 hours, then the youngest of each hour, after 7 days the
 * youngest of each day. Hours and days are UTC's and count only once they are complete, that is when
 * their last moment is that old. Which gives the laws (held by test/backups/thin.test.ts):
 *
 * - gap: whatever is thinned leaves a younger one behind, less than one hour (after 7 days: one day) away;
 * - monotone: the one that is kept for an hour stays until the hour becomes part of a kept day;
 * - a late look, an early look and any number of looks in between end with the same backups;
 * - the order in which backups are looked at does not matter.
 *
 * The youngest, not the oldest: retention then never takes the one that stands for others before it
 * would have taken those others.
 */
import { DAY_MS, HOUR_MS, isoTime } from '../kernel/clock.ts';
import type { BackupId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';

interface Stage {
  readonly name: 'hour' | 'day';
  readonly bucketMs: number;
  /** How old a whole bucket is when one backup of it is enough. */
  readonly afterMs: number;
}

/** Each bucket lies wholly in one of the next stage, so that the stages agree on who is youngest. */
export const STAGES: readonly Stage[] = [
  { name: 'hour', bucketMs: HOUR_MS, afterMs: 24 * HOUR_MS },
  { name: 'day', bucketMs: DAY_MS, afterMs: 7 * DAY_MS },
];

export interface Thinnable {
  readonly id: BackupId;
  readonly createdAt: EpochMs;
}

export interface Thinning {
  readonly at: EpochMs;
  readonly why: string;
}

/**
 * When each of one cluster's change-driven READY backups becomes superfluous. Those that stand for their
 * day are not in the answer.
 */
export function thinningOf(changed: readonly Thinnable[]): ReadonlyMap<BackupId, Thinning> {
  const inOrder = [...changed].sort(
    (a, b) => a.createdAt - b.createdAt || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0),
  );
  const found = new Map<BackupId, Thinning>();
  for (const [i, { id, createdAt }] of inOrder.entries()) {
    const younger = inOrder[i + 1];
    if (younger === undefined) continue;
    const stage = STAGES.find(
      ({ bucketMs }) => bucketOf(createdAt, bucketMs) === bucketOf(younger.createdAt, bucketMs),
    );
    if (stage !== undefined) found.set(id, thinning(createdAt, stage));
  }
  return found;
}

function thinning(createdAt: EpochMs, { name, bucketMs, afterMs }: Stage): Thinning {
  const startsAt = bucketOf(createdAt, bucketMs) * bucketMs;
  return {
    // A time plus durations is a time.
    at: (startsAt + bucketMs + afterMs) as EpochMs,
    // The start of a bucket is a time.
    why: `a younger change-driven backup of the same ${name} (from ${isoTime(startsAt as EpochMs)}) is kept`,
  };
}

const bucketOf = (at: EpochMs, bucketMs: number): number => Math.floor(at / bucketMs);
