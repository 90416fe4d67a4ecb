/** Work per key, one at a time, in order of arrival: races end here instead of in luck. */
export class Serial {
  readonly #tails = new Map<string, Promise<unknown>>();

  /** Runs `work` after everything queued before under the same key, whatever became of it. */
  run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#tails.get(key) ?? Promise.resolve();
    const result = before.then(work, work);
    const tail: Promise<void> = result.then(
      () => this.#forget(key, tail),
      () => this.#forget(key, tail),
    );
    this.#tails.set(key, tail);
    return result;
  }

  #forget(key: string, tail: Promise<unknown>): void {
    if (this.#tails.get(key) === tail) this.#tails.delete(key);
  }

  /** Resolves when everything queued so far has ended. Never rejects. */
  async idle(): Promise<void> {
    await Promise.all([...this.#tails.values()]);
  }
}
