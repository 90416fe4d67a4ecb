/** One partition with a real store on a disk in memory, its officers' door, and real TLS clients of it. */
import { createSecretKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import { createServer, type Server } from 'node:net';
import { connectOfficer, type Officer, type OfficerTrust } from '../../src/cli/officer.ts';
import { PasswordHasher } from '../../src/crypto/password.ts';
import { issueCertificate, makeCsr, type Name } from '../../src/crypto/x509.ts';
import { memoryDisk } from '../../src/hsm/disk.ts';
import { OfficersDoor } from '../../src/hsm/doors.ts';
import { DurableStore } from '../../src/hsm/durable-store.ts';
import { lifecycleOf } from '../../src/hsm/lifecycle.ts';
import { Officers } from '../../src/hsm/officers.ts';
import type { HsmMode, HsmType } from '../../src/hsm/protocol.ts';
import type { Partition } from '../../src/hsm/state.ts';
import type { Change, Store } from '../../src/hsm/store.ts';
import { type Clock, DAY_MS, systemClock } from '../../src/kernel/clock.ts';
import { type Random, systemRandom } from '../../src/kernel/random.ts';
import type { EpochMs, JsonObject } from '../../src/kernel/types.ts';

export const ADMIN_PASSWORD = 'first-admin-password';
export const USER_PASSWORD = 'crypto-user-password';

const serial = (): Uint8Array => Uint8Array.of(1, ...systemRandom.bytes(15));
const ec = () => generateKeyPairSync('ec', { namedCurve: 'prime256v1' });

export interface Authority {
  readonly name: Name;
  readonly key: KeyObject;
  readonly certificate: string;
}

export function makeRoot(commonName: string): Authority {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const name: Name = [['CN', commonName]];
  const certificate = certify(name, publicKey, { name, key: privateKey }, true);
  return { name, key: privateKey, certificate };
}

export function certify(
  subject: Name,
  subjectPublicKey: KeyObject,
  issuer: { name: Name; key: KeyObject },
  isCa = false,
): string {
  const now = systemClock.now();
  return issueCertificate({
    subject,
    issuer: issuer.name,
    subjectPublicKey,
    issuerKey: issuer.key,
    serial: serial(),
    // Arithmetic on a time gives a plain number.
    notBefore: (now - DAY_MS) as EpochMs,
    notAfter: (now + DAY_MS) as EpochMs,
    isCa,
  });
}

export interface RigOptions {
  readonly mode?: HsmMode;
  readonly type?: HsmType;
  readonly isInitialized?: boolean;
  readonly random?: Random;
  readonly clock?: Clock;
  /** Looks at each commit before it happens; may throw or wait. */
  readonly onCommit?: (changes: readonly Change[]) => Promise<void>;
}

export class OfficersRig implements AsyncDisposable {
  readonly customer: Authority;
  readonly maker: Authority;
  readonly hardwareCertificate: string;
  readonly store: Store;
  readonly officers: Officers;
  readonly door: OfficersDoor;
  readonly partition: Partition;
  frozen: string | null = null;
  activations = 0;
  readonly #server: Server;
  readonly #clients: Officer[] = [];

  static async make(options: RigOptions = {}): Promise<OfficersRig> {
    const store = await DurableStore.open({
      disk: memoryDisk(),
      storageKey: createSecretKey(systemRandom.bytes(32)),
      random: systemRandom,
      onChanged: () => {},
      onFailed: () => {},
    });
    const rig = new OfficersRig(options, store);
    await store.commit([
      { kind: 'put-partition', partition: rig.partition },
      {
        kind: 'put-user',
        user: {
          name: 'admin',
          role: 'unactivated-admin',
          verifier: null,
          createdGeneration: 1,
          passwordGeneration: 1,
        },
      },
    ]);
    await new Promise<void>((resolve) => rig.#server.listen(0, '127.0.0.1', resolve));
    return rig;
  }

  private constructor(options: RigOptions, store: DurableStore) {
    const random = options.random ?? systemRandom;
    const clock = options.clock ?? systemClock;
    this.customer = makeRoot('customer CA');
    this.maker = makeRoot('maker root');
    const device = ec();
    const deviceName: Name = [['CN', 'HSM:test']];
    this.hardwareCertificate = certify(deviceName, device.publicKey, this.maker, true);
    const { privateKey, publicKey } = ec();
    const partitionName: Name = [['CN', 'HSM:test:PARTN:1']];
    const isInitialized = options.isInitialized ?? true;
    this.partition = {
      clusterId: 'cluster-keyarkabcdefghij',
      incarnation: '00'.repeat(16),
      type: options.type ?? 'hsm2m.medium',
      mode: options.mode ?? 'NON_FIPS',
      partitionKey: new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' })),
      clusterCsr: makeCsr({ subject: partitionName, key: privateKey }),
      hsmCertificate: certify(partitionName, publicKey, {
        name: deviceName,
        key: device.privateKey,
      }),
      clusterCertificate: isInitialized ? certify(partitionName, publicKey, this.customer) : null,
      trustAnchor: isInitialized ? this.customer.certificate : null,
      maskingKey: systemRandom.bytes(32),
    };
    this.store = withCommitHook(store, options.onCommit);
    const lifecycle = () =>
      lifecycleOf({
        isMade: true,
        isEnrolled: true,
        shared: store.hasPartition ? store.shared : null,
      });
    this.officers = new Officers({
      store: this.store,
      hasher: new PasswordHasher({ maxQueued: 128 }),
      clock,
      random,
      hello: () => ({
        protocolVersion: 1,
        lifecycle: lifecycle(),
        codeSha256: '00'.repeat(32),
        isDrill: false,
        clusterId: this.partition.clusterId,
        generation: store.shared.generation,
        counts: { users: 0, keys: 0, objects: 0, tombstones: 0 },
      }),
      lifecycle: {
        current: lifecycle,
        activated: async () => {
          this.activations += 1;
        },
      },
      frozenBecause: () => this.frozen,
    });
    this.door = new OfficersDoor({
      store: this.store,
      officers: this.officers,
      clock,
      certificates: () => ({ manufacturerHardwareCertificate: this.hardwareCertificate }),
    });
    this.#server = createServer({ pauseOnConnect: true }, (socket) => this.door.adopt(socket));
  }

  get port(): number {
    // A listening TCP server has an address with a port.
    return (this.#server.address() as AddressInfo).port;
  }

  get customerTrust(): OfficerTrust {
    return { kind: 'customer-ca', certificate: this.customer.certificate };
  }

  async connect(trust: OfficerTrust = this.customerTrust): Promise<Officer> {
    const officer = await connectOfficer({
      address: { host: '127.0.0.1', port: this.port },
      trust,
    });
    this.#clients.push(officer);
    return officer;
  }

  async login(username: string, role: 'admin' | 'crypto-user', password: string): Promise<Officer> {
    const officer = await this.connect();
    await officer.call('login', { username, role, password });
    return officer;
  }

  /** An admin's session on an activated partition. */
  async activated(): Promise<Officer> {
    const first = await this.connect();
    await first.call('activate', { password: ADMIN_PASSWORD });
    await first.close();
    return this.login('admin', 'admin', ADMIN_PASSWORD);
  }

  /** A crypto user's session; makes the user. */
  async cryptoUser(admin: Officer, username: string): Promise<Officer> {
    await admin.call('user-create', { username, role: 'crypto-user', password: USER_PASSWORD });
    return this.login(username, 'crypto-user', USER_PASSWORD);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) await client.close();
    this.door.close();
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
  }
}

function withCommitHook(store: DurableStore, hook: RigOptions['onCommit']): Store {
  if (hook === undefined) return store;
  return {
    get shared() {
      return store.shared;
    },
    get hasPartition() {
      return store.hasPartition;
    },
    get local() {
      return store.local;
    },
    commit: async (changes) => {
      await hook(changes);
      await store.commit(changes);
    },
    replace: (shared, local) => store.replace(shared, local),
    erase: () => store.erase(),
    audit: (limit) => store.audit(limit),
  };
}

/** The named member of an answer, as an object. */
export function member(answer: JsonObject, name: string): JsonObject {
  // The test fails right here or at its first use when it is something else.
  return answer[name] as JsonObject;
}

/** `key` of a view in an answer. */
export const keyOf = (answer: JsonObject, name = 'key'): string =>
  String(member(answer, name)['key']);

export const certificateOf = (pem: string): X509Certificate => new X509Certificate(pem);
