/** The forecast of clusters, gathered from rows; the rules are `backups/forecast.ts`. */
import type { ScheduleFacts } from '../api/native-schedule.ts';
import { forecastOf } from '../backups/forecast.ts';
import { recentOf } from '../backups/recent.ts';
import type { Fate } from '../backups/retention.ts';
import type { SchedulePolicy } from '../backups/schedule.ts';
import type { Catalog, CatalogReader, Scope } from '../catalog/catalog.ts';
import type { Cluster } from '../clusters/cluster.ts';
import type { Fleet } from '../fleet/fleet.ts';
import type { Clock } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { ClusterId } from '../kernel/ids.ts';
import type { EpochMs, JsonObject } from '../kernel/types.ts';
import { unprovenIn } from './protection.ts';

/** Without a cluster id: as many clusters as one page of DescribeClusters. */
const CLUSTERS_A_FORECAST = 25;
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
        const clusters =
          clusterId === undefined
            ? reader.clusters(scope, { states: ['ACTIVE'] }, { limit: CLUSTERS_A_FORECAST }).items
            : [ownCluster(reader, scope, clusterId)];
        return {
          Now: now / 1000,
          Profile: deps.profile,
          Clusters: clusters.map((cluster) => render(deps, reader, cluster, { now, most })),
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
  cluster: Cluster,
  { now, most }: { now: EpochMs; most: number },
): JsonObject {
  const ready = reader.protection.drillsOf(cluster.id, MOST_READY);
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
      pending: pendingOf(reader, cluster),
      fates: deps.fatesOf(cluster),
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

function pendingOf(reader: CatalogReader, cluster: Cluster) {
  const query = { clusterIds: [cluster.id], states: ['PENDING_DELETION'] } as const;
  const page = reader.backups(cluster, query, { limit: MOST_PENDING });
  return page.items.flatMap((backup) => (backup.state === 'PENDING_DELETION' ? [backup] : []));
}

function ownCluster(reader: CatalogReader, scope: Scope, id: ClusterId): Cluster {
  const cluster = reader.cluster(id);
  if (cluster?.account !== scope.account || cluster.region !== scope.region) {
    throw new Refused('NotFound', `There is no cluster ${id} in ${scope.region}.`);
  }
  return cluster;
}
