/** A rule for automatic copies, and a wish: one copy that a rule wants and that is not READY yet. */
import type { BackupId, ClusterId, CopyRuleId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { BackupCause } from './backup.ts';

/** Copies are not copied on by rules: two rules that point at each other would never end. */
export type RuleCause = Exclude<BackupCause, 'copied'>;

export interface CopyRule {
  readonly id: CopyRuleId;
  readonly account: string;
  readonly fromRegion: string;
  readonly toRegion: string;
  /** Absent: of every cluster of the account in that region. */
  readonly clusterId?: ClusterId;
  /** Absent: whatever the cause. */
  readonly causes?: readonly RuleCause[];
  /** How long the copies are kept; absent: until somebody deletes them. */
  readonly retentionDays?: number;
  readonly createdAt: EpochMs;
}

/** There is one for each rule and backup, from the backup's READY to the copy's. */
export interface WantedCopy {
  readonly ruleId: CopyRuleId;
  readonly backupId: BackupId;
  /** Tries that failed. */
  readonly tries: number;
  readonly nextAt: EpochMs;
  /** The copy under way. */
  readonly copyId?: BackupId;
}
