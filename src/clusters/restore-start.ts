/** A restore into a live cluster begins: judged and written down in one transaction, so one of two wins. */
import type { Backup } from '../backups/backup.ts';
import type { CatalogReader, CatalogWriter, Scope } from '../catalog/catalog.ts';
import { isoTime } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import {
  type BackupId,
  type ClusterId,
  newHsmId,
  newRestoreId,
  type RestoreId,
} from '../kernel/ids.ts';
import type { Profile } from '../profile.ts';
import type { ClusterDeps } from './deps.ts';
import type { Restore, RestoreIn } from './restore.ts';
import { type Blocker, type HostFacts, liveBlockers, writerOf } from './restore-blockers.ts';
import { carryOut } from './restore-into.ts';
import { ownCluster } from './rows.ts';
import { moved } from './states.ts';

export interface RestoreDeps extends ClusterDeps {
  /** How long a restore can be undone. */
  readonly undoMs: number;
  readonly profile: Profile;
}

/** Who asks, from where. */
export interface Asker extends Scope {
  readonly principal: string;
}

interface Wanted {
  readonly clusterId: ClusterId;
  readonly backupId: BackupId;
  readonly undoes?: RestoreId;
}

/** @throws Refused: the first thing that stands in the way. */
export async function startRestore(
  deps: RestoreDeps,
  asker: Asker,
  choose: (reader: CatalogReader) => Wanted,
): Promise<Restore> {
  const host = await deps.fleet.status();
  const restore = deps.catalog.transact((writer) =>
    intend(deps, writer, { asker, host, wanted: choose(writer) }),
  );
  const { id: restoreId, clusterId, backupId, state } = restore;
  deps.events.emit({ kind: 'restoreState', restoreId, clusterId, backupId, state });
  deps.events.emit({ kind: 'clusterState', clusterId, state: 'UPDATE_IN_PROGRESS' });
  deps.background.run(`restore ${clusterId}`, () => carryOut(deps, restore));
  return restore;
}

function intend(
  deps: RestoreDeps,
  writer: CatalogWriter,
  { asker, host, wanted }: { asker: Asker; host: HostFacts; wanted: Wanted },
): RestoreIn<'PREPARING'> {
  const cluster = ownCluster(writer, asker, wanted.clusterId);
  const backup = backupIn(writer, asker, wanted.backupId);
  const hsms = writer.hsmsOf(cluster.id);
  const [underWay] = writer.restoresUnderWay(cluster.id);
  const [blocker] = liveBlockers({ cluster, hsms, underWay, backup, host });
  const old = writerOf(hsms);
  if (blocker !== undefined || old === undefined) throw refusal(blocker);
  const restore: RestoreIn<'PREPARING'> = {
    id: newRestoreId(deps.random),
    account: cluster.account,
    region: cluster.region,
    clusterId: cluster.id,
    backupId: backup.id,
    ...(wanted.undoes === undefined ? {} : { undoes: wanted.undoes }),
    oldHsmId: old.id,
    newHsmId: newHsmId(deps.random),
    startedAt: deps.clock.now(),
    by: asker.principal,
    undoMs: deps.undoMs,
    state: 'PREPARING',
  };
  writer.createRestore(restore);
  writer.putCluster(moved(cluster, 'UPDATE_IN_PROGRESS', `${restore.id}: restoring ${backup.id}.`));
  return restore;
}

function refusal(blocker: Blocker | undefined): Refused {
  const { code, text } = blocker ?? { code: 'NO_WRITER', text: 'No HSM takes writes.' };
  return new Refused(
    code === 'ROOTS_LOCKED' ? 'RootsLocked' : 'WrongState',
    `[${code}] ${text} Nothing was changed.`,
  );
}

/** @throws Refused `NotFound`, also for another account's or region's backup. */
export function backupIn(reader: CatalogReader, scope: Scope, id: BackupId): Backup {
  const backup = reader.backup(id);
  if (backup?.account !== scope.account || backup.region !== scope.region) {
    throw new Refused('NotFound', `There is no backup ${id} in ${scope.region}.`);
  }
  return backup;
}

/** What the newest finished restore replaced. @throws Refused `WrongState` when there is none, or too late. */
export function whatToUndo(
  reader: CatalogReader,
  scope: Scope,
  { clusterId, now }: { clusterId: ClusterId; now: number },
): Wanted {
  ownCluster(reader, scope, clusterId);
  const last = reader
    .restores(scope, LOOK_BACK, clusterId)
    .find((restore) => restore.state === 'DONE');
  if (last?.state !== 'DONE') {
    throw new Refused(
      'WrongState',
      `[NOTHING_TO_UNDO] Nothing was restored into ${clusterId} yet.`,
    );
  }
  if (last.undoUntil <= now) {
    throw new Refused(
      'WrongState',
      `[UNDO_OVER] ${last.id} could be undone until ${isoTime(last.undoUntil)}. While ${last.safetyId} exists, restore it by its id.`,
    );
  }
  return { clusterId, backupId: last.safetyId, undoes: last.id };
}

/** Failed tries after the last one that was done. */
const LOOK_BACK = 1_000;
