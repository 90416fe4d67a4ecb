/**
 * What an officer was told, change by change. A change whose answer never came may have happened or not;
 * from the first look on it must stay as it was seen.
 */
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import { Refused } from '../../src/kernel/errors.ts';

export class Ledger<State> {
  /** By name: everything it may be now. */
  readonly #possible = new Map<string, readonly State[]>();
  readonly #absent: State;
  #acknowledged = 0;

  /** @param absent what a thing is that was never made. */
  constructor(absent: State) {
    this.#absent = absent;
  }

  /** Changes that were answered with success so far. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Makes `work` turn the named thing into `to`, and remembers what came of it. */
  async change(name: string, to: State, work: () => Promise<unknown>): Promise<void> {
    const before = this.possible(name);
    this.#possible.set(name, [...before, to]);
    try {
      await work();
    } catch (cause) {
      // A refusal says that nothing was done; anything else says nothing.
      if (cause instanceof Refused) this.#possible.set(name, before);
      throw cause;
    }
    this.#possible.set(name, [to]);
    this.#acknowledged += 1;
  }

  possible(name: string): readonly State[] {
    return this.#possible.get(name) ?? [this.#absent];
  }

  /** Things that are surely there. */
  present(): readonly string[] {
    return [...this.#possible.keys()].filter((name) => {
      const possible = this.possible(name);
      return possible.length === 1 && !isDeepStrictEqual(possible[0], this.#absent);
    });
  }

  /** Things that may be one or the other. */
  unsure(): readonly string[] {
    return [...this.#possible.keys()].filter((name) => this.possible(name).length > 1);
  }

  /** @throws AssertionError when the thing is what it cannot be. */
  saw(name: string, state: State): void {
    const possible = this.possible(name);
    assert.ok(
      possible.some((each) => isDeepStrictEqual(each, state)),
      `${name} is ${String(state)}, but was acknowledged as ${possible.map(String).join(' or ')}`,
    );
    this.#possible.set(name, [state]);
  }

  names(): readonly string[] {
    return [...this.#possible.keys()];
  }
}
