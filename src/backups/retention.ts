/**
 * What becomes of a backup, when, and why. Pure: rows, a time and a policy in, a fate for each backup
 * out. `review.ts` carries out what is due; a forecast shows the rest.
 *
 * - A cluster's own backups go at the age of its retention, change-driven ones earlier by `thin.ts`. The
 *   cluster's newest READY backup never goes by itself, because the next HSM is restored from it, and neither
 *   does the newest one that is sound. One whose last drill failed stands for no other.
 * - Copies have no policy unless they were given one of their own, counted from the copying.
 * - Holds, `NeverExpires` and a fresh undo come before all of it.
 */
import { DAY_MS, isoTime, MINUTE_MS } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { BackupId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Backup, Removal } from './backup.ts';
import { complianceHoldOn, holdText, legalHoldOn } from './holds.ts';
import { isSound } from './sound.ts';
import { STAGES, type Thinning, thinningOf } from './thin.ts';

export interface RetentionPolicy {
  /** False leaves change-driven backups to the retention, as AWS would. */
  readonly thinning: boolean;
}

export interface Ending {
  readonly id: BackupId;
  readonly what: Extract<Removal['kind'], 'retention' | 'thinned'>;
  readonly at: EpochMs;
  readonly why: string;
}

/** A backup goes at a time, or is kept for as long as the reason lasts. */
export type Fate = Ending | { readonly id: BackupId; readonly what: 'kept'; readonly why: string };

export type RetentionFacts = Pick<
  Backup,
  | 'id'
  | 'cause'
  | 'createdAt'
  | 'neverExpires'
  | 'holds'
  | 'sparedUntil'
  | 'ownRetention'
  | 'policy'
  | 'copy'
  | 'drill'
>;

export interface ClusterBackups {
  readonly retentionDays: number;
  /** Every READY backup of the cluster in its region. Copies among them are passed over. */
  readonly ready: readonly RetentionFacts[];
  /** What the next HSM is restored from. */
  readonly newest: BackupId | undefined;
  /** Why something under way needs this backup: it is not thinned meanwhile. */
  readonly neededFor: (id: BackupId) => string | undefined;
  /** What a move to another HSM type would go back by, while it can. */
  readonly wayBack?: { readonly id: BackupId; readonly until: EpochMs };
}

const MIN_DAYS = 7;
const MAX_DAYS = 379;
/** How long until something under way is asked again whether it still needs a backup. */
const ASK_AGAIN_MS = 10 * MINUTE_MS;
/** The last moment that a date can express: never, for an index. */
export const NEVER = 8_640_000_000_000_000 as EpochMs;

/** In no particular order; one fate for each backup that is not a copy. */
export function fatesOf(
  cluster: ClusterBackups,
  now: EpochMs,
  policy: RetentionPolicy,
): readonly Fate[] {
  const own = cluster.ready.filter(({ copy }) => copy === undefined);
  const thinnings = policy.thinning
    ? thinningOf(own.filter((backup) => backup.cause === 'changed' && isSound(backup)))
    : new Map<BackupId, Thinning>();
  const newest = new Set([cluster.newest, youngestOf(own)?.id]);
  const newestSound = youngestOf(own.filter(isSound))?.id;
  return own.map((backup): Fate => {
    const byAge: Ending = {
      id: backup.id,
      what: 'retention',
      at: plus(backup.createdAt, cluster.retentionDays * DAY_MS),
      why: `older than its cluster's retention of ${cluster.retentionDays} days`,
    };
    const thinned = endByThinning(backup, thinnings.get(backup.id), cluster.neededFor, now);
    const first = thinned !== undefined && thinned.at < byAge.at ? thinned : byAge;
    const { wayBack } = cluster;
    if (backup.id === wayBack?.id && wayBack.until > now) {
      const why = `its cluster can go back to its former HSM type by it until ${isoTime(wayBack.until)}`;
      return { id: backup.id, what: 'kept', why };
    }
    const fate = protectedFrom(backup, first);
    if (fate.what === 'kept') return fate;
    if (newest.has(backup.id)) {
      return { id: backup.id, what: 'kept', why: 'it is the newest READY backup of its cluster' };
    }
    if (backup.id !== newestSound) return fate;
    const why = 'it is the newest backup of its cluster that opens';
    return { id: backup.id, what: 'kept', why };
  });
}

/** A shared backup is somebody else's plan too, and something under way would lose its ground. */
function endByThinning(
  backup: RetentionFacts,
  thinning: Thinning | undefined,
  neededFor: ClusterBackups['neededFor'],
  now: EpochMs,
): Ending | undefined {
  if (thinning === undefined || backup.policy !== undefined) return undefined;
  const end: Ending = { id: backup.id, what: 'thinned', ...thinning };
  const need = thinning.at <= now ? neededFor(backup.id) : undefined;
  if (need === undefined) return end;
  return { ...end, at: plus(now, ASK_AGAIN_MS), why: `${end.why}; until then ${need}` };
}

/** What stands before retention and thinning alike. */
function protectedFrom(backup: RetentionFacts, end: Ending): Fate {
  if (backup.neverExpires) return { id: backup.id, what: 'kept', why: 'it is set to never expire' };
  const legal = legalHoldOn(backup);
  if (legal !== undefined) return { id: backup.id, what: 'kept', why: `it is ${holdText(legal)}` };
  const compliance = complianceHoldOn(backup);
  let late: Ending = end;
  if (backup.sparedUntil !== undefined && backup.sparedUntil > late.at) {
    const why = `${end.why}; brought back, so not before ${isoTime(backup.sparedUntil)}`;
    late = { ...late, at: backup.sparedUntil, why };
  }
  if (compliance !== undefined && compliance.until > late.at) {
    late = { ...late, at: compliance.until, why: `${end.why}; ${holdText(compliance)}` };
  }
  return late;
}

/** A copy's: it never depends on other backups, but for being a cluster's last, which `review.ts` sees. */
export function fateOfCopy(copy: RetentionFacts): Fate {
  const { id, ownRetention } = copy;
  if (ownRetention === undefined) {
    return { id, what: 'kept', why: 'a copy has no retention unless it was given one' };
  }
  const { days } = ownRetention;
  return protectedFrom(copy, {
    id,
    what: 'retention',
    at: plus(copy.copy?.copiedAt ?? copy.createdAt, days * DAY_MS),
    why: `older than its own retention of ${days} days, counted from the copying`,
  });
}

/**
 * The row with the time at which expiry looks at it again: its fate's. Whatever changes a backup passes
 * through here, so that the index never holds one that cannot go.
 */
export function withExpiry(backup: Backup): Backup {
  if (backup.ownRetention === undefined) return backup;
  const fate = fateOfCopy(backup);
  const expiresAt = fate.what === 'kept' ? NEVER : fate.at;
  return { ...backup, ownRetention: { ...backup.ownRetention, expiresAt } };
}

/**
 * A copy with a retention of its own, or without one again.
 * @throws Refused `WrongState` unless a READY copy; `InvalidRequest` outside 7 to 379 days.
 */
export function withOwnRetention(backup: Backup, days: number | undefined): Backup {
  if (backup.copy === undefined) {
    throw new Refused(
      'WrongState',
      `${backup.id} is no copy: it follows the retention of ${backup.clusterId}, which ModifyCluster changes. Nothing was changed.`,
    );
  }
  if (backup.state !== 'READY') {
    throw new Refused(
      'WrongState',
      `${backup.id} is ${backup.state}; only a READY copy can be given a retention. Nothing was changed.`,
    );
  }
  const { ownRetention: _old, sparedUntil: _spared, ...rest } = backup;
  if (days === undefined) return rest;
  // The time is `withExpiry`'s to say.
  return { ...rest, ownRetention: { days: checkDays(days), expiresAt: NEVER } };
}

/** @throws Refused `InvalidRequest`. For what is asked for; stored values may be larger and are honoured. */
export function checkDays(days: number): number {
  if (!Number.isInteger(days) || days < MIN_DAYS || days > MAX_DAYS) {
    throw new Refused(
      'InvalidRequest',
      `A retention of ${days} days is not possible; choose ${MIN_DAYS} to ${MAX_DAYS}.`,
    );
  }
  return days;
}

/** Not later than anything that can happen to this backup by itself: for the time of the next review. */
export function earliestEnd(
  backup: Pick<Backup, 'cause' | 'createdAt'>,
  retentionDays: number,
): EpochMs {
  const untilThinned = backup.cause === 'changed' ? (STAGES[0]?.afterMs ?? 0) : Infinity;
  return plus(backup.createdAt, Math.min(untilThinned, retentionDays * DAY_MS));
}

function youngestOf(backups: readonly RetentionFacts[]): RetentionFacts | undefined {
  return backups.reduce<RetentionFacts | undefined>(
    (youngest, each) =>
      youngest === undefined ||
      each.createdAt > youngest.createdAt ||
      (each.createdAt === youngest.createdAt && each.id > youngest.id)
        ? each
        : youngest,
    undefined,
  );
}

// A time plus a duration is a time.
const plus = (at: EpochMs, ms: number): EpochMs => (at + ms) as EpochMs;
