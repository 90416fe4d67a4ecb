/** The face of `clusters/`: what the API and the loops may ask. One verb a file behind it. */
import type { Caller } from '../access/caller.ts';
import type { ClusterQuery, Page, PageRequest, Scope } from '../catalog/catalog.ts';
import type { HsmType } from '../hsm/protocol.ts';
import type { ClusterId, HsmId } from '../kernel/ids.ts';
import type { TagChange, Tags } from '../kernel/tags.ts';
import type { ClusterState, Hsm } from './cluster.ts';
import { createCluster } from './create.ts';
import { createHsm } from './create-hsm.ts';
import { deleteHsm } from './delete-hsm.ts';
import type { ClusterDeps } from './deps.ts';
import { giveUpHsm } from './give-up-hsm.ts';
import { initializeCluster } from './initialize.ts';
import { migrateCluster } from './migrate.ts';
import { modifyRetention } from './modify.ts';
import { removeCluster } from './remove.ts';
import type {
  ClusterView,
  CreateClusterRequest,
  CreateHsmRequest,
  HsmSelector,
  InitializeRequest,
  OnCreated,
} from './requests.ts';
import { ownCluster, viewOf } from './rows.ts';
import { retagCluster } from './tags.ts';

/**
 * All of them throw Refused (`InvalidRequest`, `NotFound`, `WrongState`, `LimitExceeded`) before anything
 * happens. Long work goes on after the answer; its end shows in `describe`. A resource of another
 * account or region is `NotFound`.
 */
export interface Clusters {
  create(
    caller: Caller,
    request: CreateClusterRequest,
    onCreated?: OnCreated<ClusterView>,
  ): Promise<ClusterView>;
  describe(scope: Scope, query: ClusterQuery, page: PageRequest): Page<ClusterView>;
  initialize(
    scope: Scope,
    request: InitializeRequest,
  ): Promise<{ state: ClusterState; stateMessage: string }>;
  remove(scope: Scope, clusterId: ClusterId): Promise<ClusterView>;
  modifyRetention(scope: Scope, clusterId: ClusterId, retentionDays: number): Promise<ClusterView>;
  /** Starts to move a cluster to another HSM type, or back within 24 hours. */
  migrate(scope: Scope, clusterId: ClusterId, to: HsmType): Promise<ClusterView>;
  createHsm(scope: Scope, request: CreateHsmRequest, onCreated?: OnCreated<Hsm>): Promise<Hsm>;
  deleteHsm(scope: Scope, clusterId: ClusterId, which: HsmSelector): Promise<HsmId>;
  /** Removes a DEGRADED HSM without a backup of what it holds. */
  giveUpHsm(scope: Scope, which: { clusterId: ClusterId; hsmId: HsmId }): Promise<HsmId>;
  retag(scope: Scope, clusterId: ClusterId, change: TagChange): Tags;
  tagsOf(scope: Scope, clusterId: ClusterId): Tags;
}

export function createClusters(deps: ClusterDeps): Clusters {
  return {
    create: (caller, request, onCreated) => createCluster(deps, caller, request, onCreated),
    describe: (scope, query, page) =>
      deps.catalog.read((reader) => {
        const { items, ...rest } = reader.clusters(scope, query, page);
        return { ...rest, items: items.map((cluster) => viewOf(reader, cluster)) };
      }),
    initialize: (scope, request) => initializeCluster(deps, scope, request),
    remove: (scope, clusterId) => removeCluster(deps, scope, clusterId),
    modifyRetention: async (scope, clusterId, days) =>
      modifyRetention(deps, scope, clusterId, days),
    migrate: (scope, clusterId, to) => migrateCluster(deps, scope, clusterId, to),
    createHsm: (scope, request, onCreated) => createHsm(deps, scope, request, onCreated),
    deleteHsm: (scope, clusterId, which) => deleteHsm(deps, scope, clusterId, which),
    giveUpHsm: (scope, which) => giveUpHsm(deps, scope, which),
    retag: (scope, clusterId, change) => retagCluster(deps, scope, clusterId, change),
    tagsOf: (scope, clusterId) =>
      deps.catalog.read((reader) => ownCluster(reader, scope, clusterId).tags),
  };
}
