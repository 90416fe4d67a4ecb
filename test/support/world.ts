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
import type { Catalog, Scope } from '../../src/catalog/catalog.ts';
import { openCatalog } from '../../src/catalog/sqlite.ts';
import { CustomerFolder, signRequestOfCluster } from '../../src/cli/customer.ts';
import type { Cluster, Hsm } from '../../src/clusters/cluster.ts';
import { type Clusters, createClusters } from '../../src/clusters/clusters.ts';
import type { ClusterDeps } from '../../src/clusters/deps.ts';
import { feedFollowers } from '../../src/clusters/feed.ts';
import { handleFleetEvent } from '../../src/clusters/hsm-events.ts';
import { recoverClusters } from '../../src/clusters/recover.ts';
import { Roots } from '../../src/host/roots.ts';
import { Background } from '../../src/kernel/background.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import type { ClusterId, HsmId } from '../../src/kernel/ids.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import { Serial } from '../../src/kernel/serial.ts';
import type { EpochMs, JsonObject } from '../../src/kernel/types.ts';
import { WirePeer } from '../../src/kernel/wire.ts';
import type { Kms } from '../../src/kms/kms.ts';
import { LocalKms } from '../../src/kms/local.ts';
import type { ServiceEvent } from '../../src/ops/events.ts';
import { FolderVault } from '../../src/vault/folder.ts';
import type { Vault } from '../../src/vault/vault.ts';
import { InProcessFleet } from './in-process-fleet.ts';

export const SCOPE: Scope = { account: '000012345678', region: 'us-east-1' };
export const CALLER: Caller = { ...SCOPE, principal: `arn:aws:iam::${SCOPE.account}:root` };
export const ADMIN_PASSWORD = 'planted-admin-password';

/** Fails one chosen crossing of the walls, counted over all of them. */
export class Faults {
  /** Crossings so far, by name. */
  readonly seen: string[] = [];
  /** Which crossing fails, from 0; undefined lets everything through. */
  failAt: number | undefined;
  #failNext: string | undefined;

  /** @throws Error at the chosen crossing. */
  readonly at = (point: string): void => {
    const index = this.seen.length;
    this.seen.push(point);
    if (index === this.failAt || point === this.#failNext) {
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
  }
}

/** Time stands still until a test moves it; whoever sleeps then wakes in order. */
export class FakeClock implements Clock {
  #now = 1_800_000_000_000;
  readonly #sleepers = new Set<{ readonly until: number; readonly wake: () => void }>();
  // A plain number of milliseconds is what EpochMs brands.
  now = (): EpochMs => this.#now as EpochMs;

  advance(ms: number): void {
    this.#now += ms;
    for (const sleeper of [...this.#sleepers].sort((a, b) => a.until - b.until)) {
      if (sleeper.until <= this.#now) sleeper.wake();
    }
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const sleeper = {
        until: this.#now + ms,
        wake: () => {
          this.#sleepers.delete(sleeper);
          resolve();
        },
      };
      this.#sleepers.add(sleeper);
      signal?.addEventListener('abort', () => {
        this.#sleepers.delete(sleeper);
        reject(signal.reason);
      });
    });
  }
}

export class World implements AsyncDisposable {
  readonly folder: string;
  readonly clock: FakeClock;
  readonly faults = new Faults();
  readonly events: ServiceEvent[] = [];
  readonly changes: { clusterId: ClusterId; generation: number }[] = [];
  readonly fleet: InProcessFleet;
  readonly #rawVault: Vault;
  readonly #rawKms: Kms;
  /** Roomy, unless a test is about quotas: it sets them before the next call. */
  readonly quotas = { clusters: 1_000, hsms: 1_000 };
  background!: Background;
  catalog!: Catalog;
  backups!: Backups;
  clusters!: Clusters;
  deps!: ClusterDeps;

  static async open(): Promise<World> {
    const folder = await mkdtemp(join(tmpdir(), 'ka-world-'));
    const clock = new FakeClock();
    const roots = await Roots.open(join(folder, 'roots'), { clock, random: systemRandom });
    const world = new World(folder, roots, clock);
    world.#compose();
    return world;
  }

  private constructor(folder: string, roots: Roots, clock: FakeClock) {
    this.folder = folder;
    this.clock = clock;
    const { faults } = this;
    this.fleet = new InProcessFleet({ roots, clock, random: systemRandom, before: faults.at });
    this.fleet.onEvent((event) =>
      handleFleetEvent(this.deps, event, (clusterId, generation) =>
        this.changes.push({ clusterId, generation }),
      ),
    );
    this.#rawVault = new FolderVault({ folder: join(folder, 'vault') });
    this.#rawKms = new LocalKms({ folder: join(folder, 'kms'), region: SCOPE.region });
  }

  /** What a new process would do: open the rows again, clean up, go on. HSMs live on, as the host's do. */
  async restart(): Promise<void> {
    this.faults.reset();
    await this.background.idle();
    this.catalog[Symbol.dispose]();
    this.#compose();
    await this.storage.vault.recover();
    await this.backups.recover();
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
      random: systemRandom,
      events,
      background,
    };
    this.backups = createBackups({ ...shared, storageOf: () => this.storage });
    this.deps = { ...shared, backups: this.backups, turns: new Serial(), quotas: this.quotas };
    this.backups.onProven(({ clusterId }) => feedFollowers(this.deps, clusterId));
    this.clusters = createClusters(this.deps);
  }

  /** With the faults in front of it. */
  get storage(): RegionStorage {
    const [vault, kms, at] = [this.#rawVault, this.#rawKms, this.faults.at];
    return {
      vault: {
        kind: vault.kind,
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
        stat: (name) => vault.stat(name),
        list: (prefix) => vault.list(prefix),
        remove: async (name) => {
          at('vault.remove');
          await vault.remove(name);
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
  async activeCluster(): Promise<{ clusterId: ClusterId; hsmId: HsmId }> {
    const { clusterId, hsmId } = await this.initializedCluster();
    await this.activate(hsmId);
    return { clusterId, hsmId };
  }

  async activate(hsmId: HsmId): Promise<void> {
    await this.officer(hsmId, (call) => call('activate', { password: ADMIN_PASSWORD }));
    await this.settle(hsmId);
  }

  /** One HSM, the customer's certificate installed, no password set. */
  async initializedCluster(): Promise<{ clusterId: ClusterId; hsmId: HsmId }> {
    const { cluster } = await this.clusters.create(SCOPE, {
      hsmType: 'hsm2m.medium',
      subnetIds: ['subnet-00000001', 'subnet-00000002'],
      mode: 'NON_FIPS',
      tags: new Map(),
    });
    await this.background.idle();
    const hsm = await this.addHsm(cluster.id);
    const customer = new CustomerFolder({
      data: this.folder,
      name: cluster.id,
      clock: this.clock,
      random: systemRandom,
    });
    const authority = await customer.authority();
    const csr = this.cluster(cluster.id).certificates.clusterCsr ?? '';
    await this.clusters.initialize(SCOPE, {
      clusterId: cluster.id,
      signedCert: signRequestOfCluster(csr, authority, { clock: this.clock, random: systemRandom }),
      trustAnchor: authority.certificate,
    });
    await this.background.idle();
    return { clusterId: cluster.id, hsmId: hsm.id };
  }

  /** Until the HSM's events have arrived, and what they caused is done: an answer overtakes no event. */
  async settle(hsmId: HsmId): Promise<void> {
    await this.fleet.hsm(hsmId).hello();
    await this.background.idle();
  }

  async addHsm(clusterId: ClusterId, availabilityZone = 'us-east-1a'): Promise<Hsm> {
    const { id } = await this.clusters.createHsm(SCOPE, { clusterId, availabilityZone });
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

  /** Names of everything in the vault. */
  async stored(): Promise<readonly string[]> {
    const names: string[] = [];
    for await (const { name } of this.#rawVault.list('')) names.push(name);
    return names;
  }

  /** Opens a READY backup on a drill once more. @throws when it does not open, or differs from its proof. */
  async mustOpen(backup: ReadyBackup): Promise<void> {
    await using drill = await this.fleet.drill();
    const opened = await openStored(this.storage, backup, {
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
