/**
 * How well clusters are protected, asked of indexes: who waits for a backup, whose newest proof is how
 * old, what no proof has yet, which backups want to be tried again. Each answer costs what it returns, not
 * what the catalog holds; only the counts walk an index (100,000 clusters: some milliseconds).
 */
import type { SQLInputValue } from 'node:sqlite';
import type { ReadyBackup } from '../backups/backup.ts';
import type { Cluster } from '../clusters/cluster.ts';
import type { BackupId, ClusterId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Scope } from './catalog.ts';
import type { Query } from './pages.ts';
import { backupOf, clusterOf, type Row } from './rows.ts';

/** A cluster beside what its newest proven backup holds; copies and backups that failed a drill do not count. */
export interface ProvenState {
  readonly at: EpochMs;
  /** Generation of the state that is in it. */
  readonly generation: number;
}

export interface ProtectionTotals {
  /** Clusters that are in use (`IN_USE`) and have an HSM, live or not. */
  readonly clusters: number;
  /** Those of them without any proven backup. */
  readonly withoutProof: number;
  /** The oldest of the newest proofs, and whose it is. */
  readonly oldestProofAt?: EpochMs;
  readonly oldestProofOf?: ClusterId;
  /** Clusters with a change that no proven backup has, and since when the one that waits longest. */
  readonly unproven: number;
  readonly unprovenSince?: EpochMs;
  readonly failing: number;
}

export interface ProtectionReader {
  /** ACTIVE clusters with a live HSM whose `changeDueAt` has come, earliest first. */
  changed(now: EpochMs, limit: number): readonly Cluster[];
  /** How many scheduled backups are due, counted up to `atMost`. */
  dueCount(now: EpochMs, atMost: number): number;
  /** Clusters that are planned for later than `latest`, which no rule of ours does: a clock was wrong. */
  plannedBeyond(latest: EpochMs, limit: number): readonly Cluster[];
  /** ACTIVE clusters with a live HSM and no time for their next backup. */
  unplanned(limit: number): readonly Cluster[];
  /** When change-driven backups of the cluster were begun from `since` on, newest first. */
  changeBackups(clusterId: ClusterId, since: EpochMs, limit: number): readonly EpochMs[];
  proven(clusterId: ClusterId): ProvenState | undefined;
  /** Over one account, in all its regions, or over everything. */
  totals(account?: string): ProtectionTotals;
  /** Clusters in use with an HSM whose newest proof is older than `since`, or that have none. */
  withoutProofSince(since: EpochMs, limit: number): readonly Cluster[];
  /** Clusters with changes that no proven backup has, the one that waits longest first. */
  withUnprovenChanges(limit: number, account?: string): readonly Cluster[];
  /** The cluster's newest sound READY backup that was proven or tried longest ago, if before `before`. */
  newestToDrill(before: EpochMs): ReadyBackup | undefined;
  /** Any sound READY backup, the one that was proven or tried longest ago, if before `before`. */
  anyToDrill(before: EpochMs): ReadyBackup | undefined;
  /** Backups that failed their latest drill, the longest ago first. */
  failedDrills(before: EpochMs, limit: number, account?: string): readonly ReadyBackup[];
  /** READY backups of the cluster in this scope by when they were proven or tried, longest ago first. */
  drillsOf(clusterId: ClusterId, scope: Scope, limit: number): readonly ReadyBackup[];
  /** How many sound READY backups were neither proven nor tried since, counted up to `atMost`; of one account or all. */
  undrilledCount(since: EpochMs, atMost: number, account?: string): number;
  /** The newest sound READY backup of a cluster. */
  newestSound(clusterId: ClusterId): BackupId | undefined;
}

/** What a backup is started of. */
const LIVE = "state = 'ACTIVE' and has_live_hsm = 1";
/**
 * From activation until deletion: a cluster that is restored, moved or broken has state that can be lost, and the
 * longer it stays so the later its backup is. As the indexes have it, letter by letter, or SQLite would not use them.
 */
const IN_USE =
  "state in ('ACTIVE', 'DEGRADED', 'UPDATE_IN_PROGRESS', 'MODIFY_IN_PROGRESS', 'ROLLBACK_IN_PROGRESS')";
const COUNTED = `${IN_USE} and has_hsm = 1`;
const UNPROVEN = `${COUNTED} and newest_change_generation > coalesce(proven_generation, -1)`;
const SOUND = "state = 'READY' and drill_failure is null";

export function protectionReader(all: (query: Query) => readonly Row[]): ProtectionReader {
  const rows = (sql: string, ...params: readonly SQLInputValue[]): readonly Row[] =>
    all({ sql, params });
  const count = (sql: string, ...params: readonly SQLInputValue[]): number =>
    Number(rows(sql, ...params)[0]?.['n'] ?? 0);
  const ready = (sql: string, ...params: readonly SQLInputValue[]): readonly ReadyBackup[] =>
    rows(sql, ...params).flatMap((row) => {
      const backup = backupOf(row);
      return backup.state === 'READY' ? [backup] : [];
    });
  return {
    changed: (now, limit) =>
      rows(
        `select * from clusters indexed by clusters_changed
          where ${LIVE} and change_due_at <= ? order by change_due_at, id limit ?`,
        now,
        limit,
      ).map(clusterOf),

    dueCount: (now, atMost) =>
      count(
        `select count(*) as n from (select 1 from clusters indexed by clusters_due
          where ${LIVE} and next_backup_at <= ? limit ?)`,
        now,
        atMost,
      ),

    plannedBeyond: (latest, limit) =>
      [
        ['clusters_due', 'next_backup_at'],
        ['clusters_changed', 'change_due_at'],
      ]
        .flatMap(([index, column]) =>
          rows(
            `select * from clusters indexed by ${index} where ${LIVE} and ${column} > ? limit ?`,
            latest,
            limit,
          ),
        )
        .map(clusterOf),

    unplanned: (limit) =>
      rows(
        `select * from clusters indexed by clusters_unplanned
          where ${LIVE} and next_backup_at is null limit ?`,
        limit,
      ).map(clusterOf),

    changeBackups: (clusterId, since, limit) =>
      rows(
        `select created_at from backups indexed by backups_on_change
          where cluster_id = ? and cause = 'changed' and created_at >= ?
          order by created_at desc limit ?`,
        clusterId,
        since,
        limit,
      ).map((row) => timeOf(row['created_at'])),

    proven: (clusterId) => {
      const [row] = rows(
        'select proven_at, proven_generation from clusters where id = ?',
        clusterId,
      );
      if (row === undefined || row['proven_at'] === null) return undefined;
      return { at: timeOf(row['proven_at']), generation: Number(row['proven_generation']) };
    },

    totals: (account) => {
      const [where, params] = account === undefined ? ['', []] : [' and account = ?', [account]];
      const [proofs] = rows(
        `select count(*) as clusters, count(*) - count(proven_at) as bare, min(proven_at) as oldest, id
          from clusters indexed by clusters_by_proof where ${COUNTED}${where}`,
        ...params,
      );
      const [changes] = rows(
        `select count(*) as n, min(coalesce(unproven_since, newest_change_at)) as since
          from clusters indexed by clusters_unproven where ${UNPROVEN}${where}`,
        ...params,
      );
      const failing = count(
        `select count(*) as n from backups indexed by backups_drill_failed
          where state = 'READY' and drill_failure is not null${where}`,
        ...params,
      );
      return {
        clusters: Number(proofs?.['clusters'] ?? 0),
        withoutProof: Number(proofs?.['bare'] ?? 0),
        ...optionalTime('oldestProofAt', proofs?.['oldest']),
        // The row that min() was found in; written from a cluster's id.
        ...(typeof proofs?.['oldest'] === 'number' && { oldestProofOf: proofs['id'] as ClusterId }),
        unproven: Number(changes?.['n'] ?? 0),
        ...optionalTime('unprovenSince', changes?.['since']),
        failing,
      };
    },

    withoutProofSince: (since, limit) =>
      rows(
        `select * from clusters indexed by clusters_by_proof
          where ${COUNTED} and (proven_at is null or proven_at < ?) limit ?`,
        since,
        limit,
      ).map(clusterOf),

    withUnprovenChanges: (limit, account) =>
      rows(
        `select * from clusters indexed by clusters_unproven
          where ${UNPROVEN}${account === undefined ? '' : ' and account = ?'}
          order by coalesce(unproven_since, newest_change_at), id limit ?`,
        ...(account === undefined ? [] : [account]),
        limit,
      ).map(clusterOf),

    newestToDrill: (before) => {
      const [cluster] = rows(
        `select id from clusters indexed by clusters_to_drill
          where newest_drilled_at <= ? order by newest_drilled_at, id limit 1`,
        before,
      );
      return cluster === undefined ? undefined : newestSound(ready, String(cluster['id']));
    },

    anyToDrill: (before) =>
      ready(
        `select * from backups indexed by backups_to_drill
          where ${SOUND} and coalesce(drilled_at, created_at) <= ?
          order by coalesce(drilled_at, created_at), id limit 1`,
        before,
      )[0],

    failedDrills: (before, limit, account) =>
      ready(
        `select * from backups indexed by backups_drill_failed
          where state = 'READY' and drill_failure is not null and drilled_at <= ?${
            account === undefined ? '' : ' and account = ?'
          }
          order by drilled_at, id limit ?`,
        before,
        ...(account === undefined ? [] : [account]),
        limit,
      ),

    drillsOf: (clusterId, { account, region }, limit) =>
      ready(
        `select * from backups indexed by backups_by_cluster_state
          where cluster_id = ? and state = 'READY' and account = ? and region = ?
          order by coalesce(drilled_at, created_at), id limit ?`,
        clusterId,
        account,
        region,
        limit,
      ),

    undrilledCount: (since, atMost, account) =>
      count(
        `select count(*) as n from (select 1 from backups indexed by backups_to_drill
          where ${SOUND} and coalesce(drilled_at, created_at) <= ?${
            account === undefined ? '' : ' and account = ?'
          } limit ?)`,
        since,
        ...(account === undefined ? [] : [account]),
        atMost,
      ),

    newestSound: (clusterId) => newestSound(ready, clusterId)?.id,
  };
}

function newestSound(
  ready: (sql: string, ...params: readonly SQLInputValue[]) => readonly ReadyBackup[],
  clusterId: string,
): ReadyBackup | undefined {
  return ready(
    `select * from backups indexed by backups_newest
      where cluster_id = ? and ${SOUND} and copied_at is null order by sequence desc limit 1`,
    clusterId,
  )[0];
}

function timeOf(value: Row[string] | undefined): EpochMs {
  // Written from an EpochMs into a strict integer column.
  return Number(value) as EpochMs;
}

function optionalTime<Name extends string>(
  name: Name,
  value: Row[string] | undefined,
): { readonly [key in Name]?: EpochMs } {
  if (value === null || value === undefined) return {};
  // One member of that name, as the type says.
  return { [name]: timeOf(value) } as { readonly [key in Name]?: EpochMs };
}
