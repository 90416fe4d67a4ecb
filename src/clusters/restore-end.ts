/**
 * The two ends of a restore: back to where everything was, or on to where the switch left it. Both are safe
 * to repeat from any point: they look at what is, do what is missing, and write the fact last.
 */
import type { ReadyBackup } from '../backups/backup.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import type { ClusterId, HsmId, RestoreId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Hsm } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import { feedInTurn } from './feed.ts';
import { frozenState } from './proven.ts';
import type { Restore, RestoreIn } from './restore.ts';
import { messageOf, moveHsm } from './rows.ts';
import { moved } from './states.ts';
import { LEAVING_FROZEN } from './write-turn.ts';

/** What StateMessage holds. */
const MESSAGE_LENGTH = 300;

/** Before the switch: the HSM that was built goes, the one that serves goes on. The caller has the turn. */
export async function rollBack(deps: ClusterDeps, id: RestoreId, why: string): Promise<void> {
  const restore = deps.catalog.read((reader) => reader.restore(id));
  if (restore?.state !== 'PREPARING') return;
  // Else the cluster's newest proven state would be one that it never served.
  if (restore.restoredId !== undefined) {
    await deps.backups.withdraw(restore.restoredId, `${id} did not come about`);
  }
  await deps.fleet.discard(restore.newHsmId);
  await thaw(deps, restore.oldHsmId);
  end(deps, restore.clusterId, {
    ...restore,
    state: 'FAILED',
    finishedAt: deps.clock.now(),
    why: why.slice(0, MESSAGE_LENGTH),
  });
  await thawAgain(deps, restore.oldHsmId);
}

/** After the switch. The caller has the turn. */
export async function finish(deps: ClusterDeps, restore: RestoreIn<'SWITCHED'>): Promise<void> {
  const { clusterId, newHsmId, safetyId } = restore;
  const safety = deps.catalog.read((reader) => reader.backup(safetyId));
  await deps.fleet.prefer(clusterId, newHsmId);
  await feedInTurn(deps, clusterId);
  await retire(deps, restore, safety?.state === 'READY' ? safety : undefined);
  await thaw(deps, newHsmId);
  const finishedAt = deps.clock.now();
  // A time plus a duration is a time.
  const undoUntil = (finishedAt + restore.undoMs) as EpochMs;
  end(deps, clusterId, { ...restore, state: 'DONE', finishedAt, undoUntil });
  await thawAgain(deps, newHsmId);
}

/**
 * The old HSM goes, if the safety backup holds all that it has. It was so at the switch; an HSM that was
 * restarted in that very moment may have taken a change since, and then stays to be looked at.
 */
async function retire(
  deps: ClusterDeps,
  { oldHsmId, id }: RestoreIn<'SWITCHED'>,
  safety: ReadyBackup | undefined,
): Promise<void> {
  const row = deps.catalog.read((reader) => reader.hsm(oldHsmId));
  if (row?.state !== 'DELETE_IN_PROGRESS') return;
  const known = await deps.fleet.list();
  if (known.some(({ hsmId }) => hsmId === oldHsmId)) {
    const why = await heldBack(deps, row, safety);
    if (why !== undefined) {
      moveHsm(deps, oldHsmId, 'DEGRADED', { why: `${id} replaced it. ${why}`, takesWrites: false });
      return;
    }
    try {
      await deps.fleet.discard(oldHsmId, safety?.archive.seal.statement.stateDigest);
    } catch (cause) {
      // Nobody waits for it: `retryDeletions` goes on once the restore is over.
      moveHsm(deps, oldHsmId, 'DELETE_IN_PROGRESS', {
        why: `${id} replaced it; not removed yet: ${messageOf(cause)}`,
      });
      return;
    }
  }
  moveHsm(deps, oldHsmId, 'DELETED', { takesWrites: false });
}

/** Why the old HSM may hold something that no proven backup has; undefined when it does not. */
async function heldBack(
  deps: ClusterDeps,
  hsm: Hsm,
  safety: ReadyBackup | undefined,
): Promise<string | undefined> {
  const giveUp = 'Deleting it gives that up.';
  try {
    const held = await frozenState(deps, hsm, LEAVING_FROZEN);
    if (held.kind === 'nothing') return undefined;
    if (held.digest.stateDigest === safety?.archive.seal.statement.stateDigest) return undefined;
    return `It holds changes up to generation ${held.digest.generation} that the backup before the switch does not have. ${giveUp}`;
  } catch (cause) {
    // The host is away: whoever comes back later asks again.
    if (cause instanceof Failed && cause.code === 'HOST_GONE') throw cause;
    return `What it holds could not be compared with the backup before the switch: ${messageOf(cause)} ${giveUp}`;
  }
}

/** The restore and its cluster come to their end in one fact. */
function end(deps: ClusterDeps, clusterId: ClusterId, restore: RestoreIn<'DONE' | 'FAILED'>): void {
  deps.catalog.transact((writer) => {
    const cluster = writer.cluster(clusterId);
    if (cluster?.state === 'UPDATE_IN_PROGRESS') {
      writer.putCluster(moved(cluster, 'ACTIVE', messageOfEnd(restore)));
    }
    const safety = restore.state === 'DONE' ? writer.backup(restore.safetyId) : undefined;
    if (restore.state === 'DONE' && safety?.state === 'READY') {
      writer.putBackup({ ...safety, sparedUntil: restore.undoUntil });
    }
    writer.putRestore(restore);
  });
  const { id: restoreId, backupId, state } = restore;
  const why = restore.state === 'FAILED' ? { why: restore.why } : {};
  deps.events.emit({ kind: 'restoreState', restoreId, clusterId, backupId, state, ...why });
  deps.events.emit({ kind: 'clusterState', clusterId, state: 'ACTIVE' });
}

function messageOfEnd(restore: Restore): string | undefined {
  if (restore.state !== 'FAILED') return undefined;
  return `${restore.id} failed, nothing was changed: ${restore.why}`.slice(0, MESSAGE_LENGTH);
}

/** An HSM that is gone, or in error and refuses, takes no changes anyway; no other may stay frozen. */
async function thaw(deps: ClusterDeps, hsmId: HsmId): Promise<void> {
  try {
    await deps.fleet.hsm(hsmId).limit(null);
  } catch (cause) {
    if (cause instanceof Refused) return;
    const known = await deps.fleet.list();
    if (known.some((hsm) => hsm.hsmId === hsmId && hsm.isRunning)) throw cause;
  }
}

/** A freeze that the HSM's return asked for may have arrived after the thaw; by now none is asked for. */
async function thawAgain(deps: ClusterDeps, hsmId: HsmId): Promise<void> {
  try {
    await deps.fleet.hsm(hsmId).limit(null);
  } catch {
    // It was thawed already; and an HSM that comes back comes back thawed.
  }
}
