/** A stream of bytes, taken in pieces of the reader's size instead of the writer's. Holds one piece. */

export class ByteSource {
  readonly #chunks: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]();
  }

  /** @returns `length` bytes of the caller's own; fewer only when the stream ends. */
  async take(length: number): Promise<Uint8Array> {
    const piece = new Uint8Array(length);
    let have = 0;
    while (have < length && !(await this.isAtEnd())) {
      const part = this.#rest.subarray(0, length - have);
      piece.set(part, have);
      have += part.length;
      this.#rest = this.#rest.subarray(part.length);
    }
    return piece.subarray(0, have);
  }

  /** Looks ahead when it has to. */
  async isAtEnd(): Promise<boolean> {
    while (this.#rest.length === 0) {
      const next = await this.#chunks.next();
      if (next.done === true) return true;
      this.#rest = next.value;
    }
    return false;
  }

  /** Lets the writer stop; harmless after the end. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}
