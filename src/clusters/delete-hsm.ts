/**
 * DeleteHsm: a proven backup first, then zeroise. State that is in no proven backup is never destroyed:
 * if the backup fails the HSM goes back to where it was and says why.
 */
import type { ReadyBackup } from '../backups/backup.ts';
import type { Scope } from '../catalog/catalog.ts';
import { Refused } from '../kernel/errors.ts';
import type { ClusterId, HsmId } from '../kernel/ids.ts';
import type { Hsm } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import { feed } from './feed.ts';
import type { HsmSelector } from './requests.ts';
import { messageOf, moveHsm, ownCluster } from './rows.ts';
import { comesBack, LEAVING_FROZEN, openWriter } from './write-turn.ts';

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
    if (cluster.state === 'MODIFY_IN_PROGRESS' || cluster.state === 'INITIALIZE_IN_PROGRESS') {
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
    try {
      await backUpFirst(deps, before);
    } catch (cause) {
      moveHsm(deps, before.id, before.state === 'DEGRADED' ? 'DEGRADED' : 'ACTIVE', {
        why: `Not deleted: the backup before it failed. ${messageOf(cause)}`,
      });
      await openWriter(deps, before.id);
      return;
    }
    try {
      await deps.fleet.discard(before.id);
    } catch (cause) {
      // Half-way is no state to serve from: it is finished by `retryDeletions`.
      moveHsm(deps, before.id, 'DELETE_IN_PROGRESS', {
        why: `Backed up, not removed yet: ${messageOf(cause)}`,
      });
      return;
    }
    moveHsm(deps, before.id, 'DELETED', { takesWrites: false });
    forgetCsr(deps, before.clusterId);
  });
}

/** HSMs whose removal did not come to its end; called once a minute. */
export function retryDeletions(deps: ClusterDeps): void {
  const stuck = deps.catalog
    .read((reader) => reader.hsmsIn(['DELETE_IN_PROGRESS']))
    .filter(({ stateMessage }) => stateMessage !== undefined);
  for (const hsm of stuck) {
    deps.background.run(`delete ${hsm.id}`, () => finishDeleteHsm(deps, hsm));
  }
}

/** An HSM that the host no longer has was removed already, which only ever happens after its backup. */
async function backUpFirst(deps: ClusterDeps, hsm: Hsm): Promise<void> {
  const known = await deps.fleet.list();
  if (!known.some(({ hsmId }) => hsmId === hsm.id) || !mayHoldState(deps, hsm)) return;
  // From here on nothing is acknowledged that the backup would not have.
  if (hsm.takesWrites) await deps.fleet.hsm(hsm.id).limit(LEAVING_FROZEN);
  const backup = await deps.backups.take(hsm.clusterId, 'before-delete-hsm');
  await handOver(deps, hsm, backup);
}

/**
 * An HSM that never served holds nothing, and one that was only certified nothing a customer could miss.
 * A follower holds what the writer holds; the writer is backed up all the same.
 */
function mayHoldState(deps: ClusterDeps, hsm: Hsm): boolean {
  const cluster = deps.catalog.read((reader) => reader.cluster(hsm.clusterId));
  return hsm.serial !== undefined && cluster?.state !== 'UNINITIALIZED';
}

/** When the writer leaves, a follower is fed its last state and takes the writes. */
async function handOver(deps: ClusterDeps, leaving: Hsm, backup: ReadyBackup): Promise<void> {
  if (!leaving.takesWrites) return;
  const heir = await heirOf(deps, leaving, backup.archive.seal.statement.generation);
  if (heir === undefined) return;
  await feed(deps, heir, backup);
  // One fact: never two that take changes, and never none.
  deps.catalog.transact((writer) => {
    for (const { id } of [leaving, heir]) {
      const row = writer.hsm(id);
      if (row !== undefined) writer.putHsm({ ...row, takesWrites: id === heir.id });
    }
  });
  await openWriter(deps, heir.id);
}

/** A follower, also one that is only being restarted; none that never served or whose changes no backup has. */
async function heirOf(
  deps: ClusterDeps,
  leaving: Hsm,
  provenGeneration: number,
): Promise<Hsm | undefined> {
  const others = deps.catalog
    .read((reader) => reader.hsmsOf(leaving.clusterId))
    .filter(({ id }) => id !== leaving.id);
  const active = others.find(({ state }) => state === 'ACTIVE');
  if (active !== undefined) return active;
  for (const hsm of others.filter(
    ({ state, serial }) => state === 'DEGRADED' && serial !== undefined,
  )) {
    const hello = await comesBack(deps, hsm);
    if (hello !== undefined && hello.generation <= provenGeneration) return hsm;
  }
  return undefined;
}

/** A cluster that was never initialised gets a new key, and a new CSR, with its next HSM. */
function forgetCsr(deps: ClusterDeps, clusterId: ClusterId): void {
  deps.catalog.transact((writer) => {
    const cluster = writer.cluster(clusterId);
    if (cluster?.state === 'UNINITIALIZED') writer.putCluster({ ...cluster, certificates: {} });
  });
}
