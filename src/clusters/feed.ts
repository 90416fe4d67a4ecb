/**
 * Until several HSMs are synchronised, one takes writes and the others follow: after each proven backup
 * they are given that state as a whole.
 */
import type { ReadyBackup } from '../backups/backup.ts';
import type { Hsm } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import { messageOf, moveHsm } from './rows.ts';

/** Replaces the follower's state by the backup's. */
export async function feed(deps: ClusterDeps, hsm: Hsm, backup: ReadyBackup): Promise<void> {
  const cluster = deps.catalog.read((reader) => reader.cluster(hsm.clusterId));
  if (cluster === undefined) return;
  const handle = deps.fleet.hsm(hsm.id);
  await deps.backups.restore(backup, { cluster, hsm, handle, isClone: false });
}

/** After a backup was proven: followers that are older get it; one that cannot be fed stops serving. */
export function feedFollowers(deps: ClusterDeps, backup: ReadyBackup): Promise<void> {
  return deps.turns.run(backup.clusterId, () => feedInTurn(deps, backup));
}

/** For whoever has the cluster's turn already. */
export async function feedInTurn(deps: ClusterDeps, backup: ReadyBackup): Promise<void> {
  const followers = deps.catalog
    .read((reader) => reader.hsmsOf(backup.clusterId))
    .filter((hsm) => hsm.state === 'ACTIVE' && !hsm.takesWrites);
  for (const hsm of followers) {
    try {
      const { generation } = await deps.fleet.hsm(hsm.id).digest();
      if (generation < backup.archive.seal.statement.generation) await feed(deps, hsm, backup);
    } catch (cause) {
      moveHsm(deps, hsm.id, 'DEGRADED', { why: `Could not follow: ${messageOf(cause)}` });
    }
  }
}
