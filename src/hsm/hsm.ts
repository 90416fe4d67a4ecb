/**
 * The HSM: one object behind the wall, the same in its own process and inside a test. The host's calls
 * come in through `handlers`, officers' sockets through `adopt`; everything it is and holds is in the
 * store.
 *
 * It must never answer before power-on, serve anything but status and zeroisation after a failed
 * self-test or a damaged disk, or put a key, password or share into an answer, an event or an error.
 */
import { createHash, createSecretKey, type KeyObject } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { openBox, publicPoint } from '../crypto/box.ts';
import { CryptoError } from '../crypto/errors.ts';
import { PasswordHasher } from '../crypto/password.ts';
import { runSelfTests } from '../crypto/self-test.ts';
import { signStatement } from '../crypto/sign.ts';
import { generateEcKeyPair } from '../crypto/x509.ts';
import { fromBase64, toBase64, toHex } from '../kernel/bytes.ts';
import type { Clock } from '../kernel/clock.ts';
import { assert, Failed, Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import { Serial } from '../kernel/serial.ts';
import type { JsonObject } from '../kernel/types.ts';
import type { WireAnswer, WireHandler, WireRequest } from '../kernel/wire.ts';
import { stateDigest } from './backup/digest.ts';
import { openArchive } from './backup/open.ts';
import { SCHEMA, type Schema } from './backup/records.ts';
import { sealState } from './backup/seal.ts';
import { countsOf, NO_COUNTS } from './counts.ts';
import type { DeviceRecord } from './device-record.ts';
import type { HsmDisk } from './disk.ts';
import { OfficersDoor } from './doors.ts';
import { DurableStore, wipeDisk } from './durable-store.ts';
import { exercise } from './exercise.ts';
import {
  certifyKey,
  deviceKey,
  enrolled,
  installed,
  manufactured,
  newIncarnation,
  newPartition,
  partitionKey,
  requestDevice,
  rootsOf,
} from './identity.ts';
import { checkAllowed, lifecycleOf, type Mood } from './lifecycle.ts';
import { SHAPES } from './messages.ts';
import { Officers } from './officers.ts';
import { type Parsed, parseParams } from './params.ts';
import {
  asJson,
  checkSeal,
  notExercised,
  type OpenedArchiveFacts,
  sealStatement,
} from './proof.ts';
import {
  type ExerciseOutcome,
  type Hello,
  type HsmCall,
  type HsmCalls,
  type HsmCertificates,
  type HsmEvents,
  type Lifecycle,
  type OpenOutcome,
  PROTOCOL_VERSION,
  type ProofStatement,
  type SealOutcome,
} from './protocol.ts';
import type { Partition } from './state.ts';
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

type Params<Call extends HsmCall> = Parsed<(typeof SHAPES)[Call]>;
type Answers = { readonly [Call in HsmCall]: (request: Request<Call>) => Promise<Answer<Call>> };
interface Request<Call extends HsmCall> {
  readonly params: Params<Call>;
  readonly body: AsyncIterable<Uint8Array>;
}
interface Answer<Call extends HsmCall> {
  readonly result: HsmCalls[Call]['result'];
  readonly body?: AsyncIterable<Uint8Array>;
  readonly trailer?: () => JsonObject;
}

const STORAGE_KEY_BYTES = 32;
const MAX_HASHES_WAITING = 64;

/** What exists once power-on has loaded the disk. */
interface Loaded {
  readonly store: DurableStore;
  readonly officers: Officers;
  readonly door: OfficersDoor;
}

export class Hsm {
  readonly #options: HsmOptions;
  readonly #boot = generateEcKeyPair();
  readonly #turn = new Serial();
  readonly #hasher = new PasswordHasher({ maxQueued: MAX_HASHES_WAITING });
  #storageKey: KeyObject | null = null;
  #loaded: Loaded | null = null;
  #isOn = false;
  #errorReason: string | null = null;
  #frozenBecause: string | null = null;
  /** Grows when the state as a whole is replaced or erased: a seal of the state before must end. */
  #life = 0;
  #drill: { opened: OpenedArchiveFacts; exercised: ExerciseOutcome | null } | null = null;

  constructor(options: HsmOptions) {
    this.#options = options;
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
      seal: ({ params }) => this.#seal(params),
      open: ({ params, body }) => this.#open(params, body),
      exercise: () => this.#exercise(),
      prove: ({ params }) => this.#prove(params),
      digest: () => this.#digest(),
      limit: async ({ params }) => this.#limit(params),
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
      handler('digest'),
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
    const { store } = this.#loaded;
    const { device } = store;
    const shared = store.hasPartition ? store.shared : null;
    return {
      ...common,
      ...(device === null ? {} : deviceFacts(device)),
      ...(shared === null ? {} : partitionFacts(shared.partition)),
      generation: shared?.generation ?? 0,
      counts: shared === null ? NO_COUNTS : countsOf(shared),
      ...(device?.maker == null ? {} : { certificates: certificatesOf(device, shared?.partition) }),
    };
  }

  #enterError(reason: string): void {
    if (this.#errorReason !== null) return;
    this.#errorReason = reason;
    this.#life += 1;
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
      const key =
        storageKey === null
          ? random.bytes(STORAGE_KEY_BYTES)
          : openBox(this.#boot.privateKey, storageKey, 'storage-key');
      if (key.length !== STORAGE_KEY_BYTES) {
        throw new Refused('InvalidRequest', `A storage key has ${STORAGE_KEY_BYTES} bytes.`);
      }
      this.#storageKey = createSecretKey(key);
      key.fill(0);
      await this.#load(this.#storageKey);
      this.#isOn = true;
      return { result: this.#hello() };
    });
  }

  async #load(storageKey: KeyObject): Promise<void> {
    const { disk, clock, random, emit } = this.#options;
    try {
      const store = await DurableStore.open({
        disk,
        storageKey,
        random,
        onChanged: (generation) => emit('changed', { generation }),
        onFailed: (cause) => this.#enterError(cause.message),
      });
      const officers = new Officers({
        store,
        hasher: this.#hasher,
        clock,
        random,
        hello: () => this.#hello(),
        lifecycle: {
          current: () => this.#lifecycle(),
          activated: async () => emit('activated', { generation: store.shared.generation }),
        },
        frozenBecause: () => this.#frozenBecause,
      });
      const certificates = () => this.#hello().certificates;
      const door = new OfficersDoor({ store, officers, clock, certificates });
      this.#loaded = { store, officers, door };
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

  // ---- seal and open

  async #seal({ backupId }: Params<'seal'>): Promise<Answer<'seal'>> {
    const { random, clock, codeSha256 } = this.#options;
    const store = this.#store();
    const device = this.#device();
    const life = this.#life;
    await store.commit([this.#audit('CN_BACKUP_BEGIN', backupId)]);
    this.#checkLife(life);
    const { shared, local } = store.frozen();
    const roots = rootsOf(device);
    const sealing = sealState({
      shared,
      local,
      backupId,
      roots,
      random,
      schema: this.#options.schema ?? SCHEMA,
    });
    let outcome: SealOutcome | undefined;
    const finish = (): SealOutcome => {
      const { sealRecord, headerSha256, bodySha256 } = sealing.finish();
      const statement = sealStatement({
        backupId,
        partition: shared.partition,
        generation: shared.generation,
        domain: roots.domain(),
        epochs: roots.epochs(),
        counts: countsOf(shared),
        bodyBytes: sealing.bodyBytes,
        headerSha256,
        bodySha256,
        sealRecordSha256: sha256(sealRecord),
        stateDigest: stateDigest(shared),
        serial: device.serial,
        codeSha256,
        sealedAt: clock.now(),
      });
      return { sealRecord: toBase64(sealRecord), seal: this.#signed(device, statement) };
    };
    const body = async function* (hsm: Hsm) {
      try {
        for await (const chunk of sealing.body) {
          hsm.#checkLife(life);
          yield chunk;
        }
        hsm.#checkLife(life);
        outcome = finish();
      } finally {
        roots[Symbol.dispose]();
        await hsm.#note(hsm.#audit('CN_BACKUP_END', backupId, outcome === undefined ? 1 : 0));
      }
    };
    return {
      result: {},
      body: body(this),
      trailer: () => {
        assert(outcome !== undefined, 'a seal has an outcome once its body ended');
        return asJson(outcome);
      },
    };
  }

  /** A record of what already happened: when it can't be written, the disk's failure is told elsewhere. */
  async #note(change: Change): Promise<void> {
    try {
      await this.#store().commit([change]);
    } catch {
      // The store has put the HSM into its error state, or the state was zeroised meanwhile.
    }
  }

  #checkLife(life: number): void {
    if (life !== this.#life) {
      throw new Refused(
        'WrongState',
        'The state was replaced or erased while it was being sealed.',
      );
    }
  }

  async #open(params: Params<'open'>, body: AsyncIterable<Uint8Array>): Promise<Answer<'open'>> {
    return await this.#inTurn('open', async () => {
      const { store } = this.#parts();
      await store.commit([this.#audit('CN_RESTORE_BEGIN', params.as.clusterId)]);
      try {
        return { result: await this.#replaceBy(params, body) };
      } catch (cause) {
        await this.#note(this.#audit('CN_RESTORE_END', params.as.clusterId, 1));
        throw cause;
      }
    });
  }

  /** Everything is verified before anything is touched; then all of the previous state goes at once. */
  async #replaceBy(
    { sealRecord, as, type, mode }: Params<'open'>,
    body: AsyncIterable<Uint8Array>,
  ): Promise<OpenOutcome> {
    const { store, officers } = this.#parts();
    const { clock, random } = this.#options;
    const device = this.#device();
    using roots = rootsOf(device);
    const record = decodeSealRecord(sealRecord);
    const counted = new CountedBody(body);
    const opened = await openArchive({
      sealRecord: record,
      body: counted,
      roots,
      expect: { type, mode },
    });
    const sealed = opened.shared.partition;
    if (!as.isClone && sealed.clusterId !== as.clusterId) {
      throw new Refused(
        'WrongState',
        `This backup is of ${sealed.clusterId}; ${as.clusterId} takes it as a clone only.`,
      );
    }
    const partition: Partition = {
      ...sealed,
      clusterId: as.clusterId,
      incarnation: as.isClone ? newIncarnation(random) : sealed.incarnation,
      type,
      mode,
    };
    const before = store.hasPartition ? store.shared : null;
    const hsmCertificate = certifyKey(device, partitionKey(sealed), { clock, random });
    await officers.replaceState('another state was restored', async () => {
      this.#life += 1;
      await store.replace({ ...opened.shared, partition }, opened.local, hsmCertificate);
    });
    const { generation } = store.shared;
    const was = before === null ? 'blank' : `${before.partition.incarnation}/${before.generation}`;
    await store.commit([
      this.#audit(
        'CN_RESTORE_END',
        `was ${was}, is ${partition.incarnation}/${generation}, ` +
          `sealed ${sealed.incarnation}, sealed audit position ${opened.local.auditSequence}`,
      ),
    ]);
    const outcome: OpenOutcome = {
      // Over the records that are in the store now, under the names they were sealed with.
      stateDigest: stateDigest({ ...store.shared, partition: sealed }),
      counts: countsOf(store.shared),
      generation,
      sealedIncarnation: sealed.incarnation,
      incarnation: partition.incarnation,
      headerSha256: opened.headerSha256,
      bodySha256: opened.bodySha256,
      epochs: opened.epochs,
    };
    if (this.#options.isDrill) {
      const facts = {
        backupId: opened.backupId,
        outcome,
        partition: sealed,
        domain: roots.domain(),
        bodyBytes: counted.bytes,
        sealRecordSha256: sha256(record),
      };
      this.#drill = { opened: facts, exercised: null };
    }
    return outcome;
  }

  // ---- drill

  async #exercise(): Promise<Answer<'exercise'>> {
    const drill = this.#drill;
    if (drill === null) throw new Refused('WrongState', 'Nothing was opened here yet.');
    const outcome = await exercise(this.#store().shared, this.#options.random);
    drill.exercised = outcome;
    return { result: outcome };
  }

  async #prove({ claims, seal }: Params<'prove'>): Promise<Answer<'prove'>> {
    const { opened, exercised } = this.#drill ?? { opened: null, exercised: null };
    if (opened === null || exercised === null) {
      throw new Refused('WrongState', 'A proof comes after "open" and "exercise".');
    }
    if (!exercised.passed) {
      throw new Refused('WrongState', 'Restored keys failed their exercise; there is no proof.');
    }
    const device = this.#device();
    assert(device.maker !== null && device.owner !== null, 'whoever opens is enrolled');
    const { makerRoot } = device.maker;
    checkSeal(seal, opened, { makerRoot, ownerRoot: device.owner.ownerRoot });
    if (claims.backupId !== opened.backupId) {
      throw new Refused('InvalidRequest', 'The claims are about another backup.');
    }
    const statement: ProofStatement = {
      kind: 'keyark.proof.v1',
      claims,
      opened: opened.outcome,
      exercised,
      sealSignatureVerified: true,
      notExercised: notExercised(exercised, opened.outcome.counts),
      drillSerial: device.serial,
      codeSha256: this.#options.codeSha256,
      provenAt: this.#options.clock.now(),
    };
    return { result: this.#signed(device, statement) };
  }

  // ---- the rest

  async #digest(): Promise<Answer<'digest'>> {
    const { shared } = this.#store();
    const { generation } = shared;
    return { result: { stateDigest: stateDigest(shared), generation, counts: countsOf(shared) } };
  }

  #limit({ frozenBecause }: Params<'limit'>): Answer<'limit'> {
    this.#frozenBecause = frozenBecause;
    return { result: {} };
  }

  async #zeroise({ isFinal }: Params<'zeroise'>): Promise<Answer<'zeroise'>> {
    return await this.#inTurn('zeroise', async () => {
      this.#life += 1;
      this.#drill = null;
      this.#frozenBecause = null;
      if (isFinal) await this.#destroy();
      else await this.#erase();
      return { result: this.#hello() };
    });
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

  #audit(opcode: string, details?: string, response = 0) {
    const at = this.#options.clock.now();
    const record = { at, opcode, response, session: 0 };
    const full = details === undefined ? record : { ...record, details };
    return { kind: 'audit', record: full } as const;
  }

  #signed<Statement extends object>(device: DeviceRecord, statement: Statement) {
    assert(device.maker !== null && device.owner !== null, 'only an enrolled device signs');
    return {
      statement,
      signature: signStatement(deviceKey(device), asJson(statement)),
      manufacturerHardwareCertificate: device.maker.hardwareCertificate,
      ownerHardwareCertificate: device.owner.hardwareCertificate,
    };
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

function deviceFacts({ serial, vendor, line, maker, owner }: DeviceRecord): Partial<Hello> {
  const mkbk = maker?.mkbks.at(-1)?.epoch;
  const akbk = owner?.akbks.at(-1)?.epoch;
  return {
    serial,
    domain: { vendor, line, ...(owner === null ? {} : { owner: owner.owner }) },
    epochs: { ...(mkbk === undefined ? {} : { mkbk }), ...(akbk === undefined ? {} : { akbk }) },
  };
}

function partitionFacts({ clusterId, incarnation, type, mode }: Partition): Partial<Hello> {
  return { clusterId, incarnation, type, mode };
}

function certificatesOf(device: DeviceRecord, partition: Partition | undefined): HsmCertificates {
  const present = {
    manufacturerHardwareCertificate: device.maker?.hardwareCertificate ?? null,
    ownerHardwareCertificate: device.owner?.hardwareCertificate ?? null,
    hsmCertificate: partition === undefined ? null : device.hsmCertificate,
    clusterCsr: partition?.clusterCsr ?? null,
    clusterCertificate: partition?.clusterCertificate ?? null,
    trustAnchor: partition?.trustAnchor ?? null,
  };
  return Object.fromEntries(Object.entries(present).filter(([, pem]) => pem !== null));
}

function decodeSealRecord(sealRecord: string): Uint8Array {
  try {
    return fromBase64(sealRecord);
  } catch {
    throw new Refused('InvalidRequest', 'A seal record is base64 text.');
  }
}

const sha256 = (bytes: Uint8Array): string => toHex(createHash('sha256').update(bytes).digest());

class CountedBody implements AsyncIterable<Uint8Array> {
  readonly #body: AsyncIterable<Uint8Array>;
  bytes = 0;

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#body = body;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, void> {
    for await (const chunk of this.#body) {
      this.bytes += chunk.length;
      yield chunk;
    }
  }
}
