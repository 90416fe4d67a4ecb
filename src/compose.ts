/**
 * The only place where implementations meet interfaces: one running service out of a configuration and
 * a data folder. Reads top to bottom in the order things must exist.
 */
import { join } from 'node:path';
import { Credentials } from './access/credentials.ts';
import { knownActions } from './api/actions.ts';
import { type Api, createApi } from './api/server.ts';
import { catalogHeads, whereIn } from './audit/catalog.ts';
import { trailFolder } from './audit/files.ts';
import { lookupTrail } from './audit/lookup.ts';
import { serviceActs } from './audit/service-acts.ts';
import { Trail, type TrailSettings } from './audit/trail.ts';
import { type Backups, createBackups } from './backups/backups.ts';
import { Keeper } from './backups/keeper.ts';
import type { SchedulePolicy } from './backups/schedule.ts';
import type { RegionStorage } from './backups/storage.ts';
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
import { createStatus } from './ops/status.ts';
import { FolderVault } from './vault/folder.ts';

/** How long work under way may take to end in order. */
const STOP_MS = 10 * SECOND_MS;

export interface ServiceConfig {
  /** Whose the first access key is. */
  readonly account: string;
  readonly regions: readonly string[];
  readonly schedule: SchedulePolicy;
  readonly audit: TrailSettings;
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
  readonly trail: Trail;
}

export async function composeService(config: ServiceConfig, parts: ServiceParts): Promise<Service> {
  const { folder, fleet, clock, random } = parts;
  const catalog = openCatalog({ folder: folder('catalog') });
  const credentials = await Credentials.open({
    folder: folder('access'),
    random,
    account: config.account,
    now: clock.now(),
  });
  const { owner } = credentials.accounts;
  const trailFiles = trailFolder(folder('audit'));
  const trail = await Trail.open({
    files: trailFiles,
    heads: catalogHeads(catalog),
    clock,
    random,
    home: { account: owner, region: config.regions[0] ?? '' },
    settings: config.audit,
  });
  const acts = serviceActs(trail, whereIn(catalog));
  const events: Events = {
    emit: (event) => {
      acts.emit(event);
      parts.events.emit(event);
    },
  };
  const background = new Background((name, cause) => {
    const message = cause instanceof Error ? `${name}: ${cause.stack ?? cause.message}` : name;
    events.emit({ kind: 'internalError', requestId: 'background', message });
  });

  const storage = openStorage(config.regions, folder);
  const storageOf = (region: string): RegionStorage => {
    const found = storage.get(region);
    if (found === undefined) throw new Refused('NotFound', `${region} is not served here.`);
    return found;
  };

  const backups = createBackups({ catalog, fleet, storageOf, clock, random, events, background });
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
    onMinute: () => retryDeletions(clusterDeps),
  });

  const native = createStatus({
    catalog,
    fleet,
    clock,
    trail: () => trail.state(),
    places: { vault: folder('vault'), hsms: join(parts.data, 'host') },
    officersDoor: (clusterId) => join(parts.data, 'clusters', clusterId, 'officers.sock'),
  });
  const api = createApi({
    clusters,
    backups,
    catalog,
    iam: { credentials, clock, actions: knownActions() },
    trail,
    audit: {
      owner,
      state: () => trail.state(),
      settled: () => trail.settled(),
      lookup: (query, page) => lookupTrail(trailFiles, query, page),
    },
    events,
    clock,
    random,
    regions: config.regions,
    readiness: native.readiness,
    native,
  });

  for (const { vault } of storage.values()) await vault.recover();
  await backups.recover();
  fleet.onEvent((event) =>
    handleFleetEvent(clusterDeps, event, (id, generation) => keeper.noteChange(id, generation)),
  );
  recoverClusters(clusterDeps);
  const stop = new AbortController();
  background.run('keeper', () => keeper.run(stop.signal));
  background.run('trail', () => trail.run(stop.signal));

  return {
    api,
    catalog,
    backups,
    clusters,
    credentials,
    keeper,
    background,
    trail,
    async [Symbol.asyncDispose]() {
      stop.abort();
      await api.close();
      // A host that hangs must not keep us for ever: whatever is cut short here, a next start recovers.
      const enough = new AbortController();
      const late = clock.sleep(STOP_MS, enough.signal).catch(() => {});
      await Promise.race([background.idle(), late]);
      enough.abort();
      await credentials.idle();
      await trail.close();
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
