/**
 * What will happen to a cluster's backups if nothing else does: the next ones with cause and reason, the next removals,
 * the next drills. Pure, from the same rules that act.
 */
import type { Cluster } from '../clusters/cluster.ts';
import type { BackupId, ClusterId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { PendingBackup, ReadyBackup } from './backup.ts';
import { nextDrillOf } from './drill-plan.ts';
import type { Fate } from './retention.ts';
import {
  changeBackupAt,
  type DueCause,
  FIRST_TRY_AFTER_MS,
  nextAfterSuccess,
  type SchedulePolicy,
  unprovenOf,
} from './schedule.ts';

/** A cluster that is at home in another region: here lie copies of its backups, and nothing else of it. */
export interface Elsewhere {
  readonly id: ClusterId;
  readonly state: 'ELSEWHERE';
}

export interface ForecastFacts {
  readonly cluster: Cluster | Elsewhere;
  readonly hasLiveHsm: boolean;
  readonly provenGeneration: number | undefined;
  /** Of change-driven backups, newest first. */
  readonly recent: readonly EpochMs[];
  readonly ready: readonly ReadyBackup[];
  readonly newest: BackupId | undefined;
  readonly pending: readonly PendingBackup[];
  readonly fates: readonly Fate[];
  readonly policy: SchedulePolicy;
}

export interface Forecast {
  readonly backups: readonly {
    readonly at: EpochMs;
    readonly cause: DueCause;
    readonly why: string;
  }[];
  readonly removals: readonly {
    readonly backupId: BackupId;
    /** `purge` is final; the others begin seven days of undo. */
    readonly what: 'purge' | 'retention' | 'thinned';
    readonly at: EpochMs;
    readonly why: string;
  }[];
  readonly drills: readonly {
    readonly backupId: BackupId;
    readonly at: EpochMs;
    readonly why: string;
  }[];
  /** Why one of the lists is empty, in words. */
  readonly notes: readonly string[];
}

/** A hold's reason has its date: there may be as many as backups. */
const MOST_REASONS = 3;

/** @param most of each kind. */
export function forecastOf(facts: ForecastFacts, now: EpochMs, most: number): Forecast {
  const backups = nextBackups(facts, now, most);
  const removals = nextRemovals(facts, now, most);
  const drills = nextDrills(facts, now, most);
  const notes = [...notesOn(facts), ...(removals.length === 0 ? whyKept(facts) : [])];
  return { backups, removals, drills, notes };
}

function nextBackups(
  facts: ForecastFacts,
  now: EpochMs,
  most: number,
): readonly Forecast['backups'][number][] {
  const { cluster, hasLiveHsm, policy } = facts;
  if (cluster.state !== 'ACTIVE' || !hasLiveHsm) return [];
  const changed = nextOnChange(cluster, facts, now);
  const backups: Forecast['backups'][number][] = changed === undefined ? [] : [changed];
  // Each proven backup starts the 20 hours anew, so what a change brings moves the schedule too.
  let next = changed
    ? nextAfterSuccess(changed.at, cluster.id)
    : atLeast(cluster.nextBackupAt ?? now, now);
  const first = changed === undefined ? whyFirst(cluster, now) : undefined;
  for (let n = 0; backups.length < most; n += 1) {
    backups.push({ at: next, cause: 'scheduled', why: (n === 0 && first) || whyScheduled(policy) });
    next = nextAfterSuccess(next, cluster.id);
  }
  return backups;
}

function nextOnChange(
  cluster: Cluster,
  { provenGeneration, recent, policy }: ForecastFacts,
  now: EpochMs,
): Forecast['backups'][number] | undefined {
  const unproven = unprovenOf(cluster, provenGeneration ?? -1);
  const isWaiting = unproven !== undefined && policy.isChangeDriven && cluster.backupFailures === 0;
  if (!isWaiting || provenGeneration === undefined) return undefined;
  const { at, why } = changeBackupAt(unproven, recent, policy);
  return { at: atLeast(at, now), cause: 'changed', why };
}

function whyFirst({ backupFailures, nextBackupAt }: Cluster, now: EpochMs): string | undefined {
  if (backupFailures > 0) {
    return `try ${backupFailures + 1}: ${backupFailures === 1 ? 'one has' : `${backupFailures} have`} failed`;
  }
  return nextBackupAt === undefined || nextBackupAt <= now ? 'due now' : undefined;
}

const whyScheduled = (policy: SchedulePolicy): string =>
  `at least every 24 hours, at its own moment of a ${FIRST_TRY_AFTER_MS / 3_600_000}-hour cycle${policy.isChangeDriven ? ', if nothing changes before' : ''}`;

function nextRemovals(
  { pending, fates }: ForecastFacts,
  now: EpochMs,
  most: number,
): readonly Forecast['removals'][number][] {
  const purges = pending.map(({ id, purgeAt, removal }) => ({
    backupId: id,
    what: 'purge' as const,
    at: atLeast(purgeAt, now),
    why: `seven days after its deletion (${removal.why})`,
  }));
  const ends = fates.flatMap((fate) =>
    fate.what === 'kept'
      ? []
      : [{ backupId: fate.id, what: fate.what, at: atLeast(fate.at, now), why: fate.why }],
  );
  return soonest([...purges, ...ends], most);
}

function nextDrills(
  { ready, newest, fates }: ForecastFacts,
  now: EpochMs,
  most: number,
): readonly Forecast['drills'][number][] {
  const endsAt = new Map(
    fates.flatMap((fate) => (fate.what === 'kept' ? [] : [[fate.id, fate.at]])),
  );
  const planned = ready
    .map((backup) => nextDrillOf(backup, { isNewest: backup.id === newest }))
    .map(({ backup, at, why }) => ({ backupId: backup.id, at: atLeast(at, now), why }))
    // What is gone by then is not opened any more.
    .filter(({ backupId, at }) => at <= (endsAt.get(backupId) ?? Number.POSITIVE_INFINITY));
  return soonest(planned, most);
}

function notesOn({ cluster, hasLiveHsm, policy }: ForecastFacts): readonly string[] {
  if (cluster.state === 'ELSEWHERE') {
    return [`${cluster.id} is not of this region: here lie copies of its backups`];
  }
  if (cluster.state !== 'ACTIVE') return [`${cluster.id} is ${cluster.state}: no backups are due`];
  const notes: string[] = [];
  if (!hasLiveHsm) notes.push(`${cluster.id} has no live HSM: there is nothing to back up`);
  if (!policy.isChangeDriven) notes.push('changes are backed up with the schedule only');
  return notes;
}

/** Each reason once. */
function whyKept({ fates }: ForecastFacts): readonly string[] {
  const reasons = new Set(fates.flatMap((fate) => (fate.what === 'kept' ? [fate.why] : [])));
  return [...reasons].slice(0, MOST_REASONS).map((why) => `nothing is removed by itself: ${why}`);
}

function soonest<T extends { readonly at: EpochMs }>(
  items: readonly T[],
  most: number,
): readonly T[] {
  return items.toSorted((a, b) => a.at - b.at).slice(0, most);
}

// The later one of two times is a time.
const atLeast = (at: EpochMs, now: EpochMs): EpochMs => Math.max(at, now) as EpochMs;
