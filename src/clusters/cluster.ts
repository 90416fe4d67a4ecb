/** A cluster and its HSMs, as the control plane knows them. */
import type { HsmMode, HsmType } from '../hsm/protocol.ts';
import type { BackupId, ClusterId, HsmId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Migration } from './migration.ts';

export type ClusterState =
  | 'CREATE_IN_PROGRESS'
  | 'UNINITIALIZED'
  | 'INITIALIZE_IN_PROGRESS'
  | 'INITIALIZED'
  | 'ACTIVE'
  | 'UPDATE_IN_PROGRESS'
  | 'MODIFY_IN_PROGRESS'
  | 'ROLLBACK_IN_PROGRESS'
  | 'DELETE_IN_PROGRESS'
  | 'DELETED'
  | 'DEGRADED';

export interface Cluster {
  readonly id: ClusterId;
  readonly account: string;
  readonly region: string;
  readonly state: ClusterState;
  readonly stateMessage?: string;
  readonly type: HsmType;
  readonly mode: HsmMode;
  readonly networkType: 'IPV4' | 'DUALSTACK';
  readonly createdAt: EpochMs;
  readonly retentionDays: number;
  readonly sourceBackup?: {
    readonly id: BackupId;
    /** As the caller wrote it: an id or an ARN. */
    readonly asRequested: string;
  };
  readonly vpcId: string;
  readonly securityGroup: string;
  /** Availability zone → subnet. */
  readonly subnets: ReadonlyMap<string, string>;
  readonly certificates: ClusterCertificates;
  readonly tags: ReadonlyMap<string, string>;
  /** Generation of the newest change an HSM reported, and when. */
  readonly newestChange?: { readonly generation: number; readonly at: EpochMs };
  /** When the first change came that no proven backup has; absent when every change is in one. */
  readonly unprovenSince?: EpochMs;
  /** When a change-driven backup is looked at next; absent when nothing waits for one. */
  readonly changeDueAt?: EpochMs;
  /** When the next scheduled backup is due; set from activation on, survives restarts. */
  readonly nextBackupAt?: EpochMs;
  /** When retention and thinning look at its backups again; set while it has any. */
  readonly nextReviewAt?: EpochMs;
  /** Failed tries of the backup that is due. */
  readonly backupFailures: number;
  /** On its way to another HSM type, or there and able to go back. */
  readonly migration?: Migration;
}

/** PEM each. */
export interface ClusterCertificates {
  readonly clusterCsr?: string;
  readonly hsmCertificate?: string;
  readonly ownerHardwareCertificate?: string;
  readonly manufacturerHardwareCertificate?: string;
  readonly clusterCertificate?: string;
  readonly trustAnchor?: string;
}

export type HsmState =
  | 'CREATE_IN_PROGRESS'
  | 'ACTIVE'
  | 'DEGRADED'
  | 'DELETE_IN_PROGRESS'
  | 'DELETED';

export interface Hsm {
  readonly id: HsmId;
  readonly clusterId: ClusterId;
  readonly state: HsmState;
  readonly stateMessage?: string;
  readonly type: HsmType;
  readonly availabilityZone: string;
  readonly subnetId: string;
  readonly eniId: string;
  readonly eniIp: string;
  readonly eniIpV6?: string;
  readonly createdAt: EpochMs;
  /** The one HSM of the cluster that takes writes until several are synchronised. */
  readonly takesWrites: boolean;
  /** Device serial number, once obtained from the host. */
  readonly serial?: string;
}
