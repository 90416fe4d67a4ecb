/** DeleteCluster: only without HSMs. The backups stay, and stay restorable. */
import type { Scope } from '../catalog/catalog.ts';
import { Refused } from '../kernel/errors.ts';
import type { ClusterId } from '../kernel/ids.ts';
import type { ClusterDeps } from './deps.ts';
import type { ClusterView } from './requests.ts';
import { moveCluster, ownCluster, viewOf } from './rows.ts';
import { moved } from './states.ts';

const DELETABLE = ['CREATE_IN_PROGRESS', 'UNINITIALIZED', 'INITIALIZED', 'ACTIVE', 'DEGRADED'];

export async function removeCluster(
  deps: ClusterDeps,
  scope: Scope,
  id: ClusterId,
): Promise<ClusterView> {
  const view = deps.catalog.transact((writer) => {
    const cluster = ownCluster(writer, scope, id);
    const { length } = writer.hsmsOf(id);
    if (length > 0) {
      throw new Refused(
        'WrongState',
        `${id} still has ${length} HSM${length === 1 ? '' : 's'}; delete them first: each is backed up before it goes.`,
      );
    }
    if (!DELETABLE.includes(cluster.state)) {
      throw new Refused('WrongState', `${id} is ${cluster.state} and cannot be deleted now.`);
    }
    const { nextBackupAt: _next, ...rest } = moved(cluster, 'DELETE_IN_PROGRESS');
    writer.putCluster(rest);
    return viewOf(writer, rest);
  });
  deps.events.emit({ kind: 'clusterState', clusterId: id, state: 'DELETE_IN_PROGRESS' });
  deps.background.run(`delete ${id}`, async () => {
    moveCluster(deps, id, 'DELETED');
  });
  return view;
}
