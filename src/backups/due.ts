/**
 * Which of the backups that are due start now. Pure.
 *
 * There are two lanes: backups for the floor, the one that is overdue longest first, and backups of changes, the one
 * that waits longest first. While something waits in both, neither may take the last place of the other, so that a
 * thousand missed backups do not keep a new key waiting, and constant change does not starve the floor.
 */
import { HOUR_MS, SECOND_MS } from '../kernel/clock.ts';
import type { EpochMs } from '../kernel/types.ts';

export type Lane = 'scheduled' | 'changed';

/** Missed backups are caught up within about this time … */
const CATCH_UP_MS = HOUR_MS;
/** … but a few of them are not drawn out: this is the longest pause between two starts. */
const LONGEST_PAUSE_MS = 5 * SECOND_MS;

export interface Places {
  readonly waiting: Readonly<Record<Lane, number>>;
  readonly running: Readonly<Record<Lane, number>>;
  readonly atOnce: number;
}

/** How many of each lane may start. */
export function placesFor({ waiting, running, atOnce }: Places): Readonly<Record<Lane, number>> {
  const free = Math.max(0, atOnce - running.scheduled - running.changed);
  const most = (lane: Lane, other: Lane): number => {
    const isOtherThere = waiting[other] + running[other] > 0;
    return Math.max(0, (isOtherThere ? atOnce - 1 : atOnce) - running[lane]);
  };
  const scheduled = Math.min(waiting.scheduled, most('scheduled', 'changed'), free);
  const changed = Math.min(waiting.changed, most('changed', 'scheduled'), free - scheduled);
  return { scheduled, changed };
}

/** How long after one start for the floor the next one may come, with this many waiting. */
export function pauseMs(waiting: number): number {
  return Math.min(LONGEST_PAUSE_MS, Math.floor(CATCH_UP_MS / Math.max(1, waiting)));
}

/** @returns how many starts for the floor the time since the last one allows. */
export function startsAllowed(
  now: EpochMs,
  lastStartAt: EpochMs | undefined,
  waiting: number,
): number {
  if (lastStartAt === undefined || now < lastStartAt) return 1;
  return Math.floor((now - lastStartAt) / Math.max(1, pauseMs(waiting)));
}
