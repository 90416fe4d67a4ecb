/** The face of `backups/`: what the API and clusters may ask. */
import type { BackupQuery, Page, PageRequest, Scope } from '../catalog/catalog.ts';
import type { Cluster, Hsm } from '../clusters/cluster.ts';
import type { HsmHandle } from '../fleet/fleet.ts';
import type { OpenOutcome } from '../hsm/protocol.ts';
import type { BackupId, ClusterId } from '../kernel/ids.ts';
import type { Backup, BackupCause, ReadyBackup } from './backup.ts';

export interface Backups {
  describe(scope: Scope, query: BackupQuery, page: PageRequest): Page<Backup>;
  /**
   * Takes a backup of the cluster from its writing HSM, proves it, and resolves when it is READY.
   * `onStarted` is told the id as soon as the intent is durable.
   * @throws Refused `WrongState` without a live HSM; Failed `NOT_PROVEN`, `VAULT_…`, `KMS`, `HSM_GONE`.
   */
  take(
    cluster: Cluster,
    cause: BackupCause,
    onStarted?: (id: BackupId) => void,
  ): Promise<ReadyBackup>;
  /** For the native API: starts a manual backup of the caller's cluster and answers with its first row. */
  takeManual(scope: Scope, clusterId: ClusterId): Promise<Backup>;
  /** Opens a READY backup on an HSM and checks the digest against the proof. */
  restore(
    backup: ReadyBackup,
    target: { cluster: Cluster; hsm: Hsm; handle: HsmHandle; isClone: boolean },
  ): Promise<OpenOutcome>;
  remove(scope: Scope, id: BackupId): Promise<Backup>;
  undelete(scope: Scope, id: BackupId): Promise<Backup>;
  modifyNeverExpires(scope: Scope, id: BackupId, neverExpires: boolean): Promise<Backup>;
}
