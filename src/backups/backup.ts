/** A backup, as the control plane knows it. A READY backup has a proof; the type says so. */
import type { HsmMode, HsmType, ProofStatement, SealStatement, Signed } from '../hsm/protocol.ts';
import type { BackupId, ClusterId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Profile } from '../profile.ts';

/** Why it was taken. */
export type BackupCause =
  | 'scheduled'
  | 'changed'
  | 'activated'
  | 'manual'
  | 'before-add-hsm'
  | 'before-delete-hsm'
  /** What a restore replaces, so that it can be undone. */
  | 'before-restore'
  /** What a restore brought back, as the cluster's new line. */
  | 'restored'
  /** Of the whole cluster, before one of its HSMs is replaced by one of another type. */
  | 'before-migration'
  /** What came onto HSMs of another type, as they hold it. */
  | 'migrated'
  | 'copied';

export type Proof = Signed<ProofStatement>;

/**
 * What is stored, and the sealing HSM's word for it. A copy keeps its original's seal, so the statement's
 * `backupId` is the original's; what rests in the vault has the copy's own id in its names and keys.
 */
export interface SealedArchive {
  readonly seal: Signed<SealStatement>;
  readonly storedBytes: number;
  readonly storedBodySha256: string;
}

/** A promise that a backup stays: nobody shortens it through any call or command. */
export interface Hold {
  /** `compliance` ends by itself at its date; `legal` lasts until it is lifted. */
  readonly kind: 'compliance' | 'legal';
  readonly until?: EpochMs;
  readonly why: string;
  /** Who asked, as an ARN. */
  readonly by: string;
  readonly at: EpochMs;
}

/** Why a backup is to go, and who said so. */
export interface Removal {
  readonly kind: 'asked' | 'retention' | 'thinned';
  readonly why: string;
  /** An ARN, or `keyark` for the service itself. */
  readonly by: string;
  /** Set before the first part goes: from then on nothing brings the backup back, whatever a clock says. */
  readonly purgeBegunAt?: EpochMs;
}

/** What was destroyed at the end, in the order in which it went, and that it was looked for afterwards. */
export interface DeletionRecord {
  /** Under which profile; absent in records from before this was kept. */
  readonly profile?: Profile;
  readonly parts: readonly {
    readonly name: string;
    readonly removedAt: EpochMs;
    readonly absentAt: EpochMs;
  }[];
}

/** A READY backup was opened again after its proof; the latest time it was. */
export interface LastDrill {
  readonly at: EpochMs;
  /** Why it did not hold; absent when it opened and was the same. */
  readonly failure?: string;
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
  readonly holds: readonly Hold[];
  /** Neither retention nor thinning takes it before: somebody brought it back. */
  readonly sparedUntil?: EpochMs;
  /** A retention of its own. Only copies have one: nothing else expires without its cluster. */
  readonly ownRetention?: { readonly days: number; readonly expiresAt: EpochMs };
  readonly drill?: LastDrill;
  /** The resource policy, as its owner wrote it. */
  readonly policy?: string;
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
        readonly removal: Removal;
      }
    | {
        readonly state: 'DELETED';
        readonly deletedAt: EpochMs;
        readonly why: string;
        /** Set when there was something to destroy. */
        readonly record?: DeletionRecord;
      }
  );

export type BackupState = Backup['state'];
/** What a list shows of a backup. */
export type BackupSummary = Pick<
  BackupBase,
  | 'id'
  | 'account'
  | 'region'
  | 'clusterId'
  | 'type'
  | 'mode'
  | 'createdAt'
  | 'neverExpires'
  | 'tags'
  | 'copy'
> & {
  readonly state: BackupState;
  readonly purgeAt?: EpochMs;
};
export type ReadyBackup = Extract<Backup, { state: 'READY' }>;
export type PendingBackup = Extract<Backup, { state: 'PENDING_DELETION' }>;
