/**
 * The only place where implementations meet interfaces: one running service out of a configuration and
 * a data folder. Reads top to bottom in the order things must exist.
 */
import { join } from 'node:path';
import { Credentials } from './access/credentials.ts';
import { knownActions } from './api/actions.ts';
import { everyTime, Once } from './api/once.ts';
import { type Api, createApi } from './api/server.ts';
import { type Rates, Throttle } from './api/throttle.ts';
import { catalogHeads, whereIn } from './audit/catalog.ts';
import { trailFolder } from './audit/files.ts';
import { lookupTrail } from './audit/lookup.ts';
import { serviceActs } from './audit/service-acts.ts';
import { Trail, type TrailSettings } from './audit/trail.ts';
import { type Backups, createBackups } from './backups/backups.ts';
import { DueDrills } from './backups/drill-due.ts';
import { Keeper } from './backups/keeper.ts';
import { createRuleBook } from './backups/rule-book.ts';
import type { SchedulePolicy } from './backups/schedule.ts';
import { createSharing } from './backups/sharing.ts';
import type { RegionStorage } from './backups/storage.ts';
import { Watch } from './backups/watch.ts';
import type { Catalog } from './catalog/catalog.ts';
import { openCatalog } from './catalog/sqlite.ts';
import { type Clusters, createClusters } from './clusters/clusters.ts';
import { retryDeletions } from './clusters/delete-hsm.ts';
import type { ClusterDeps } from './clusters/deps.ts';
import { feedFollowers } from './clusters/feed.ts';
import { FleetInbox } from './clusters/fleet-inbox.ts';
import { handleFleetEvent } from './clusters/hsm-events.ts';
import { noteLockedRoots } from './clusters/locked-roots.ts';
import { retryMigrations } from './clusters/migrate-recover.ts';
import type { Quotas } from './clusters/quotas.ts';
import { recoverClusters, retryClusters } from './clusters/recover.ts';
import { retryRestores } from './clusters/restore-recover.ts';
import { createRestores } from './clusters/restores.ts';
import type { Fleet } from './fleet/fleet.ts';
import { Background } from './kernel/background.ts';
import { type Clock, SECOND_MS, type Uptime } from './kernel/clock.ts';
import { Refused } from './kernel/errors.ts';
import { MovableClock } from './kernel/movable-clock.ts';
import { pooledRandom, type Random } from './kernel/random.ts';
import { Serial } from './kernel/serial.ts';
import { type KeyMark, LocalKms } from './kms/local.ts';
import { ClockWatch } from './ops/clock-watch.ts';
import type { Events } from './ops/events.ts';
import { type HeartbeatSettings, runHeartbeat } from './ops/heartbeat.ts';
import { Metrics, metricsText } from './ops/metrics.ts';
import { createPlans } from './ops/plans.ts';
import { type Protection, protectionOf } from './ops/protection.ts';
import { Rehearsal } from './ops/rehearsal.ts';
import { createStatus } from './ops/status.ts';
import { createTimeFacts } from './ops/time-facts.ts';
import { isOffered, type Profile } from './profile.ts';
import { FolderVault } from './vault/folder.ts';
import { objectName } from './vault/names.ts';

/** How long work under way may take to end in order. */
const STOP_MS = 10 * SECOND_MS;
/** The metric says no more than this many. */
const MAX_DUE_COUNTED = 10_000;

export interface ServiceConfig {
  /** Whose the first access key is. */
  readonly account: string;
  readonly regions: readonly string[];
  readonly schedule: SchedulePolicy;
  readonly quotas: Quotas;
  readonly rates: Rates;
  /** What AWS does not make any more, and a rehearsal may want. */
  readonly legacy: { readonly hsm1: boolean };
  /** How long a restore into a live cluster can be undone. */
  readonly restoreUndoMs: number;
  /** Accounts that see each other's promoted shares without being asked. */
  readonly organization: readonly string[];
  readonly profile: Profile;
  /** Whether `GET /metrics` is answered to other machines too. */
  readonly metrics: { readonly isRemote: boolean };
  readonly heartbeat?: HeartbeatSettings;
  readonly audit: TrailSettings;
}

export interface ServiceParts {
  /** The data folder itself: where the host's doors and folders are. */
  readonly data: string;
  /** A folder inside the data folder, made if missing, this user's alone. */
  readonly folder: (name: string) => string;
  readonly fleet: Fleet;
  /** What the service decides and records by: the machine's, or on a rehearsal one that runs ahead of it. */
  readonly clock: Clock | MovableClock;
  readonly machine: { readonly clock: Clock; readonly uptime: Uptime };
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
  const { folder, fleet, clock, machine, random } = parts;
  /** For what requests and records are called by. */
  const names = pooledRandom(random);
  // The trail joins as soon as it is open; until then log and metrics alone hear.
  let acts: Events | undefined;
  const events = new Metrics({
    emit: (event) => {
      acts?.emit(event);
      parts.events.emit(event);
    },
  });
  const background = new Background((name, cause) => {
    const message = cause instanceof Error ? `${name}: ${cause.stack ?? cause.message}` : name;
    events.emit({ kind: 'internalError', requestId: 'background', message });
  });

  const catalog = openCatalog({ folder: folder('catalog') });
  // First of all: from here on the service's time is what it was at the end of the last run.
  const rehearsal = new Rehearsal({
    catalog,
    events,
    clock: clock instanceof MovableClock ? clock : undefined,
  });
  const watch = new ClockWatch({
    catalog,
    machine: machine.clock,
    uptime: machine.uptime,
    aheadMs: () => rehearsal.aheadMs,
    events,
  });
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
    random: names,
    home: { account: owner, region: config.regions[0] ?? '' },
    settings: config.audit,
    trustedNow: () => watch.trustedNow(),
  });
  acts = serviceActs(trail, whereIn(catalog));

  const storage = openStorage(config.regions, { folder, clock, catalog });
  const storageOf = (region: string): RegionStorage => {
    const found = storage.get(region);
    if (found === undefined) throw new Refused('NotFound', `${region} is not served here.`);
    return found;
  };

  const { profile, regions } = config;
  const backups = createBackups({
    catalog,
    fleet,
    storageOf,
    regions,
    clock,
    random,
    events,
    background,
    watch,
    retention: { thinning: isOffered(profile, 'thinning') },
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
    quotas: config.quotas,
    legacy: config.legacy,
  };
  backups.onProven(({ clusterId }) => feedFollowers(clusterDeps, clusterId));
  const clusters = createClusters(clusterDeps);
  const restores = createRestores({
    ...clusterDeps,
    undoMs: config.restoreUndoMs,
    profile,
  });
  const keeper = new Keeper({
    catalog,
    backups,
    clock,
    background,
    policy: config.schedule,
    onIdle: () => {
      const drill = drills.next();
      if (drill !== undefined) background.run('drill', drill);
    },
    onMinute: () => {
      inbox.retry();
      retryClusters(clusterDeps);
      retryDeletions(clusterDeps);
      background.run('locked roots', () => noteLockedRoots(clusterDeps));
      retryRestores(clusterDeps);
      retryMigrations(clusterDeps);
      background.run('copies', () => backups.copyDue());
      deadlines.look();
    },
  });

  const inbox = new FleetInbox(
    (event) =>
      handleFleetEvent(clusterDeps, event, (id, generation) => keeper.noteChange(id, generation)),
    events,
  );
  const policy = config.schedule;
  const drills = new DueDrills({ catalog, fleet, storageOf, clock, events });
  const deadlines = new Watch({ catalog, clock, events, policy });
  const protection = (account?: string): Promise<Protection> =>
    protectionOf({ catalog, fleet, clock, isChangeDriven: policy.isChangeDriven }, account);
  const native = createStatus({
    profile,
    plans: createPlans({
      catalog,
      fleet,
      clock,
      policy,
      profile,
      fatesOf: (cluster) => backups.fates(cluster, cluster.id),
    }),
    protection,
    catalog,
    fleet,
    clock,
    watch,
    rehearsal,
    holdsBind: () => [...storage.values()].map(({ vault }) => vault.holdsBind),
    trail: () => trail.state(),
    probes: [...storage].flatMap(([region, { vault, kms }]) => [
      { part: `vault of ${region}`, look: () => vault.stat(objectName('readiness', 'probe')) },
      { part: `keys of ${region}`, look: () => kms.currentKeyId() },
    ]),
    places: { vault: folder('vault'), hsms: join(parts.data, 'host') },
    officersDoor: (clusterId) => join(parts.data, 'clusters', clusterId, 'officers.sock'),
  });
  const api = createApi({
    clusters,
    backups,
    restores,
    sharing: createSharing({ catalog, organization: config.organization }),
    copyRules: createRuleBook({ catalog, clock, random, regions, profile }),
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
    // Clients sign by real clocks, also on a rehearsal.
    clock: machine.clock,
    random: names,
    once: isOffered(profile, 'onceOnly') ? new Once(catalog, clock) : everyTime,
    throttle: new Throttle(config.rates, clock),
    regions,
    readiness: native.readiness,
    native: { ...native, time: createTimeFacts({ clock, watch, rehearsal }) },
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
  fleet.onEvent((event) => inbox.take(event));
  await noteLockedRoots(clusterDeps);
  recoverClusters(clusterDeps);
  const stop = new AbortController();
  background.run('keeper', () => keeper.run(stop.signal));
  const { heartbeat } = config;
  if (heartbeat !== undefined) {
    const deps = { clock, events, health: async () => (await protection()).health };
    background.run('heartbeat', () => runHeartbeat(deps, heartbeat, stop.signal));
  }
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

/** Beside the rows of the backups that need the key. */
function keyMark(catalog: Catalog, region: string): KeyMark {
  const name = `kms-key ${region}`;
  return {
    get: () => catalog.read((reader) => reader.setting(name)),
    put: (keyId) => catalog.transact((writer) => writer.putSetting(name, keyId)),
  };
}

/** One vault and one key service for each region: a copy to another region is real work. */
function openStorage(
  regions: readonly string[],
  { folder, clock, catalog }: { folder: (name: string) => string; clock: Clock; catalog: Catalog },
): ReadonlyMap<string, RegionStorage> {
  const storage = new Map<string, RegionStorage>();
  for (const region of regions) {
    storage.set(region, {
      vault: new FolderVault({ folder: join(folder('vault'), region), clock }),
      kms: new LocalKms({ folder: folder('kms'), region, mark: keyMark(catalog, region) }),
    });
  }
  return storage;
}
