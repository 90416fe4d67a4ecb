/**
 * A clock that runs ahead of another one: a rehearsal's. It only ever moves forward; whoever sleeps on it
 * wakes when its time has come, however it came.
 */
import type { Clock } from './clock.ts';
import { assert } from './errors.ts';
import type { EpochMs } from './types.ts';

export class MovableClock implements Clock {
  readonly #base: Clock;
  #aheadMs = 0;
  #moved = Promise.withResolvers<void>();

  constructor(base: Clock) {
    this.#base = base;
  }

  get aheadMs(): number {
    return this.#aheadMs;
  }

  now(): EpochMs {
    // A time plus a duration is a time.
    return (this.#base.now() + this.#aheadMs) as EpochMs;
  }

  moveAhead(aheadMs: number): void {
    assert(aheadMs >= this.#aheadMs, 'a rehearsal never goes back in time');
    this.#aheadMs = aheadMs;
    this.#moved.resolve();
    this.#moved = Promise.withResolvers();
  }

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const until = this.now() + ms;
    while (this.now() < until) {
      // Ends the timer when the clock was moved meanwhile: none is left behind.
      const over = new AbortController();
      const ends = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
      const waited = this.#base.sleep(until - this.now(), ends);
      try {
        await Promise.race([waited, this.#moved.promise]);
      } finally {
        over.abort();
        waited.catch(() => {});
      }
    }
    signal?.throwIfAborted();
  }
}
