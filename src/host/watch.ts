/**
 * Keeps one HSM running: what dies is started again, sooner after a long life than after many deaths.
 * Callers that arrive in between wait a while instead of failing.
 */
import type { Hello } from '../hsm/protocol.ts';
import { type Clock, MINUTE_MS } from '../kernel/clock.ts';
import { Failed } from '../kernel/errors.ts';
import type { HsmProcess } from './spawn.ts';

/** Waits between deaths in a row; the last one repeats for ever, so that a full disk heals by itself. */
const BACKOFF_MS = [0, 50, 200, 1_000, 3_000, 10_000] as const;
/** Who lived that long starts again without a wait. */
const LONG_LIFE_MS = MINUTE_MS;
/** How long a call waits for an HSM that is on its way back. */
const CALL_WAIT_MS = 10_000;

export interface Watched {
  readonly name: string;
  readonly clock: Clock;
  start(): Promise<HsmProcess>;
  onUp(hello: Hello): void;
  onDown(reason: string): void;
}

export class Watch {
  readonly #watched: Watched;
  readonly #stop = new AbortController();
  #current: HsmProcess | undefined;
  #next = Promise.withResolvers<HsmProcess>();
  #running: Promise<void> = Promise.resolve();

  /** @param first an HSM that runs already (it was just made). */
  constructor(watched: Watched, first?: HsmProcess) {
    this.#watched = watched;
    this.#next.promise.catch(() => {});
    if (first !== undefined) this.#isUp(first);
    this.#running = this.#keep(first);
  }

  get isRunning(): boolean {
    return this.#current !== undefined;
  }

  /** The process, if there is one at this moment. */
  get current(): HsmProcess | undefined {
    return this.#current;
  }

  /** The process; waits a bounded while for one that is starting. @throws Failed `HSM_GONE`. */
  async process(): Promise<HsmProcess> {
    if (this.#current !== undefined) return this.#current;
    const { name, clock } = this.#watched;
    const enough = new AbortController();
    try {
      return await Promise.race([
        this.#next.promise,
        clock.sleep(CALL_WAIT_MS, AbortSignal.any([enough.signal, this.#stop.signal])).then(() => {
          throw new Failed('HSM_GONE', `${name} is not running; it is being restarted`);
        }),
      ]);
    } catch (cause) {
      if (this.#stop.signal.aborted) throw new Failed('HSM_GONE', `${name} was removed`, { cause });
      throw cause;
    } finally {
      enough.abort();
    }
  }

  /** Ends the HSM and its watch. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#current?.kill();
    await this.#running;
  }

  async #keep(first: HsmProcess | undefined): Promise<void> {
    let deaths = first === undefined ? 0 : await this.#untilDeath(first);
    while (!this.#stop.signal.aborted) {
      if (!(await this.#pause(deaths))) return;
      try {
        const started = await this.#watched.start();
        if (this.#stop.signal.aborted) {
          await started.kill();
          return;
        }
        this.#isUp(started);
        deaths = (await this.#untilDeath(started)) === 0 ? 0 : deaths + 1;
      } catch (cause) {
        deaths += 1;
        this.#watched.onDown(cause instanceof Error ? cause.message : String(cause));
      }
    }
  }

  #isUp(started: HsmProcess): void {
    this.#current = started;
    this.#next.resolve(started);
    this.#watched.onUp(started.hello);
  }

  /** 0 after a long life, 1 after a short one. */
  async #untilDeath(started: HsmProcess): Promise<number> {
    const since = this.#watched.clock.now();
    const reason = await started.exited;
    this.#current = undefined;
    this.#next = Promise.withResolvers<HsmProcess>();
    this.#next.promise.catch(() => {});
    if (!this.#stop.signal.aborted) this.#watched.onDown(reason);
    return this.#watched.clock.now() - since > LONG_LIFE_MS ? 0 : 1;
  }

  async #pause(deaths: number): Promise<boolean> {
    const ms = BACKOFF_MS[Math.min(deaths, BACKOFF_MS.length - 1)] ?? 0;
    if (ms === 0) return true;
    try {
      await this.#watched.clock.sleep(ms, this.#stop.signal);
      return true;
    } catch {
      // Only the stop signal ends a pause early.
      return false;
    }
  }
}
