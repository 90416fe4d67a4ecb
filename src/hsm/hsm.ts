/**
 * The HSM: one object behind the wall, the same in its own process and inside a test. The host's calls
 * come in through `handlers`, officers' sockets through `adopt`; everything it is and holds is in the
 * store.
 *
 * It must never answer before power-on, serve anything but status and zeroisation after a failed
 * self-test or a damaged disk, or put a key, password or share into an answer, an event or an error.
 */
import type { KeyObject } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { publicPoint } from '../crypto/box.ts';
import { CryptoError } from '../crypto/errors.ts';
import { PasswordHasher } from '../crypto/password.ts';
import { runSelfTests } from '../crypto/self-test.ts';
import { generateEcKeyPair } from '../crypto/x509.ts';
import type { Clock } from '../kernel/clock.ts';
import { assert, Failed, Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import { Serial } from '../kernel/serial.ts';
import type { WireAnswer, WireHandler, WireRequest } from '../kernel/wire.ts';
import type { Answer, Answers, Params } from './answers.ts';
import { Archive } from './archive.ts';
import { auditChange } from './audit.ts';
import { stateDigest } from './backup/digest.ts';
import { SCHEMA, type Schema } from './backup/records.ts';
import { countsOf, keysNewerThan, NO_COUNTS } from './counts.ts';
import type { DeviceRecord } from './device-record.ts';
import type { HsmDisk } from './disk.ts';
import { Drill } from './drill.ts';
import { type DurableStore, wipeDisk } from './durable-store.ts';
import { contentsOf } from './hello.ts';
import { enrolled, installed, manufactured, newPartition, requestDevice } from './identity.ts';
import { ALLOWED_IN, checkAllowed, lifecycleOf, type Mood } from './lifecycle.ts';
import { SHAPES } from './messages.ts';
import { parseParams } from './params.ts';
import { Planner } from './planner.ts';
import { type Loaded, loadParts, openStorageKey } from './power-on.ts';
import { asJson } from './proof.ts';
import {
  type Hello,
  type HsmCall,
  type HsmEvents,
  type Lifecycle,
  PROTOCOL_VERSION,
} from './protocol.ts';
import type { Change } from './store.ts';

export interface HsmOptions {
  readonly disk: HsmDisk;
  readonly clock: Clock;
  readonly random: Random;
  /** SHA-256 of the program that runs, hex. */
  readonly codeSha256: string;
  /** A throw-away HSM: no doors, no disk, and the only kind that exercises and proves. */
  readonly isDrill: boolean;
  readonly emit: <Name extends keyof HsmEvents>(name: Name, params: HsmEvents[Name]) => void;
  /** Known-answer tests at power-on. */
  readonly selfTest?: () => void;
  /** What archives are written with; `SCHEMA` unless somebody tries what a forgetful codec does. */
  readonly schema?: Schema;
  /** We are wrong: the process that runs this HSM has to end. */
  readonly onBroken?: (cause: unknown) => void;
}

const MAX_HASHES_WAITING = 64;

/** Where somebody could miss something; in error nobody can tell. */
const HOLDS_STATE: ReadonlySet<Lifecycle> = new Set([...ALLOWED_IN.digest, 'ERROR']);

export class Hsm {
  readonly #options: HsmOptions;
  readonly #archive: Archive;
  readonly #drill: Drill;
  readonly #planner: Planner;
  readonly #boot = generateEcKeyPair();
  readonly #turn = new Serial();
  readonly #hasher = new PasswordHasher({ maxQueued: MAX_HASHES_WAITING });
  #storageKey: KeyObject | null = null;
  #loaded: Loaded | null = null;
  #isOn = false;
  #errorReason: string | null = null;
  #frozenBecause: string | null = null;

  constructor(options: HsmOptions) {
    const { clock, random, codeSha256, isDrill, schema = SCHEMA } = options;
    this.#options = options;
    const parts = () => this.#parts();
    const device = () => this.#device();
    this.#drill = new Drill({ clock, random, codeSha256, parts, device });
    this.#planner = new Planner({ clock, random, parts });
    this.#archive = new Archive({
      clock,
      random,
      codeSha256,
      schema,
      parts,
      device,
      onOpened: (facts) => {
        if (isDrill) this.#drill.remember(facts);
      },
    });
  }

  /** Says who is there, so that the host can send the storage key to this boot alone. */
  start(): void {
    const { emit, codeSha256 } = this.#options;
    emit('booted', { bootKey: publicPoint(this.#boot.publicKey), codeSha256 });
  }

  /** The host's calls. */
  handlers(): ReadonlyMap<HsmCall, WireHandler> {
    const answers: Answers = {
      'power-on': ({ params }) => this.#powerOn(params),
      hello: async () => ({ result: this.#hello() }),
      'device-request': ({ params }) => this.#deviceRequest(params),
      manufacture: ({ params }) => this.#manufacture(params),
      enrol: ({ params }) => this.#enrol(params),
      certify: ({ params }) => this.#certify(params),
      install: ({ params }) => this.#install(params),
      seal: ({ params }) => this.#archive.seal(params),
      open: ({ params, body }) => this.#inTurn('open', () => this.#archive.open(params, body)),
      exercise: () => this.#drill.exercise(),
      prove: ({ params }) => this.#drill.prove(params),
      keep: () => this.#planner.keep(),
      plan: () => this.#planner.plan(),
      digest: () => this.#digest(),
      'keys-newer-than': async ({ params }) => {
        const { shared } = this.#store();
        const keys = keysNewerThan(shared, params.generation);
        return { result: { generation: shared.generation, keys } };
      },
      limit: ({ params }) => this.#limit(params),
      zeroise: ({ params }) => this.#zeroise(params),
    };
    const handler = <Call extends HsmCall>(call: Call): [HsmCall, WireHandler] => [
      call,
      (request) => this.#answer(call, answers[call], request),
    ];
    return new Map([
      handler('power-on'),
      handler('hello'),
      handler('device-request'),
      handler('manufacture'),
      handler('enrol'),
      handler('certify'),
      handler('install'),
      handler('seal'),
      handler('open'),
      handler('exercise'),
      handler('prove'),
      handler('keep'),
      handler('plan'),
      handler('digest'),
      handler('keys-newer-than'),
      handler('limit'),
      handler('zeroise'),
    ]);
  }

  /** Takes over a socket that the host accepted. Drills and HSMs in error have no doors. */
  adopt(socket: Duplex, door: string): void {
    const isOpen = this.#loaded !== null && this.#errorReason === null && !this.#options.isDrill;
    if (door !== 'officers' || !isOpen) {
      socket.destroy();
      return;
    }
    this.#loaded?.door.adopt(socket);
  }

  /** Ends sessions and writing; for whoever runs an HSM inside another process. */
  async close(): Promise<void> {
    this.#loaded?.officers.dropAll('the HSM ends');
    this.#loaded?.door.close();
    await this.#loaded?.store.close();
    await this.#options.disk.close();
  }

  // ---- one way in for every call

  async #answer<Call extends HsmCall>(
    call: Call,
    answer: Answers[Call],
    { params, body }: WireRequest,
  ): Promise<WireAnswer> {
    try {
      checkAllowed(call, this.#mood(), this.#options.isDrill);
      const parsed = parseParams(call, SHAPES[call], params);
      const { result, ...stream } = await answer({ params: parsed, body });
      return { result: asJson(result), ...stream };
    } catch (cause) {
      throw this.#judge(cause);
    }
  }

  /** Refusals and failures go out as they are; a cryptographic refusal is one; anything else is our fault. */
  #judge(cause: unknown): Error {
    if (cause instanceof Refused || cause instanceof Failed) return cause;
    if (cause instanceof CryptoError) {
      if (cause.code === 'SELF_TEST') {
        this.#enterError(cause.message);
        return new Failed('HSM_ERROR', cause.message);
      }
      return new Refused('InvalidRequest', `Refused: ${cause.message}.`);
    }
    this.#options.onBroken?.(cause);
    return new Failed('HSM_ERROR', 'internal error in the HSM');
  }

  /** One at a time: what changes the identity or the state as a whole. The state is asked again in turn. */
  #inTurn<T>(call: HsmCall, work: () => Promise<T>): Promise<T> {
    return this.#turn.run('whole', () => {
      checkAllowed(call, this.#mood(), this.#options.isDrill);
      return work();
    });
  }

  // ---- status

  #mood(): Mood {
    if (this.#errorReason !== null) return 'ERROR';
    return this.#isOn ? this.#lifecycle() : 'OFF';
  }

  #lifecycle(): Lifecycle {
    if (this.#errorReason !== null || this.#loaded === null) return 'ERROR';
    const { store } = this.#loaded;
    return lifecycleOf({
      isMade: store.device?.maker != null,
      isEnrolled: store.device?.owner != null,
      shared: store.hasPartition ? store.shared : null,
    });
  }

  #hello(): Hello {
    const { codeSha256, isDrill } = this.#options;
    const lifecycle = this.#lifecycle();
    const common = { protocolVersion: PROTOCOL_VERSION, lifecycle, codeSha256, isDrill };
    if (lifecycle === 'ERROR' || this.#loaded === null) {
      const errorReason = this.#errorReason ?? 'not powered on';
      return { ...common, errorReason, generation: 0, counts: NO_COUNTS };
    }
    return { ...common, ...contentsOf(this.#loaded.store) };
  }

  #enterError(reason: string): void {
    if (this.#errorReason !== null) return;
    this.#errorReason = reason;
    this.#archive.endLife();
    this.#loaded?.officers.dropAll('the HSM is in its error state');
    this.#loaded?.door.close();
    this.#options.emit('failed', { reason });
  }

  // ---- power and identity

  async #powerOn({ storageKey, isDrill }: Params<'power-on'>): Promise<Answer<'power-on'>> {
    return await this.#inTurn('power-on', async () => {
      const { random, selfTest } = this.#options;
      if (isDrill !== this.#options.isDrill || isDrill !== (storageKey === null)) {
        throw new Refused(
          'InvalidRequest',
          'A drill is started as one and has no storage key; any other HSM has one.',
        );
      }
      try {
        (selfTest ?? runSelfTests)();
      } catch (cause) {
        // What failed is named by the test; an unexpected cause is as bad and has no better name.
        this.#enterError(cause instanceof CryptoError ? cause.message : 'a self-test broke');
        return { result: this.#hello() };
      }
      this.#storageKey = openStorageKey(storageKey, this.#boot.privateKey, random);
      await this.#load(this.#storageKey);
      this.#isOn = true;
      return { result: this.#hello() };
    });
  }

  async #load(storageKey: KeyObject): Promise<void> {
    const { disk, clock, random, emit } = this.#options;
    try {
      this.#loaded = await loadParts({
        disk,
        storageKey,
        clock,
        random,
        hasher: this.#hasher,
        emit,
        hello: () => this.#hello(),
        lifecycle: () => this.#lifecycle(),
        frozenBecause: () => this.#frozenBecause,
        onFailed: (cause) => this.#enterError(cause.message),
      });
    } catch (cause) {
      // A disk that can't be read is a state of the HSM, told in `hello`, not a failed call.
      this.#enterError(cause instanceof Failed ? cause.message : 'the stored state can’t be read');
    }
  }

  async #deviceRequest(params: Params<'device-request'>): Promise<Answer<'device-request'>> {
    return await this.#inTurn('device-request', async () => {
      const { device, csr } = requestDevice(params);
      await this.#store().saveDevice(device);
      return { result: { csr } };
    });
  }

  async #manufacture(params: Params<'manufacture'>): Promise<Answer<'manufacture'>> {
    return await this.#inTurn('manufacture', async () => {
      await this.#store().saveDevice(manufactured(this.#store().device, params));
      return { result: this.#hello() };
    });
  }

  async #enrol(params: Params<'enrol'>): Promise<Answer<'enrol'>> {
    return await this.#inTurn('enrol', async () => {
      await this.#store().saveDevice(enrolled(this.#device(), params));
      return { result: this.#hello() };
    });
  }

  async #certify(params: Params<'certify'>): Promise<Answer<'certify'>> {
    return await this.#inTurn('certify', async () => {
      const store = this.#store();
      if (store.hasPartition) {
        const { clusterId, type, mode } = store.shared.partition;
        const isSame =
          clusterId === params.clusterId && type === params.type && mode === params.mode;
        if (isSame) return { result: this.#hello() };
        throw new Refused(
          'WrongState',
          `This HSM is certified for ${clusterId} (${type}, ${mode}); zeroise it first.`,
        );
      }
      const { clock, random } = this.#options;
      const { partition, admin } = newPartition(this.#device(), { ...params, clock, random });
      // First the device's own copy: without a partition it says nothing, and certify runs again.
      await store.saveDevice({ ...this.#device(), hsmCertificate: partition.hsmCertificate });
      await store.commit([
        { kind: 'put-partition', partition },
        { kind: 'put-user', user: admin },
        this.#audit('CN_INIT_TOKEN', params.clusterId),
      ]);
      return { result: this.#hello() };
    });
  }

  async #install(params: Params<'install'>): Promise<Answer<'install'>> {
    return await this.#inTurn('install', async () => {
      const store = this.#store();
      const { partition } = store.shared;
      if (partition.clusterCertificate !== null) {
        const isSame =
          partition.clusterCertificate === params.clusterCertificate &&
          partition.trustAnchor === params.trustAnchor;
        if (isSame) return { result: this.#hello() };
        throw new Refused('WrongState', 'This HSM has its cluster certificate already, for ever.');
      }
      await store.commit([
        { kind: 'put-partition', partition: installed(partition, params) },
        this.#audit('CN_INIT_DONE'),
      ]);
      return { result: this.#hello() };
    });
  }

  // ---- the rest

  async #digest(): Promise<Answer<'digest'>> {
    const { shared } = this.#store().frozen();
    const { generation } = shared;
    const counts = countsOf(shared);
    return { result: { stateDigest: await stateDigest(shared), generation, counts } };
  }

  /** Answers once every change that was let through before is durable: whoever seals then seals it too. */
  async #limit({ frozenBecause }: Params<'limit'>): Promise<Answer<'limit'>> {
    this.#frozenBecause = frozenBecause;
    await this.#parts().officers.changesDone();
    return { result: {} };
  }

  async #zeroise({ isFinal, holding }: Params<'zeroise'>): Promise<Answer<'zeroise'>> {
    return await this.#inTurn('zeroise', async () => {
      if (holding !== undefined) await this.#mustHold(holding);
      this.#archive.endLife();
      this.#drill.forget();
      this.#planner.forget();
      this.#frozenBecause = null;
      if (isFinal) await this.#destroy();
      else await this.#erase();
      return { result: this.#hello() };
    });
  }

  /** Takes no change from the look on; when it holds something else it goes on as before. */
  async #mustHold(stateDigest: string): Promise<void> {
    // Nothing of a customer's is there, perhaps because it has gone already.
    if (!HOLDS_STATE.has(this.#hello().lifecycle)) return;
    const frozenBefore = this.#frozenBecause;
    this.#frozenBecause = 'This HSM is being removed.';
    try {
      if (this.#errorReason !== null) {
        throw new Refused('WrongState', 'An HSM in error cannot tell what it holds.');
      }
      await this.#parts().officers.changesDone();
      const { result } = await this.#digest();
      if (result.stateDigest !== stateDigest) {
        throw new Refused(
          'WrongState',
          `It holds changes up to generation ${result.generation}, not the state that was to be destroyed; nothing was.`,
        );
      }
    } catch (cause) {
      this.#frozenBecause = frozenBefore;
      throw cause;
    }
  }

  async #erase(): Promise<void> {
    if (this.#errorReason !== null || this.#loaded === null) {
      throw new Refused(
        'WrongState',
        'An HSM in error can’t keep its identity safely; only a final zeroisation is left.',
      );
    }
    const { store, officers } = this.#loaded;
    await officers.replaceState('the HSM was zeroised', () => store.erase());
    await store.commit([this.#audit('CN_ZEROIZE')]);
  }

  /** Needs no key and no readable disk. An HSM in error stays in error until it is started again. */
  async #destroy(): Promise<void> {
    const before = this.#loaded;
    this.#loaded = null;
    before?.officers.dropAll('the HSM was zeroised');
    before?.door.close();
    await before?.store.destroy();
    await wipeDisk(this.#options.disk);
    const key = this.#storageKey;
    if (this.#errorReason === null && key !== null) await this.#load(key);
  }

  #audit(opcode: string, details?: string): Change {
    return auditChange(this.#options.clock.now(), { opcode, details });
  }

  #parts(): Loaded {
    assert(this.#loaded !== null, 'the lifecycle lets no call through before power-on');
    return this.#loaded;
  }

  #store(): DurableStore {
    return this.#parts().store;
  }

  #device(): DeviceRecord {
    const { device } = this.#store();
    assert(device !== null, 'the lifecycle lets no such call through before manufacture');
    return device;
  }
}
