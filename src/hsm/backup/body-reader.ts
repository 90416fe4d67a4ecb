/** Exact reads from a stream of chunks of any size, hashed as they pass. */
import { createHash, type Hash } from 'node:crypto';
import { doesNotOpen } from './format.ts';

export class BodyReader {
  readonly #chunks: AsyncIterator<Uint8Array>;
  readonly #hash: Hash = createHash('sha256');
  #chunk: Uint8Array = new Uint8Array(0);
  #isDone = false;

  constructor(body: AsyncIterable<Uint8Array>) {
    this.#chunks = body[Symbol.asyncIterator]();
  }

  /** @throws Refused `DoesNotOpen` when the stream ends too early. */
  async fill(target: Uint8Array): Promise<void> {
    for (let filled = 0; filled < target.length; ) {
      if (this.#chunk.length === 0 && !(await this.#next())) throw doesNotOpen();
      const part = this.#chunk.subarray(0, target.length - filled);
      target.set(part, filled);
      filled += part.length;
      this.#chunk = this.#chunk.subarray(part.length);
    }
    this.#hash.update(target);
  }

  /** SHA-256 of all that was read. @throws Refused `DoesNotOpen` when something is left. */
  async end(): Promise<Uint8Array> {
    if (this.#chunk.length > 0 || (await this.#next())) throw doesNotOpen();
    return this.#hash.digest();
  }

  /** Lets go of a stream that was not read to its end. */
  async close(): Promise<void> {
    if (this.#isDone) return;
    this.#isDone = true;
    await this.#chunks.return?.();
  }

  /** The next chunk that is not empty, if there is one. */
  async #next(): Promise<boolean> {
    while (!this.#isDone) {
      const next = await this.#chunks.next();
      if (next.done === true) this.#isDone = true;
      else if (next.value.length > 0) {
        this.#chunk = next.value;
        return true;
      }
    }
    return false;
  }
}
