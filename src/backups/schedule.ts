/**
 * When is a backup due, and why. Pure: facts and a clock reading in, work out.
 *
 * The floor is one proven backup every 24 hours. The first try comes after 20, which leaves four hours
 * for retries with growing waits; a change of users, keys or policies is backed up once it was quiet for
 * a while, or at the latest after a bounded wait.
 */

import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../kernel/clock.ts';
import type { ClusterId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { BackupCause } from './backup.ts';

export const FIRST_TRY_AFTER_MS = 20 * HOUR_MS;
const FIRST_RETRY_MS = MINUTE_MS;
const LONGEST_RETRY_MS = 30 * MINUTE_MS;

export interface SchedulePolicy {
  /** False switches change-driven backups off; the 24-hour floor stays. */
  readonly isChangeDriven: boolean;
  /** A change is backed up when none followed for this long … */
  readonly quietMs: number;
  /** … and at the latest this long after the first one that no proven backup has. */
  readonly latestMs: number;
}

export const DEFAULT_SCHEDULE: SchedulePolicy = {
  isChangeDriven: true,
  quietMs: 5 * SECOND_MS,
  latestMs: 60 * SECOND_MS,
};

/** Changes that are in no proven backup yet. */
export interface Unproven {
  readonly firstAt: EpochMs;
  readonly lastAt: EpochMs;
}

export interface ClusterFacts {
  readonly clusterId: ClusterId;
  readonly hasLiveHsm: boolean;
  readonly nextBackupAt: EpochMs | undefined;
  /** Tries that failed since the last proven backup; a failure also holds change-driven tries back. */
  readonly failures: number;
  readonly unproven: Unproven | undefined;
}

export interface DueBackup {
  readonly clusterId: ClusterId;
  readonly cause: Extract<BackupCause, 'scheduled' | 'changed'>;
}

/** Which backups should start now. At most one for each cluster; the scheduled one wins. */
export function dueBackups(
  clusters: readonly ClusterFacts[],
  now: EpochMs,
  policy: SchedulePolicy,
): readonly DueBackup[] {
  return clusters.flatMap((facts): DueBackup[] => {
    if (!facts.hasLiveHsm) return [];
    if (facts.nextBackupAt !== undefined && facts.nextBackupAt <= now) {
      return [{ clusterId: facts.clusterId, cause: 'scheduled' }];
    }
    const changeDueAt = changeBackupAt(facts, policy);
    return changeDueAt !== undefined && changeDueAt <= now
      ? [{ clusterId: facts.clusterId, cause: 'changed' }]
      : [];
  });
}

/** When the unproven changes want to be backed up; undefined when there are none or the rule is off. */
export function changeBackupAt(
  facts: Pick<ClusterFacts, 'unproven' | 'failures'>,
  policy: SchedulePolicy,
): EpochMs | undefined {
  // After a failure the schedule's retry is the next try: one clock decides, not two.
  if (!policy.isChangeDriven || facts.unproven === undefined || facts.failures > 0)
    return undefined;
  // A sum of times and durations is a time.
  return Math.min(
    facts.unproven.lastAt + policy.quietMs,
    facts.unproven.firstAt + policy.latestMs,
  ) as EpochMs;
}

/** @param createdAt of the backup that was just proven. */
export function nextAfterSuccess(createdAt: EpochMs): EpochMs {
  return (createdAt + FIRST_TRY_AFTER_MS) as EpochMs;
}

/** Waits 1, 2, 4 … at most 30 minutes. @param failures including the one that just happened, from 1. */
export function nextAfterFailure(now: EpochMs, failures: number): EpochMs {
  const waitMs = Math.min(FIRST_RETRY_MS * 2 ** Math.min(failures - 1, 10), LONGEST_RETRY_MS);
  return (now + waitMs) as EpochMs;
}
