/**
 * A secret that does not fall out by accident: prints as `[secret]`, refuses JSON, wipes itself.
 * Zeroing in JavaScript is best effort (SECURITY.md): keep secrets few and short-lived.
 */
import { inspect } from 'node:util';
import { Broken } from './errors.ts';

export class Secret implements Disposable {
  readonly #bytes: Uint8Array;
  #isWiped = false;

  /** Takes ownership of `bytes`: the caller must not keep or reuse them. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** The bytes themselves, not a copy. Don't store them. */
  expose(): Uint8Array {
    if (this.#isWiped) throw new Broken('a wiped secret was used');
    return this.#bytes;
  }

  wipe(): void {
    this.#bytes.fill(0);
    this.#isWiped = true;
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): never {
    throw new Broken('a secret was about to be written as JSON');
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}
