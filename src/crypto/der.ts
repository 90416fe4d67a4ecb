/**
 * DER (ITU-T X.690 §8, §10, §11), the little that X.509 needs: a writer, and a reader that refuses
 * whatever has a second spelling.
 *
 * The reader takes bytes from strangers. It is bounded in size and depth, never recurses on its own,
 * and never looks past the element that it was given.
 */
import { concat, fromUtf8 } from '../kernel/bytes.ts';
import type { EpochMs } from '../kernel/types.ts';
import { CryptoError } from './errors.ts';

export const TAG = {
  BOOLEAN: 0x01,
  INTEGER: 0x02,
  BIT_STRING: 0x03,
  OCTET_STRING: 0x04,
  OID: 0x06,
  UTF8_STRING: 0x0c,
  PRINTABLE_STRING: 0x13,
  UTC_TIME: 0x17,
  GENERALIZED_TIME: 0x18,
  SEQUENCE: 0x30,
  SET: 0x31,
} as const;

/** [number] EXPLICIT, or IMPLICIT of something constructed. */
export const contextTag = (number: number): number => 0xa0 | number;
/** [number] IMPLICIT of something primitive. */
export const contextPrimitiveTag = (number: number): number => 0x80 | number;

const MAX_INPUT_BYTES = 64 * 1024;
const MAX_DEPTH = 16;
const MAX_LENGTH_BYTES = 3;

// ---- writing ----

/** Tag, shortest length, contents. */
export function element(tag: number, ...contents: readonly Uint8Array[]): Uint8Array {
  const body = concat(...contents);
  return concat(Uint8Array.of(tag), lengthOf(body.length), body);
}

export const sequence = (...members: readonly Uint8Array[]): Uint8Array =>
  element(TAG.SEQUENCE, ...members);

/** For sets of one member only: DER wants several sorted, and nobody here needs that. */
export const setOf = (member: Uint8Array): Uint8Array => element(TAG.SET, member);

/** A non-negative integer from big-endian bytes, leading zeros dropped (X.690 §8.3). */
export function unsignedInteger(value: Uint8Array): Uint8Array {
  const first = value.findIndex((byte) => byte !== 0);
  const digits = first === -1 ? Uint8Array.of(0) : value.subarray(first);
  const isHigh = (digits[0] ?? 0) >= 0x80;
  return element(TAG.INTEGER, isHigh ? concat(Uint8Array.of(0), digits) : digits);
}

export const boolean = (value: boolean): Uint8Array =>
  element(TAG.BOOLEAN, Uint8Array.of(value ? 0xff : 0x00));

export const octetString = (bytes: Uint8Array): Uint8Array => element(TAG.OCTET_STRING, bytes);

/** Whole bytes, or `unusedBits` fewer. */
export const bitString = (bytes: Uint8Array, unusedBits = 0): Uint8Array =>
  element(TAG.BIT_STRING, Uint8Array.of(unusedBits), bytes);

export const utf8String = (text: string): Uint8Array => element(TAG.UTF8_STRING, fromUtf8(text));

/** @throws {CryptoError} `DER` for a character that PrintableString lacks (X.680 §41.4). */
export function printableString(text: string): Uint8Array {
  if (!PRINTABLE.test(text)) throw derFailure('a character that PrintableString lacks');
  return element(TAG.PRINTABLE_STRING, fromUtf8(text));
}

/** @param dotted `1.2.840.10045.2.1`. */
export function objectIdentifier(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...arcs] = dotted.split('.').map(Number);
  const bytes = [first * 40 + second, ...arcs].flatMap(base128);
  return element(TAG.OID, Uint8Array.from(bytes));
}

/** UTCTime until the end of 2049, GeneralizedTime from then on (RFC 5280 §4.1.2.5); whole seconds. */
export function time(at: EpochMs): Uint8Array {
  const iso = new Date(at).toISOString();
  const year = Number(iso.slice(0, 4));
  if (!/^\d{4}-/.test(iso) || year < 1950) throw derFailure('a year outside 1950 to 9999');
  const digits = iso.slice(0, 19).replace(/[-:T]/g, '');
  return year < 2050
    ? element(TAG.UTC_TIME, fromUtf8(`${digits.slice(2)}Z`))
    : element(TAG.GENERALIZED_TIME, fromUtf8(`${digits}Z`));
}

// ---- reading ----

export interface DerElement {
  readonly tag: number;
  readonly contents: Uint8Array;
  /** Tag, length and contents, as they stood there. */
  readonly whole: Uint8Array;
}

/** Reads the members of one constructed element, in order. */
export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #depth: number;
  #at = 0;

  /** @throws {CryptoError} `DER` for more than 64 KiB or more than 16 levels. */
  constructor(bytes: Uint8Array, depth = 0) {
    if (bytes.length > MAX_INPUT_BYTES) throw derFailure('more than 64 KiB');
    if (depth > MAX_DEPTH) throw derFailure('more than 16 levels');
    this.#bytes = bytes;
    this.#depth = depth;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** The tag that `next` would meet; `undefined` at the end. */
  peek(): number | undefined {
    return this.#bytes[this.#at];
  }

  /** @throws {CryptoError} `DER` when there is no such element next. */
  next(tag: number): DerElement {
    const start = this.#at;
    if (this.#byte() !== tag) throw derFailure('another element was expected');
    const length = this.#length();
    const end = this.#at + length;
    if (end > this.#bytes.length) throw derFailure('an element that ends behind its parent');
    const contents = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return { tag, contents, whole: this.#bytes.subarray(start, end) };
  }

  /** Goes into a constructed element. */
  enter(tag: number): DerReader {
    return new DerReader(this.next(tag).contents, this.#depth + 1);
  }

  /** @throws {CryptoError} `DER` when something is left. */
  end(): void {
    if (!this.isAtEnd) throw derFailure('bytes behind the end');
  }

  #byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw derFailure('too short');
    this.#at += 1;
    return byte;
  }

  /** Definite and shortest form only (X.690 §10.1). */
  #length(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    const count = first & 0x7f;
    if (count === 0 || count > MAX_LENGTH_BYTES) throw derFailure('an impossible length');
    let length = 0;
    for (let i = 0; i < count; i += 1) length = length * 256 + this.#byte();
    if (length < 0x80 || length < 256 ** (count - 1))
      throw derFailure('a length with a longer form');
    return length;
  }
}

/** The bytes of a BIT STRING that ends at a whole byte. */
export function wholeBits(bits: DerElement): Uint8Array {
  if (bits.contents[0] !== 0) throw derFailure('a bit string that is no whole number of bytes');
  return bits.contents.subarray(1);
}

export function derFailure(why: string): CryptoError {
  return new CryptoError('DER', `not strict DER: ${why}`);
}

export const PRINTABLE = /^[A-Za-z0-9 '()+,\-./:=?]*$/;

function lengthOf(length: number): Uint8Array {
  if (length < 0x80) return Uint8Array.of(length);
  const digits: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) digits.unshift(rest % 256);
  return Uint8Array.of(0x80 | digits.length, ...digits);
}

/** Seven bits a byte, all but the last marked (X.690 §8.19.2). */
function base128(arc: number): number[] {
  const digits = [arc % 128];
  for (let rest = Math.floor(arc / 128); rest > 0; rest = Math.floor(rest / 128)) {
    digits.unshift(0x80 | (rest % 128));
  }
  return digits;
}
