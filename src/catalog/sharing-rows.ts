/** Rows ↔ shares, copy rules and wanted copies; as in `rows.ts`, what comes out is what went in. */
import type { CopyRule, WantedCopy } from '../backups/copy-rule.ts';
import type { Share } from '../backups/share.ts';
import { optional, type Row, type Values } from './rows.ts';

export function shareValues(share: Share): Values {
  return {
    backup_id: share.backupId,
    consumer: share.consumer,
    owner: share.owner,
    region: share.region,
    created_at: share.createdAt,
    state: share.state,
  };
}

export function shareOf(row: Row): Share {
  const share = {
    backupId: row['backup_id'],
    owner: row['owner'],
    consumer: row['consumer'],
    region: row['region'],
    createdAt: row['created_at'],
    state: row['state'],
  };
  // The columns are strict and were filled from a Share by `shareValues`.
  return share as Share;
}

export function copyRuleValues(rule: CopyRule): Values {
  return {
    id: rule.id,
    account: rule.account,
    from_region: rule.fromRegion,
    to_region: rule.toRegion,
    cluster_id: rule.clusterId ?? null,
    causes: rule.causes === undefined ? null : JSON.stringify(rule.causes),
    retention_days: rule.retentionDays ?? null,
    created_at: rule.createdAt,
  };
}

export function copyRuleOf(row: Row): CopyRule {
  const rule = {
    id: row['id'],
    account: row['account'],
    fromRegion: row['from_region'],
    toRegion: row['to_region'],
    ...optional('clusterId', row['cluster_id']),
    // Written from `causes` by `copyRuleValues`.
    ...(row['causes'] === null ? {} : { causes: JSON.parse(String(row['causes'])) as unknown }),
    ...optional('retentionDays', row['retention_days']),
    createdAt: row['created_at'],
  };
  // The columns are strict and were filled from a CopyRule by `copyRuleValues`.
  return rule as CopyRule;
}

export function wantedCopyValues(wish: WantedCopy): Values {
  return {
    rule_id: wish.ruleId,
    backup_id: wish.backupId,
    tries: wish.tries,
    next_at: wish.nextAt,
    copy_id: wish.copyId ?? null,
  };
}

export function wantedCopyOf(row: Row): WantedCopy {
  const wish = {
    ruleId: row['rule_id'],
    backupId: row['backup_id'],
    tries: row['tries'],
    nextAt: row['next_at'],
    ...optional('copyId', row['copy_id']),
  };
  // The columns are strict and were filled from a WantedCopy by `wantedCopyValues`.
  return wish as WantedCopy;
}
