/** After a start: every resource that was on its way somewhere goes on, found by looking at the rows. */
import { finishCreate } from './create.ts';
import { finishCreateHsm } from './create-hsm.ts';
import { finishDeleteHsm } from './delete-hsm.ts';
import type { ClusterDeps } from './deps.ts';
import { recoverMigrations } from './migrate-recover.ts';
import { recoverRestores } from './restore-recover.ts';
import { moveCluster } from './rows.ts';
import { unfinishedHsms } from './unfinished.ts';

export function recoverClusters(deps: ClusterDeps): void {
  const { clusters, hsms } = deps.catalog.read((reader) => ({
    clusters: reader.clustersIn(['INITIALIZE_IN_PROGRESS']),
    hsms: unfinishedHsms(reader, ['CREATE_IN_PROGRESS', 'DELETE_IN_PROGRESS']),
  }));
  recoverRestores(deps);
  recoverMigrations(deps);
  retryClusters(deps);
  for (const { id, state } of clusters) {
    // The HSM either took the certificates or did not; `isBack` looks and moves on from UNINITIALIZED.
    moveCluster(deps, id, 'UNINITIALIZED');
    deps.events.emit({ kind: 'recovered', what: id, outcome: `was ${state}` });
  }
  for (const hsm of hsms) {
    deps.background.run(`recover ${hsm.id}`, () =>
      hsm.state === 'CREATE_IN_PROGRESS' ? finishCreateHsm(deps, hsm) : finishDeleteHsm(deps, hsm),
    );
  }
}

/**
 * Also once a minute: clusters whose last step, one write, failed. While a process lives nobody else finds one
 * in these states, because that step follows its intent at once.
 */
export function retryClusters(deps: Pick<ClusterDeps, 'catalog' | 'events'>): void {
  const left = deps.catalog.read((reader) =>
    reader.clustersIn(['CREATE_IN_PROGRESS', 'DELETE_IN_PROGRESS']),
  );
  for (const cluster of left) {
    if (cluster.state === 'CREATE_IN_PROGRESS') finishCreate(deps, cluster);
    else moveCluster(deps, cluster.id, 'DELETED');
    deps.events.emit({ kind: 'recovered', what: cluster.id, outcome: `was ${cluster.state}` });
  }
}
