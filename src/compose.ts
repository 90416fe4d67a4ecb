/**
 * The only place where implementations meet interfaces: one running service out of a configuration and
 * a data folder. Reads top to bottom in the order things must exist.
 */
import { join } from 'node:path';
import { Credentials } from './access/credentials.ts';
import { type Api, createApi } from './api/server.ts';
import { type Backups, createBackups } from './backups/backups.ts';
import { DueDrills } from './backups/drill-due.ts';
import { Keeper } from './backups/keeper.ts';
import type { SchedulePolicy } from './backups/schedule.ts';
import type { RegionStorage } from './backups/storage.ts';
import { Watch } from './backups/watch.ts';
import type { Catalog } from './catalog/catalog.ts';
import { openCatalog } from './catalog/sqlite.ts';
import { type Clusters, createClusters } from './clusters/clusters.ts';
import { retryDeletions } from './clusters/delete-hsm.ts';
import type { ClusterDeps } from './clusters/deps.ts';
import { feedFollowers } from './clusters/feed.ts';
import { handleFleetEvent } from './clusters/hsm-events.ts';
import { recoverClusters } from './clusters/recover.ts';
import type { Fleet } from './fleet/fleet.ts';
import { Background } from './kernel/background.ts';
import { type Clock, SECOND_MS } from './kernel/clock.ts';
import { Refused } from './kernel/errors.ts';
import type { Random } from './kernel/random.ts';
import { Serial } from './kernel/serial.ts';
import { LocalKms } from './kms/local.ts';
import type { Events } from './ops/events.ts';
import { type HeartbeatSettings, runHeartbeat } from './ops/heartbeat.ts';
import { Metrics, metricsText } from './ops/metrics.ts';
import { createPlans } from './ops/plans.ts';
import { type Protection, protectionOf } from './ops/protection.ts';
import { createStatus } from './ops/status.ts';
import type { Profile } from './profile.ts';
import { FolderVault } from './vault/folder.ts';

/** How long work under way may take to end in order. */
const STOP_MS = 10 * SECOND_MS;
/** The metric says no more than this many. */
const MAX_DUE_COUNTED = 10_000;

export interface ServiceConfig {
  /** Whose the first access key is. */
  readonly account: string;
  readonly regions: readonly string[];
  readonly schedule: SchedulePolicy;
  readonly profile: Profile;
  /** Whether `GET /metrics` is answered to other machines too. */
  readonly metrics: { readonly isRemote: boolean };
  readonly heartbeat?: HeartbeatSettings;
}

export interface ServiceParts {
  /** The data folder itself: where the host's doors and folders are. */
  readonly data: string;
  /** A folder inside the data folder, made if missing, this user's alone. */
  readonly folder: (name: string) => string;
  readonly fleet: Fleet;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: Events;
}

export interface Service extends AsyncDisposable {
  readonly api: Api;
  readonly catalog: Catalog;
  readonly backups: Backups;
  readonly clusters: Clusters;
  readonly credentials: Credentials;
  readonly keeper: Keeper;
  readonly background: Background;
}

export async function composeService(config: ServiceConfig, parts: ServiceParts): Promise<Service> {
  const { folder, fleet, clock, random } = parts;
  const events = new Metrics(parts.events);
  const background = new Background((name, cause) => {
    const message = cause instanceof Error ? `${name}: ${cause.stack ?? cause.message}` : name;
    events.emit({ kind: 'internalError', requestId: 'background', message });
  });

  const catalog = openCatalog({ folder: folder('catalog') });
  const credentials = await Credentials.open({
    folder: folder('access'),
    random,
    account: config.account,
  });
  const storage = openStorage(config.regions, folder);
  const storageOf = (region: string): RegionStorage => {
    const found = storage.get(region);
    if (found === undefined) throw new Refused('NotFound', `${region} is not served here.`);
    return found;
  };

  const { profile } = config;
  const backups = createBackups({
    catalog,
    fleet,
    storageOf,
    clock,
    random,
    events,
    background,
    profile,
  });
  const clusterDeps: ClusterDeps = {
    catalog,
    fleet,
    backups,
    clock,
    random,
    events,
    background,
    turns: new Serial(),
  };
  const clusters = createClusters(clusterDeps);
  const keeper = new Keeper({
    catalog,
    backups,
    clock,
    background,
    policy: config.schedule,
    onProven: (backup) => feedFollowers(clusterDeps, backup),
    onIdle: () => {
      const drill = drills.next();
      if (drill !== undefined) background.run('drill', drill);
    },
    onMinute: () => {
      retryDeletions(clusterDeps);
      watch.look();
    },
  });

  const policy = config.schedule;
  const drills = new DueDrills({ catalog, fleet, storageOf, clock, events });
  const watch = new Watch({ catalog, clock, events, policy });
  const protection = (account?: string): Promise<Protection> =>
    protectionOf({ catalog, fleet, clock, isChangeDriven: policy.isChangeDriven }, account);
  const native = createStatus({
    profile,
    plans: createPlans({ catalog, fleet, clock, policy, profile, fatesOf: () => [] }),
    protection,
    catalog,
    fleet,
    clock,
    places: { vault: folder('vault'), hsms: join(parts.data, 'host') },
    officersDoor: (clusterId) => join(parts.data, 'clusters', clusterId, 'officers.sock'),
  });
  const api = createApi({
    clusters,
    backups,
    access: credentials,
    events,
    clock,
    random,
    regions: config.regions,
    readiness: native.readiness,
    native,
    metrics: {
      isRemote: config.metrics.isRemote,
      text: metricsText({
        metrics: events,
        profile,
        protection,
        due: () =>
          catalog.read((reader) => reader.protection.dueCount(clock.now(), MAX_DUE_COUNTED)),
      }),
    },
  });

  for (const { vault } of storage.values()) await vault.recover();
  await backups.recover();
  fleet.onEvent((event) =>
    handleFleetEvent(clusterDeps, event, (id, generation) => keeper.noteChange(id, generation)),
  );
  recoverClusters(clusterDeps);
  const stop = new AbortController();
  background.run('keeper', () => keeper.run(stop.signal));
  const { heartbeat } = config;
  if (heartbeat !== undefined) {
    const deps = { clock, events, health: async () => (await protection()).health };
    background.run('heartbeat', () => runHeartbeat(deps, heartbeat, stop.signal));
  }

  return {
    api,
    catalog,
    backups,
    clusters,
    credentials,
    keeper,
    background,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await api.close();
      // A host that hangs must not keep us for ever: whatever is cut short here, a next start recovers.
      const enough = new AbortController();
      const late = clock.sleep(STOP_MS, enough.signal).catch(() => {});
      await Promise.race([background.idle(), late]);
      enough.abort();
      catalog[Symbol.dispose]();
    },
  };
}

/** One vault and one key service for each region: a copy to another region is real work. */
function openStorage(
  regions: readonly string[],
  folder: (name: string) => string,
): ReadonlyMap<string, RegionStorage> {
  const storage = new Map<string, RegionStorage>();
  for (const region of regions) {
    storage.set(region, {
      vault: new FolderVault({ folder: join(folder('vault'), region) }),
      kms: new LocalKms({ folder: folder('kms'), region }),
    });
  }
  return storage;
}
