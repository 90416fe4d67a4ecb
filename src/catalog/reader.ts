/** Every question to the catalog, as SQL. */
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
import type {
  BackupQuery,
  CatalogReader,
  ClusterQuery,
  Page,
  PageRequest,
  Scope,
} from './catalog.ts';
import { readPage } from './pages.ts';
import { backupPlan, clusterPlan, sharedPlan } from './plans.ts';
import { type ProtectionReader, protectionReader } from './protection.ts';
import { restoreOf } from './restore-rows.ts';
import {
  backupOf,
  backupSummaryOf,
  clusterOf,
  hsmOf,
  RETENTION_COLUMNS,
  type Row,
  retentionFactsOf,
  SUMMARY_COLUMNS,
} from './rows.ts';
import { copyRuleOf, shareOf, wantedCopyOf } from './sharing-rows.ts';
import type { Statements } from './statements.ts';

/** Clusters that are looked at for copies in a region; some may be at home there. */
const MAX_COPIED = 1_000;

export class Reader implements CatalogReader {
  readonly protection: ProtectionReader;
  protected readonly statements: Statements;

  constructor(statements: Statements) {
    this.statements = statements;
    this.protection = protectionReader((query) => statements.all(query));
  }

  cluster(id: ClusterId): Cluster | undefined {
    return decoded(this.statements.get('select * from clusters where id = ?', id), clusterOf);
  }

  clusters(scope: Scope, query: ClusterQuery, page: PageRequest): Page<Cluster> {
    return readPage(clusterPlan(scope, query), page, (q) => this.statements.all(q), clusterOf);
  }

  clustersIn(states: readonly ClusterState[]): readonly Cluster[] {
    const sql = 'select * from clusters where state = ? order by created_at, id';
    return this.#inStates(states, sql).map(clusterOf);
  }

  clustersDue(now: EpochMs, limit: number): readonly Cluster[] {
    const sql = `select * from clusters indexed by clusters_due
      where state = 'ACTIVE' and has_live_hsm = 1 and next_backup_at <= ? order by next_backup_at, id limit ?`;
    return this.statements.all({ sql, params: [now, limit] }).map(clusterOf);
  }

  clustersToReview(now: EpochMs, limit: number): readonly Cluster[] {
    const sql = `select * from clusters indexed by clusters_to_review
      where next_review_at <= ? order by next_review_at, id limit ?`;
    return this.statements.all({ sql, params: [now, limit] }).map(clusterOf);
  }

  clustersMadeFrom(id: BackupId): readonly Cluster[] {
    const sql = `select * from clusters indexed by clusters_by_source
      where source_backup_id = ? and state <> 'DELETED' order by id`;
    return this.statements.all({ sql, params: [id] }).map(clusterOf);
  }

  clustersOutlived({ account, region }: Scope, limit: number): readonly Cluster[] {
    const sql = `select * from clusters indexed by clusters_outlived
      where account = ? and region = ? and state = 'DELETED' and has_stored = 1
      order by created_at desc, id desc limit ?`;
    return this.statements.all({ sql, params: [account, region, limit] }).map(clusterOf);
  }

  clustersCopiedTo({ account, region }: Scope, limit: number): readonly ClusterId[] {
    // From one cluster's first entry to the next one's: what a cluster has many copies of costs no more.
    const next = `select cluster_id from backups indexed by backups_copied
      where account = ? and region = ? and copied_at is not null and state in ('READY', 'PENDING_DELETION')`;
    const sql = `
      with recursive copied (id) as (
        select * from (${next} order by cluster_id limit 1)
        union all
        select (${next} and cluster_id > copied.id order by cluster_id limit 1)
          from copied where copied.id is not null limit ${MAX_COPIED}
      )
      select copied.id from copied left join clusters on clusters.id = copied.id
        where copied.id is not null and clusters.region is not ? limit ?`;
    const params = [account, region, account, region, region, limit];
    // Written from clusters' ids by `backupValues`.
    return this.statements.all({ sql, params }).map((row) => String(row['id']) as ClusterId);
  }

  clustersMigrating(): readonly Cluster[] {
    const sql = `select * from clusters indexed by clusters_migrating
      where migration is not null order by id`;
    return this.statements.all({ sql, params: [] }).map(clusterOf);
  }

  hsm(id: HsmId): Hsm | undefined {
    return decoded(this.statements.get('select * from hsms where id = ?', id), hsmOf);
  }

  hsmsOf(clusterId: ClusterId): readonly Hsm[] {
    const sql = `select * from hsms indexed by hsms_live
      where cluster_id = ? and state <> 'DELETED' order by created_at, id`;
    return this.statements.all({ sql, params: [clusterId] }).map(hsmOf);
  }

  hsmsIn(states: readonly Hsm['state'][]): readonly Hsm[] {
    const sql = 'select * from hsms where state = ? order by created_at, id';
    return this.#inStates(states, sql).map(hsmOf);
  }

  backup(id: BackupId): Backup | undefined {
    return decoded(this.statements.get('select * from backups where id = ?', id), backupOf);
  }

  backups(scope: Scope, query: BackupQuery, page: PageRequest): Page<Backup> {
    return readPage(backupPlan(scope, query), page, (q) => this.statements.all(q), backupOf);
  }

  backupSummaries(scope: Scope, query: BackupQuery, page: PageRequest): Page<BackupSummary> {
    const plan = { ...backupPlan(scope, query), columns: SUMMARY_COLUMNS };
    return readPage(plan, page, (q) => this.statements.lists(q), backupSummaryOf);
  }

  backupsIn(states: readonly BackupState[]): readonly Backup[] {
    // The state is written into the text, so that the planner sees which partial index fits.
    return [...new Set(states)].flatMap((state) => {
      const sql = `select * from backups where state = '${state}' order by created_at, id`;
      return this.statements.all({ sql, params: [] }).map(backupOf);
    });
  }

  readyBackupsOf({ id, region }: Pick<Cluster, 'id' | 'region'>): readonly ReadyBackup[] {
    const sql = `select * from backups indexed by backups_by_cluster_state
      where cluster_id = ? and state = 'READY' and region = ? order by created_at, id`;
    return this.statements
      .all({ sql, params: [id, region] })
      .map(backupOf)
      .filter(isReady);
  }

  retentionFactsOf({ id, region }: Pick<Cluster, 'id' | 'region'>): readonly RetentionFacts[] {
    const sql = `select ${RETENTION_COLUMNS} from backups indexed by backups_by_cluster_state
      where cluster_id = ? and state = 'READY' and region = ? order by created_at, id`;
    return this.statements.all({ sql, params: [id, region] }).map(retentionFactsOf);
  }

  backupsToPurge(now: EpochMs, limit: number): readonly PendingBackup[] {
    const sql = `select * from backups indexed by backups_to_purge
      where state = 'PENDING_DELETION' and purge_at <= ? order by purge_at, id limit ?`;
    return this.statements
      .all({ sql, params: [now, limit] })
      .map(backupOf)
      .filter(isPending);
  }

  backupsToExpire(now: EpochMs, limit: number): readonly ReadyBackup[] {
    const sql = `select * from backups indexed by backups_to_expire
      where state = 'READY' and expires_at <= ? order by expires_at, id limit ?`;
    return this.statements
      .all({ sql, params: [now, limit] })
      .map(backupOf)
      .filter(isReady);
  }

  heldBackups(): readonly Backup[] {
    const sql = `select * from backups indexed by backups_held
      where holds <> '[]' and state <> 'DELETED' order by created_at, id`;
    return this.statements.all({ sql, params: [] }).map(backupOf);
  }

  hasOtherSound({ id, clusterId }: Pick<Backup, 'id' | 'clusterId'>): boolean {
    // Not by backups_newest: copies, which count here, are not in it, and SQLite would refuse the query.
    const sql = `select 1 from backups indexed by backups_by_cluster_state
      where cluster_id = ? and state = 'READY' and id <> ? and drill_failure is null limit 1`;
    return this.statements.get(sql, clusterId, id) !== undefined;
  }

  hasSoundElsewhere(clusterId: ClusterId, { account, region }: Scope): boolean {
    const sql = `select 1 from backups indexed by backups_by_cluster_state
      where cluster_id = ? and state = 'READY' and drill_failure is null
        and (account <> ? or region <> ?) limit 1`;
    return this.statements.get(sql, clusterId, account, region) !== undefined;
  }

  newestReady(clusterId: ClusterId): ReadyBackup | undefined {
    const sql = `select * from backups indexed by backups_newest
      where cluster_id = ? and state = 'READY' and copied_at is null
      order by sequence desc limit 1`;
    const backup = decoded(this.statements.get(sql, clusterId), backupOf);
    return backup?.state === 'READY' ? backup : undefined;
  }

  restoresUnderWay(clusterId?: ClusterId): readonly RestoreIn<'PREPARING' | 'SWITCHED'>[] {
    const sql = `select * from restores indexed by restores_under_way
      where state in ('PREPARING', 'SWITCHED')${clusterId === undefined ? '' : ' and cluster_id = ?'}`;
    const params = clusterId === undefined ? [] : [clusterId];
    return this.statements
      .all({ sql, params })
      .map(restoreOf)
      .filter((restore) => restore.state === 'PREPARING' || restore.state === 'SWITCHED');
  }

  restores({ account, region }: Scope, limit: number, clusterId?: ClusterId): readonly Restore[] {
    const isOne = clusterId !== undefined;
    const index = isOne ? 'restores_by_cluster' : 'restores_by_time';
    const sql = `select * from restores indexed by ${index}
      where account = ? and region = ?${isOne ? ' and cluster_id = ?' : ''}
      order by started_at desc, id desc limit ?`;
    const params = [account, region, ...(isOne ? [clusterId] : []), limit];
    return this.statements.all({ sql, params }).map(restoreOf);
  }

  restore(id: RestoreId): Restore | undefined {
    return decoded(this.statements.get('select * from restores where id = ?', id), restoreOf);
  }

  isBeingCopied(id: BackupId): boolean {
    const sql = `select 1 from backups indexed by backups_by_source
      where source_backup_id = ? and state = 'CREATE_IN_PROGRESS' limit 1`;
    return this.statements.get(sql, id) !== undefined;
  }

  sharedBackups(consumer: Scope, query: BackupQuery, page: PageRequest): Page<Backup> {
    return readPage(sharedPlan(consumer, query), page, (q) => this.statements.all(q), backupOf);
  }

  sharesOf(backupId: BackupId): readonly Share[] {
    const sql = 'select * from shares where backup_id = ? order by consumer';
    return this.statements.all({ sql, params: [backupId] }).map(shareOf);
  }

  shares({ account, region }: Scope, as: 'owner' | 'consumer', limit: number): readonly Share[] {
    const sql = `select * from shares indexed by shares_by_${as}
      where ${as} = ? and region = ? order by created_at desc, backup_id desc, consumer desc limit ?`;
    return this.statements.all({ sql, params: [account, region, limit] }).map(shareOf);
  }

  copyRule(id: CopyRuleId): CopyRule | undefined {
    return decoded(this.statements.get('select * from copy_rules where id = ?', id), copyRuleOf);
  }

  copyRules(account: string, fromRegion?: string): readonly CopyRule[] {
    const inRegion = fromRegion === undefined ? '' : 'and from_region = ?';
    const sql = `select * from copy_rules indexed by copy_rules_by_region
      where account = ? ${inRegion} order by created_at, id`;
    const params = fromRegion === undefined ? [account] : [account, fromRegion];
    return this.statements.all({ sql, params }).map(copyRuleOf);
  }

  copiesWanted(now: EpochMs, limit: number): readonly WantedCopy[] {
    const sql = `select * from wanted_copies indexed by wanted_copies_due
      where copy_id is null and next_at <= ? order by next_at, backup_id limit ?`;
    return this.statements.all({ sql, params: [now, limit] }).map(wantedCopyOf);
  }

  wishOf(copyId: BackupId): WantedCopy | undefined {
    const sql = 'select * from wanted_copies where copy_id = ?';
    return decoded(this.statements.get(sql, copyId), wantedCopyOf);
  }

  subnetZone({ account, region }: Scope, subnetId: string): string | undefined {
    const sql = 'select zone from subnet_zones where account = ? and region = ? and subnet_id = ?';
    return decoded(this.statements.get(sql, account, region, subnetId), (row) =>
      String(row['zone']),
    );
  }

  inUse({ account, region }: Scope): { clusters: number; hsms: number } {
    const live = "clusters.account = ? and clusters.region = ? and clusters.state <> 'DELETED'";
    const count = (sql: string) => Number(this.statements.get(sql, account, region)?.['n']);
    return {
      clusters: count(`select count(*) as n from clusters where ${live}`),
      hsms: count(`select count(*) as n from clusters
        join hsms on hsms.cluster_id = clusters.id and hsms.state <> 'DELETED' where ${live}`),
    };
  }

  firstAnswer(key: string, since: EpochMs): JsonObject | undefined {
    const row = this.statements.get(
      'select answer from first_answers where key = ? and at >= ?',
      key,
      since,
    );
    // Written from a JsonObject by `putFirstAnswer`.
    return decoded(row, ({ answer }) => JSON.parse(String(answer)) as JsonObject);
  }

  setting(name: string): string | undefined {
    const row = this.statements.get('select value from settings where name = ?', name);
    return decoded(row, ({ value }) => String(value));
  }

  #inStates(states: readonly string[], sql: string): readonly Row[] {
    return [...new Set(states)].flatMap((state) => this.statements.all({ sql, params: [state] }));
  }
}

function decoded<T>(row: Row | undefined, decode: (row: Row) => T): T | undefined {
  return row === undefined ? undefined : decode(row);
}

const isReady = (backup: Backup): backup is ReadyBackup => backup.state === 'READY';
const isPending = (backup: Backup): backup is PendingBackup => backup.state === 'PENDING_DELETION';
