/**
 * What the control plane knows, durably. Readers and writers are different objects: whoever holds a
 * `CatalogReader` cannot write. `transact` is atomic and durable when it returns; its callback is
 * synchronous, so nothing can interleave.
 *
 * Law: `put…` replaces the whole row; `create…` throws Refused `Conflict` when the id exists.
 */
import type {
  Backup,
  BackupState,
  BackupSummary,
  PendingBackup,
  ReadyBackup,
} from '../backups/backup.ts';
import type { CopyRule, WantedCopy } from '../backups/copy-rule.ts';
import type { RetentionFacts } from '../backups/retention.ts';
import type { Share } from '../backups/share.ts';
import type { Cluster, ClusterState, Hsm } from '../clusters/cluster.ts';
import type { Restore, RestoreIn } from '../clusters/restore.ts';
import type { BackupId, ClusterId, CopyRuleId, HsmId, RestoreId } from '../kernel/ids.ts';
import type { EpochMs, JsonObject } from '../kernel/types.ts';
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
  /** Without this filter DELETED clusters are among them. */
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
  /** Not DELETED ones that were made from this backup. */
  clustersMadeFrom(id: BackupId): readonly Cluster[];
  /** DELETED ones of which backups are still stored where they were, READY or PENDING_DELETION; newest first. */
  clustersOutlived(scope: Scope, limit: number): readonly Cluster[];
  /** Clusters that are not of this region and have copies stored in it, by id. */
  clustersCopiedTo(scope: Scope, limit: number): readonly ClusterId[];
  /** With a `migration`: on the way to another HSM type, or able to go back. */
  clustersMigrating(): readonly Cluster[];
  hsm(id: HsmId): Hsm | undefined;
  /** Not DELETED ones, oldest first. */
  hsmsOf(clusterId: ClusterId): readonly Hsm[];
  hsmsIn(states: readonly Hsm['state'][]): readonly Hsm[];
  backup(id: BackupId): Backup | undefined;
  backups(scope: Scope, query: BackupQuery, page: PageRequest): Page<Backup>;
  /** The same backups on the same pages, without archives and proofs: a third of the cost. */
  backupSummaries(scope: Scope, query: BackupQuery, page: PageRequest): Page<BackupSummary>;
  backupsIn(states: readonly BackupState[]): readonly Backup[];
  /** A cluster's READY backups in its own region, oldest first; copies elsewhere are not among them. */
  readyBackupsOf(cluster: Pick<Cluster, 'id' | 'region'>): readonly ReadyBackup[];
  /** The same backups, but only what retention judges by: no archive, no proof. */
  retentionFactsOf(cluster: Pick<Cluster, 'id' | 'region'>): readonly RetentionFacts[];
  /** PENDING_DELETION whose `purgeAt` has come, earliest first. */
  backupsToPurge(now: EpochMs, limit: number): readonly PendingBackup[];
  /** READY copies whose own retention has ended, earliest first. */
  backupsToExpire(now: EpochMs, limit: number): readonly ReadyBackup[];
  /** Whatever was ever held and is not DELETED, oldest first: holds that ended are among them. */
  heldBackups(): readonly Backup[];
  /**
   * Whether another READY backup of the same cluster, which opened when it was last looked at, is anywhere, copies
   * in all regions included.
   */
  hasOtherSound(backup: Pick<Backup, 'id' | 'clusterId'>): boolean;
  /** Whether such a backup of the cluster is anywhere but in this scope. */
  hasSoundElsewhere(clusterId: ClusterId, scope: Scope): boolean;
  /**
   * The READY backup of the cluster that was created last: order of creation, whatever the clocks said.
   * Copies are never it, wherever they are: a copy is as old as its source, however late it arrived.
   */
  newestReady(clusterId: ClusterId): ReadyBackup | undefined;
  /** Restores that have not come to their end: at most one of each cluster. */
  restoresUnderWay(clusterId?: ClusterId): readonly RestoreIn<'PREPARING' | 'SWITCHED'>[];
  /** Newest first; of one cluster, or of all in the scope. */
  restores(scope: Scope, limit: number, clusterId?: ClusterId): readonly Restore[];
  restore(id: RestoreId): Restore | undefined;
  /** Whether a copy of this backup is on its way: its bytes must then stay. */
  isBeingCopied(id: BackupId): boolean;
  /** READY backups of others that this account sees listed: shared, promoted and accepted. */
  sharedBackups(consumer: Scope, query: BackupQuery, page: PageRequest): Page<Backup>;
  /** With whom a backup is shared. */
  sharesOf(backupId: BackupId): readonly Share[];
  /** What this account shares, or what is shared with it, newest backup first. */
  shares(scope: Scope, as: 'owner' | 'consumer', limit: number): readonly Share[];
  copyRule(id: CopyRuleId): CopyRule | undefined;
  /** Oldest first; of one region, or of all. */
  copyRules(account: string, fromRegion?: string): readonly CopyRule[];
  /** Copies that rules want, that nobody makes yet, and whose time has come; earliest first. */
  copiesWanted(now: EpochMs, limit: number): readonly WantedCopy[];
  /** The wish that this copy fulfils. */
  wishOf(copyId: BackupId): WantedCopy | undefined;
  /** Subnet id → availability zone, as first seen in this scope. */
  subnetZone(scope: Scope, subnetId: string): string | undefined;
  /** Clusters and HSMs of the scope that are not DELETED. */
  inUse(scope: Scope): { readonly clusters: number; readonly hsms: number };
  /** What a create was answered at or after `since`. */
  firstAnswer(key: string, since: EpochMs): JsonObject | undefined;
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
  createRestore(restore: Restore): void;
  putRestore(restore: Restore): void;
  putShare(share: Share): void;
  removeShare(backupId: BackupId, consumer: string): void;
  createCopyRule(rule: CopyRule): void;
  /** With its wishes, but for copies under way: they come to their end. */
  removeCopyRule(id: CopyRuleId): void;
  putWantedCopy(wish: WantedCopy): void;
  removeWantedCopy(wish: Pick<WantedCopy, 'ruleId' | 'backupId'>): void;
  putSubnetZone(scope: Scope, subnetId: string, zone: string): void;
  putSetting(name: string, value: string): void;
  /** Also forgets answers given before `forgetBefore`. */
  putFirstAnswer(
    key: string,
    given: { at: EpochMs; answer: JsonObject; forgetBefore: EpochMs },
  ): void;
}

export interface Catalog extends Disposable {
  /** A consistent view. */
  read<T>(fn: (reader: CatalogReader) => T): T;
  /** All or nothing; durable when it returns. @throws whatever `fn` throws; Failed `CATALOG`. */
  transact<T>(fn: (writer: CatalogWriter) => T): T;
}
