/** A clock that a test moves, and the machine under it. */
import type { Clock, Uptime } from '../../src/kernel/clock.ts';
import type { EpochMs } from '../../src/kernel/types.ts';

/** Time stands still until a test moves it; whoever sleeps then wakes in order. */
export class FakeClock implements Clock {
  #now = 1_800_000_000_000;
  #upMs = 3_600_000;
  #boots = 1;
  /** What the machine itself says: nobody's setting of the time moves it. */
  readonly uptime: Uptime = {
    bootId: () => `boot ${this.#boots}`,
    elapsedMs: () => this.#upMs,
  };
  readonly #sleepers = new Set<{ readonly until: number; readonly wake: () => void }>();
  // A plain number of milliseconds is what EpochMs brands.
  now = (): EpochMs => this.#now as EpochMs;

  advance(ms: number): void {
    this.#now += ms;
    this.#upMs += Math.max(0, ms);
    for (const sleeper of [...this.#sleepers].sort((a, b) => a.until - b.until)) {
      if (sleeper.until <= this.#now) sleeper.wake();
    }
  }

  /** Somebody sets the machine's time. */
  step(ms: number): void {
    this.#now += ms;
  }

  /** The machine was off for so long, and has started again. */
  reboot(offMs: number): void {
    this.#now += offMs;
    this.#upMs = 0;
    this.#boots += 1;
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
