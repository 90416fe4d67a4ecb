/** Restores ↔ rows, as `rows.ts` does it for everything else. */
import type { Restore } from '../clusters/restore.ts';
import type { Row, Values } from './rows.ts';

export function restoreValues(restore: Restore): Values {
  return {
    id: restore.id,
    account: restore.account,
    region: restore.region,
    cluster_id: restore.clusterId,
    state: restore.state,
    backup_id: restore.backupId,
    undoes: restore.undoes ?? null,
    old_hsm_id: restore.oldHsmId,
    new_hsm_id: restore.newHsmId,
    started_at: restore.startedAt,
    asked_by: restore.by,
    undo_ms: restore.undoMs,
    safety_id: restore.safetyId ?? null,
    restored_id: restore.restoredId ?? null,
    finished_at: 'finishedAt' in restore ? restore.finishedAt : null,
    undo_until: restore.state === 'DONE' ? restore.undoUntil : null,
    why: restore.state === 'FAILED' ? restore.why : null,
  };
}

export function restoreOf(row: Row): Restore {
  const optional = {
    undoes: row['undoes'],
    safetyId: row['safety_id'],
    restoredId: row['restored_id'],
    finishedAt: row['finished_at'],
    undoUntil: row['undo_until'],
    why: row['why'],
  };
  const restore = {
    id: row['id'],
    account: row['account'],
    region: row['region'],
    clusterId: row['cluster_id'],
    state: row['state'],
    backupId: row['backup_id'],
    oldHsmId: row['old_hsm_id'],
    newHsmId: row['new_hsm_id'],
    startedAt: row['started_at'],
    by: row['asked_by'],
    undoMs: row['undo_ms'],
    ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== null)),
  };
  // The columns are strict and checked, and were filled from a Restore by `restoreValues`.
  return restore as Restore;
}
