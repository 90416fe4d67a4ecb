/** The cluster's states and the ways between them, as one total table. */
import { Broken } from '../kernel/errors.ts';
import type { Cluster, ClusterState } from './cluster.ts';

const NEXT = {
  CREATE_IN_PROGRESS: ['UNINITIALIZED', 'ACTIVE', 'DELETE_IN_PROGRESS'],
  UNINITIALIZED: ['INITIALIZE_IN_PROGRESS', 'DELETE_IN_PROGRESS'],
  INITIALIZE_IN_PROGRESS: ['INITIALIZED', 'UNINITIALIZED'],
  INITIALIZED: ['ACTIVE', 'DELETE_IN_PROGRESS'],
  ACTIVE: [
    'UPDATE_IN_PROGRESS',
    'MODIFY_IN_PROGRESS',
    'ROLLBACK_IN_PROGRESS',
    'DEGRADED',
    'DELETE_IN_PROGRESS',
  ],
  UPDATE_IN_PROGRESS: ['ACTIVE'],
  MODIFY_IN_PROGRESS: ['ACTIVE', 'ROLLBACK_IN_PROGRESS'],
  ROLLBACK_IN_PROGRESS: ['ACTIVE'],
  DEGRADED: ['ACTIVE', 'DELETE_IN_PROGRESS'],
  DELETE_IN_PROGRESS: ['DELETED'],
  DELETED: [],
} as const satisfies Record<ClusterState, readonly ClusterState[]>;

/** @throws Broken for a way that the table does not have: callers check before they ask. */
export function moved(cluster: Cluster, to: ClusterState, stateMessage?: string): Cluster {
  const allowed: readonly ClusterState[] = NEXT[cluster.state];
  if (!allowed.includes(to)) {
    throw new Broken(`${cluster.id} cannot go from ${cluster.state} to ${to}`);
  }
  const { stateMessage: _old, ...rest } = cluster;
  return { ...rest, state: to, ...(stateMessage === undefined ? {} : { stateMessage }) };
}
