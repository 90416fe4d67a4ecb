/**
 * The catalog in one SQLite file, `keyark.sqlite`: write-ahead log, one sync per commit. Calls are
 * synchronous, take tens of microseconds (a commit: one disk sync), and block the thread meanwhile.
 *
 * `synchronous=FULL` is set, not assumed: in WAL mode it makes a commit durable, not only consistent.
 */
import { chmodSync, closeSync, fsyncSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { DatabaseSync, type SQLInputValue, type StatementSync } from 'node:sqlite';
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
import { assert, Failed, Refused } from '../kernel/errors.ts';
import type { BackupId, ClusterId, CopyRuleId, HsmId, RestoreId } from '../kernel/ids.ts';
import type { EpochMs, JsonObject } from '../kernel/types.ts';
import type {
  BackupQuery,
  Catalog,
  CatalogReader,
  CatalogWriter,
  ClusterQuery,
  Page,
  PageRequest,
  Scope,
} from './catalog.ts';
import { canWalk, type Filter, type PagePlan, type Query, readPage } from './pages.ts';
import { type ProtectionReader, protectionReader } from './protection.ts';
import { restoreOf, restoreValues } from './restore-rows.ts';
import {
  backupOf,
  backupSummaryOf,
  backupValues,
  clusterOf,
  clusterValues,
  hsmOf,
  hsmValues,
  RETENTION_COLUMNS,
  type Row,
  type RowList,
  retentionFactsOf,
  SUMMARY_COLUMNS,
  type Values,
} from './rows.ts';
import { upgrade } from './schema.ts';
import {
  copyRuleOf,
  copyRuleValues,
  shareOf,
  shareValues,
  wantedCopyOf,
  wantedCopyValues,
} from './sharing-rows.ts';

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;
/** How long a call waits for another process's lock, an online copy for example. */
const BUSY_MS = 2_000;
/** Page queries come in a few shapes, one per number of filter values. */
const MAX_STATEMENTS = 256;
/** Clusters that are looked at for copies in a region; some may be at home there. */
const MAX_COPIED = 1_000;

/** @throws Failed `CATALOG`: damaged, foreign, newer than this program, or the disk refuses. */
export function openCatalog({ folder }: { folder: string }): Catalog {
  return translating('opening the catalog', () => {
    const path = join(folder, 'keyark.sqlite');
    mkdirSync(folder, { recursive: true, mode: FOLDER_MODE });
    chmodSync(folder, FOLDER_MODE);
    // Made before SQLite opens it: the log and the shared-memory file inherit its mode.
    closeSync(openSync(path, 'a', FILE_MODE));
    chmodSync(path, FILE_MODE);
    const db = new DatabaseSync(path, { timeout: BUSY_MS });
    try {
      db.exec('pragma journal_mode = wal; pragma synchronous = full; pragma trusted_schema = off');
      upgrade(db);
      syncFolder(folder);
      syncFolder(dirname(folder));
    } catch (cause) {
      db.close();
      throw cause;
    }
    return new SqliteCatalog(db);
  });
}

class SqliteCatalog implements Catalog {
  readonly #db: DatabaseSync;
  readonly #reader: Reader;
  readonly #writer: Writer;
  readonly #begin: StatementSync;
  readonly #beginImmediate: StatementSync;
  readonly #commit: StatementSync;
  #under: 'nothing' | 'read' | 'transaction' = 'nothing';

  constructor(db: DatabaseSync) {
    const statements = new Statements(db);
    this.#db = db;
    this.#begin = db.prepare('begin');
    this.#beginImmediate = db.prepare('begin immediate');
    this.#commit = db.prepare('commit');
    this.#reader = new Reader(statements);
    this.#writer = new Writer(statements, () => this.#under === 'transaction');
  }

  read<T>(fn: (reader: CatalogReader) => T): T {
    // Within a read or a transaction there is a consistent view already.
    if (this.#under !== 'nothing') return fn(this.#reader);
    return this.#within('read', this.#begin, () => fn(this.#reader));
  }

  transact<T>(fn: (writer: CatalogWriter) => T): T {
    assert(this.#under === 'nothing', 'a transaction was started within another or within a read');
    return this.#within('transaction', this.#beginImmediate, () => fn(this.#writer));
  }

  [Symbol.dispose](): void {
    translating('closing the catalog', () => this.#db.close());
  }

  #within<T>(what: 'read' | 'transaction', begin: StatementSync, fn: () => T): T {
    return translating('the catalog', () => {
      begin.run();
      this.#under = what;
      try {
        const result = fn();
        assert(!isPromise(result), 'a catalog callback must not be asynchronous');
        this.#commit.run();
        return result;
      } catch (cause) {
        // SQLite rolls back by itself after some failures; a second time would be an error.
        if (this.#db.isTransaction) this.#db.exec('rollback');
        throw cause;
      } finally {
        this.#under = 'nothing';
      }
    });
  }
}

/** Prepared statements by text, least recently used ones dropped. */
class Statements {
  readonly #db: DatabaseSync;
  readonly #byText = new Map<string, StatementSync>();

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  get(sql: string, ...params: SQLInputValue[]): Row | undefined {
    return this.#prepared(sql).get(...params);
  }

  all({ sql, params }: Query): readonly Row[] {
    return this.#prepared(sql).all(...params);
  }

  /** Rows as lists, in the order of their columns: a third faster than as objects. */
  lists({ sql, params }: Query): readonly RowList[] {
    // What `setReturnArrays` makes of the rows, which the types do not know.
    return this.#prepared(sql, 'lists').all(...params) as unknown as RowList[];
  }

  run(sql: string, ...params: SQLInputValue[]): void {
    this.#prepared(sql).run(...params);
  }

  #prepared(sql: string, rows: 'objects' | 'lists' = 'objects'): StatementSync {
    const key = `${rows} ${sql}`;
    let statement = this.#byText.get(key);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      statement.setReturnArrays(rows === 'lists');
    }
    this.#byText.delete(key);
    this.#byText.set(key, statement);
    const [oldest] = this.#byText.keys();
    if (this.#byText.size > MAX_STATEMENTS && oldest !== undefined) this.#byText.delete(oldest);
    return statement;
  }
}

class Reader implements CatalogReader {
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

class Writer extends Reader implements CatalogWriter {
  readonly #isInTransaction: () => boolean;

  constructor(statements: Statements, isInTransaction: () => boolean) {
    super(statements);
    this.#isInTransaction = isInTransaction;
  }

  createCluster(cluster: Cluster): void {
    this.#create('clusters', clusterValues(cluster));
  }

  putCluster(cluster: Cluster): void {
    this.#put('clusters', clusterValues(cluster));
  }

  createHsm(hsm: Hsm): void {
    this.#create('hsms', hsmValues(hsm));
  }

  putHsm(hsm: Hsm): void {
    this.#put('hsms', hsmValues(hsm));
  }

  createBackup(backup: Backup): void {
    this.#create('backups', backupValues(backup));
  }

  putBackup(backup: Backup): void {
    this.#put('backups', backupValues(backup));
    // What is gone is shared with nobody.
    if (backup.state === 'DELETED') this.#delete('shares', { backup_id: backup.id });
  }

  putShare(share: Share): void {
    this.#put('shares', shareValues(share), ['backup_id', 'consumer']);
  }

  removeShare(backupId: BackupId, consumer: string): void {
    this.#delete('shares', { backup_id: backupId, consumer });
  }

  createCopyRule(rule: CopyRule): void {
    this.#create('copy_rules', copyRuleValues(rule));
  }

  removeCopyRule(id: CopyRuleId): void {
    this.#delete('copy_rules', { id });
    this.#delete('wanted_copies', { rule_id: id, copy_id: null });
  }

  putWantedCopy(wish: WantedCopy): void {
    this.#put('wanted_copies', wantedCopyValues(wish), ['rule_id', 'backup_id']);
  }

  removeWantedCopy({ ruleId, backupId }: Pick<WantedCopy, 'ruleId' | 'backupId'>): void {
    this.#delete('wanted_copies', { rule_id: ruleId, backup_id: backupId });
  }

  createRestore(restore: Restore): void {
    this.#create('restores', restoreValues(restore));
  }

  putRestore(restore: Restore): void {
    this.#put('restores', restoreValues(restore));
  }

  putSubnetZone({ account, region }: Scope, subnetId: string, zone: string): void {
    const key = ['account', 'region', 'subnet_id'];
    this.#put('subnet_zones', { account, region, subnet_id: subnetId, zone }, key);
  }

  putSetting(name: string, value: string): void {
    this.#put('settings', { name, value }, ['name']);
  }

  putFirstAnswer(
    key: string,
    given: { at: EpochMs; answer: JsonObject; forgetBefore: EpochMs },
  ): void {
    const { at, answer, forgetBefore } = given;
    this.#put('first_answers', { key, at, answer: JSON.stringify(answer) }, ['key']);
    this.statements.run('delete from first_answers where at < ?', forgetBefore);
  }

  #create(table: string, values: Values): void {
    const id = String(values['id']);
    if (this.statements.get(`select 1 from ${table} where id = ?`, id) !== undefined) {
      throw new Refused('Conflict', `${id} exists already.`);
    }
    this.#write(`insert into ${table}`, values);
  }

  /** Updates in place: a row that was there keeps its place in the order of creation. */
  #put(table: string, values: Values, key: readonly string[] = ['id']): void {
    const settings = Object.keys(values)
      .filter((column) => !key.includes(column))
      .map((column) => `${column} = excluded.${column}`);
    const conflict = `on conflict (${key.join(', ')}) do update set ${settings.join(', ')}`;
    this.#write(`insert into ${table}`, values, conflict);
  }

  /** All rows with these values. */
  #delete(table: string, where: Values): void {
    assert(this.#isInTransaction(), 'a catalog writer was used outside its transaction');
    const terms = Object.keys(where).map((column) => `${column} is ?`);
    const sql = `delete from ${table} where ${terms.join(' and ')}`;
    this.statements.run(sql, ...Object.values(where));
  }

  #write(verb: string, values: Values, conflict = ''): void {
    assert(this.#isInTransaction(), 'a catalog writer was used outside its transaction');
    const columns = Object.keys(values);
    const places = columns.map(() => '?').join(', ');
    const sql = `${verb} (${columns.join(', ')}) values (${places}) ${conflict}`;
    this.statements.run(sql, ...Object.values(values));
  }
}

function clusterPlan({ account, region }: Scope, query: ClusterQuery): PagePlan {
  const scope = scopeFilters(account, region);
  const states = filter('state', query.states);
  const vpcs = filter('vpc_id', query.vpcIds);
  const common = { table: 'clusters', isAscending: false } as const;
  if (query.ids !== undefined) {
    const walk = filter('id', query.ids);
    return { ...common, walk, residual: [...scope, ...vpcs, ...states] };
  }
  if (vpcs.length > 0 && states.length > 0 && canWalk([...vpcs, ...states])) {
    const walk = [...scope, ...vpcs, ...states];
    return { ...common, index: 'clusters_by_vpc_state', walk, residual: [] };
  }
  if (vpcs.length > 0) {
    return {
      ...common,
      index: 'clusters_by_vpc',
      walk: [...scope, ...vpcs],
      residual: states,
    };
  }
  return states.length > 0
    ? { ...common, index: 'clusters_by_state', walk: [...scope, ...states], residual: [] }
    : { ...common, index: 'clusters_by_time', walk: scope, residual: [] };
}

const BACKUP_STATES: readonly BackupState[] = [
  'CREATE_IN_PROGRESS',
  'READY',
  'PENDING_DELETION',
  'DELETED',
];

function backupPlan({ account, region }: Scope, query: BackupQuery): PagePlan {
  const scope = scopeFilters(account, region);
  const states = filter('state', query.states);
  const sources = filter('source_backup_id', query.sourceBackupIds);
  const clusters = filter('cluster_id', query.clusterIds);
  const never =
    query.neverExpires === undefined ? [] : filter('never_expires', [query.neverExpires ? 1 : 0]);
  const common = { table: 'backups', isAscending: query.isAscending ?? false } as const;
  if (query.ids !== undefined) {
    const walk = filter('id', query.ids);
    return { ...common, walk, residual: [...scope, ...sources, ...clusters, ...states, ...never] };
  }
  if (sources.length > 0) {
    const residual = [...scope, ...clusters, ...states, ...never];
    return { ...common, index: 'backups_by_source', walk: sources, residual };
  }
  if (clusters.length > 0 && states.length > 0) {
    const residual = [...scope, ...never];
    const walk = [...clusters, ...states];
    return { ...common, index: 'backups_by_cluster_state', walk, residual };
  }
  if (clusters.length > 0) {
    const residual = [...scope, ...never];
    return { ...common, index: 'backups_by_cluster', walk: clusters, residual };
  }
  if (states.length > 0 || never.length > 0) {
    const walk = [
      ...scope,
      ...(states.length > 0 ? states : filter('state', BACKUP_STATES)),
      ...(never.length > 0 ? never : filter('never_expires', [0, 1])),
    ];
    return { ...common, index: 'backups_by_state', walk, residual: [] };
  }
  return { ...common, index: 'backups_by_time', walk: scope, residual: [] };
}

/** A share leads to a backup; what is asked of the backup is looked up there, row by row. */
function sharedPlan({ account, region }: Scope, query: BackupQuery): PagePlan {
  const { ids, states, sourceBackupIds, clusterIds, neverExpires, isAscending } = query;
  const isAsked = states === undefined || states.includes('READY');
  return {
    table: 'backups',
    keys: { table: 'shares', id: 'backup_id' },
    index: 'shares_by_consumer',
    walk: [
      ...filter('consumer', [account]),
      ...filter('shares.region', [region]),
      ...filter('shares.state', ['ACTIVE']),
    ],
    residual: [
      ...filter('backup_id', ids),
      ...filter('backups.source_backup_id', sourceBackupIds),
      ...filter('backups.cluster_id', clusterIds),
      // A consumer sees READY ones only; any other state it may ask for is nowhere.
      ...filter('backups.state', isAsked ? ['READY'] : []),
      ...(neverExpires === undefined ? [] : filter('never_expires', [neverExpires ? 1 : 0])),
    ],
    isAscending: isAscending ?? false,
  };
}

function scopeFilters(account: string, region: string): readonly Filter[] {
  return [...filter('account', [account]), ...filter('region', [region])];
}

function filter(column: string, values: readonly SQLInputValue[] | undefined): readonly Filter[] {
  return values === undefined ? [] : [{ column, values }];
}

function decoded<T>(row: Row | undefined, decode: (row: Row) => T): T | undefined {
  return row === undefined ? undefined : decode(row);
}

const isReady = (backup: Backup): backup is ReadyBackup => backup.state === 'READY';
const isPending = (backup: Backup): backup is PendingBackup => backup.state === 'PENDING_DELETION';

function isPromise(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value;
}

function syncFolder(path: string): void {
  const handle = openSync(path, 'r');
  try {
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

/** SQLite's and the disk's errors become ours; everything else passes. */
function translating<T>(what: string, fn: () => T): T {
  try {
    return fn();
  } catch (cause) {
    const isWorld =
      cause instanceof Error &&
      (('code' in cause && cause.code === 'ERR_SQLITE_ERROR') || 'syscall' in cause);
    if (!isWorld) throw cause;
    throw new Failed('CATALOG', `${what}: ${cause.message}`, { cause });
  }
}
