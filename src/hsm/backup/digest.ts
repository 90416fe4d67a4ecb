/**
 * The state digest: a keyed fingerprint by which an HSM is compared with what it was restored from.
 *
 * It walks every own property of every record and knows nothing of the codec's tables, so that a codec
 * that forgets a field gives another digest. Canonical form: docs/formats/backup-v1.md, "Digests".
 * Never a fingerprint without key: names and small keys could be guessed from one.
 */
import { createHmac, type Hmac } from 'node:crypto';
import { deriveKey } from '../../crypto/kdf.ts';
import { fromUtf8, toHex } from '../../kernel/bytes.ts';
import { assert, Broken } from '../../kernel/errors.ts';
import type { LocalState, SharedState } from '../state.ts';
import { copyInto } from './fields.ts';

const DIGEST_BYTES = 32;
const BUFFER_BYTES = 64 * 1024;
/** Texts up to here are written character by character, which beats a call into the runtime. */
const SHORT_TEXT = 32;

/** Hex HMAC-SHA-256 over the shared state. About 100 ms for a full HSM, in one go. */
export function stateDigest(shared: SharedState): string {
  return toHex(digest(shared, shared.partition.maskingKey, 'keyark state digest v1'));
}

/** Lies in each archive's manifest: local state is compared with nobody, yet must arrive whole. */
export function localDigest(local: LocalState, maskingKey: Uint8Array): Uint8Array {
  return digest(local, maskingKey, 'keyark local digest v1');
}

function digest(value: unknown, maskingKey: Uint8Array, label: string): Uint8Array {
  const key = deriveKey({
    key: maskingKey,
    label,
    context: new Uint8Array(0),
    lengthBytes: DIGEST_BYTES,
  });
  try {
    const form = new CanonicalForm(createHmac('sha256', key));
    form.write(value);
    return form.finish();
  } finally {
    key.fill(0);
  }
}

/** One ASCII letter in front of every value, so that no two values have one form. */
const LETTER = {
  nothing: 0x6e, // n
  false: 0x66, // f
  true: 0x74, // t
  number: 0x75, // u
  text: 0x73, // s
  bytes: 0x62, // b
  list: 0x6c, // l
  map: 0x6d, // m
  object: 0x6f, // o
} as const;

class CanonicalForm {
  readonly #hmac: Hmac;
  readonly #buffer = Buffer.alloc(BUFFER_BYTES);
  #at = 0;

  constructor(hmac: Hmac) {
    this.#hmac = hmac;
  }

  finish(): Uint8Array {
    this.#flush();
    this.#buffer.fill(0);
    return new Uint8Array(this.#hmac.digest());
  }

  write(value: unknown): void {
    if (typeof value === 'string') this.#text(value);
    else if (typeof value === 'number') this.#number(value);
    else if (typeof value === 'boolean') this.#letter(value ? LETTER.true : LETTER.false);
    else if (value === null) this.#letter(LETTER.nothing);
    else if (value instanceof Uint8Array) this.#raw(LETTER.bytes, value);
    else if (value instanceof Map) this.#map(value);
    else if (Array.isArray(value)) this.#list(value);
    else if (typeof value === 'object') this.#object(value);
    else throw new Broken(`state holds a ${typeof value}`);
  }

  #letter(letter: number): void {
    this.#room(1);
    this.#buffer[this.#at++] = letter;
  }

  #head(letter: number, length: number): void {
    this.#room(5);
    this.#buffer[this.#at] = letter;
    this.#at = this.#buffer.writeUInt32BE(length, this.#at + 1);
  }

  #number(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, 'state holds whole numbers from 0');
    this.#room(9);
    this.#buffer[this.#at] = LETTER.number;
    this.#at = this.#buffer.writeUInt32BE(Math.floor(value / 0x1_0000_0000), this.#at + 1);
    this.#at = this.#buffer.writeUInt32BE(value >>> 0, this.#at);
  }

  #text(value: string): void {
    if (value.length <= SHORT_TEXT && this.#shortAscii(value)) return;
    assert(value.isWellFormed(), 'state holds a lone surrogate');
    this.#raw(LETTER.text, fromUtf8(value));
  }

  /** False, with nothing written, when a character is not ASCII. */
  #shortAscii(value: string): boolean {
    this.#room(5 + SHORT_TEXT);
    const start = this.#at + 5;
    for (let i = 0; i < value.length; i++) {
      const code = value.charCodeAt(i);
      if (code > 0x7f) return false;
      this.#buffer[start + i] = code;
    }
    this.#buffer[this.#at] = LETTER.text;
    this.#buffer.writeUInt32BE(value.length, this.#at + 1);
    this.#at = start + value.length;
    return true;
  }

  #raw(letter: number, value: Uint8Array): void {
    this.#head(letter, value.length);
    if (value.length > BUFFER_BYTES) {
      this.#flush();
      this.#hmac.update(value);
      return;
    }
    this.#room(value.length);
    copyInto(this.#buffer, value, this.#at);
    this.#at += value.length;
  }

  #list(value: readonly unknown[]): void {
    this.#head(LETTER.list, value.length);
    for (const item of value) this.write(item);
  }

  #map(value: ReadonlyMap<unknown, unknown>): void {
    this.#head(LETTER.map, value.size);
    for (const key of ascending([...value.keys()], compareKeys)) {
      this.write(key);
      this.write(value.get(key));
    }
  }

  /** A property that is `undefined` is one that is not there. */
  #object(value: object): void {
    assert(isPlain(value), 'state holds plain objects only');
    // Only read by names that Object.keys gave, so what comes out is some own property.
    const properties = value as Readonly<Record<string, unknown>>;
    let names = Object.keys(value);
    for (const name of names) {
      if (properties[name] !== undefined) continue;
      names = names.filter((each) => properties[each] !== undefined);
      break;
    }
    this.#head(LETTER.object, names.length);
    for (const name of ascending(names, compareText)) {
      this.#text(name);
      this.write(properties[name]);
    }
  }

  #room(length: number): void {
    if (this.#at + length > BUFFER_BYTES) this.#flush();
  }

  #flush(): void {
    this.#hmac.update(this.#buffer.subarray(0, this.#at));
    this.#at = 0;
  }
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Sorts in place unless there is nothing to do, which is most of the time. */
function ascending<Key>(keys: Key[], compare: (a: Key, b: Key) => number): Key[] {
  let previous: Key | undefined;
  for (const key of keys) {
    if (previous !== undefined && compare(previous, key) >= 0) return keys.sort(compare);
    previous = key;
  }
  return keys;
}

function compareKeys(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b);
  throw new Broken('state has a map with keys that are neither all texts nor all numbers');
}

/** The order of the texts' UTF-8 octets, without making them: surrogates stand for the highest code points. */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left === right) continue;
    const leftIsHigh = (left & 0xf800) === 0xd800;
    const rightIsHigh = (right & 0xf800) === 0xd800;
    if (leftIsHigh !== rightIsHigh) return leftIsHigh ? 1 : -1;
    return left - right;
  }
  return a.length - b.length;
}
