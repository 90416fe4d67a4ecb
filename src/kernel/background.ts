/** Work that goes on after an answer was given: never floating, always awaited before the end. */
export class Background {
  readonly #running = new Set<Promise<void>>();
  readonly #onFailure: (name: string, cause: unknown) => void;

  constructor(onFailure: (name: string, cause: unknown) => void) {
    this.#onFailure = onFailure;
  }

  /** Starts `work`; a failure that it did not deal with itself is told to `onFailure`. */
  run(name: string, work: () => Promise<void>): void {
    const running: Promise<void> = (async () => {
      try {
        await work();
      } catch (cause) {
        this.#onFailure(name, cause);
      }
    })().finally(() => this.#running.delete(running));
    this.#running.add(running);
  }

  /** Resolves when nothing is running any more, work started meanwhile included. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.all(this.#running);
  }
}
