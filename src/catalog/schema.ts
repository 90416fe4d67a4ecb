/**
 * The catalog's tables, by version. A released step is never edited: a change is a new step, and a folder
 * of any older version walks up through the steps in between.
 *
 * Columns and indexes for whatever is filtered, sorted or due; JSON for nested parts that are only read
 * whole. Every page query names its index (`INDEXED BY`), so a plan cannot change behind our back.
 */
import type { DatabaseSync } from 'node:sqlite';
import { Failed } from '../kernel/errors.ts';

/** "KyCt": tells our file from any other SQLite file. */
const APPLICATION_ID = 0x4b794374;

const STEPS: readonly string[] = [
  `
  create table clusters (
    id text primary key,
    account text not null,
    region text not null,
    state text not null,
    state_message text,
    type text not null,
    mode text not null,
    network_type text not null,
    created_at integer not null,
    retention_days integer not null,
    source_backup_id text,
    source_backup_as_requested text,
    vpc_id text not null,
    security_group text not null,
    newest_change_generation integer,
    newest_change_at integer,
    next_backup_at integer,
    backup_failures integer not null,
    subnets text not null,
    tags text not null,
    certificates text not null,
    check ((source_backup_id is null) = (source_backup_as_requested is null)),
    check ((newest_change_generation is null) = (newest_change_at is null))
  ) strict;
  create index clusters_by_time on clusters (account, region, created_at, id);
  create index clusters_by_state on clusters (account, region, state, created_at, id);
  create index clusters_by_vpc on clusters (account, region, vpc_id, created_at, id);
  create index clusters_by_vpc_state on clusters (account, region, vpc_id, state, created_at, id);
  create index clusters_everywhere on clusters (state, created_at, id);
  create index clusters_due on clusters (next_backup_at, id) where next_backup_at is not null;

  create table hsms (
    id text primary key,
    cluster_id text not null,
    state text not null,
    state_message text,
    type text not null,
    availability_zone text not null,
    subnet_id text not null,
    eni_id text not null,
    eni_ip text not null,
    eni_ip_v6 text,
    created_at integer not null,
    takes_writes integer not null check (takes_writes in (0, 1)),
    serial text
  ) strict;
  create index hsms_live on hsms (cluster_id, created_at, id) where state <> 'DELETED';
  create index hsms_by_state on hsms (state, created_at, id);

  create table backups (
    sequence integer primary key autoincrement,
    id text not null unique,
    account text not null,
    region text not null,
    cluster_id text not null,
    state text not null,
    cause text not null,
    type text not null,
    mode text not null,
    created_at integer not null,
    never_expires integer not null check (never_expires in (0, 1)),
    copied_at integer,
    source_region text,
    source_backup_id text,
    source_cluster_id text,
    purge_at integer,
    deleted_at integer,
    why text,
    tags text not null,
    archive text,
    proof text,
    check (
      (copied_at is null) = (source_backup_id is null)
      and (copied_at is null) = (source_region is null)
      and (copied_at is null) = (source_cluster_id is null)
    ),
    check ((state in ('READY', 'PENDING_DELETION')) = (proof is not null)),
    check ((archive is null) = (proof is null)),
    check ((state = 'PENDING_DELETION') = (purge_at is not null)),
    check ((state = 'DELETED') = (deleted_at is not null)),
    check ((deleted_at is null) = (why is null))
  ) strict;
  create index backups_by_time on backups (account, region, created_at, id);
  create index backups_by_state
    on backups (account, region, state, never_expires, created_at, id);
  create index backups_by_cluster on backups (cluster_id, created_at, id);
  create index backups_by_cluster_state on backups (cluster_id, state, created_at, id);
  create index backups_newest on backups (cluster_id, state, sequence);
  create index backups_by_source
    on backups (source_backup_id, created_at, id) where source_backup_id is not null;
  create index backups_unfinished on backups (created_at, id) where state = 'CREATE_IN_PROGRESS';
  create index backups_to_purge on backups (purge_at, id) where state = 'PENDING_DELETION';

  create table subnet_zones (
    account text not null,
    region text not null,
    subnet_id text not null,
    zone text not null,
    primary key (account, region, subnet_id)
  ) strict, without rowid;

  create table settings (name text primary key, value text not null) strict, without rowid;
  `,
  `
  alter table clusters add column next_review_at integer;
  create index clusters_to_review on clusters (next_review_at, id) where next_review_at is not null;

  alter table backups add column holds text not null default '[]';
  alter table backups add column spared_until integer;
  alter table backups add column retention_days integer;
  alter table backups add column expires_at integer;
  alter table backups add column policy text;
  alter table backups add column removal text;
  alter table backups add column deletion_record text;
  create index backups_to_expire
    on backups (expires_at, id) where expires_at is not null and state = 'READY';

  update clusters set next_review_at = 0
    where id in (select cluster_id from backups where state = 'READY');
  update backups set removal = '{"kind":"asked","why":"asked for","by":"keyark"}'
    where state = 'PENDING_DELETION';
  `,
  `
  create table first_answers (
    key text primary key,
    at integer not null,
    answer text not null
  ) strict, without rowid;
  create index first_answers_by_time on first_answers (at);
  `,
  `
  create table restores (
    id text primary key,
    account text not null,
    region text not null,
    cluster_id text not null,
    state text not null,
    backup_id text not null,
    undoes text,
    old_hsm_id text not null,
    new_hsm_id text not null,
    started_at integer not null,
    asked_by text not null,
    undo_ms integer not null,
    safety_id text,
    restored_id text,
    finished_at integer,
    undo_until integer,
    why text,
    check (state in ('PREPARING', 'SWITCHED', 'DONE', 'FAILED')),
    check (state in ('PREPARING', 'FAILED') or (safety_id is not null and restored_id is not null)),
    check ((state in ('DONE', 'FAILED')) = (finished_at is not null)),
    check ((state = 'DONE') = (undo_until is not null)),
    check ((state = 'FAILED') = (why is not null))
  ) strict;
  create index restores_by_cluster on restores (cluster_id, started_at, id);
  create index restores_by_time on restores (account, region, started_at, id);
  create unique index restores_under_way on restores (cluster_id)
    where state in ('PREPARING', 'SWITCHED');
  `,
  `
  drop index backups_newest;
  create index backups_newest on backups (cluster_id, state, sequence) where copied_at is null;

  create table shares (
    backup_id text not null,
    consumer text not null,
    owner text not null,
    region text not null,
    created_at integer not null,
    state text not null,
    primary key (backup_id, consumer)
  ) strict, without rowid;
  create index shares_by_consumer
    on shares (consumer, region, state, created_at, backup_id);
  create index shares_by_owner on shares (owner, region, created_at, backup_id);

  create table copy_rules (
    id text primary key,
    account text not null,
    from_region text not null,
    to_region text not null,
    cluster_id text,
    causes text,
    retention_days integer,
    created_at integer not null
  ) strict;
  create index copy_rules_by_region on copy_rules (account, from_region, created_at, id);

  create table wanted_copies (
    rule_id text not null,
    backup_id text not null,
    tries integer not null,
    next_at integer not null,
    copy_id text,
    primary key (rule_id, backup_id)
  ) strict, without rowid;
  create index wanted_copies_due
    on wanted_copies (next_at, backup_id) where copy_id is null;
  create unique index wanted_copies_running
    on wanted_copies (copy_id) where copy_id is not null;
  `,
  `
  create index clusters_by_source
    on clusters (source_backup_id, id) where source_backup_id is not null;
  create index backups_held on backups (created_at, id) where holds <> '[]';
  `,
  // What follows from the rows of HSMs and backups is kept beside their cluster by triggers, in the same
  // transaction: who is due and who is at risk is then one index away, and no writer can forget it.
  `
  alter table clusters add column unproven_since integer;
  alter table clusters add column change_due_at integer;
  alter table clusters add column has_hsm integer not null default 0;
  alter table clusters add column has_live_hsm integer not null default 0;
  alter table clusters add column proven_at integer;
  alter table clusters add column proven_generation integer;
  alter table clusters add column newest_drilled_at integer;
  alter table backups add column drilled_at integer;
  alter table backups add column drill_failure text check (drill_failure is null or drilled_at is not null);

  create trigger hsms_inserted after insert on hsms begin
    update clusters set (has_hsm, has_live_hsm) = (
      select count(*) > 0, coalesce(max(state = 'ACTIVE' and takes_writes), 0) from hsms
        where cluster_id = new.cluster_id and state <> 'DELETED'
    ) where id = new.cluster_id;
  end;
  create trigger hsms_updated after update on hsms begin
    update clusters set (has_hsm, has_live_hsm) = (
      select count(*) > 0, coalesce(max(state = 'ACTIVE' and takes_writes), 0) from hsms
        where cluster_id = new.cluster_id and state <> 'DELETED'
    ) where id = new.cluster_id;
  end;
  create trigger backups_inserted after insert on backups when new.state = 'READY' begin
    update clusters set (proven_at, proven_generation, newest_drilled_at) = (
      select created_at, archive ->> '$.seal.statement.generation', coalesce(drilled_at, created_at)
        from backups where cluster_id = new.cluster_id and state = 'READY'
          and copied_at is null and drill_failure is null
        order by sequence desc limit 1
    ) where id = new.cluster_id;
  end;
  create trigger backups_updated after update on backups
  when new.state = 'READY' or old.state = 'READY' begin
    update clusters set (proven_at, proven_generation, newest_drilled_at) = (
      select created_at, archive ->> '$.seal.statement.generation', coalesce(drilled_at, created_at)
        from backups where cluster_id = new.cluster_id and state = 'READY'
          and copied_at is null and drill_failure is null
        order by sequence desc limit 1
    ) where id = new.cluster_id;
  end;
  update hsms set state = state;
  update backups set state = state where state = 'READY';

  drop index clusters_due;
  create index clusters_due on clusters (next_backup_at, id)
    where next_backup_at is not null and state = 'ACTIVE' and has_live_hsm = 1;
  create index clusters_unplanned on clusters (id)
    where next_backup_at is null and state = 'ACTIVE' and has_live_hsm = 1;
  create index clusters_changed on clusters (change_due_at, id)
    where change_due_at is not null and state = 'ACTIVE' and has_live_hsm = 1;
  create index clusters_by_proof on clusters (account, region, proven_at, id)
    where state = 'ACTIVE' and has_hsm = 1;
  create index clusters_unproven on clusters (coalesce(unproven_since, newest_change_at), id)
    where state = 'ACTIVE' and has_hsm = 1
      and newest_change_generation > coalesce(proven_generation, -1);
  create index clusters_to_drill on clusters (newest_drilled_at, id)
    where newest_drilled_at is not null;
  create index backups_to_drill on backups (coalesce(drilled_at, created_at), id)
    where state = 'READY' and drill_failure is null;
  create index backups_drill_failed on backups (drilled_at, id)
    where state = 'READY' and drill_failure is not null;
  create index backups_on_change on backups (cluster_id, created_at) where cause = 'changed';
  `,
  `
  alter table clusters add column migration text;
  create index clusters_migrating on clusters (id) where migration is not null;
  `,
  // Whatever is done to a cluster after its activation, its backups can be late meanwhile. The state stands in
  // the index of proofs too, so that counts need no rows.
  `
  drop index clusters_by_proof;
  create index clusters_by_proof on clusters (account, region, proven_at, id, state)
    where state in ('ACTIVE', 'DEGRADED', 'UPDATE_IN_PROGRESS', 'MODIFY_IN_PROGRESS', 'ROLLBACK_IN_PROGRESS')
      and has_hsm = 1;
  drop index clusters_unproven;
  create index clusters_unproven on clusters (coalesce(unproven_since, newest_change_at), id)
    where state in ('ACTIVE', 'DEGRADED', 'UPDATE_IN_PROGRESS', 'MODIFY_IN_PROGRESS', 'ROLLBACK_IN_PROGRESS')
      and has_hsm = 1 and newest_change_generation > coalesce(proven_generation, -1);
  `,
  // Which clusters are gone while backups of them are still stored, and which clusters' copies lie in a region.
  `
  alter table clusters add column has_stored integer not null default 0;
  create trigger backups_stored_inserted after insert on backups
  when new.state in ('READY', 'PENDING_DELETION') begin
    update clusters set has_stored = 1
      where id = new.cluster_id and account = new.account and region = new.region;
  end;
  create trigger backups_stored_updated after update on backups
  when (new.state in ('READY', 'PENDING_DELETION')) <> (old.state in ('READY', 'PENDING_DELETION')) begin
    update clusters set has_stored = exists (
      select 1 from backups where cluster_id = new.cluster_id and state in ('READY', 'PENDING_DELETION')
        and account = clusters.account and region = clusters.region
    ) where id = new.cluster_id;
  end;
  update clusters set has_stored = 1 where exists (
    select 1 from backups where cluster_id = clusters.id and state in ('READY', 'PENDING_DELETION')
      and account = clusters.account and region = clusters.region
  );
  create index clusters_outlived on clusters (account, region, created_at, id)
    where state = 'DELETED' and has_stored = 1;
  create index backups_copied on backups (account, region, cluster_id)
    where copied_at is not null and state in ('READY', 'PENDING_DELETION');
  `,
];

export const SCHEMA_VERSION = STEPS.length;

/** Brings the file up to this program's version, in one transaction. @throws Failed `CATALOG`. */
export function upgrade(db: DatabaseSync, steps: readonly string[] = STEPS): void {
  db.exec('begin immediate');
  try {
    const version = versionOf(db);
    if (version > steps.length) {
      throw new Failed(
        'CATALOG',
        `the catalog has schema version ${version}, this Keyark knows ${steps.length}; start the newer Keyark that wrote it`,
      );
    }
    if (version === 0) {
      db.exec(`
        pragma application_id = ${APPLICATION_ID};
        create table migrations (version integer primary key) strict;
      `);
    }
    for (const [index, step] of steps.entries()) {
      if (index < version) continue;
      db.exec(step);
      db.prepare('insert into migrations (version) values (?)').run(index + 1);
    }
    db.exec('commit');
  } catch (cause) {
    db.exec('rollback');
    throw cause;
  }
}

/** 0 for an empty file. */
function versionOf(db: DatabaseSync): number {
  const hasTables = db.prepare('select 1 from sqlite_schema limit 1').get() !== undefined;
  if (!hasTables) return 0;
  if (db.prepare('pragma application_id').get()?.['application_id'] !== APPLICATION_ID) {
    throw new Failed('CATALOG', "keyark.sqlite is some other program's database");
  }
  return Number(db.prepare('select max(version) as version from migrations').get()?.['version']);
}
