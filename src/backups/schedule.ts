/**
 * When is a backup due, and why. Pure: facts and a clock reading in, times and reasons out.
 *
 * The floor is one proven backup in any 24 hours. Each cluster has its own moment in a cycle of 20 hours,
 * which leaves four hours for retries with growing waits. A change of users, keys or policies is backed
 * up once it was quiet for a while, or at the latest after a bounded wait; under constant change every
 * five minutes. State that is proven already is backed up again for the floor alone.
 */
import { createHash } from 'node:crypto';
import type { Cluster } from '../clusters/cluster.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../kernel/clock.ts';
import type { ClusterId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { BackupCause } from './backup.ts';

/** No newest proven backup shall be older. */
export const FLOOR_MS = 24 * HOUR_MS;
/** The cycle of scheduled backups, and the latest first try after a proven one. */
export const FIRST_TRY_AFTER_MS = 20 * HOUR_MS;
/** No scheduled backup comes sooner after a proven one. */
export const SOONEST_AFTER_MS = 16 * HOUR_MS;
const FIRST_RETRY_MS = MINUTE_MS;
const LONGEST_RETRY_MS = 30 * MINUTE_MS;
/** Retries of different clusters drift apart by up to this part of the wait. */
const RETRY_JITTER = 0.25;

/** This many change-driven backups within the window are constant change … */
export const CONSTANT_CHANGE_COUNT = 10;
export const CONSTANT_CHANGE_WINDOW_MS = HOUR_MS;
/** … which is backed up this often. */
export const CONSTANT_CHANGE_EVERY_MS = 5 * MINUTE_MS;

export interface SchedulePolicy {
  /** False switches change-driven backups off; the 24-hour floor stays. */
  readonly isChangeDriven: boolean;
  /** A change is backed up when none followed for this long … */
  readonly quietMs: number;
  /** … and at the latest this long after the first one that no proven backup has. */
  readonly latestMs: number;
  /** How many due backups run at once; at least 2, one for each lane. */
  readonly atOnce: number;
}

export const DEFAULT_SCHEDULE: SchedulePolicy = {
  isChangeDriven: true,
  quietMs: 5 * SECOND_MS,
  latestMs: 60 * SECOND_MS,
  atOnce: 2,
};

/** Changes that are in no proven backup yet. */
export interface Unproven {
  readonly firstAt: EpochMs;
  readonly lastAt: EpochMs;
}

/** When something is due, and the sentence that says why then. */
export interface Due {
  readonly at: EpochMs;
  readonly why: string;
}

export type DueCause = Extract<BackupCause, 'scheduled' | 'changed'>;

/**
 * The cluster's own moment: spread evenly over the cycle, the same for ever.
 * @returns milliseconds from the start of a cycle, in whole seconds.
 */
export function ownMoment(clusterId: ClusterId): number {
  const hash = createHash('sha256').update(clusterId).digest().readUInt32BE(0);
  return (hash % (FIRST_TRY_AFTER_MS / SECOND_MS)) * SECOND_MS;
}

/**
 * When the next scheduled backup is due after a proven one: 20 hours later if that is the cluster's own
 * moment. Otherwise up to 4 hours sooner, so that it comes closer to its moment with every cycle: clusters
 * that an outage or a change threw together drift apart again, and none is backed up much too soon.
 *
 * @param createdAt of the backup that was just proven.
 */
export function nextAfterSuccess(createdAt: EpochMs, clusterId: ClusterId): EpochMs {
  const latest = createdAt + FIRST_TRY_AFTER_MS;
  const cycle = FIRST_TRY_AFTER_MS;
  const beyondMoment = (((latest - ownMoment(clusterId)) % cycle) + cycle) % cycle;
  const share = (FIRST_TRY_AFTER_MS - SOONEST_AFTER_MS) / cycle;
  const sooner = Math.min(beyondMoment, Math.max(HOUR_MS, Math.floor(beyondMoment * share)));
  // A time and durations make a time.
  return (latest - sooner) as EpochMs;
}

/**
 * Waits about 1, 2, 4 … at most 30 minutes, and up to a quarter longer, by the cluster: what failed
 * together is not tried again together.
 * @param failures including the one that just happened, from 1.
 */
export function nextAfterFailure(now: EpochMs, failures: number, clusterId: ClusterId): EpochMs {
  const waitMs = Math.min(FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 10), LONGEST_RETRY_MS);
  const jitter = (ownMoment(clusterId) / FIRST_TRY_AFTER_MS) * RETRY_JITTER;
  return (now + Math.round(waitMs * (1 + jitter))) as EpochMs;
}

/** The longest time from a failure to the next try. */
export const LONGEST_WAIT_MS = LONGEST_RETRY_MS * (1 + RETRY_JITTER);

/**
 * When unproven changes want to be backed up.
 * @param recent when change-driven backups of this cluster were begun lately, newest first.
 */
export function changeBackupAt(
  unproven: Unproven,
  recent: readonly EpochMs[],
  policy: Pick<SchedulePolicy, 'quietMs' | 'latestMs'>,
): Due {
  const quietAt = unproven.lastAt + policy.quietMs;
  const latestAt = unproven.firstAt + policy.latestMs;
  const soonest = Math.min(quietAt, latestAt);
  const [newest] = recent;
  const inWindow = recent.filter((at) => at > soonest - CONSTANT_CHANGE_WINDOW_MS);
  const paced =
    newest !== undefined && inWindow.length >= CONSTANT_CHANGE_COUNT
      ? newest + CONSTANT_CHANGE_EVERY_MS
      : 0;
  // Sums of times and durations are times.
  if (paced > soonest) {
    return {
      at: paced as EpochMs,
      why: `constant change: ${inWindow.length} backups in an hour, from then on one every 5 minutes`,
    };
  }
  return quietAt <= latestAt
    ? { at: quietAt as EpochMs, why: `no change for ${policy.quietMs / SECOND_MS} s` }
    : { at: latestAt as EpochMs, why: `${policy.latestMs / SECOND_MS} s after the first change` };
}

type ScheduledRow = Pick<
  Cluster,
  'id' | 'newestChange' | 'unprovenSince' | 'changeDueAt' | 'nextBackupAt' | 'backupFailures'
>;

/** What no proven backup has, judged by generations. @param provenGeneration -1 for no proof at all. */
export function unprovenOf(
  cluster: Pick<Cluster, 'newestChange' | 'unprovenSince'>,
  provenGeneration: number,
): Unproven | undefined {
  const { newestChange, unprovenSince } = cluster;
  if (newestChange === undefined || newestChange.generation <= provenGeneration) return undefined;
  return { firstAt: unprovenSince ?? newestChange.at, lastAt: newestChange.at };
}

/** A backup was proven: the next one is due in its time, failures are over, newer changes go on waiting. */
export function afterProven<Row extends ScheduledRow>(
  cluster: Row,
  backup: { readonly createdAt: EpochMs; readonly generation: number },
): Row {
  const { unprovenSince: _since, changeDueAt: _due, ...rest } = cluster;
  const { newestChange } = cluster;
  const isBehind = newestChange !== undefined && newestChange.generation > backup.generation;
  const row = {
    ...rest,
    nextBackupAt: nextAfterSuccess(backup.createdAt, cluster.id),
    backupFailures: 0,
    // It holds everything from before it was begun, so what is missing is younger than that.
    ...(isBehind && { unprovenSince: backup.createdAt, changeDueAt: newestChange.at }),
  };
  // The same row but for members that ScheduledRow has as optional ones.
  return row as unknown as Row;
}

/** A try failed: one clock decides when the next one is, for the floor and for changes alike. */
export function afterFailure<Row extends ScheduledRow>(cluster: Row, now: EpochMs): Row {
  const { changeDueAt: _due, ...rest } = cluster;
  const backupFailures = cluster.backupFailures + 1;
  const nextBackupAt = nextAfterFailure(now, backupFailures, cluster.id);
  // The same row but for a member that ScheduledRow has as an optional one.
  return { ...rest, backupFailures, nextBackupAt } as unknown as Row;
}

/** An HSM told a durable change. @returns undefined when it is no news. */
export function afterChange<Row extends ScheduledRow>(
  cluster: Row,
  change: { readonly generation: number; readonly at: EpochMs },
  facts: {
    readonly provenGeneration: number;
    readonly recent: readonly EpochMs[];
    readonly policy: SchedulePolicy;
  },
): Row | undefined {
  if (change.generation <= (cluster.newestChange?.generation ?? -1)) return undefined;
  const changed = { ...cluster, newestChange: change };
  if (change.generation <= facts.provenGeneration) return changed;
  // What waited before goes on waiting; a time left over from changes that are proven does not count.
  const unprovenSince = unprovenOf(cluster, facts.provenGeneration)?.firstAt ?? change.at;
  if (!facts.policy.isChangeDriven || cluster.backupFailures > 0) {
    return { ...changed, unprovenSince };
  }
  const unproven = { firstAt: unprovenSince, lastAt: change.at };
  const { at } = changeBackupAt(unproven, facts.recent, facts.policy);
  return { ...changed, unprovenSince, changeDueAt: at };
}

/** Why a backup that is due is taken: a retry carries the cause of what it retries. */
export function causeOf(
  facts: { readonly unproven: Unproven | undefined; readonly provenAt: EpochMs | undefined },
  now: EpochMs,
): DueCause {
  const isForFloor = facts.provenAt === undefined || now - facts.provenAt >= SOONEST_AFTER_MS;
  return facts.unproven !== undefined && !isForFloor ? 'changed' : 'scheduled';
}
