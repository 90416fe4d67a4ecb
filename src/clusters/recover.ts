/** After a start: every resource that was on its way somewhere goes on, found by looking at the rows. */
import { finishCreate } from './create.ts';
import { finishCreateHsm } from './create-hsm.ts';
import { finishDeleteHsm } from './delete-hsm.ts';
import type { ClusterDeps } from './deps.ts';
import { isMoving, recoverMigrations } from './migrate-recover.ts';
import { recoverRestores } from './restore-recover.ts';
import { moveCluster } from './rows.ts';

export function recoverClusters(deps: ClusterDeps): void {
  const { clusters, hsms } = deps.catalog.read((reader) => ({
    clusters: reader.clustersIn([
      'CREATE_IN_PROGRESS',
      'INITIALIZE_IN_PROGRESS',
      'DELETE_IN_PROGRESS',
    ]),
    // What a restore or a move to another type replaces, its own recovery looks after.
    hsms: reader.hsmsIn(['CREATE_IN_PROGRESS', 'DELETE_IN_PROGRESS']).filter((hsm) => {
      const cluster = reader.cluster(hsm.clusterId);
      if (cluster !== undefined && isMoving(cluster)) return false;
      return reader.restoresUnderWay(hsm.clusterId).length === 0;
    }),
  }));
  recoverRestores(deps);
  recoverMigrations(deps);
  for (const cluster of clusters) {
    if (cluster.state === 'CREATE_IN_PROGRESS') finishCreate(deps, cluster);
    if (cluster.state === 'DELETE_IN_PROGRESS') moveCluster(deps, cluster.id, 'DELETED');
    // The HSM either took the certificates or did not; `hsmIsUp` looks and moves on from UNINITIALIZED.
    if (cluster.state === 'INITIALIZE_IN_PROGRESS') moveCluster(deps, cluster.id, 'UNINITIALIZED');
    deps.events.emit({ kind: 'recovered', what: cluster.id, outcome: `was ${cluster.state}` });
  }
  for (const hsm of hsms) {
    deps.background.run(`recover ${hsm.id}`, () =>
      hsm.state === 'CREATE_IN_PROGRESS' ? finishCreateHsm(deps, hsm) : finishDeleteHsm(deps, hsm),
    );
  }
}
