/**
 * A fleet whose HSMs live in this process: the same `Hsm`, the same manufacture and enrolment, the same
 * wire, without processes. Fast enough to fail every n-th call; faults come in from outside.
 */
import { duplexPair } from 'node:stream';
import { sealBox } from '../../src/crypto/box.ts';
import type { DrillHsm, Fleet, FleetEvent, FleetStatus, HsmHandle } from '../../src/fleet/fleet.ts';
import { newSerial } from '../../src/host/device.ts';
import { enrol } from '../../src/host/enrol.ts';
import { HsmLine } from '../../src/host/line.ts';
import { manufacture } from '../../src/host/manufacture.ts';
import type { Roots } from '../../src/host/roots.ts';
import { SCHEMA, type Schema } from '../../src/hsm/backup/records.ts';
import { type HsmDisk, memoryDisk } from '../../src/hsm/disk.ts';
import { Hsm } from '../../src/hsm/hsm.ts';
import type { SealOutcome } from '../../src/hsm/protocol.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import { Failed } from '../../src/kernel/errors.ts';
import type { ClusterId, HsmId } from '../../src/kernel/ids.ts';
import type { Random } from '../../src/kernel/random.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { WirePeer } from '../../src/kernel/wire.ts';

const CODE_SHA256 = '00'.repeat(32);

interface Unit {
  readonly disk: HsmDisk;
  readonly clusterId: ClusterId;
  hsm: Hsm;
  line: HsmLine;
  /** Outlives the HSM's process, as on a host. */
  frozenBecause: string | null;
}

export interface InProcessFleetParts {
  readonly roots: Roots;
  readonly clock: Clock;
  readonly random: Random;
  /** The codec that HSMs obtained from here write archives with. */
  schema?: Schema;
  /** Sees every byte that leaves an HSM towards its host. */
  tap?: (bytes: Uint8Array) => void;
  /** Asked before every call to an HSM, by name; throws what the test wants to happen. */
  readonly before?: (point: string) => void;
}

export class InProcessFleet implements Fleet {
  readonly #parts: InProcessFleetParts;
  readonly #units = new Map<HsmId, Unit>();
  /** Read once: a run that is to be repeated must not wait for a file each time. */
  #certificates: ReturnType<Roots['certificates']> | undefined;
  readonly #listeners: ((event: FleetEvent) => void)[] = [];

  constructor(parts: InProcessFleetParts) {
    this.#parts = parts;
  }

  /** From now on every HSM that is started here is listened to. */
  tapWith(tap: (bytes: Uint8Array) => void): void {
    this.#parts.tap = tap;
  }

  onEvent(listener: (event: FleetEvent) => void): void {
    this.#listeners.push(listener);
  }

  /** As after a start with sealed roots. */
  areRootsLocked = false;

  async status(): Promise<FleetStatus> {
    this.#certificates ??= this.#parts.roots.certificates();
    return {
      areRootsLocked: this.areRootsLocked,
      isEvaluation: true,
      maker: 'keyark',
      owner: 'home',
      ...(await this.#certificates),
      codeSha256: CODE_SHA256,
    };
  }

  async obtain(hsmId: HsmId, clusterId: ClusterId): Promise<HsmHandle> {
    this.#parts.before?.('fleet.obtain');
    if (!this.#units.has(hsmId)) {
      const disk = memoryDisk();
      const started = await this.#start({ disk, isDrill: false, hsmId });
      await this.#make(started.line, {});
      this.#units.set(hsmId, { disk, clusterId, ...started, frozenBecause: null });
    }
    return this.hsm(hsmId);
  }

  hsm(hsmId: HsmId): HsmHandle {
    const line = (): HsmLine => {
      const unit = this.#unit(hsmId);
      if (this.away.has(hsmId)) throw new Failed('HSM_GONE', `${hsmId} is not running`);
      return unit.line;
    };
    const handle = handleOf(line, (point) => this.#parts.before?.(point));
    return {
      ...handle,
      limit: async (frozenBecause) => {
        await handle.limit(frozenBecause);
        this.#unit(hsmId).frozenBecause = frozenBecause;
      },
    };
  }

  #unit(hsmId: HsmId): Unit {
    const unit = this.#units.get(hsmId);
    if (unit === undefined) throw new Failed('HSM_GONE', `there is no ${hsmId}`);
    return unit;
  }

  async createMaker(name: string): Promise<void> {
    await this.#parts.roots.createMaker(name);
  }

  async createOwner(name: string): Promise<void> {
    await this.#parts.roots.createOwner(name);
  }

  /** As a host does after an HSM's process died: started on its disk, frozen as it was, everybody told. */
  async restart(hsmId: HsmId): Promise<void> {
    this.#announce({ kind: 'down', hsmId, reason: 'its process was killed.' });
    await this.restartWith(hsmId, SCHEMA);
    const { line, frozenBecause } = this.#unit(hsmId);
    if (frozenBecause !== null) await line.call('limit', { frozenBecause });
    await this.#announceUp(hsmId);
  }

  /** What a control plane that connects anew is told. */
  async announceAll(): Promise<void> {
    for (const hsmId of this.#units.keys()) {
      if (!this.away.has(hsmId)) await this.#announceUp(hsmId);
    }
  }

  async #announceUp(hsmId: HsmId): Promise<void> {
    const hello = await this.#unit(hsmId).line.call('hello', {});
    this.#announce({ kind: 'up', hsmId, hello });
  }

  /** The same HSM, its durable state and all, started again thawed, with a codec that may forget. */
  async restartWith(hsmId: HsmId, schema: Schema): Promise<void> {
    const unit = this.#unit(hsmId);
    await unit.hsm.close();
    this.#parts.schema = schema;
    Object.assign(unit, await this.#start({ disk: unit.disk, isDrill: false, hsmId }));
    this.#parts.schema = SCHEMA;
  }

  /** The HSM itself: for tests that act as users of it. */
  inside(hsmId: HsmId): Hsm {
    return this.#unit(hsmId).hsm;
  }

  async list(): Promise<readonly { hsmId: HsmId; isRunning: boolean }[]> {
    return [...this.#units.keys()].map((hsmId) => ({ hsmId, isRunning: !this.away.has(hsmId) }));
  }

  /** HSMs that answer nothing until they are taken out again. */
  readonly away = new Set<HsmId>();

  /** Which HSM each cluster's doors lead to. */
  readonly preferred = new Map<ClusterId, HsmId>();

  async prefer(clusterId: ClusterId, hsmId: HsmId): Promise<void> {
    this.#parts.before?.('fleet.prefer');
    this.preferred.set(clusterId, hsmId);
  }

  async discard(hsmId: HsmId, holding?: string): Promise<void> {
    this.#parts.before?.('fleet.discard');
    if (holding !== undefined && this.#units.has(hsmId)) {
      await this.#units.get(hsmId)?.line.call('zeroise', { isFinal: true, holding });
    }
    this.#units.delete(hsmId);
  }

  async drill(names: { maker?: string; owner?: string } = {}): Promise<DrillHsm> {
    this.#parts.before?.('fleet.drill');
    const started = await this.#start({ disk: memoryDisk(), isDrill: true });
    const serial = await this.#make(started.line, names);
    const { line } = started;
    const handle = handleOf(
      () => line,
      (point) => this.#parts.before?.(`drill ${point}`),
    );
    return {
      serial,
      open: (request) => handle.open(request),
      exercise: () => line.call('exercise', {}),
      keep: () => line.call('keep', {}),
      plan: () => {
        this.#parts.before?.('drill plan');
        return line.call('plan', {});
      },
      prove: (claims, seal) => {
        this.#parts.before?.('drill prove');
        return line.call('prove', { claims, seal });
      },
      [Symbol.asyncDispose]: async () => line.peer.close(),
    };
  }

  async #start(unit: {
    disk: HsmDisk;
    isDrill: boolean;
    hsmId?: HsmId;
  }): Promise<{ hsm: Hsm; line: HsmLine }> {
    const { clock, random, roots } = this.#parts;
    const [inside, outside] = duplexPair();
    const { tap } = this.#parts;
    if (tap !== undefined) outside.on('data', tap);
    const booted = Promise.withResolvers<string>();
    const hsm = new Hsm({
      disk: unit.disk,
      clock,
      random,
      codeSha256: CODE_SHA256,
      isDrill: unit.isDrill,
      schema: this.#parts.schema ?? SCHEMA,
      emit: (name, params) => hsmSide.emit(name, { ...params }),
    });
    const hsmSide = new WirePeer(inside, hsm.handlers());
    const hostSide = new WirePeer(outside, new Map(), (name, params) => {
      if (name === 'booted') booted.resolve(String(params['bootKey']));
      else if (unit.hsmId !== undefined) this.#tell(unit.hsmId, name, params);
    });
    hsm.start();
    using storageKey = roots.storageKey(unit.hsmId ?? 'drill');
    const line = new HsmLine(hostSide, unit.hsmId ?? 'drill');
    await line.call('power-on', {
      isDrill: unit.isDrill,
      storageKey: unit.isDrill
        ? null
        : sealBox(await booted.promise, storageKey.expose(), 'storage-key'),
    });
    return { hsm, line };
  }

  async #make(line: HsmLine, names: { maker?: string; owner?: string }): Promise<string> {
    const { roots, clock, random } = this.#parts;
    const issuing = { clock, random };
    const serial = newSerial(random);
    const maker = roots.maker(names.maker);
    const device = await manufacture(line, serial, maker, issuing);
    await enrol(line, { ...device, serial }, { maker, owner: roots.owner(names.owner), issuing });
    return serial;
  }

  #tell(hsmId: HsmId, name: string, params: JsonObject): void {
    if (name !== 'changed' && name !== 'activated') return;
    this.#announce({ kind: name, hsmId, generation: Number(params['generation']) });
  }

  #announce(event: FleetEvent): void {
    for (const listener of this.#listeners) listener(event);
  }
}

function handleOf(line: () => HsmLine, before: (point: string) => void): HsmHandle {
  return {
    hello: () => line().call('hello', {}),
    certify: (as) => line().call('certify', as),
    install: (certificates) => line().call('install', certificates),
    digest: () => line().call('digest', {}),
    keysNewerThan: (generation) => line().call('keys-newer-than', { generation }),
    async limit(frozenBecause) {
      before('hsm.limit');
      await line().call('limit', { frozenBecause });
    },
    async seal(backupId, signal) {
      before('hsm.seal');
      const { body, trailer } = await line().relay('seal', { backupId }, signal && { signal });
      // The HSM is our own program and answers in the protocol's types.
      return { body, outcome: trailer as Promise<unknown> as Promise<SealOutcome> };
    },
    async open({ body, ...params }) {
      before('hsm.open');
      const reply = await line().relay('open', params, { body });
      return reply.result as unknown as Awaited<ReturnType<HsmHandle['open']>>;
    },
  };
}
