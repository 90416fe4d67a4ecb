/** The first admin password was set inside the HSM: the cluster is ACTIVE, and its first backup is due. */
import type { HsmId } from '../kernel/ids.ts';
import type { ClusterDeps } from './deps.ts';
import { moveCluster } from './rows.ts';

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
    // Due at once, durably: if this process dies before the backup is proven, the schedule takes it.
    nextBackupAt: at,
  }));
  deps.background.run(`first backup of ${cluster.id}`, async () => {
    await deps.backups.take(cluster.id, 'activated');
  });
}
