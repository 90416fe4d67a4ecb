/**
 * What the control plane knows, durably. Readers and writers are different objects: whoever holds a
 * `CatalogReader` cannot write. `transact` is atomic and durable when it returns; its callback is
 * synchronous, so nothing can interleave.
 *
 * Law: `put…` replaces the whole row; `create…` throws Refused `Conflict` when the id exists.
 */
import type { Backup, BackupState, PendingBackup, ReadyBackup } from '../backups/backup.ts';
import type { Cluster, ClusterState, Hsm } from '../clusters/cluster.ts';
import type { BackupId, ClusterId, HsmId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { ProtectionReader } from './protection.ts';

export interface Scope {
  readonly account: string;
  readonly region: string;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** Opaque, at most 256 characters; absent on the last page. */
  readonly nextToken?: string;
}

export interface PageRequest {
  readonly limit: number;
  readonly nextToken?: string;
}

export interface ClusterQuery {
  readonly ids?: readonly ClusterId[];
  readonly vpcIds?: readonly string[];
  /** Without this filter DELETED clusters stay visible for a while, as AWS's do; the query returns all. */
  readonly states?: readonly ClusterState[];
}

export interface BackupQuery {
  readonly ids?: readonly BackupId[];
  readonly sourceBackupIds?: readonly BackupId[];
  readonly clusterIds?: readonly ClusterId[];
  readonly states?: readonly BackupState[];
  readonly neverExpires?: boolean;
  /** Default newest first. */
  readonly isAscending?: boolean;
}

export interface CatalogReader {
  cluster(id: ClusterId): Cluster | undefined;
  /** Newest first. @throws Refused `InvalidRequest` for a token this catalog did not make. */
  clusters(scope: Scope, query: ClusterQuery, page: PageRequest): Page<Cluster>;
  /** All clusters in any of these states, of every account and region: for the service's own loops. */
  clustersIn(states: readonly ClusterState[]): readonly Cluster[];
  /** What is proven, what is not, what is to be tried again: over all clusters, by index. */
  readonly protection: ProtectionReader;
  /** ACTIVE clusters with a live HSM whose `nextBackupAt` has come, earliest first. */
  clustersDue(now: EpochMs, limit: number): readonly Cluster[];
  /** Clusters whose `nextReviewAt` has come, earliest first. */
  clustersToReview(now: EpochMs, limit: number): readonly Cluster[];
  hsm(id: HsmId): Hsm | undefined;
  /** Not DELETED ones, oldest first. */
  hsmsOf(clusterId: ClusterId): readonly Hsm[];
  hsmsIn(states: readonly Hsm['state'][]): readonly Hsm[];
  backup(id: BackupId): Backup | undefined;
  backups(scope: Scope, query: BackupQuery, page: PageRequest): Page<Backup>;
  backupsIn(states: readonly BackupState[]): readonly Backup[];
  /** A cluster's READY backups in its own region, oldest first; copies elsewhere are not among them. */
  readyBackupsOf(cluster: Pick<Cluster, 'id' | 'region'>): readonly ReadyBackup[];
  /** PENDING_DELETION whose `purgeAt` has come, earliest first. */
  backupsToPurge(now: EpochMs, limit: number): readonly PendingBackup[];
  /** READY copies whose own retention has ended, earliest first. */
  backupsToExpire(now: EpochMs, limit: number): readonly ReadyBackup[];
  /** The READY backup of the cluster that was created last: order of creation, whatever the clocks said. */
  newestReady(clusterId: ClusterId): ReadyBackup | undefined;
  /** Subnet id → availability zone, as first seen in this scope. */
  subnetZone(scope: Scope, subnetId: string): string | undefined;
  /** Small named facts of the service itself. */
  setting(name: string): string | undefined;
}

export interface CatalogWriter extends CatalogReader {
  createCluster(cluster: Cluster): void;
  putCluster(cluster: Cluster): void;
  createHsm(hsm: Hsm): void;
  putHsm(hsm: Hsm): void;
  createBackup(backup: Backup): void;
  putBackup(backup: Backup): void;
  putSubnetZone(scope: Scope, subnetId: string, zone: string): void;
  putSetting(name: string, value: string): void;
}

export interface Catalog extends Disposable {
  /** A consistent view. */
  read<T>(fn: (reader: CatalogReader) => T): T;
  /** All or nothing; durable when it returns. @throws whatever `fn` throws; Failed `CATALOG`. */
  transact<T>(fn: (writer: CatalogWriter) => T): T;
}
