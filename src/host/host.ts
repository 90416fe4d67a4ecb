/**
 * The HSM host: makes HSMs under its roots, runs and watches them, owns their doors. What the control
 * plane may ask of it is in `channel.ts`, what an operator may is in `operator.ts`; both come here.
 */
import { join } from 'node:path';
import type { Hello } from '../hsm/protocol.ts';
import { type Clock, MINUTE_MS } from '../kernel/clock.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import type { ClusterId, HsmId } from '../kernel/ids.ts';
import type { Random } from '../kernel/random.ts';
import { rootsLocked } from '../kernel/roots-locked.ts';
import { Serial } from '../kernel/serial.ts';
import type { JsonObject } from '../kernel/types.ts';
import type { HsmCode } from './code.ts';
import { newSerial } from './device.ts';
import { checkClustersFolder, Doors } from './doors.ts';
import { enrol } from './enrol.ts';
import { makeFolder } from './files.ts';
import { Inventory, type Meta } from './inventory.ts';
import { manufacture } from './manufacture.ts';
import { Roots } from './roots.ts';
import { Spare, type SpareHsm } from './spare.ts';
import { type BootingHsm, bootHsm, type HsmProcess, startHsm } from './spawn.ts';
import { Watch } from './watch.ts';

const MAX_HSMS = 256;
const MAX_DRILLS = 8;
/** A drill that nobody ended by then was forgotten. */
const DRILL_LIFETIME_MS = 30 * MINUTE_MS;

export interface HostParts {
  readonly data: string;
  readonly code: HsmCode;
  readonly clock: Clock;
  readonly random: Random;
  /** A systemd credential, when there is one. */
  readonly passphrase?: Uint8Array | undefined;
  /** To the control plane. */
  readonly emit: (name: string, params: JsonObject) => void;
  /** One line for the log. */
  readonly say: (line: string) => void;
}

interface Kept {
  readonly meta: Meta;
  readonly watch: Watch;
}

export class Host {
  readonly roots: Roots;
  readonly code: HsmCode;
  readonly #parts: HostParts;
  readonly #inventory: Inventory;
  readonly #doors: Doors;
  readonly #one = new Serial();
  readonly #spare: Spare;
  readonly #kept = new Map<HsmId, Kept>();
  readonly #drills = new Map<string, HsmProcess>();
  /** Which HSM takes a cluster's officers, when the control plane said so. */
  readonly #preferred = new Map<ClusterId, HsmId>();
  readonly #waiting: Meta[];
  #isAttached = false;
  #isEnding = false;

  private constructor(parts: HostParts, roots: Roots, inventory: Inventory, made: readonly Meta[]) {
    this.#parts = parts;
    this.code = parts.code;
    this.roots = roots;
    this.#inventory = inventory;
    this.#waiting = [...made];
    this.#spare = new Spare({ ...parts, inventory });
    this.#doors = new Doors(join(parts.data, 'clusters'), (clusterId) => this.#serving(clusterId));
  }

  /** Starts every HSM there is, or, while the roots are locked, waits for `unlock`. */
  static async start(parts: HostParts): Promise<Host> {
    checkClustersFolder(join(parts.data, 'clusters'));
    await makeFolder(join(parts.data, 'clusters'), 0o755);
    const inventory = await Inventory.open(join(parts.data, 'host', 'hsms'));
    // Before anything is cleared away: roots that are lost are a reason to touch nothing.
    const roots = await Roots.open(join(parts.data, 'host', 'roots'), {
      ...parts,
      made: {
        file: join(parts.data, 'host', 'roots.made'),
        isInUse: !(await inventory.isEmpty()),
      },
    });
    const made = await inventory.load();
    const host = new Host(parts, roots, inventory, made);
    if (roots.areLocked) parts.say(rootsLocked().message);
    else await host.#startWaiting();
    host.#spare.later();
    return host;
  }

  async unlock(passphrase: Uint8Array): Promise<void> {
    await this.#one.run('roots', () => this.roots.unlock(passphrase));
    await this.#startWaiting();
  }

  async seal(passphrase: Uint8Array): Promise<void> {
    await this.#one.run('roots', () => this.roots.seal(passphrase));
  }

  /** Makes, enrols and starts an HSM under this id; asked again, finds the one there is. */
  obtain(hsmId: HsmId, clusterId: ClusterId): Promise<Hello> {
    return this.#one.run(hsmId, async () => {
      if (this.roots.areLocked) throw rootsLocked();
      const there = this.#kept.get(hsmId);
      if (there === undefined) return await this.#make(hsmId, clusterId);
      if (there.meta.clusterId !== clusterId) {
        throw new Refused('Conflict', `${hsmId} belongs to ${there.meta.clusterId}.`);
      }
      return await (await there.watch.process()).line.call('hello', {});
    });
  }

  /** The control plane listens from now on: it hears first who runs already, then what happens. */
  attach(): void {
    this.#isAttached = true;
    for (const [hsmId, { watch }] of this.#kept) {
      if (watch.current !== undefined) this.#emitUp(hsmId, watch.current.hello);
    }
  }

  list(): readonly { hsmId: HsmId; isRunning: boolean }[] {
    return [
      ...this.#waiting.map(({ hsmId }) => ({ hsmId, isRunning: false })),
      ...[...this.#kept].map(([hsmId, { watch }]) => ({ hsmId, isRunning: watch.isRunning })),
    ];
  }

  /**
   * Zeroises and removes for good; what is not there is done already.
   * @param holding digest of the state that may go. @throws Refused `WrongState` when it holds another one by now.
   */
  discard(hsmId: HsmId, holding?: string): Promise<void> {
    return this.#one.run(hsmId, async () => {
      const waiting = this.#waiting.findIndex((meta) => meta.hsmId === hsmId);
      const kept = this.#kept.get(hsmId);
      const meta = kept?.meta ?? this.#waiting[waiting];
      if (meta === undefined) return;
      // First of all, and by itself: from the next line on the removal goes on whatever it holds.
      if (holding !== undefined) await this.#zeroiseHolding(kept, holding);
      await this.#inventory.write({ ...meta, state: 'discarding' });
      if (waiting >= 0) this.#waiting.splice(waiting, 1);
      if (kept !== undefined) await this.#zeroise(kept);
      await this.#inventory.remove(hsmId);
      await this.#closeUnusedDoor(meta.clusterId);
    });
  }

  /** An HSM without disk and doors, enrolled like any other. */
  async drill(names: {
    maker?: string;
    owner?: string;
  }): Promise<{ drillId: string; serial: string }> {
    if (this.roots.areLocked) throw rootsLocked();
    if (this.#drills.size >= MAX_DRILLS) {
      throw new Refused('LimitExceeded', `${MAX_DRILLS} drills run already; end one first.`);
    }
    this.#spare.later();
    const serial = newSerial(this.#parts.random);
    const drillId = `drill-${serial}`;
    const hsm = await startHsm({
      name: `drill HSM ${serial}`,
      code: this.code,
      disk: null,
      storageKey: null,
      clock: this.#parts.clock,
      onEvent: () => {},
    });
    this.#drills.set(drillId, hsm);
    const ended = new AbortController();
    const lifetime = this.#parts.clock.sleep(DRILL_LIFETIME_MS, ended.signal);
    lifetime.then(
      () => hsm.kill(),
      () => {},
    );
    void hsm.exited.then(() => {
      ended.abort();
      this.#drills.delete(drillId);
    });
    try {
      await this.#give(hsm, serial, names);
      return { drillId, serial };
    } catch (cause) {
      await hsm.kill();
      throw cause;
    }
  }

  async endDrill(drillId: string): Promise<void> {
    await this.#drills.get(drillId)?.kill();
  }

  /** @throws Failed `HSM_GONE` when there is no such HSM, or it does not come back in time. */
  async hsm(hsmId: HsmId): Promise<HsmProcess> {
    const kept = this.#kept.get(hsmId);
    if (kept !== undefined) return await kept.watch.process();
    if (this.#waiting.some((meta) => meta.hsmId === hsmId)) throw rootsLocked();
    throw new Failed('HSM_GONE', `there is no ${hsmId} on this host`);
  }

  drillHsm(drillId: string): HsmProcess {
    const hsm = this.#drills.get(drillId);
    if (hsm === undefined)
      throw new Failed('HSM_GONE', `there is no ${drillId.slice(0, 40)} any more`);
    return hsm;
  }

  /**
   * Lets an HSM refuse changes with this sentence, or take them again (null). It holds from the answer on,
   * through every later start: an HSM that came back and took changes for a moment would lose them.
   */
  limit(hsmId: HsmId, frozenBecause: string | null): Promise<void> {
    return this.#one.run(hsmId, async () => {
      const kept = this.#kept.get(hsmId);
      if (kept === undefined) {
        await this.hsm(hsmId);
        return;
      }
      const meta: Meta = { ...kept.meta, frozenBecause };
      await this.#inventory.write(meta);
      this.#kept.set(hsmId, { ...kept, meta });
      await (await kept.watch.process()).line.call('limit', { frozenBecause });
    });
  }

  /** Names the HSM that a cluster's doors lead to. */
  prefer(clusterId: ClusterId, hsmId: HsmId): void {
    this.#preferred.set(clusterId, hsmId);
  }

  openTcpDoor(clusterId: ClusterId, port: number): Promise<number> {
    return this.#doors.openTcp(clusterId, port);
  }

  /** Ends every HSM. The host's own exit would do it too, a little later. */
  async end(): Promise<void> {
    this.#isEnding = true;
    await this.#one.idle();
    await Promise.all([
      this.#spare.end(),
      ...[...this.#kept.values()].map(({ watch }) => watch.stop()),
      ...[...this.#drills.values()].map((hsm) => hsm.kill()),
    ]);
  }

  async #startWaiting(): Promise<void> {
    for (const meta of this.#waiting.splice(0)) {
      await this.#doors.open(meta.clusterId);
      this.#keep(meta);
    }
  }

  async #make(hsmId: HsmId, clusterId: ClusterId): Promise<Hello> {
    if (this.#isEnding) throw new Failed('HOST_GONE', 'the host is ending');
    if (this.#kept.size >= MAX_HSMS) {
      throw new Refused('LimitExceeded', `This host runs ${MAX_HSMS} HSMs already.`);
    }
    const serial = newSerial(this.#parts.random);
    const meta: Meta = { hsmId, clusterId, serial, state: 'making', frozenBecause: null };
    await this.#doors.open(clusterId);
    // What an attempt that failed half-way left under this id.
    await this.#inventory.remove(hsmId);
    const hsm = await this.#startNew(meta, this.#spare.take());
    this.#spare.later();
    try {
      await this.#give(hsm, serial, {});
      await this.#inventory.write({ ...meta, state: 'made' });
    } catch (cause) {
      await hsm.kill();
      await this.#inventory.remove(hsmId);
      await this.#closeUnusedDoor(clusterId);
      throw cause;
    }
    this.#keep({ ...meta, state: 'made' }, hsm);
    return await hsm.line.call('hello', {});
  }

  /** An identity: from the maker, then from the owner. */
  async #give(
    hsm: HsmProcess,
    serial: string,
    names: { maker?: string; owner?: string },
  ): Promise<void> {
    const { errorReason } = hsm.hello;
    if (errorReason !== undefined)
      throw new Failed('HSM_ERROR', `a new HSM refuses: ${errorReason}`);
    const maker = this.roots.maker(names.maker);
    const owner = this.roots.owner(names.owner);
    const { clock, random } = this.#parts;
    const issuing = { clock, random };
    const device = await manufacture(hsm.line, serial, maker, issuing);
    await enrol(hsm.line, { ...device, serial }, { maker, owner, issuing });
  }

  async #startNew(meta: Meta, spare: SpareHsm | undefined): Promise<HsmProcess> {
    try {
      await this.#inventory.add(meta, spare?.disk);
    } catch (cause) {
      await spare?.booting.kill();
      throw cause;
    }
    return await this.#start(meta, spare?.booting);
  }

  /** @param booting given for one that runs already, on this HSM's disk. */
  async #start(meta: Meta, booting?: BootingHsm): Promise<HsmProcess> {
    using storageKey = this.roots.storageKey(meta.serial);
    const disk = this.#inventory.disk(meta.hsmId);
    const hsm = await (booting ?? bootHsm({ code: this.code, disk })).powerOn({
      name: meta.hsmId,
      storageKey,
      clock: this.#parts.clock,
      onEvent: (name, params) => this.#relay(meta.hsmId, name, params),
    });
    try {
      await this.#limitAgain(hsm, meta);
    } catch (cause) {
      await hsm.kill();
      throw cause;
    }
    return hsm;
  }

  /** Before any door leads there. An HSM in error has no doors, and answers no such call. */
  async #limitAgain(hsm: HsmProcess, meta: Meta): Promise<void> {
    const { frozenBecause } = this.#kept.get(meta.hsmId)?.meta ?? meta;
    if (frozenBecause === null || hsm.hello.lifecycle === 'ERROR') return;
    await hsm.line.call('limit', { frozenBecause });
  }

  #keep(meta: Meta, first?: HsmProcess): void {
    const { clock, say } = this.#parts;
    const { hsmId } = meta;
    const watch = new Watch(
      {
        name: hsmId,
        clock,
        start: () => this.#start(meta),
        onUp: (hello) => this.#emitUp(hsmId, hello),
        onDown: (reason) => {
          say(`${hsmId} is down: ${reason}`);
          this.#emit('down', { hsmId, reason });
        },
      },
      first,
    );
    this.#kept.set(hsmId, { meta, watch });
  }

  #relay(hsmId: HsmId, name: string, params: JsonObject): void {
    if (RELAYED_EVENTS.has(name)) this.#emit(name, { ...params, hsmId });
  }

  #emitUp(hsmId: HsmId, hello: Hello): void {
    // Hello is JSON by the protocol's law; an interface cannot say so.
    this.#emit('up', { hsmId, hello: hello as unknown as JsonObject });
  }

  #emit(name: string, params: JsonObject): void {
    if (this.#isAttached) this.#parts.emit(name, params);
  }

  #serving(clusterId: ClusterId): HsmProcess | undefined {
    const preferred = this.#kept.get(this.#preferred.get(clusterId) ?? NOBODY)?.watch.current;
    if (preferred !== undefined) return preferred;
    const sisters = [...this.#kept.values()].filter(({ meta }) => meta.clusterId === clusterId);
    return sisters
      .map(({ watch }) => watch.current)
      .find((hsm) => hsm !== undefined && hsm.hello.lifecycle !== 'ERROR');
  }

  async #zeroiseHolding(kept: Kept | undefined, holding: string): Promise<void> {
    if (kept === undefined) throw rootsLocked();
    const { line } = await kept.watch.process();
    await line.call('zeroise', { isFinal: true, holding });
  }

  async #zeroise({ meta, watch }: Kept): Promise<void> {
    try {
      await watch.current?.line.call('zeroise', { isFinal: true });
    } catch (cause) {
      // An HSM that cannot any more: its folder goes next, and the key to it is derived, never stored.
      this.#parts.say(`${meta.hsmId} did not zeroise itself: ${String(cause)}`);
    }
    await watch.stop();
    this.#kept.delete(meta.hsmId);
  }

  async #closeUnusedDoor(clusterId: ClusterId): Promise<void> {
    const isUsed = [...this.#kept.values()].some(({ meta }) => meta.clusterId === clusterId);
    if (!isUsed && !this.#waiting.some((meta) => meta.clusterId === clusterId)) {
      this.#preferred.delete(clusterId);
      await this.#doors.close(clusterId);
    }
  }
}

const RELAYED_EVENTS: ReadonlySet<string> = new Set(['changed', 'activated', 'failed']);
/** No id looks like this. */
const NOBODY = '' as HsmId;
