/**
 * DeleteHsm: from here on the HSM takes no change; a proven backup of what it holds; then zeroise. State that
 * is in no proven backup is never destroyed: the HSM goes back to where it was and says why, and only
 * `give-up-hsm.ts` goes further.
 */
import type { Scope } from '../catalog/catalog.ts';
import { Refused } from '../kernel/errors.ts';
import type { ClusterId, HsmId } from '../kernel/ids.ts';
import type { ClusterState, Hsm } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import { handOver } from './hand-over.ts';
import { frozenState, type Held, holdsUnproven } from './proven.ts';
import type { HsmSelector } from './requests.ts';
import { messageOf, moveHsm, ownCluster } from './rows.ts';
import { unfinishedHsms } from './unfinished.ts';
import { FOLLOWER_FROZEN, LEAVING_FROZEN } from './write-turn.ts';

/** Something else decides about this cluster's HSMs just now. */
const BUSY: readonly ClusterState[] = [
  'MODIFY_IN_PROGRESS',
  'ROLLBACK_IN_PROGRESS',
  'INITIALIZE_IN_PROGRESS',
  'UPDATE_IN_PROGRESS',
];
const NOTHING: Held = { kind: 'nothing' };

export async function deleteHsm(
  deps: ClusterDeps,
  scope: Scope,
  clusterId: ClusterId,
  which: HsmSelector,
): Promise<HsmId> {
  const before = deps.catalog.transact((writer) => {
    const cluster = ownCluster(writer, scope, clusterId);
    const hsm = writer.hsmsOf(clusterId).find((candidate) => isSelected(candidate, which));
    if (hsm === undefined) {
      throw new Refused(
        'NotFound',
        `${clusterId} has no HSM with ${Object.entries(which).flat().join(' ')}.`,
      );
    }
    if (BUSY.includes(cluster.state)) {
      throw new Refused('WrongState', `${clusterId} is ${cluster.state}; wait until that is done.`);
    }
    if (hsm.state !== 'ACTIVE' && hsm.state !== 'DEGRADED') {
      throw new Refused('WrongState', `${hsm.id} is ${hsm.state} and cannot be deleted now.`);
    }
    const { stateMessage: _old, ...rest } = hsm;
    writer.putHsm({ ...rest, state: 'DELETE_IN_PROGRESS' });
    return hsm;
  });
  deps.background.run(`delete ${before.id}`, () => finishDeleteHsm(deps, before));
  return before.id;
}

function isSelected(hsm: Hsm, which: HsmSelector): boolean {
  if ('hsmId' in which) return hsm.id === which.hsmId;
  return 'eniId' in which ? hsm.eniId === which.eniId : hsm.eniIp === which.eniIp;
}

/** Also called for rows that were left in DELETE_IN_PROGRESS, by a dead process or a host that failed. */
export function finishDeleteHsm(deps: ClusterDeps, before: Hsm): Promise<void> {
  return deps.turns.run(before.clusterId, async () => {
    const hsm = deps.catalog.read((reader) => reader.hsm(before.id));
    // Who had the turn before may have finished it.
    if (hsm?.state !== 'DELETE_IN_PROGRESS') return;
    let kept: Held;
    try {
      kept = await keepState(deps, hsm);
    } catch (cause) {
      await stay(deps, before, cause);
      return;
    }
    await discardHsm(deps, hsm, kept);
  });
}

/**
 * Removes for good what was kept, or given up, before. Half-way is no state to serve from.
 * @param held what may go; an HSM that was started again since, and took a change, refuses and is backed up anew.
 */
export async function discardHsm(
  deps: ClusterDeps,
  { id, clusterId }: Hsm,
  held: Held = NOTHING,
): Promise<void> {
  try {
    await deps.fleet.discard(id, held.kind === 'state' ? held.digest.stateDigest : undefined);
  } catch (cause) {
    // It is finished by `retryDeletions`.
    moveHsm(deps, id, 'DELETE_IN_PROGRESS', { why: `Not removed yet: ${messageOf(cause)}` });
    return;
  }
  moveHsm(deps, id, 'DELETED', { takesWrites: false });
  forgetCsr(deps, clusterId);
}

/** Once a minute: a deletion at work holds the cluster's turn, so one found in its turn is nobody's. */
export function retryDeletions(deps: ClusterDeps): void {
  const left = deps.catalog.read((reader) => unfinishedHsms(reader, ['DELETE_IN_PROGRESS']));
  for (const hsm of left) {
    deps.background.run(`delete ${hsm.id}`, () => finishDeleteHsm(deps, hsm));
  }
}

/**
 * @returns what may go when nothing would be lost: the host has no such HSM any more (removed already, which only
 * ever happens after this), or the very state it holds is in a proven backup and it takes no change.
 */
async function keepState(deps: ClusterDeps, hsm: Hsm): Promise<Held> {
  const known = await deps.fleet.list();
  if (!known.some(({ hsmId }) => hsmId === hsm.id)) return NOTHING;
  const { cluster, writer } = deps.catalog.read((reader) => ({
    cluster: reader.cluster(hsm.clusterId),
    writer: reader
      .hsmsOf(hsm.clusterId)
      .find(({ id, state, takesWrites }) => takesWrites && (id === hsm.id || state === 'ACTIVE')),
  }));
  // One that was certified only has nothing that a customer could miss: the next one makes a new CSR.
  if (cluster?.state === 'UNINITIALIZED') return NOTHING;
  if ((await leavingState(deps, hsm)).kind === 'nothing') return NOTHING;
  if (writer !== undefined) {
    const backup = await deps.backups.take(hsm.clusterId, 'before-delete-hsm', { source: writer });
    mustBeProven(hsm, await leavingState(deps, hsm));
    if (hsm.takesWrites) await handOver(deps, hsm, backup);
  }
  // Once more and last of all: what it says now is what goes.
  const held = await leavingState(deps, hsm);
  mustBeProven(hsm, held);
  return held;
}

async function leavingState(deps: ClusterDeps, hsm: Hsm): Promise<Held> {
  try {
    return await frozenState(deps, hsm, LEAVING_FROZEN);
  } catch (cause) {
    throw new Refused(
      'WrongState',
      `Nobody can tell whether a proven backup has what it holds: ${messageOf(cause)} To give it up for good: keyark cluster give-up ${hsm.id}`,
      { cause },
    );
  }
}

/** @throws Refused `WrongState`. */
function mustBeProven(hsm: Hsm, held: Held): void {
  if (held.kind === 'state' && !held.isProven) {
    throw new Refused('WrongState', holdsUnproven(hsm, held.digest));
  }
}

/** Back to where it was, thawed if it is the one that takes changes; the row says why. */
async function stay(deps: ClusterDeps, before: Hsm, cause: unknown): Promise<void> {
  const isFine = await serves(deps, before).catch(() => {
    // It does not hear. `isBack` opens it, or freezes it, when it is back.
    return false;
  });
  const state = isFine && before.state !== 'DEGRADED' ? 'ACTIVE' : 'DEGRADED';
  moveHsm(deps, before.id, state, { why: `Not deleted. ${messageOf(cause)}` });
}

/** A follower whose state no proven backup has does not serve: it went another way than the cluster. */
async function serves(deps: ClusterDeps, { id }: Hsm): Promise<boolean> {
  const hsm = deps.catalog.read((reader) => reader.hsm(id));
  if (hsm === undefined) return false;
  if (!hsm.takesWrites) {
    const held = await frozenState(deps, hsm, FOLLOWER_FROZEN);
    return held.kind === 'nothing' || held.isProven;
  }
  await deps.fleet.hsm(id).limit(null);
  return true;
}

/** A cluster that was never initialised gets a new key, and a new CSR, with its next HSM. */
function forgetCsr(deps: ClusterDeps, clusterId: ClusterId): void {
  deps.catalog.transact((writer) => {
    const cluster = writer.cluster(clusterId);
    if (cluster?.state === 'UNINITIALIZED') writer.putCluster({ ...cluster, certificates: {} });
  });
}
