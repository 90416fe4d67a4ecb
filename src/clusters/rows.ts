/** Reading and changing cluster and HSM rows: the lookups and transitions every verb shares. */
import type { CatalogReader, Scope } from '../catalog/catalog.ts';
import { Refused } from '../kernel/errors.ts';
import type { ClusterId, HsmId } from '../kernel/ids.ts';
import type { Cluster, ClusterState, Hsm, HsmState } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import type { ClusterView } from './requests.ts';
import { moved } from './states.ts';

/** StateMessage is 300 characters on the wire. */
const MESSAGE_LENGTH = 300;

/** @throws Refused `NotFound`, also for another account's or region's cluster. */
export function ownCluster(reader: CatalogReader, scope: Scope, id: ClusterId): Cluster {
  const cluster = reader.cluster(id);
  if (
    cluster === undefined ||
    cluster.account !== scope.account ||
    cluster.region !== scope.region
  ) {
    throw new Refused('NotFound', `There is no cluster ${id} in ${scope.region}.`);
  }
  return cluster;
}

export function viewOf(reader: CatalogReader, cluster: Cluster): ClusterView {
  return { cluster, hsms: reader.hsmsOf(cluster.id) };
}

/** Moves a cluster in one transaction and tells it. `change` may set more on the moved row. */
export function moveCluster(
  deps: Pick<ClusterDeps, 'catalog' | 'events'>,
  id: ClusterId,
  to: ClusterState,
  change: (cluster: Cluster) => Cluster = (cluster) => cluster,
): Cluster {
  const row = deps.catalog.transact((writer) => {
    const cluster = writer.cluster(id);
    if (cluster === undefined) throw new Refused('NotFound', `There is no cluster ${id}.`);
    const next = change(moved(cluster, to));
    writer.putCluster(next);
    return next;
  });
  deps.events.emit({ kind: 'clusterState', clusterId: id, state: to });
  return row;
}

/** Puts an HSM into a state, with or without a message for people, and tells it. */
export function moveHsm(
  deps: Pick<ClusterDeps, 'catalog' | 'events'>,
  id: HsmId,
  state: HsmState,
  change: { why?: string; takesWrites?: boolean; serial?: string } = {},
): Hsm {
  const row = deps.catalog.transact((writer) => {
    const hsm = writer.hsm(id);
    if (hsm === undefined) throw new Refused('NotFound', `There is no HSM ${id}.`);
    const { stateMessage: _old, ...rest } = hsm;
    const next: Hsm = {
      ...rest,
      state,
      takesWrites: change.takesWrites ?? hsm.takesWrites,
      ...(change.serial === undefined ? {} : { serial: change.serial }),
      ...(change.why === undefined ? {} : { stateMessage: change.why.slice(0, MESSAGE_LENGTH) }),
    };
    writer.putHsm(next);
    return next;
  });
  deps.events.emit({
    kind: 'hsmState',
    hsmId: id,
    clusterId: row.clusterId,
    state,
    ...(change.why === undefined ? {} : { why: change.why }),
  });
  return row;
}

export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
