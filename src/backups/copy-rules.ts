/**
 * Which backups rules copy, and when a failed try is repeated. Pure, but for three small hands on the
 * catalog: each is called inside somebody's transaction, so that a backup's READY and the wish to copy it,
 * a copy's READY and the end of the wish, are one fact each. That is what makes it one copy for each rule
 * and backup, whatever dies when.
 */
import type { CatalogReader, CatalogWriter } from '../catalog/catalog.ts';
import { HOUR_MS, MINUTE_MS } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { BackupId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Backup, ReadyBackup } from './backup.ts';
import type { CopyRule, RuleCause } from './copy-rule.ts';

const FIRST_RETRY_MS = MINUTE_MS;
const LONGEST_RETRY_MS = HOUR_MS;
export const MAX_RULES = 100;
/** As of a cluster's own policy. */
const MIN_RETENTION_DAYS = 7;
const MAX_RETENTION_DAYS = 379;

const CAUSES = {
  scheduled: true,
  changed: true,
  activated: true,
  manual: true,
  'before-add-hsm': true,
  'before-delete-hsm': true,
  'before-restore': true,
  restored: true,
  'before-migration': true,
  migrated: true,
} as const satisfies Record<RuleCause, true>;

// Object.keys forgets the type of the keys of our own constant table.
const ALL_CAUSES = Object.keys(CAUSES) as readonly RuleCause[];

/** @throws Refused `InvalidRequest` for a cause that no rule can name. */
export function parseRuleCause(text: string): RuleCause {
  // Own keys of the table above are causes by its type.
  if (Object.hasOwn(CAUSES, text)) return text as RuleCause;
  throw new Refused(
    'InvalidRequest',
    `"${text.slice(0, 64)}" is no cause that a rule can name; there are ${ALL_CAUSES.join(', ')}.`,
  );
}

/** @throws Refused `InvalidRequest` outside 7 to 379. */
export function checkCopyRetention(days: number): number {
  if (Number.isInteger(days) && days >= MIN_RETENTION_DAYS && days <= MAX_RETENTION_DAYS) {
    return days;
  }
  throw new Refused(
    'InvalidRequest',
    `Copies cannot be kept for ${days} days; choose ${MIN_RETENTION_DAYS} to ${MAX_RETENTION_DAYS}, or none to keep them until they are deleted.`,
  );
}

/** Another rule that would copy some of the same backups to the same place once more. */
export function sameRule(rules: readonly CopyRule[], rule: CopyRule): CopyRule | undefined {
  return rules.find(
    (other) =>
      other.fromRegion === rule.fromRegion &&
      other.toRegion === rule.toRegion &&
      other.clusterId === rule.clusterId &&
      (other.causes ?? ALL_CAUSES).some((cause) => (rule.causes ?? ALL_CAUSES).includes(cause)),
  );
}

export function matches(
  rule: CopyRule,
  backup: Pick<Backup, 'account' | 'region' | 'clusterId' | 'cause'>,
): boolean {
  const { cause } = backup;
  return (
    cause !== 'copied' &&
    rule.account === backup.account &&
    rule.fromRegion === backup.region &&
    (rule.clusterId === undefined || rule.clusterId === backup.clusterId) &&
    (rule.causes === undefined || rule.causes.includes(cause))
  );
}

/** Waits 1, 2, 4 … at most 60 minutes. @param tries that failed, from 1. */
export function nextCopyTry(now: EpochMs, tries: number): EpochMs {
  const waitMs = Math.min(FIRST_RETRY_MS * 2 ** Math.min(tries - 1, 10), LONGEST_RETRY_MS);
  return (now + waitMs) as EpochMs;
}

/** Belongs into the transaction that makes a backup READY. */
export function wishForCopies(
  writer: CatalogReader & Pick<CatalogWriter, 'putWantedCopy'>,
  ready: ReadyBackup,
  now: EpochMs,
): void {
  for (const rule of writer.copyRules(ready.account, ready.region)) {
    if (!matches(rule, ready)) continue;
    writer.putWantedCopy({ ruleId: rule.id, backupId: ready.id, tries: 0, nextAt: now });
  }
}

/** Belongs into the transaction that ends a copy, well or badly; copies that no rule wanted have no wish. */
export function settleWish(
  writer: CatalogWriter,
  copyId: BackupId,
  end: { readonly isDone: true } | { readonly isDone: false; readonly now: EpochMs },
): void {
  const wish = writer.wishOf(copyId);
  if (wish === undefined) return;
  const { copyId: _copy, ...rest } = wish;
  if (end.isDone || writer.copyRule(wish.ruleId) === undefined) {
    writer.removeWantedCopy(wish);
    return;
  }
  const tries = wish.tries + 1;
  writer.putWantedCopy({ ...rest, tries, nextAt: nextCopyTry(end.now, tries) });
}
