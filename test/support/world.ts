/**
 * The control plane in one process: real catalog, vault, key service and HSMs, on a throw-away folder.
 * Only time is fake, and faults come in at named points.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { duplexPair } from 'node:stream';
import { connect } from 'node:tls';
import type { Caller } from '../../src/access/caller.ts';
import type { Backup, ReadyBackup } from '../../src/backups/backup.ts';
import { type Backups, createBackups } from '../../src/backups/backups.ts';
import { openStored } from '../../src/backups/restore.ts';
import type { RegionStorage } from '../../src/backups/storage.ts';
import type { Catalog } from '../../src/catalog/catalog.ts';
import { openCatalog } from '../../src/catalog/sqlite.ts';
import { CustomerFolder, signRequestOfCluster } from '../../src/cli/customer.ts';
import type { Cluster, Hsm } from '../../src/clusters/cluster.ts';
import { type Clusters, createClusters } from '../../src/clusters/clusters.ts';
import type { ClusterDeps } from '../../src/clusters/deps.ts';
import { feedFollowers } from '../../src/clusters/feed.ts';
import { FleetInbox } from '../../src/clusters/fleet-inbox.ts';
import { handleFleetEvent } from '../../src/clusters/hsm-events.ts';
import { recoverClusters } from '../../src/clusters/recover.ts';
import type { CreateClusterRequest, InitializeRequest } from '../../src/clusters/requests.ts';
import { createRestores, type Restores } from '../../src/clusters/restores.ts';
import { Roots } from '../../src/host/roots.ts';
import { Background } from '../../src/kernel/background.ts';
import { HOUR_MS } from '../../src/kernel/clock.ts';
import { Refused } from '../../src/kernel/errors.ts';
import type { ClusterId, HsmId } from '../../src/kernel/ids.ts';
import { type Random, systemRandom } from '../../src/kernel/random.ts';
import { Serial } from '../../src/kernel/serial.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { WirePeer } from '../../src/kernel/wire.ts';
import type { Kms } from '../../src/kms/kms.ts';
import { LocalKms } from '../../src/kms/local.ts';
import { ClockWatch } from '../../src/ops/clock-watch.ts';
import type { ServiceEvent } from '../../src/ops/events.ts';
import type { Profile } from '../../src/profile.ts';
import type { VaultFiles } from '../../src/vault/files.ts';
import { FolderVault } from '../../src/vault/folder.ts';
import type { Vault } from '../../src/vault/vault.ts';
import { FakeClock } from './fake-clock.ts';
import { InProcessFleet } from './in-process-fleet.ts';

export { FakeClock };

export const REGIONS = ['us-east-1', 'eu-west-1'] as const;
export const SCOPE: Caller = callerOf('000012345678', REGIONS[0]);
export const CALLER: Caller = SCOPE;
/** How long a restore can be undone here. */
export const UNDO_MS = 24 * HOUR_MS;
export const ADMIN_PASSWORD = 'planted-admin-password';

/** An account as such, in a region. */
export function callerOf(account: string, region: string): Caller {
  return { account, region, principal: `arn:aws:iam::${account}:root` };
}

/** Fails one chosen crossing of the walls, counted over all of them. */
export class Faults {
  /** Crossings so far, by name. */
  readonly seen: string[] = [];
  /** Which crossing fails, from 0; undefined lets everything through. */
  failAt: number | undefined;
  /** From this crossing on everything fails, as if this process were dead; `reset` brings it back. */
  dieAt: number | undefined;
  #failNext: string | undefined;

  /** @throws Error at the chosen crossing. */
  readonly at = (point: string): void => {
    const index = this.seen.length;
    this.seen.push(point);
    const isDead = this.dieAt !== undefined && index >= this.dieAt;
    if (isDead || index === this.failAt || point === this.#failNext) {
      this.#failNext = undefined;
      throw new Error(`planted fault: ${point}`);
    }
  };

  /** The next crossing of this name fails, once. */
  failNext(point: string): void {
    this.#failNext = point;
  }

  reset(failAt?: number): void {
    this.seen.length = 0;
    this.failAt = failAt;
    this.dieAt = undefined;
  }

  die(dieAt: number): void {
    this.reset();
    this.dieAt = dieAt;
  }
}

/** What a run that is to be repeated exactly brings along. */
export interface WorldLuck {
  readonly ids?: Random;
  /** The vault's: those of the machine answer in an order of their own. */
  readonly files?: VaultFiles;
}

export class World implements AsyncDisposable {
  readonly folder: string;
  readonly clock: FakeClock;
  readonly faults = new Faults();
  readonly events: ServiceEvent[] = [];
  readonly changes: { clusterId: ClusterId; generation: number }[] = [];
  readonly fleet: InProcessFleet;
  readonly #ids: Random;
  readonly #raw: ReadonlyMap<string, { readonly vault: Vault; readonly kms: Kms }>;
  /** Roomy, unless a test is about quotas: it sets them before the next call. */
  readonly quotas = { clusters: 1_000, hsms: 1_000 };
  /** Clusters of type hsm1.medium are made only by tests that want one. */
  readonly legacy = { hsm1: false };
  /** Takes effect with the next start. */
  profile: Profile = 'own';
  background!: Background;
  catalog!: Catalog;
  backups!: Backups;
  clusters!: Clusters;
  restores!: Restores;
  deps!: ClusterDeps;
  inbox!: FleetInbox;
  watch!: ClockWatch;

  /** @param luck where ids come from; keys are always the system's. */
  static async open(luck: WorldLuck = {}): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'ka-world-'));
    const clock = new FakeClock();
    const roots = await Roots.open(join(folder, 'roots'), { clock, random: systemRandom });
    const world = new World({ folder, roots, clock, luck });
    world.#compose();
    return world;
  }

  private constructor(parts: { folder: string; roots: Roots; clock: FakeClock; luck: WorldLuck }) {
    const { folder, roots, clock, luck } = parts;
    this.folder = folder;
    this.clock = clock;
    this.#ids = luck.ids ?? systemRandom;
    const { faults } = this;
    this.fleet = new InProcessFleet({ roots, clock, random: systemRandom, before: faults.at });
    this.fleet.onEvent((event) => this.inbox.take(event));
    const inRegion = (region: string) => ({
      vault: new FolderVault({
        folder: join(folder, 'vault', region),
        clock,
        ...(luck.files === undefined ? {} : { files: luck.files }),
      }),
      kms: new LocalKms({ folder: join(folder, 'kms'), region }),
    });
    this.#raw = new Map(REGIONS.map((region) => [region, inRegion(region)]));
  }

  /**
   * What a new process would do: open the rows again, clean up, go on. HSMs live on, as the host's do.
   * @param dieAt the crossing at which this process dies too. @throws Error when that is before its first rest.
   */
  async restart(dieAt?: number): Promise<void> {
    this.faults.reset();
    if (dieAt !== undefined) this.faults.die(dieAt);
    await this.background.idle();
    this.catalog[Symbol.dispose]();
    this.#compose();
    for (const region of REGIONS) await this.storageOf(region).vault.recover();
    await this.backups.recover();
    await this.fleet.announceAll();
    recoverClusters(this.deps);
    await this.background.idle();
  }

  #compose(): void {
    const events = { emit: (event: ServiceEvent) => void this.events.push(event) };
    this.background = new Background((name, cause) => {
      this.events.push({ kind: 'internalError', requestId: name, message: String(cause) });
    });
    const catalog = openCatalog({ folder: join(this.folder, 'catalog') });
    this.catalog = {
      read: (fn) => catalog.read(fn),
      transact: (fn) => {
        this.faults.at('catalog.transact');
        return catalog.transact(fn);
      },
      [Symbol.dispose]: () => catalog[Symbol.dispose](),
    };
    const { clock, fleet, background } = this;
    const shared = {
      catalog: this.catalog,
      fleet,
      clock,
      random: this.#ids,
      events,
      background,
    };
    this.watch = new ClockWatch({
      catalog: this.catalog,
      machine: clock,
      uptime: clock.uptime,
      aheadMs: () => 0,
      events,
    });
    this.backups = createBackups({
      ...shared,
      storageOf: (region) => this.storageOf(region),
      regions: REGIONS,
      watch: this.watch,
      retention: { thinning: true },
      profile: this.profile,
    });
    const { quotas, legacy } = this;
    this.deps = { ...shared, backups: this.backups, turns: new Serial(), quotas, legacy };
    this.inbox = new FleetInbox(
      (event) =>
        handleFleetEvent(this.deps, event, (clusterId, generation) =>
          this.changes.push({ clusterId, generation }),
        ),
      events,
    );
    this.backups.onProven(({ clusterId }) => feedFollowers(this.deps, clusterId));
    this.clusters = createClusters(this.deps);
    this.restores = createRestores({
      ...this.deps,
      undoMs: UNDO_MS,
      profile: this.profile,
    });
  }

  /** The first region's. */
  get storage(): RegionStorage {
    return this.storageOf(SCOPE.region);
  }

  /** With the faults in front of it. @throws Refused for a region that is not served. */
  storageOf(region: string): RegionStorage {
    const { vault, kms } = this.#rawOf(region);
    const { at } = this.faults;
    return {
      vault: {
        kind: vault.kind,
        holdsBind: vault.holdsBind,
        put: async (name, body) => {
          at('vault.put');
          const stored = await vault.put(name, body);
          at('vault.put, answer');
          return stored;
        },
        get: (name) => {
          at('vault.get');
          return vault.get(name);
        },
        stat: async (name) => {
          at('vault.stat');
          return await vault.stat(name);
        },
        list: (prefix) => {
          at('vault.list');
          return vault.list(prefix);
        },
        remove: async (name) => {
          at('vault.remove');
          await vault.remove(name);
        },
        hold: async (name, terms) => {
          at('vault.hold');
          await vault.hold(name, terms);
        },
        lift: async (name) => {
          at('vault.lift');
          await vault.lift(name);
        },
        heldBy: async (name) => {
          at('vault.heldBy');
          return await vault.heldBy(name);
        },
        recover: () => vault.recover(),
      },
      kms: {
        kind: kms.kind,
        currentKeyId: () => kms.currentKeyId(),
        generateDataKey: async (context) => {
          at('kms.generateDataKey');
          return await kms.generateDataKey(context);
        },
        unwrapDataKey: async (wrapped, context) => {
          at('kms.unwrapDataKey');
          return await kms.unwrapDataKey(wrapped, context);
        },
      },
    };
  }

  /** An ACTIVE cluster with one HSM and its first proven backup. */
  async activeCluster(
    changes: Partial<CreateClusterRequest> = {},
  ): Promise<{ clusterId: ClusterId; hsmId: HsmId }> {
    const { clusterId, hsmId } = await this.initializedCluster(changes);
    await this.activate(hsmId);
    return { clusterId, hsmId };
  }

  async activate(hsmId: HsmId): Promise<void> {
    await this.officer(hsmId, (call) => call('activate', { password: ADMIN_PASSWORD }));
    await this.settle(hsmId);
  }

  /** One HSM, the customer's certificate installed, no password set. */
  async initializedCluster(
    changes: Partial<CreateClusterRequest> = {},
  ): Promise<{ clusterId: ClusterId; hsmId: HsmId }> {
    const made = await this.uninitializedCluster(changes);
    await this.clusters.initialize(SCOPE, await this.certificatesFor(made.clusterId));
    await this.background.idle();
    return made;
  }

  /** One HSM, which has made the CSR. */
  async uninitializedCluster(
    changes: Partial<CreateClusterRequest> = {},
  ): Promise<{ clusterId: ClusterId; hsmId: HsmId }> {
    const { cluster } = await this.clusters.create(SCOPE, {
      hsmType: 'hsm2m.medium',
      subnetIds: ['subnet-00000001', 'subnet-00000002'],
      mode: 'NON_FIPS',
      tags: new Map(),
      ...changes,
    });
    await this.background.idle();
    const hsm = await this.addHsm(cluster.id);
    return { clusterId: cluster.id, hsmId: hsm.id };
  }

  /** The CSR, signed by the customer's own authority. */
  async certificatesFor(clusterId: ClusterId): Promise<InitializeRequest> {
    const { clock } = this;
    const random = systemRandom;
    const customer = new CustomerFolder({ data: this.folder, name: clusterId, clock, random });
    const authority = await customer.authority();
    const csr = this.cluster(clusterId).certificates.clusterCsr ?? '';
    return {
      clusterId,
      signedCert: signRequestOfCluster(csr, authority, { clock, random }),
      trustAnchor: authority.certificate,
    };
  }

  /** Until the HSM's events have arrived, and what they caused is done: an answer overtakes no event. */
  async settle(hsmId: HsmId): Promise<void> {
    await this.fleet.hsm(hsmId).hello();
    await this.background.idle();
  }

  async addHsm(
    clusterId: ClusterId,
    availabilityZone = 'us-east-1a',
    caller = SCOPE,
  ): Promise<Hsm> {
    const { id } = await this.clusters.createHsm(caller, { clusterId, availabilityZone });
    await this.background.idle();
    return this.hsm(id);
  }

  /** Speaks TLS with the HSM itself, as an officer does. */
  async officer<T>(
    hsmId: HsmId,
    work: (call: (name: string, params?: JsonObject) => Promise<JsonObject>) => Promise<T>,
  ): Promise<T> {
    const [inside, outside] = duplexPair();
    this.fleet.inside(hsmId).adopt(inside, 'officers');
    // Whom the certificate chains to is other tests' business; here it is this very object.
    const line = connect({ socket: outside, minVersion: 'TLSv1.3', rejectUnauthorized: false });
    const peer = new WirePeer(line, new Map());
    try {
      return await work(async (name, params = {}) => (await peer.call(name, params)).result);
    } finally {
      peer.close();
    }
  }

  asAdmin<T>(
    hsmId: HsmId,
    work: (call: (name: string, params?: JsonObject) => Promise<JsonObject>) => Promise<T>,
  ): Promise<T> {
    return this.officer(hsmId, async (call) => {
      await call('login', { username: 'admin', role: 'admin', password: ADMIN_PASSWORD });
      return await work(call);
    });
  }

  cluster(id: ClusterId): Cluster {
    const cluster = this.catalog.read((reader) => reader.cluster(id));
    if (cluster === undefined) throw new Error(`no ${id}`);
    return cluster;
  }

  hsm(id: HsmId): Hsm {
    const hsm = this.catalog.read((reader) => reader.hsm(id));
    if (hsm === undefined) throw new Error(`no ${id}`);
    return hsm;
  }

  allBackups(): readonly Backup[] {
    return this.catalog.read((reader) =>
      reader.backupsIn(['CREATE_IN_PROGRESS', 'READY', 'PENDING_DELETION', 'DELETED']),
    );
  }

  ready(clusterId: ClusterId): readonly ReadyBackup[] {
    return this.allBackups().flatMap((backup) =>
      backup.state === 'READY' && backup.clusterId === clusterId ? [backup] : [],
    );
  }

  #rawOf(region: string): { readonly vault: Vault; readonly kms: Kms } {
    const found = this.#raw.get(region);
    if (found === undefined) throw new Refused('NotFound', `${region} is not served here.`);
    return found;
  }

  /** Names of everything in a region's vault. */
  async stored(region = SCOPE.region): Promise<readonly string[]> {
    const names: string[] = [];
    for await (const { name } of this.#rawOf(region).vault.list('')) names.push(name);
    return names;
  }

  /** Opens a READY backup on a drill once more. @throws when it does not open, or differs from its proof. */
  async mustOpen(backup: ReadyBackup): Promise<void> {
    await using drill = await this.fleet.drill();
    const opened = await openStored(this.storageOf(backup.region), backup, {
      opener: drill,
      as: { clusterId: backup.clusterId, isClone: false },
    });
    if (opened.stateDigest !== backup.proof.statement.opened.stateDigest) {
      throw new Error(`${backup.id} opens to another state than was proven`);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.background.idle();
    this.catalog[Symbol.dispose]();
    await rm(this.folder, { recursive: true, force: true });
  }
}
