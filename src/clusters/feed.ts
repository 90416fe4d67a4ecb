/**
 * Until several HSMs are synchronised, one takes writes and the others follow: after each proven backup
 * they are given that state as a whole.
 */
import type { ReadyBackup } from '../backups/backup.ts';
import { Refused } from '../kernel/errors.ts';
import type { ClusterId } from '../kernel/ids.ts';
import type { Hsm } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import { frozenState, holdsUnproven } from './proven.ts';
import { messageOf, moveHsm } from './rows.ts';
import { FOLLOWER_FROZEN } from './write-turn.ts';

/**
 * Replaces the follower's state by the backup's, unless it is that state already.
 * @throws Refused `WrongState` when its own state is in no proven backup: nothing is fed over that.
 */
export async function feed(deps: ClusterDeps, hsm: Hsm, backup: ReadyBackup): Promise<void> {
  const cluster = deps.catalog.read((reader) => reader.cluster(hsm.clusterId));
  if (cluster === undefined) return;
  const held = await frozenState(deps, hsm, FOLLOWER_FROZEN);
  if (held.kind === 'state') {
    if (!held.isProven) throw new Refused('WrongState', holdsUnproven(hsm, held.digest));
    if (held.digest.stateDigest === backup.proof.statement.opened.stateDigest) return;
  }
  const handle = deps.fleet.hsm(hsm.id);
  await deps.backups.restore(backup, { cluster, hsm, handle, isClone: false });
}

/**
 * After a backup was proven, whatever it was taken for: followers get what is newest by now; one that cannot
 * be fed stops serving. Waits for the cluster's turn, so who holds that turn must not wait for this.
 */
export function feedFollowers(deps: ClusterDeps, clusterId: ClusterId): Promise<void> {
  return deps.turns.run(clusterId, () => feedInTurn(deps, clusterId));
}

/** For whoever has the cluster's turn already. */
export async function feedInTurn(deps: ClusterDeps, clusterId: ClusterId): Promise<void> {
  const { newest, followers } = deps.catalog.read((reader) => ({
    newest: reader.newestReady(clusterId),
    followers: reader.hsmsOf(clusterId).filter((hsm) => hsm.state === 'ACTIVE' && !hsm.takesWrites),
  }));
  if (newest === undefined) return;
  for (const hsm of followers) {
    try {
      await feed(deps, hsm, newest);
    } catch (cause) {
      moveHsm(deps, hsm.id, 'DEGRADED', { why: `Could not follow: ${messageOf(cause)}` });
    }
  }
}
