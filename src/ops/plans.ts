/** The forecast of clusters, gathered from rows; the rules are `backups/forecast.ts`. */
import type { ScheduleFacts } from '../api/native-schedule.ts';
import { fatesOfCopies } from '../backups/copy-fates.ts';
import { type Elsewhere, forecastOf } from '../backups/forecast.ts';
import { recentOf } from '../backups/recent.ts';
import type { Fate } from '../backups/retention.ts';
import type { SchedulePolicy } from '../backups/schedule.ts';
import { isSound } from '../backups/sound.ts';
import type { Catalog, CatalogReader, Scope } from '../catalog/catalog.ts';
import type { Cluster, ClusterState } from '../clusters/cluster.ts';
import type { Fleet } from '../fleet/fleet.ts';
import type { Clock } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { ClusterId } from '../kernel/ids.ts';
import type { EpochMs, JsonObject } from '../kernel/types.ts';
import { unprovenIn } from './protection.ts';

/** Without a cluster id, of each kind (here, gone, elsewhere): as many clusters as one page of DescribeClusters. */
const CLUSTERS_A_FORECAST = 25;
const NOT_DELETED = [
  'CREATE_IN_PROGRESS',
  'UNINITIALIZED',
  'INITIALIZE_IN_PROGRESS',
  'INITIALIZED',
  'ACTIVE',
  'UPDATE_IN_PROGRESS',
  'MODIFY_IN_PROGRESS',
  'ROLLBACK_IN_PROGRESS',
  'DELETE_IN_PROGRESS',
  'DEGRADED',
] as const satisfies readonly ClusterState[];
const STORED = ['READY', 'PENDING_DELETION'] as const;
/** A cluster's READY backups that are looked at for drills, those opened longest ago. */
const MOST_READY = 1_000;
const MOST_PENDING = 1_000;

export interface PlanDeps {
  readonly catalog: Catalog;
  readonly fleet: Fleet;
  readonly clock: Clock;
  readonly policy: SchedulePolicy;
  readonly profile: string;
  /** What retention and thinning say of a cluster's READY backups. */
  readonly fatesOf: (cluster: Cluster) => readonly Fate[];
}

export function createPlans(deps: PlanDeps): ScheduleFacts {
  return {
    forecast: (scope, { clusterId, most }) =>
      deps.catalog.read((reader) => {
        const now = deps.clock.now();
        const { clusters, hasMore } =
          clusterId === undefined
            ? clustersOf(reader, scope)
            : { clusters: [clusterOrCopied(reader, scope, clusterId)], hasMore: false };
        return {
          Now: now / 1000,
          Profile: deps.profile,
          HasMoreClusters: hasMore,
          Clusters: clusters.map((cluster) => render(deps, reader, cluster, { scope, now, most })),
        };
      }),

    generation: async (scope, clusterId) => {
      const { proven, newest } = deps.catalog.read((reader) => {
        ownCluster(reader, scope, clusterId);
        const id = reader.protection.newestSound(clusterId);
        return { proven: reader.protection.proven(clusterId), newest: id };
      });
      const now = await unprovenIn(deps, clusterId);
      if (now === undefined) {
        throw new Refused(
          'WrongState',
          `${clusterId} has no HSM that could be asked what it holds; its newest proven backup is ${newest ?? 'none'}.`,
        );
      }
      return {
        ClusterId: clusterId,
        Profile: deps.profile,
        Generation: now.generation,
        UnprovenKeys: now.keys,
        ProvenGeneration: proven?.generation,
        ProvenAt: proven && proven.at / 1000,
        ProvenBackupId: newest,
      };
    },
  };
}

function render(
  deps: PlanDeps,
  reader: CatalogReader,
  cluster: Cluster | Elsewhere,
  { scope, now, most }: { scope: Scope; now: EpochMs; most: number },
): JsonObject {
  const ready = reader.protection.drillsOf(cluster.id, scope, MOST_READY);
  const newest = reader.protection.newestSound(cluster.id);
  const { backups, removals, drills, notes } = forecastOf(
    {
      cluster,
      hasLiveHsm: reader
        .hsmsOf(cluster.id)
        .some((hsm) => hsm.state === 'ACTIVE' && hsm.takesWrites),
      provenGeneration: reader.protection.proven(cluster.id)?.generation,
      recent: recentOf(reader, cluster.id, now),
      ready,
      newest,
      pending: pendingOf(reader, scope, cluster.id),
      fates: [
        ...(cluster.state === 'ELSEWHERE' ? [] : deps.fatesOf(cluster)),
        ...copyFatesOf(reader, scope, cluster.id),
      ],
      policy: deps.policy,
    },
    now,
    most,
  );
  return {
    ClusterId: cluster.id,
    Backups: backups.map(({ at, cause, why }) => ({ At: at / 1000, Cause: cause, Why: why })),
    Removals: removals.map(({ backupId, what, at, why }) => ({
      BackupId: backupId,
      What: what,
      At: at / 1000,
      Why: why,
    })),
    Drills: drills.map(({ backupId, at, why }) => ({
      BackupId: backupId,
      At: at / 1000,
      Why: why,
    })),
    Notes: notes,
  };
}

/** Those that are here, the newest first; those that are gone but for their backups; those whose copies are here. */
function clustersOf(
  reader: CatalogReader,
  scope: Scope,
): { clusters: readonly (Cluster | Elsewhere)[]; hasMore: boolean } {
  const most = CLUSTERS_A_FORECAST;
  const here = reader.clusters(scope, { states: NOT_DELETED }, { limit: most });
  const gone = reader.clustersOutlived(scope, most + 1);
  const copied = reader.clustersCopiedTo(scope, most + 1).map(elsewhere);
  return {
    clusters: [...here.items, ...gone.slice(0, most), ...copied.slice(0, most)],
    hasMore: here.nextToken !== undefined || gone.length > most || copied.length > most,
  };
}

/** @throws Refused `NotFound`, unless copies of the cluster's backups are stored here. */
function clusterOrCopied(reader: CatalogReader, scope: Scope, id: ClusterId): Cluster | Elsewhere {
  const stored = reader.backupSummaries(scope, { clusterIds: [id], states: STORED }, { limit: 1 });
  const cluster = reader.cluster(id);
  const isHere = cluster?.account === scope.account && cluster.region === scope.region;
  return isHere || stored.items.length === 0 ? ownCluster(reader, scope, id) : elsewhere(id);
}

const elsewhere = (id: ClusterId): Elsewhere => ({ id, state: 'ELSEWHERE' });

function copyFatesOf(reader: CatalogReader, scope: Scope, id: ClusterId): readonly Fate[] {
  const ready = reader.retentionFactsOf({ id, region: scope.region });
  const copies = ready.filter(({ copy }) => copy !== undefined);
  if (copies.length === 0) return [];
  const hasOtherSound =
    ready.some((backup) => backup.copy === undefined && isSound(backup)) ||
    reader.hasSoundElsewhere(id, scope);
  return fatesOfCopies(copies, { hasOtherSound });
}

function pendingOf(reader: CatalogReader, scope: Scope, id: ClusterId) {
  const query = { clusterIds: [id], states: ['PENDING_DELETION'] } as const;
  const page = reader.backups(scope, query, { limit: MOST_PENDING });
  return page.items.flatMap((backup) => (backup.state === 'PENDING_DELETION' ? [backup] : []));
}

function ownCluster(reader: CatalogReader, scope: Scope, id: ClusterId): Cluster {
  const cluster = reader.cluster(id);
  if (cluster?.account !== scope.account || cluster.region !== scope.region) {
    throw new Refused('NotFound', `There is no cluster ${id} in ${scope.region}.`);
  }
  return cluster;
}
