/** Every change of the catalog, as SQL; whoever changes can ask as well. */
import type { Backup } from '../backups/backup.ts';
import type { CopyRule, WantedCopy } from '../backups/copy-rule.ts';
import type { Share } from '../backups/share.ts';
import type { Cluster, Hsm } from '../clusters/cluster.ts';
import type { Restore } from '../clusters/restore.ts';
import { assert, Refused } from '../kernel/errors.ts';
import type { BackupId, CopyRuleId } from '../kernel/ids.ts';
import type { EpochMs, JsonObject } from '../kernel/types.ts';
import type { CatalogWriter, Scope } from './catalog.ts';
import { Reader } from './reader.ts';
import { restoreValues } from './restore-rows.ts';
import { backupValues, clusterValues, hsmValues, type Values } from './rows.ts';
import { copyRuleValues, shareValues, wantedCopyValues } from './sharing-rows.ts';
import type { Statements } from './statements.ts';

export class Writer extends Reader implements CatalogWriter {
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
