/**
 * What stands in the way of a restore. Pure: rows and facts in, sentences out, the nearest obstacle first.
 * The plan shows all of them; the restore is refused with the first.
 */
import type { Backup } from '../backups/backup.ts';
import type { Cluster, Hsm } from './cluster.ts';
import { restoresTo } from './create.ts';
import type { Restore } from './restore.ts';

export type BlockerCode =
  /** Restores into live clusters are not in the profile that the service runs in. */
  | 'PROFILE'
  | 'ROOTS_LOCKED'
  | 'CLUSTER_STATE'
  | 'RESTORE_UNDER_WAY'
  | 'HSM_BUSY'
  | 'NO_HSM'
  | 'NO_WRITER'
  | 'BACKUP_STATE'
  | 'OTHER_LINEAGE'
  | 'OTHER_BACKUP'
  | 'TYPE_OR_MODE'
  | 'WRONG_OWNER'
  | 'DOES_NOT_OPEN';

export interface Blocker {
  readonly code: BlockerCode;
  /** What is, and what would work. */
  readonly text: string;
}

export interface HostFacts {
  readonly areRootsLocked: boolean;
  readonly maker: string;
  readonly owner: string;
}

/** Into a cluster that has an HSM. */
export function liveBlockers(facts: {
  readonly cluster: Cluster;
  readonly hsms: readonly Hsm[];
  readonly underWay: Restore | undefined;
  readonly backup: Backup;
  readonly host: HostFacts;
}): readonly Blocker[] {
  const { cluster, hsms, underWay, backup, host } = facts;
  return [
    ...hostBlockers(host),
    ...clusterBlockers(cluster, underWay),
    ...hsmBlockers(cluster, hsms),
    ...backupBlockers(backup, host),
    ...lineageBlockers(cluster, backup),
    ...typeBlockers(backup, cluster),
  ];
}

/** Onto the first HSM of a cluster that has none, by CreateHsm. */
export function createHsmBlockers(facts: {
  readonly cluster: Cluster;
  readonly backup: Backup;
  /** What CreateHsm would use, and why nothing if nothing. */
  readonly used: Backup | undefined;
  readonly why: string;
  readonly host: HostFacts;
}): readonly Blocker[] {
  const { cluster, backup, used, why, host } = facts;
  const isDeleted = cluster.state === 'DELETED' || cluster.state === 'DELETE_IN_PROGRESS';
  return [
    ...hostBlockers(host),
    ...when(isDeleted, 'CLUSTER_STATE', () => {
      return `${cluster.id} is ${cluster.state}; make a cluster from the backup instead (CreateCluster with SourceBackupId ${backup.id}).`;
    }),
    ...backupBlockers(backup, host),
    ...when(used === undefined, 'NO_HSM', () => why),
    ...when(used !== undefined && used.id !== backup.id, 'OTHER_BACKUP', () => {
      return `CreateHsm puts ${used?.id} onto the new HSM, not ${backup.id}. Make a cluster from ${backup.id} (CreateCluster with SourceBackupId), or, in the profile own, create the HSM first and then restore ${backup.id} into the live cluster.`;
    }),
  ];
}

/** Into a new cluster, by CreateCluster. */
export function createClusterBlockers(backup: Backup, host: HostFacts): readonly Blocker[] {
  const [fit] = restoresTo(backup);
  return [
    ...hostBlockers(host),
    ...backupBlockers(backup, host),
    ...when(fit === undefined, 'TYPE_OR_MODE', () => {
      return `${backup.id} was taken from ${backup.type} in ${backup.mode} mode; no new cluster can be made from that.`;
    }),
  ];
}

function hostBlockers({ areRootsLocked }: HostFacts): readonly Blocker[] {
  return when(areRootsLocked, 'ROOTS_LOCKED', () => {
    return 'The roots are locked, so no HSM can start. Unlock: keyark unlock';
  });
}

function clusterBlockers(cluster: Cluster, underWay: Restore | undefined): readonly Blocker[] {
  if (underWay !== undefined) {
    const text = `${underWay.id} into ${cluster.id} is under way; wait for its end: keyark restore list`;
    return [{ code: 'RESTORE_UNDER_WAY', text }];
  }
  return when(cluster.state !== 'ACTIVE', 'CLUSTER_STATE', () => {
    return `${cluster.id} is ${cluster.state}; only an ACTIVE cluster is restored in place.`;
  });
}

function hsmBlockers(cluster: Cluster, hsms: readonly Hsm[]): readonly Blocker[] {
  if (hsms.length === 0) {
    const text = `${cluster.id} has no HSM; CreateHsm restores its newest backup. keyark restore plan says which.`;
    return [{ code: 'NO_HSM', text }];
  }
  const busy = hsms.find(({ state }) => state.endsWith('_IN_PROGRESS'));
  if (busy !== undefined) {
    const text = `${busy.id} is ${busy.state}; wait until that is done.`;
    return [{ code: 'HSM_BUSY', text }];
  }
  return when(writerOf(hsms) === undefined, 'NO_WRITER', () => {
    return `No HSM of ${cluster.id} is ACTIVE and takes writes, so what it holds can't be backed up first. Delete the HSM and create one: it gets the newest proven backup.`;
  });
}

export function writerOf(hsms: readonly Hsm[]): Hsm | undefined {
  return hsms.find(({ state, takesWrites }) => state === 'ACTIVE' && takesWrites);
}

function backupBlockers(backup: Backup, host: HostFacts): readonly Blocker[] {
  if (backup.state !== 'READY') {
    const way = {
      CREATE_IN_PROGRESS: 'Wait until it is proven.',
      PENDING_DELETION: 'Bring it back first: keyark backup undelete',
      DELETED: 'It is gone for good.',
    }[backup.state];
    const text = `${backup.id} is ${backup.state}; only a READY backup is restored. ${way}`;
    return [{ code: 'BACKUP_STATE', text }];
  }
  const { vendor, owner } = backup.archive.seal.statement.domain;
  return when(vendor !== host.maker || owner !== host.owner, 'WRONG_OWNER', () => {
    return `${backup.id} was made for maker "${vendor}" and owner "${owner}"; this host's HSMs are of "${host.maker}" and "${host.owner}", so no key here can open it.`;
  });
}

/** The cluster's own, or the one it was made from: everything else would make it another cluster. */
function lineageBlockers(cluster: Cluster, backup: Backup): readonly Blocker[] {
  const isOwn = backup.clusterId === cluster.id || backup.id === cluster.sourceBackup?.id;
  return when(!isOwn, 'OTHER_LINEAGE', () => {
    return `${backup.id} is of ${backup.clusterId}, not of ${cluster.id} nor what that was made from. Make a cluster from it instead: CreateCluster with SourceBackupId.`;
  });
}

function typeBlockers(backup: Backup, { type, mode }: Cluster): readonly Blocker[] {
  const isSame = backup.type === type && backup.mode === mode;
  const fits = restoresTo(backup).includes(`${type} ${mode}`);
  return when(!isSame && !fits, 'TYPE_OR_MODE', () => {
    return `${backup.id} was taken from ${backup.type} in ${backup.mode} mode and does not go onto ${type} in ${mode} mode.`;
  });
}

function when(isSo: boolean, code: BlockerCode, text: () => string): readonly Blocker[] {
  return isSo ? [{ code, text: text() }] : [];
}
