/**
 * A restore into a live cluster, top to bottom: freeze, back up what is there, build a new HSM aside from
 * the chosen backup, back that up too, and only then switch, in one transaction. Up to the switch nothing
 * that serves was touched, so every failure ends in `rollBack`; after it, everything ends in `finish`.
 *
 * The restored state is a new incarnation of the cluster whose generation goes on above the old one's, so
 * that "newer" keeps its meaning for backups, followers and the schedule.
 */
import type { ReadyBackup } from '../backups/backup.ts';
import type { HsmHandle } from '../fleet/fleet.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import type { BackupId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Cluster, Hsm } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import type { RestoreIn } from './restore.ts';
import { finish, rollBack } from './restore-end.ts';
import { messageOf } from './rows.ts';

export const RESTORE_FROZEN =
  'Changes are held back for a moment: the cluster is being restored from a backup. Try again when it is ACTIVE.';

type Preparing = RestoreIn<'PREPARING'>;

/** Holds the cluster's turn from here to the end. */
export function carryOut(deps: ClusterDeps, intent: Preparing): Promise<void> {
  return deps.turns.run(intent.clusterId, async () => {
    let switched: RestoreIn<'SWITCHED'>;
    try {
      switched = await prepareAndSwitch(deps, intent);
    } catch (cause) {
      await rollBack(deps, intent.id, messageOf(cause));
      return;
    }
    await finish(deps, switched);
  });
}

async function prepareAndSwitch(
  deps: ClusterDeps,
  intent: Preparing,
): Promise<RestoreIn<'SWITCHED'>> {
  const { cluster, old, chosen } = readRows(deps, intent);
  const oldHandle = deps.fleet.hsm(old.id);
  // First the freeze, then the seal: what was acknowledged is in the safety backup.
  await oldHandle.limit(RESTORE_FROZEN);
  const safety = await backUp(deps, intent, { source: old, cause: 'before-restore' });
  await checkHolds(oldHandle, safety, old);
  const { hsm, handle, generation } = await buildAside(deps, {
    intent,
    cluster,
    old,
    chosen,
    safety,
  });
  const restored = await backUp(deps, intent, { source: hsm, cause: 'restored' });
  // An HSM that died and came back meanwhile is thawed and may have taken changes: look once more.
  await checkHolds(handle, restored, hsm);
  const hello = await handle.hello();
  await checkHolds(oldHandle, safety, old);
  return switchOver(deps, intent, {
    safety,
    restored,
    hsm,
    generation,
    clusterCertificate: hello.certificates?.clusterCertificate,
    trustAnchor: hello.certificates?.trustAnchor,
  });
}

function readRows(
  deps: ClusterDeps,
  intent: Preparing,
): { cluster: Cluster; old: Hsm; chosen: ReadyBackup } {
  return deps.catalog.read((reader) => {
    const [cluster, old] = [reader.cluster(intent.clusterId), reader.hsm(intent.oldHsmId)];
    const chosen = reader.backup(intent.backupId);
    if (cluster === undefined || old === undefined || chosen?.state !== 'READY') {
      throw new Refused('WrongState', `${intent.backupId} is ${chosen?.state ?? 'gone'}.`);
    }
    return { cluster, old, chosen };
  });
}

/** Proven, like every backup; its id is in the restore's row before anything is sealed. */
function backUp(
  deps: ClusterDeps,
  intent: Preparing,
  { source, cause }: { source: Hsm; cause: 'before-restore' | 'restored' },
): Promise<ReadyBackup> {
  const name = cause === 'restored' ? 'restoredId' : 'safetyId';
  return deps.backups.take(intent.clusterId, cause, {
    source,
    onStarted: ({ id }) => note(deps, intent, { [name]: id }),
  });
}

function note(
  deps: ClusterDeps,
  { id }: Preparing,
  backed: { safetyId?: BackupId; restoredId?: BackupId },
): void {
  deps.catalog.transact((writer) => {
    const restore = writer.restore(id);
    if (restore?.state === 'PREPARING') writer.putRestore({ ...restore, ...backed });
  });
}

/** @throws Failed `NOT_PROVEN` when the HSM's state is not the backup's any more. */
async function checkHolds(handle: HsmHandle, backup: ReadyBackup, hsm: Hsm): Promise<void> {
  const { stateDigest } = await handle.digest();
  if (stateDigest === backup.archive.seal.statement.stateDigest) return;
  throw new Failed(
    'NOT_PROVEN',
    `${hsm.id} changed after ${backup.id} was taken of it; it was restarted meanwhile. Try again.`,
  );
}

/** The HSM that will take over: the old one's place in the network, an identity of its own. */
async function buildAside(
  deps: ClusterDeps,
  given: {
    intent: Preparing;
    cluster: Cluster;
    old: Hsm;
    chosen: ReadyBackup;
    safety: ReadyBackup;
  },
): Promise<{ hsm: Hsm; handle: HsmHandle; generation: number }> {
  const { intent, cluster, old, chosen, safety } = given;
  const handle = await deps.fleet.obtain(intent.newHsmId, cluster.id);
  // Before it holds anything: nobody at the door may change it, should the door lead to it early.
  await handle.limit(RESTORE_FROZEN);
  const { stateMessage: _, serial: __, ...place } = old;
  const blank: Hsm = {
    ...place,
    id: intent.newHsmId,
    state: 'CREATE_IN_PROGRESS',
    createdAt: deps.clock.now(),
    takesWrites: false,
  };
  const opened = await deps.backups.restore(chosen, {
    cluster,
    hsm: blank,
    handle,
    isClone: true,
    afterGeneration: Math.max(
      safety.archive.seal.statement.generation,
      cluster.newestChange?.generation ?? 0,
    ),
  });
  if (opened.stateDigest !== chosen.proof.statement.opened.stateDigest) {
    throw new Failed(
      'NOT_PROVEN',
      `${blank.id} restored ${chosen.id}, but its state digest is not the proven one.`,
    );
  }
  const { lifecycle, serial } = await handle.hello();
  if (lifecycle !== 'ACTIVE') {
    throw new Refused(
      'WrongState',
      `${chosen.id} is from before the first admin password was set (${lifecycle}); it does not go into an ACTIVE cluster.`,
    );
  }
  const hsm = serial === undefined ? blank : { ...blank, serial };
  return { hsm, handle, generation: opened.generation };
}

/** The point of no return, as one fact. */
function switchOver(
  deps: ClusterDeps,
  intent: Preparing,
  to: {
    safety: ReadyBackup;
    restored: ReadyBackup;
    hsm: Hsm;
    generation: number;
    clusterCertificate: string | undefined;
    trustAnchor: string | undefined;
  },
): RestoreIn<'SWITCHED'> {
  const { safety, restored, hsm, generation, clusterCertificate, trustAnchor } = to;
  const now = deps.clock.now();
  const switched: RestoreIn<'SWITCHED'> = {
    ...intent,
    state: 'SWITCHED',
    safetyId: safety.id,
    restoredId: restored.id,
  };
  deps.catalog.transact((writer) => {
    const cluster = writer.cluster(intent.clusterId);
    const backup = writer.backup(safety.id);
    if (cluster === undefined || backup?.state !== 'READY') {
      throw new Refused('WrongState', `${safety.id} is ${backup?.state ?? 'gone'}.`);
    }
    for (const other of writer.hsmsOf(cluster.id)) {
      const { stateMessage: _, ...rest } = other;
      const leaves = other.id === intent.oldHsmId;
      if (leaves) writer.putHsm({ ...rest, state: 'DELETE_IN_PROGRESS', takesWrites: false });
      else if (other.takesWrites) writer.putHsm({ ...other, takesWrites: false });
    }
    writer.createHsm({ ...hsm, state: 'ACTIVE', takesWrites: true });
    writer.putCluster({
      ...cluster,
      newestChange: { generation, at: now },
      certificates: {
        ...cluster.certificates,
        ...(clusterCertificate === undefined ? {} : { clusterCertificate }),
        ...(trustAnchor === undefined ? {} : { trustAnchor }),
      },
    });
    writer.putBackup({ ...backup, sparedUntil: (now + intent.undoMs) as EpochMs });
    writer.putRestore(switched);
  });
  tell(deps, switched, hsm);
  return switched;
}

function tell(deps: ClusterDeps, switched: RestoreIn<'SWITCHED'>, hsm: Hsm): void {
  const { id: restoreId, clusterId, backupId, state, oldHsmId } = switched;
  deps.events.emit({ kind: 'hsmState', hsmId: hsm.id, clusterId, state: 'ACTIVE' });
  deps.events.emit({ kind: 'hsmState', hsmId: oldHsmId, clusterId, state: 'DELETE_IN_PROGRESS' });
  deps.events.emit({ kind: 'restoreState', restoreId, clusterId, backupId, state });
}
