/** Luck that can be had again: a failure prints its seed, and `KEYARK_SEED=n` repeats it. */
import type { Random } from '../../src/kernel/random.ts';

export const seedOfThisRun = (): number =>
  Number(process.env['KEYARK_SEED'] ?? Date.now() % 1_000_000);

/** Small, and good enough to choose what a disk forgets or when a process dies (mulberry32). */
export class Luck {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  share(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let t = this.#state;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  }

  below(bound: number): number {
    return Math.floor(this.share() * bound);
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error('nothing to pick from');
    return item;
  }

  /** The same items in another order. */
  shuffled<T>(items: readonly T[]): readonly T[] {
    return items
      .map((item) => ({ item, place: this.share() }))
      .sort((a, b) => a.place - b.place)
      .map(({ item }) => item);
  }
}

/** The same luck as bytes: for ids that a seed repeats, never for keys. */
export function randomOf(luck: Luck): Random {
  return { bytes: (length) => Uint8Array.from({ length }, () => luck.below(256)) };
}
