/** A backup, as the control plane knows it. A READY backup has a proof; the type says so. */
import type { HsmMode, HsmType, ProofStatement, SealStatement, Signed } from '../hsm/protocol.ts';
import type { BackupId, ClusterId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';

/** Why it was taken. */
export type BackupCause =
  | 'scheduled'
  | 'changed'
  | 'activated'
  | 'manual'
  | 'before-add-hsm'
  | 'before-delete-hsm'
  | 'copied';

export type Proof = Signed<ProofStatement>;

/** What is stored, and the sealing HSM's word for it. */
export interface SealedArchive {
  readonly seal: Signed<SealStatement>;
  readonly storedBytes: number;
  readonly storedBodySha256: string;
}

interface BackupBase {
  readonly id: BackupId;
  readonly account: string;
  readonly region: string;
  readonly clusterId: ClusterId;
  readonly cause: BackupCause;
  readonly type: HsmType;
  readonly mode: HsmMode;
  /** Copies keep the original's. */
  readonly createdAt: EpochMs;
  readonly neverExpires: boolean;
  readonly tags: ReadonlyMap<string, string>;
  /** Set on copies only. */
  readonly copy?: {
    readonly copiedAt: EpochMs;
    readonly sourceRegion: string;
    readonly sourceBackup: BackupId;
    readonly sourceCluster: ClusterId;
  };
}

export type Backup = BackupBase &
  (
    | { readonly state: 'CREATE_IN_PROGRESS' }
    | { readonly state: 'READY'; readonly archive: SealedArchive; readonly proof: Proof }
    | {
        readonly state: 'PENDING_DELETION';
        readonly archive: SealedArchive;
        readonly proof: Proof;
        readonly purgeAt: EpochMs;
      }
    | { readonly state: 'DELETED'; readonly deletedAt: EpochMs; readonly why: string }
  );

export type BackupState = Backup['state'];
export type ReadyBackup = Extract<Backup, { state: 'READY' }>;
