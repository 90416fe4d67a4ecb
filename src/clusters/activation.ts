/** The first admin password was set inside the HSM: the cluster is ACTIVE, and its first backup is due. */
import { MINUTE_MS } from '../kernel/clock.ts';
import type { HsmId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { ClusterDeps } from './deps.ts';
import { moveCluster } from './rows.ts';

/** How long the first backup has before the schedule takes another. */
const FIRST_BACKUP_MS = MINUTE_MS;

/** Safe to repeat: an HSM that comes back tells again what the control plane may have missed. */
export function activated(deps: ClusterDeps, hsmId: HsmId, generation: number): void {
  const cluster = deps.catalog.read((reader) => {
    const hsm = reader.hsm(hsmId);
    return hsm === undefined ? undefined : reader.cluster(hsm.clusterId);
  });
  if (cluster?.state !== 'INITIALIZED') return;
  const at = deps.clock.now();
  moveCluster(deps, cluster.id, 'ACTIVE', (row) => ({
    ...row,
    newestChange: { generation, at },
    // Durably: if the backup below fails, or this process dies before it is proven, the schedule takes one.
    // Later than at once, so that it sees the one that is under way. A time plus a duration is a time.
    nextBackupAt: (at + FIRST_BACKUP_MS) as EpochMs,
  }));
  deps.background.run(`first backup of ${cluster.id}`, async () => {
    await deps.backups.take(cluster.id, 'activated');
  });
}
