/**
 * A share: one backup, made visible to one other account. The resource policy grants; the share lists.
 *
 * As with AWS, a policy alone lets the consumer restore by ARN; `DescribeBackups --shared` shows the
 * backup once its owner promoted the share and, outside the owner's organisation, the consumer accepted.
 */
import type { BackupId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';

export type ShareState =
  /** Made by a policy; nobody but the owner sees it. */
  | 'FROM_POLICY'
  /** Promoted; the consumer has yet to accept. */
  | 'INVITED'
  /** In the consumer's list. */
  | 'ACTIVE';

export interface Share {
  readonly backupId: BackupId;
  /** An account. */
  readonly owner: string;
  /** An account. */
  readonly consumer: string;
  readonly region: string;
  /** The backup's, which never changes: lists are in its order. */
  readonly createdAt: EpochMs;
  readonly state: ShareState;
}
