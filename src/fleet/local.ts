/**
 * The fleet on this machine: one HSM host, started as a child and spoken to over the pipe it inherits, so
 * that nothing listens for a control plane and nobody else can be one. A host that dies is started again.
 */
import type { Hello } from '../hsm/protocol.ts';
import type { Clock } from '../kernel/clock.ts';
import { Failed } from '../kernel/errors.ts';
import { type ClusterId, type HsmId, parseHsmId } from '../kernel/ids.ts';
import type { JsonObject } from '../kernel/types.ts';
import { type WireCallOptions, WirePeer, type WireReply } from '../kernel/wire.ts';
import type { DrillHsm, Fleet, FleetEvent, FleetStatus, HsmHandle } from './fleet.ts';
import { type Reach, RemoteDrill, RemoteHsm } from './handle.ts';
import { HostProcess } from './host-process.ts';

/** How long a call waits for a host that is on its way back. */
const CALL_WAIT_MS = 10_000;
const START_TIMEOUT_MS = 60_000;
/** Waits between deaths in a row; the last one repeats. */
const BACKOFF_MS = [0, 100, 500, 2_000, 10_000] as const;
const LONG_LIFE_MS = 60_000;

export interface LocalFleetOptions {
  /** The data folder; the host keeps its things in `host/` and the doors in `clusters/`. */
  readonly data: string;
  readonly clock: Clock;
  /** `UID:GID` of the host when started as root; the system's `keyark-host` or a fixed number if absent. */
  readonly user?: string;
  /** One line for the log. */
  readonly say?: (line: string) => void;
}

/** @throws Failed `START` with the host's own reason. */
export async function startLocalFleet(options: LocalFleetOptions): Promise<LocalFleet> {
  const fleet = new LocalFleet(options);
  await fleet.start();
  return fleet;
}

export class LocalFleet implements Fleet, AsyncDisposable {
  readonly #options: LocalFleetOptions;
  readonly #listeners: ((event: FleetEvent) => void)[] = [];
  readonly #up = new Map<HsmId, Hello>();
  readonly #end = new AbortController();
  #process: HostProcess | undefined;
  #peer: WirePeer | undefined;
  #next = Promise.withResolvers<WirePeer>();
  readonly #gone = Promise.withResolvers<void>();
  readonly #startedAs = process.getuid?.();
  #running: Promise<void> = Promise.resolve();

  constructor(options: LocalFleetOptions) {
    this.#options = options;
    this.#next.promise.catch(() => {});
  }

  /** Called by `startLocalFleet`. */
  async start(): Promise<void> {
    const first = this.#spawn();
    this.#running = this.#keep(first);
    const enough = new AbortController();
    try {
      await Promise.race([
        this.#next.promise,
        first.exited.then((reason) => {
          throw new Failed('START', reason);
        }),
        this.#options.clock.sleep(START_TIMEOUT_MS, enough.signal).then(() => {
          throw new Failed('START', `the HSM host did not answer within ${START_TIMEOUT_MS} ms`);
        }),
      ]);
    } catch (cause) {
      await this[Symbol.asyncDispose]();
      throw cause;
    } finally {
      enough.abort();
    }
  }

  /**
   * Resolves when the host is gone and this process, no longer the root it was, may not start it again:
   * nothing is left but to end and be started anew.
   */
  get gone(): Promise<void> {
    return this.#gone.promise;
  }

  /** Of the host's process (as root: of its guard). */
  get pid(): number | undefined {
    return this.#process?.pid;
  }

  async status(): Promise<FleetStatus> {
    // The host answers in this type; it is our own program.
    return (await this.ask('status', {})).result as unknown as FleetStatus;
  }

  async obtain(hsmId: HsmId, clusterId: ClusterId): Promise<HsmHandle> {
    await this.ask('obtain', { hsmId, clusterId });
    return this.hsm(hsmId);
  }

  hsm(hsmId: HsmId): HsmHandle {
    return new RemoteHsm(this.#reach, { hsmId });
  }

  async list(): Promise<readonly { hsmId: HsmId; isRunning: boolean }[]> {
    const { hsms } = (await this.ask('list', {})).result;
    // The host answers in this type; it is our own program.
    return hsms as unknown as readonly { hsmId: HsmId; isRunning: boolean }[];
  }

  async discard(hsmId: HsmId, holding?: string): Promise<void> {
    await this.ask('discard', { hsmId, ...(holding === undefined ? {} : { holding }) });
    this.#up.delete(hsmId);
  }

  async drill(roots: { maker?: string; owner?: string } = {}): Promise<DrillHsm> {
    const { drillId, serial } = (await this.ask('drill', { ...roots })).result;
    const drill = { drillId: String(drillId), serial: String(serial) };
    return new RemoteDrill(this.#reach, drill, () => this.#endDrill(drill.drillId));
  }

  /** Leads a cluster's doors to this HSM; `port` opens one on loopback too (0: any free one). */
  async door(door: {
    clusterId: ClusterId;
    hsmId?: HsmId;
    port?: number;
  }): Promise<{ port?: number }> {
    const { port } = (await this.ask('door', { ...door })).result;
    return typeof port === 'number' ? { port } : {};
  }

  async prefer(clusterId: ClusterId, hsmId: HsmId): Promise<void> {
    await this.door({ clusterId, hsmId });
  }

  onEvent(listener: (event: FleetEvent) => void): void {
    this.#listeners.push(listener);
    // HSMs may be up before anybody listens.
    for (const [hsmId, hello] of this.#up) listener({ kind: 'up', hsmId, hello });
  }

  /** Closes the channel, which ends the host and with it every HSM. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort(new Failed('HOST_GONE', 'the fleet was closed'));
    this.#peer?.close();
    await this.#process?.end();
    await this.#running;
  }

  /** One call to the host, as it stands. @throws Refused, Failed as the host said; Failed `HOST_GONE`. */
  async ask(method: string, params: JsonObject, options?: WireCallOptions): Promise<WireReply> {
    // A connection that broke in this very turn is not yet known as lost.
    if (this.#peer?.isClosed) this.#lost(this.#peer);
    const peer = this.#peer ?? (await this.#nextPeer());
    try {
      const reply = await peer.call(method, params, options);
      return { ...reply, body: translated(reply.body, peer) };
    } catch (cause) {
      throw hostGone(cause, peer);
    }
  }

  readonly #reach: Reach = (...call) => this.ask(...call);

  async #nextPeer(): Promise<WirePeer> {
    const enough = new AbortController();
    try {
      return await Promise.race([
        this.#next.promise,
        this.#options.clock
          .sleep(CALL_WAIT_MS, AbortSignal.any([enough.signal, this.#end.signal]))
          .then(() => {
            throw new Failed('HOST_GONE', 'the HSM host is not running; it is being restarted');
          }),
      ]);
    } catch (cause) {
      if (this.#end.signal.aborted)
        throw new Failed('HOST_GONE', 'the fleet was closed', { cause });
      throw cause;
    } finally {
      enough.abort();
    }
  }

  #spawn(): HostProcess {
    const { data, user } = this.#options;
    const process = new HostProcess(
      { data, user },
      (stream) => void this.#attach(new WirePeer(stream, new Map(), (n, p) => this.#hear(n, p))),
    );
    this.#process = process;
    return process;
  }

  /** Hosts come and go; this ends with the fleet, or when a host cannot be started any more. */
  async #keep(first: HostProcess): Promise<void> {
    const { clock, say } = this.#options;
    for (let deaths = 0, host = first; ; host = this.#spawn()) {
      const since = clock.now();
      const reason = await host.exited;
      if (this.#end.signal.aborted) return;
      say?.(`the HSM host is down: ${reason}`);
      if (process.getuid?.() !== this.#startedAs) {
        this.#gone.resolve();
        return;
      }
      deaths = clock.now() - since > LONG_LIFE_MS ? 0 : deaths + 1;
      const ms = BACKOFF_MS[Math.min(deaths - 1, BACKOFF_MS.length - 1)] ?? 0;
      // Aborting ends the pause early; the check below sees it.
      await clock.sleep(ms, this.#end.signal).catch(() => {});
      if (this.#end.signal.aborted) return;
    }
  }

  async #attach(peer: WirePeer): Promise<void> {
    void peer.closed.then(() => this.#lost(peer));
    try {
      await peer.call('attach', {});
    } catch {
      // The host died while it started; its exit is handled where it is kept.
      return;
    }
    this.#peer = peer;
    this.#next.resolve(peer);
  }

  #lost(peer: WirePeer): void {
    if (this.#peer !== peer) return;
    this.#peer = undefined;
    this.#next = Promise.withResolvers<WirePeer>();
    this.#next.promise.catch(() => {});
    if (this.#end.signal.aborted) return;
    for (const hsmId of this.#up.keys())
      this.#tell({ kind: 'down', hsmId, reason: 'the HSM host died' });
    this.#up.clear();
  }

  #hear(name: string, params: JsonObject): void {
    const hsmId = parseHsmId(String(params['hsmId']));
    const generation = Number(params['generation']);
    const reason = String(params['reason']);
    switch (name) {
      case 'changed':
      case 'activated':
        this.#tell({ kind: name, hsmId, generation });
        return;
      case 'failed':
        this.#tell({ kind: name, hsmId, reason });
        return;
      case 'down':
        this.#up.delete(hsmId);
        this.#tell({ kind: name, hsmId, reason });
        return;
      case 'up':
        // Hello in the protocol; the host is our own program.
        this.#isUp(hsmId, params['hello'] as unknown as Hello);
        return;
      default:
      // An event of a newer host: nothing here depends on it.
    }
  }

  /** @param hello relayed by the host as the HSM said it. */
  #isUp(hsmId: HsmId, hello: Hello): void {
    this.#up.set(hsmId, hello);
    this.#tell({ kind: 'up', hsmId, hello });
  }

  #tell(event: FleetEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  async #endDrill(drillId: string): Promise<void> {
    try {
      await this.#peer?.call('drill-end', { drillId });
    } catch (cause) {
      // A host that is gone took its drills along.
      if (!(cause instanceof Failed && cause.code === 'CHANNEL')) throw cause;
    }
  }
}

/** A channel that broke means one thing here: the host is gone. */
function hostGone(cause: unknown, peer: WirePeer): unknown {
  if (cause instanceof Failed && cause.code === 'CHANNEL' && peer.isClosed) {
    return new Failed('HOST_GONE', 'the HSM host died during the call', { cause });
  }
  return cause;
}

async function* translated(
  body: AsyncIterable<Uint8Array>,
  peer: WirePeer,
): AsyncGenerator<Uint8Array> {
  try {
    yield* body;
  } catch (cause) {
    throw hostGone(cause, peer);
  }
}
