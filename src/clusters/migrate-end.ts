/**
 * The two ends of a move to another HSM type: back to the type that served, or on to the one that took over.
 * Both are safe to repeat from any point: they look at what is, do what is missing, and write the fact last.
 * The caller has the cluster's turn.
 */
import type { ReadyBackup } from '../backups/backup.ts';
import { Refused } from '../kernel/errors.ts';
import type { ClusterId, HsmId } from '../kernel/ids.ts';
import type { Cluster } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import {
  type DoneMigration,
  frozenWhileMoving,
  type PreparingMigration,
  type Swap,
  type SwitchedMigration,
} from './migration.ts';
import { buildSuccessor, retire, takePlace, tellReplaced } from './replace-hsm.ts';
import { moveCluster } from './rows.ts';
import { moved } from './states.ts';
import { freezeFollower, openWriter } from './write-turn.ts';

/** What StateMessage holds. */
const MESSAGE_LENGTH = 300;

/** Before the switch. The writing HSM was never touched, and nothing was written since: nothing is lost. */
export async function rollBack(deps: ClusterDeps, id: ClusterId, why: string): Promise<void> {
  const { cluster, migration } = rowOf(deps, id);
  if (cluster === undefined || migration?.state !== 'PREPARING') return;
  if (cluster.state === 'MODIFY_IN_PROGRESS') {
    moveCluster(deps, id, 'ROLLBACK_IN_PROGRESS', (row) => ({
      ...row,
      stateMessage: `Going back to ${migration.from}: ${why}`.slice(0, MESSAGE_LENGTH),
    }));
  }
  // Else the cluster's newest proven state would be of a type that it never was.
  for (const migratedId of migration.migratedIds) {
    await deps.backups.withdraw(migratedId, `${id} did not become ${migration.to}`);
  }
  for (const swap of migration.followers) await bringBack(deps, cluster, migration, swap);
  await deps.fleet.discard(migration.writer.newHsmId);
  await serveAgain(deps, id, migration.writer.oldHsmId);
  const { from, to, undoes, isTakenBack } = migration;
  const outcome = isTakenBack
    ? 'was taken back, as asked for; nothing was lost.'
    : `failed, nothing was lost: ${why}`;
  end(deps, id, {
    ...(undoes === undefined ? {} : { migration: undoes }),
    message: `The move from ${from} to ${to} ${outcome}`,
  });
}

/** A follower that was replaced gets a successor of the type that serves; one that was not stays. */
async function bringBack(
  deps: ClusterDeps,
  cluster: Cluster,
  migration: PreparingMigration,
  swap: Swap,
): Promise<void> {
  const { replaced, isBack } = deps.catalog.read((reader) => ({
    replaced: reader.hsm(swap.newHsmId),
    isBack: reader.hsm(swap.backHsmId) !== undefined,
  }));
  if (replaced === undefined) {
    await deps.fleet.discard(swap.newHsmId);
    return;
  }
  // Who died right after the replacement had not come to this.
  await retire(deps, swap.oldHsmId);
  if (!isBack) {
    const { hsm } = await buildSuccessor(deps, {
      id: swap.backHsmId,
      cluster: { ...cluster, type: migration.from },
      old: replaced,
      backup: await provenBefore(deps, migration),
      frozenBecause: frozenWhileMoving(migration),
    });
    deps.catalog.transact((writer) => takePlace(writer, replaced.id, hsm));
    tellReplaced(deps, replaced.id, hsm);
  }
  await retire(deps, replaced.id);
}

/** The newest proven backup of what serves; when somebody deleted it, another one. */
async function provenBefore(
  deps: ClusterDeps,
  { beforeId, writer }: PreparingMigration,
): Promise<ReadyBackup> {
  const { before, source } = deps.catalog.read((reader) => ({
    before: beforeId === undefined ? undefined : reader.backup(beforeId),
    source: reader.hsm(writer.oldHsmId),
  }));
  if (before?.state === 'READY') return before;
  if (source === undefined) throw new Refused('NotFound', `${writer.oldHsmId} is gone.`);
  return await deps.backups.take(source.clusterId, 'before-migration', { source });
}

/** After the switch. */
export async function finish(deps: ClusterDeps, id: ClusterId): Promise<void> {
  const { migration } = rowOf(deps, id);
  if (migration?.state !== 'SWITCHED') return;
  for (const { oldHsmId } of [...migration.followers, migration.writer]) {
    await retire(deps, oldHsmId);
  }
  await serveAgain(deps, id, migration.writer.newHsmId);
  if (migration.undoes === undefined) {
    end(deps, id, { migration: doneOf(migration) });
    return;
  }
  end(deps, id, { message: givenUp(deps, migration, migration.undoes) });
}

/** Followers say again why they refuse, and the one that takes changes takes them. */
async function serveAgain(deps: ClusterDeps, id: ClusterId, writer: HsmId): Promise<void> {
  const followers = deps.catalog
    .read((reader) => reader.hsmsOf(id))
    .filter(({ state, takesWrites }) => state === 'ACTIVE' && !takesWrites);
  for (const follower of followers) await freezeFollower(deps, follower.id);
  await openWriter(deps, writer);
}

function doneOf({
  from,
  to,
  startedAt,
  rollbackUntil,
  beforeId,
}: SwitchedMigration): DoneMigration {
  return { from, to, startedAt, rollbackUntil, state: 'DONE', oldBackupId: beforeId };
}

/** What going back cost, and where it still is. Numbers of two lines do not compare. */
function givenUp(
  deps: ClusterDeps,
  { beforeId, to }: SwitchedMigration,
  { oldBackupId }: DoneMigration,
): string {
  const [last, old] = deps.catalog.read((reader) =>
    [beforeId, oldBackupId].map((id) => {
      const backup = reader.backup(id);
      return backup === undefined || !('archive' in backup)
        ? undefined
        : backup.archive.seal.statement;
    }),
  );
  const isOneLine = last !== undefined && last.incarnation === old?.incarnation;
  const changes = isOneLine ? String(last.generation - old.generation) : 'all';
  return `Back on ${to}, as of ${oldBackupId}: ${changes} changes made since are gone from the cluster; ${beforeId} has them.`;
}

/** The move and its cluster come to their end in one fact. */
function end(
  deps: ClusterDeps,
  id: ClusterId,
  { migration, message }: { migration?: DoneMigration; message?: string },
): void {
  deps.catalog.transact((writer) => {
    const cluster = writer.cluster(id);
    if (cluster === undefined) return;
    const { migration: _over, ...rest } = moved(
      cluster,
      'ACTIVE',
      message?.slice(0, MESSAGE_LENGTH),
    );
    writer.putCluster({
      ...rest,
      // What the way back needed, or needs, is judged anew.
      nextReviewAt: deps.clock.now(),
      ...(migration === undefined ? {} : { migration }),
    });
  });
  const why = message === undefined ? {} : { why: message };
  deps.events.emit({ kind: 'clusterState', clusterId: id, state: 'ACTIVE', ...why });
}

function rowOf(
  deps: ClusterDeps,
  id: ClusterId,
): { cluster: Cluster | undefined; migration: Cluster['migration'] } {
  const cluster = deps.catalog.read((reader) => reader.cluster(id));
  return { cluster, migration: cluster?.migration };
}
