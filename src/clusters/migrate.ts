/**
 * ModifyCluster with HsmType, top to bottom: changes are held back, the state is backed up, a writing HSM of
 * the new type is built aside and backed up too, the followers are replaced one at a time, and last of all
 * the writing HSM, in the transaction that makes the cluster one of the new type.
 *
 * The old writing HSM stands, complete, until that transaction: before it every failure and every death
 * ends in `rollBack`, after it in `finish`. Asking for the old type before that transaction ends the move too:
 * the row says ROLLBACK_IN_PROGRESS at once, and whoever is at work stops after the step under way. Going back
 * within 24 hours takes the same road with the last backup of the old type, as a new line of the cluster
 * whose generations go on.
 */
import type { ReadyBackup } from '../backups/backup.ts';
import type { CatalogWriter, Scope } from '../catalog/catalog.ts';
import type { HsmType } from '../hsm/protocol.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import { type ClusterId, newHsmId } from '../kernel/ids.ts';
import { rootsLocked } from '../kernel/roots-locked.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Cluster, Hsm } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import { finish, rollBack } from './migrate-end.ts';
import {
  frozenWhileMoving,
  judgeMove,
  type PreparingMigration,
  ROLLBACK_MS,
  type Swap,
  type SwitchedMigration,
} from './migration.ts';
import { frozenState, holdsUnproven } from './proven.ts';
import { buildSuccessor, retire, takePlace, tellReplaced } from './replace-hsm.ts';
import type { ClusterView } from './requests.ts';
import { messageOf, ownCluster, viewOf } from './rows.ts';
import { moved } from './states.ts';

/** @throws Refused; nothing is changed then. One of two callers wins. */
export async function migrateCluster(
  deps: ClusterDeps,
  scope: Scope,
  id: ClusterId,
  to: HsmType,
): Promise<ClusterView> {
  const host = await deps.fleet.status();
  const { view, isBegun } = deps.catalog.transact((writer) => {
    const cluster = ownCluster(writer, scope, id);
    const stopping = takenBack(cluster, to);
    if (stopping === undefined && host.areRootsLocked) throw rootsLocked();
    const next = stopping ?? intend(deps, writer, cluster, to);
    writer.putCluster(next);
    return { view: viewOf(writer, next), isBegun: stopping === undefined };
  });
  deps.events.emit({ kind: 'clusterState', clusterId: id, state: view.cluster.state });
  // A move that is taken back is at work already, or found by the next start.
  if (isBegun) deps.background.run(`migrate ${id}`, () => carryOut(deps, id));
  return view;
}

/** The old type is asked for while the new one is on its way: the row of a move that stops; else undefined. */
function takenBack(cluster: Cluster, to: HsmType): Cluster | undefined {
  const { id, state, migration } = cluster;
  if (state !== 'MODIFY_IN_PROGRESS' || migration?.from !== to) return undefined;
  if (migration.state === 'PREPARING') {
    const text = `Going back to ${to}, as asked for; the step under way comes to its end first.`;
    const stopping = moved(cluster, 'ROLLBACK_IN_PROGRESS', text);
    return { ...stopping, migration: { ...migration, isTakenBack: true } };
  }
  throw new Refused(
    'WrongState',
    `${id} is of type ${migration.to} since a moment ago and about to be ACTIVE; ask again then. Nothing was changed.`,
  );
}

/** The whole plan, with the names of all who will come: recovery needs to look nowhere else. */
function intend(deps: ClusterDeps, writer: CatalogWriter, cluster: Cluster, to: HsmType): Cluster {
  const hsms = writer.hsmsOf(cluster.id);
  const { migration, type: from } = cluster;
  const oldBackup = migration?.state === 'DONE' ? writer.backup(migration.oldBackupId) : undefined;
  const now = deps.clock.now();
  const { writer: writing, undoes } = judgeMove({ cluster, hsms, to, oldBackup, now });
  const swapOf = ({ id }: Hsm): Swap => ({
    oldHsmId: id,
    newHsmId: newHsmId(deps.random),
    backHsmId: newHsmId(deps.random),
  });
  const intent: PreparingMigration = {
    from,
    to,
    startedAt: now,
    // A time plus a duration is a time.
    rollbackUntil: undoes?.rollbackUntil ?? ((now + ROLLBACK_MS) as EpochMs),
    ...(undoes === undefined ? {} : { undoes }),
    writer: swapOf(writing),
    followers: hsms.filter(({ id }) => id !== writing.id).map(swapOf),
    migratedIds: [],
    state: 'PREPARING',
  };
  const text = `${undoes === undefined ? 'Moving' : 'Going back'} from ${from} to ${to}, one HSM at a time; changes of users, keys and policies are refused meanwhile.`;
  const state = undoes === undefined ? 'MODIFY_IN_PROGRESS' : 'ROLLBACK_IN_PROGRESS';
  return { ...moved(cluster, state, text), migration: intent };
}

/** Holds the cluster's turn from here to the end. */
function carryOut(deps: ClusterDeps, id: ClusterId): Promise<void> {
  return deps.turns.run(id, async () => {
    try {
      await prepareAndSwitch(deps, id);
    } catch (cause) {
      await rollBack(deps, id, messageOf(cause));
      return;
    }
    await finish(deps, id);
  });
}

async function prepareAndSwitch(deps: ClusterDeps, clusterId: ClusterId): Promise<void> {
  const { cluster, migration, old, goal } = readRows(deps, clusterId);
  const frozenBecause = frozenWhileMoving(migration);
  const oldHandle = deps.fleet.hsm(old.id);
  // First the freeze, then the seal: what was acknowledged is in the backup.
  await oldHandle.limit(frozenBecause);
  const before = await backUpBefore(deps, old);
  mustBeWanted(deps, clusterId);
  const next = await buildSuccessor(deps, {
    id: migration.writer.newHsmId,
    cluster: { ...cluster, type: migration.to },
    old,
    backup: goal ?? before,
    frozenBecause,
    ...(goal === undefined ? {} : { afterGeneration: generationOf(before, cluster) }),
  });
  mustBeWanted(deps, clusterId);
  let migrated = await backUpNew(deps, next.hsm);
  for (const [n, swap] of migration.followers.entries()) {
    mustBeWanted(deps, clusterId);
    // A full one before each, as AWS does; the newest backup is of the new type from here on.
    if (n > 0) migrated = await backUpNew(deps, next.hsm);
    await replaceFollower(deps, clusterId, swap, migrated);
  }
  // An HSM that died and came back meanwhile may have taken changes: look once more at both.
  await mustHold(deps, next.hsm, migrated);
  await mustHold(deps, old, before);
  switchOver(deps, clusterId, { before, ...next });
}

function readRows(
  deps: ClusterDeps,
  id: ClusterId,
): {
  cluster: Cluster;
  migration: PreparingMigration;
  old: Hsm;
  /** What is to be there at the end, when that is not what is there now. */
  goal: ReadyBackup | undefined;
} {
  return deps.catalog.read((reader) => {
    const { cluster, migration } = wanted(reader.cluster(id));
    const old = reader.hsm(migration.writer.oldHsmId);
    if (old === undefined) throw new Refused('NotFound', `${migration.writer.oldHsmId} is gone.`);
    if (migration.undoes === undefined) return { cluster, migration, old, goal: undefined };
    const goal = reader.backup(migration.undoes.oldBackupId);
    if (goal?.state === 'READY') return { cluster, migration, old, goal };
    throw new Refused('WrongState', `${migration.undoes.oldBackupId} is ${goal?.state ?? 'gone'}.`);
  });
}

function preparing(cluster: Cluster | undefined): {
  cluster: Cluster;
  migration: PreparingMigration;
} {
  if (cluster?.migration?.state !== 'PREPARING') {
    throw new Refused('WrongState', 'The move is under way no more.');
  }
  return { cluster, migration: cluster.migration };
}

/** @throws Refused once somebody asked for the old type: before the switch every step may be the last one. */
function wanted(found: Cluster | undefined): { cluster: Cluster; migration: PreparingMigration } {
  const { cluster, migration } = preparing(found);
  if (!migration.isTakenBack) return { cluster, migration };
  throw new Refused('WrongState', `${migration.from} was asked for meanwhile.`);
}

function mustBeWanted(deps: ClusterDeps, id: ClusterId): void {
  deps.catalog.read((reader) => wanted(reader.cluster(id)));
}

/** Above both, so that "newer" keeps its meaning for backups, followers and the schedule. */
function generationOf(before: ReadyBackup, { newestChange }: Cluster): number {
  return Math.max(before.archive.seal.statement.generation, newestChange?.generation ?? 0);
}

/** Proven, and only then what a way back would use. */
async function backUpBefore(deps: ClusterDeps, source: Hsm): Promise<ReadyBackup> {
  const backup = await deps.backups.take(source.clusterId, 'before-migration', { source });
  await mustHold(deps, source, backup);
  note(deps, source.clusterId, (migration) => ({ ...migration, beforeId: backup.id }));
  return backup;
}

/** Its id is in the row before anything is sealed: a way back withdraws it. */
function backUpNew(deps: ClusterDeps, source: Hsm): Promise<ReadyBackup> {
  return deps.backups.take(source.clusterId, 'migrated', {
    source,
    onStarted: ({ id }) =>
      note(deps, source.clusterId, (migration) => ({
        ...migration,
        migratedIds: [...migration.migratedIds, id],
      })),
  });
}

function note(
  deps: ClusterDeps,
  id: ClusterId,
  noted: (migration: PreparingMigration) => PreparingMigration,
): void {
  deps.catalog.transact((writer) => {
    const { cluster, migration } = preparing(writer.cluster(id));
    writer.putCluster({ ...cluster, migration: noted(migration) });
  });
}

/** @throws Failed `NOT_PROVEN` when the HSM's state is not the backup's any more. */
async function mustHold(deps: ClusterDeps, { id }: Hsm, backup: ReadyBackup): Promise<void> {
  const { stateDigest } = await deps.fleet.hsm(id).digest();
  if (stateDigest === backup.archive.seal.statement.stateDigest) return;
  throw new Failed(
    'NOT_PROVEN',
    `${id} changed after ${backup.id} was taken of it; it was restarted meanwhile. Try again.`,
  );
}

/** A follower with something of its own stops the move: nothing is fed over that. */
async function replaceFollower(
  deps: ClusterDeps,
  clusterId: ClusterId,
  { oldHsmId, newHsmId: id }: Swap,
  backup: ReadyBackup,
): Promise<void> {
  const { cluster, migration, old } = deps.catalog.read((reader) => ({
    ...preparing(reader.cluster(clusterId)),
    old: reader.hsm(oldHsmId),
  }));
  if (old === undefined) throw new Refused('NotFound', `${oldHsmId} is gone.`);
  const frozenBecause = frozenWhileMoving(migration);
  const held = await frozenState(deps, old, frozenBecause);
  if (held.kind === 'state' && !held.isProven) {
    throw new Refused('WrongState', holdsUnproven(old, held.digest));
  }
  const target = { ...cluster, type: migration.to };
  const { hsm } = await buildSuccessor(deps, { id, cluster: target, old, backup, frozenBecause });
  deps.catalog.transact((writer) => takePlace(writer, oldHsmId, hsm));
  tellReplaced(deps, oldHsmId, hsm);
  await retire(deps, oldHsmId);
}

/** The point of no return, as one fact. */
function switchOver(
  deps: ClusterDeps,
  id: ClusterId,
  { before, hsm, generation }: { before: ReadyBackup; hsm: Hsm; generation: number },
): void {
  const { oldHsmId } = deps.catalog.transact((writer) => {
    const { cluster, migration } = wanted(writer.cluster(id));
    const { migratedIds: _proven, ...rest } = migration;
    const switched: SwitchedMigration = { ...rest, state: 'SWITCHED', beforeId: before.id };
    const { newestChange } = cluster;
    takePlace(writer, migration.writer.oldHsmId, hsm);
    writer.putCluster({
      ...cluster,
      type: migration.to,
      // What comes back by going back is a change; moving on is none.
      ...(migration.undoes !== undefined || newestChange === undefined
        ? { newestChange: { generation, at: deps.clock.now() } }
        : {}),
      migration: switched,
    });
    return migration.writer;
  });
  tellReplaced(deps, oldHsmId, hsm);
}
