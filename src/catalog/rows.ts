/**
 * Rows ↔ domain types. Everything written here is read back here, and SQLite's checks guard the pairs
 * that travel together, so what comes out of a row is trusted to be what went in.
 */
import type { SQLOutputValue } from 'node:sqlite';
import type {
  Backup,
  BackupSummary,
  DeletionRecord,
  Hold,
  Proof,
  Removal,
  SealedArchive,
} from '../backups/backup.ts';
import type { RetentionFacts } from '../backups/retention.ts';
import type { Cluster, ClusterCertificates, Hsm } from '../clusters/cluster.ts';
import type { Migration } from '../clusters/migration.ts';

export type Row = Record<string, SQLOutputValue>;
/** In the order of the columns that were asked for. */
export type RowList = readonly SQLOutputValue[];
export type Values = Record<string, string | number | null>;

export function clusterValues(cluster: Cluster): Values {
  return {
    id: cluster.id,
    account: cluster.account,
    region: cluster.region,
    state: cluster.state,
    state_message: cluster.stateMessage ?? null,
    type: cluster.type,
    mode: cluster.mode,
    network_type: cluster.networkType,
    created_at: cluster.createdAt,
    retention_days: cluster.retentionDays,
    source_backup_id: cluster.sourceBackup?.id ?? null,
    source_backup_as_requested: cluster.sourceBackup?.asRequested ?? null,
    vpc_id: cluster.vpcId,
    security_group: cluster.securityGroup,
    newest_change_generation: cluster.newestChange?.generation ?? null,
    newest_change_at: cluster.newestChange?.at ?? null,
    unproven_since: cluster.unprovenSince ?? null,
    change_due_at: cluster.changeDueAt ?? null,
    next_backup_at: cluster.nextBackupAt ?? null,
    next_review_at: cluster.nextReviewAt ?? null,
    backup_failures: cluster.backupFailures,
    subnets: mapText(cluster.subnets),
    tags: mapText(cluster.tags),
    certificates: JSON.stringify(cluster.certificates),
    migration: cluster.migration === undefined ? null : JSON.stringify(cluster.migration),
  };
}

export function clusterOf(row: Row): Cluster {
  const cluster = {
    id: row['id'],
    account: row['account'],
    region: row['region'],
    state: row['state'],
    ...optional('stateMessage', row['state_message']),
    type: row['type'],
    mode: row['mode'],
    networkType: row['network_type'],
    createdAt: row['created_at'],
    retentionDays: row['retention_days'],
    ...(row['source_backup_id'] === null
      ? {}
      : {
          sourceBackup: {
            id: row['source_backup_id'],
            asRequested: row['source_backup_as_requested'],
          },
        }),
    vpcId: row['vpc_id'],
    securityGroup: row['security_group'],
    subnets: mapOf(row['subnets']),
    // Written from ClusterCertificates by `clusterValues`.
    certificates: JSON.parse(String(row['certificates'])) as ClusterCertificates,
    tags: mapOf(row['tags']),
    ...(row['newest_change_at'] === null
      ? {}
      : {
          newestChange: {
            generation: row['newest_change_generation'],
            at: row['newest_change_at'],
          },
        }),
    ...optional('unprovenSince', row['unproven_since']),
    ...optional('changeDueAt', row['change_due_at']),
    ...optional('nextBackupAt', row['next_backup_at']),
    ...optional('nextReviewAt', row['next_review_at']),
    backupFailures: row['backup_failures'],
    ...(row['migration'] === null
      ? {}
      : // Written from a Migration by `clusterValues`.
        { migration: JSON.parse(String(row['migration'])) as Migration }),
  };
  // The columns are strict and were filled from a Cluster by `clusterValues`.
  return cluster as Cluster;
}

export function hsmValues(hsm: Hsm): Values {
  return {
    id: hsm.id,
    cluster_id: hsm.clusterId,
    state: hsm.state,
    state_message: hsm.stateMessage ?? null,
    type: hsm.type,
    availability_zone: hsm.availabilityZone,
    subnet_id: hsm.subnetId,
    eni_id: hsm.eniId,
    eni_ip: hsm.eniIp,
    eni_ip_v6: hsm.eniIpV6 ?? null,
    created_at: hsm.createdAt,
    takes_writes: hsm.takesWrites ? 1 : 0,
    serial: hsm.serial ?? null,
  };
}

export function hsmOf(row: Row): Hsm {
  const hsm = {
    id: row['id'],
    clusterId: row['cluster_id'],
    state: row['state'],
    ...optional('stateMessage', row['state_message']),
    type: row['type'],
    availabilityZone: row['availability_zone'],
    subnetId: row['subnet_id'],
    eniId: row['eni_id'],
    eniIp: row['eni_ip'],
    ...optional('eniIpV6', row['eni_ip_v6']),
    createdAt: row['created_at'],
    takesWrites: row['takes_writes'] === 1,
    ...optional('serial', row['serial']),
  };
  // The columns are strict and were filled from an Hsm by `hsmValues`.
  return hsm as Hsm;
}

export function backupValues(backup: Backup): Values {
  const isKept = backup.state === 'READY' || backup.state === 'PENDING_DELETION';
  const isDeleted = backup.state === 'DELETED';
  return {
    id: backup.id,
    account: backup.account,
    region: backup.region,
    cluster_id: backup.clusterId,
    state: backup.state,
    cause: backup.cause,
    type: backup.type,
    mode: backup.mode,
    created_at: backup.createdAt,
    never_expires: backup.neverExpires ? 1 : 0,
    copied_at: backup.copy?.copiedAt ?? null,
    source_region: backup.copy?.sourceRegion ?? null,
    source_backup_id: backup.copy?.sourceBackup ?? null,
    source_cluster_id: backup.copy?.sourceCluster ?? null,
    purge_at: backup.state === 'PENDING_DELETION' ? backup.purgeAt : null,
    deleted_at: isDeleted ? backup.deletedAt : null,
    why: isDeleted ? backup.why : null,
    holds: JSON.stringify(backup.holds),
    spared_until: backup.sparedUntil ?? null,
    retention_days: backup.ownRetention?.days ?? null,
    expires_at: backup.ownRetention?.expiresAt ?? null,
    drilled_at: backup.drill?.at ?? null,
    drill_failure: backup.drill?.failure ?? null,
    policy: backup.policy ?? null,
    removal: backup.state === 'PENDING_DELETION' ? JSON.stringify(backup.removal) : null,
    deletion_record:
      isDeleted && backup.record !== undefined ? JSON.stringify(backup.record) : null,
    tags: mapText(backup.tags),
    archive: isKept ? JSON.stringify(backup.archive) : null,
    proof: isKept ? JSON.stringify(backup.proof) : null,
  };
}

/** What `copyOf` reads. */
const COPY_COLUMNS = [
  'copied_at',
  'source_region',
  'source_backup_id',
  'source_cluster_id',
] as const;

/** What `retentionFactsOf` reads. */
export const RETENTION_COLUMNS = [
  'id',
  'cause',
  'created_at',
  'never_expires',
  'holds',
  'spared_until',
  'retention_days',
  'expires_at',
  'policy',
  'drilled_at',
  'drill_failure',
  ...COPY_COLUMNS,
].join(', ');

export function retentionFactsOf(row: Row): RetentionFacts {
  const facts = {
    id: row['id'],
    cause: row['cause'],
    createdAt: row['created_at'],
    neverExpires: row['never_expires'] === 1,
    // Written from holds by `backupValues`.
    holds: JSON.parse(String(row['holds'])) as readonly Hold[],
    ...optional('sparedUntil', row['spared_until']),
    ...(row['expires_at'] === null
      ? {}
      : { ownRetention: { days: row['retention_days'], expiresAt: row['expires_at'] } }),
    ...optional('policy', row['policy']),
    ...drillOf(row),
    ...(row['copied_at'] === null ? {} : { copy: copyOf(row) }),
  };
  // The columns are strict and checked, and were filled from a Backup by `backupValues`.
  return facts as RetentionFacts;
}

/** Where a copy comes from. */
function copyOf(row: Row) {
  return {
    copiedAt: row['copied_at'],
    sourceRegion: row['source_region'],
    sourceBackup: row['source_backup_id'],
    sourceCluster: row['source_cluster_id'],
  };
}

/** What `backupSummaryOf` reads, in this order. */
export const SUMMARY_COLUMNS = [
  'id',
  'account',
  'region',
  'cluster_id',
  'state',
  'type',
  'mode',
  'created_at',
  'never_expires',
  'purge_at',
  'tags',
  ...COPY_COLUMNS,
] as const;

export function backupSummaryOf(row: RowList): BackupSummary {
  const [purgeAt, copiedAt] = [row[9] ?? null, row[11] ?? null];
  const summary = {
    id: row[0],
    account: row[1],
    region: row[2],
    clusterId: row[3],
    state: row[4],
    type: row[5],
    mode: row[6],
    createdAt: row[7],
    neverExpires: row[8] === 1,
    tags: mapOf(row[10]),
    ...(purgeAt === null ? undefined : { purgeAt }),
    ...(copiedAt === null
      ? undefined
      : {
          copy: { copiedAt, sourceRegion: row[12], sourceBackup: row[13], sourceCluster: row[14] },
        }),
  };
  // The columns are strict and checked, and were filled from a Backup by `backupValues`.
  return summary as BackupSummary;
}

export function backupOf(row: Row): Backup {
  const backup = {
    ...retentionFactsOf(row),
    account: row['account'],
    region: row['region'],
    clusterId: row['cluster_id'],
    type: row['type'],
    mode: row['mode'],
    tags: mapOf(row['tags']),
    state: row['state'],
    ...(row['proof'] === null
      ? {}
      : {
          // Written from a SealedArchive and a Proof by `backupValues`.
          archive: JSON.parse(String(row['archive'])) as SealedArchive,
          proof: JSON.parse(String(row['proof'])) as Proof,
        }),
    ...optional('purgeAt', row['purge_at']),
    ...optional('deletedAt', row['deleted_at']),
    ...optional('why', row['why']),
    ...(row['removal'] === null ? {} : { removal: JSON.parse(String(row['removal'])) as Removal }),
    ...(row['deletion_record'] === null
      ? {}
      : { record: JSON.parse(String(row['deletion_record'])) as DeletionRecord }),
  };
  // The columns are strict and checked, and were filled from a Backup by `backupValues`.
  return backup as Backup;
}

/** The latest time that it was opened again, if it ever was. */
function drillOf(row: Row) {
  if (row['drilled_at'] === null) return {};
  return { drill: { at: row['drilled_at'], ...optional('failure', row['drill_failure']) } };
}

/** A member, or none for a column that is null. */
export function optional(
  name: string,
  value: SQLOutputValue | undefined,
): Record<string, SQLOutputValue> {
  return value === null || value === undefined ? {} : { [name]: value };
}

/** As pairs, not as an object: names are the caller's, and order is kept. */
function mapText(map: ReadonlyMap<string, string>): string {
  return JSON.stringify([...map]);
}

/** Most have no tags. */
const EMPTY: ReadonlyMap<string, string> = new Map();

function mapOf(text: SQLOutputValue | undefined): ReadonlyMap<string, string> {
  if (text === '[]') return EMPTY;
  // Written by `mapText`.
  return new Map(JSON.parse(String(text)) as [string, string][]);
}
