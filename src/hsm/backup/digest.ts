/**
 * The state digest: a keyed fingerprint by which an HSM is compared with what it was restored from.
 *
 * It walks every own property of every record and knows nothing of the codec's tables, so that a codec
 * that forgets a field gives another digest. Canonical form: docs/formats/backup-v1.md, "Digests".
 * Never a fingerprint without key: names and small keys could be guessed from one.
 */
import { createHmac, type Hmac } from 'node:crypto';
import { deriveKey } from '../../crypto/kdf.ts';
import { concat, fromUtf8, toHex, u32 } from '../../kernel/bytes.ts';
import { assert, Broken } from '../../kernel/errors.ts';
import { type AttributeVisitor, PackedAttributes } from '../packed-attributes.ts';
import type { AttributeValue, LocalState, SharedState } from '../state.ts';
import { copyInto } from './fields.ts';
import { ascending, compareText } from './order.ts';
import { nextTurn } from './turn.ts';

const DIGEST_BYTES = 32;
const BUFFER_BYTES = 64 * 1024;
/** Texts up to here are written character by character, which beats a call into the runtime. */
const SHORT_TEXT = 32;
/** About 10 ms. */
const RECORDS_PER_TURN = 2_048;

/**
 * Hex HMAC-SHA-256 over the shared state. About 100 ms for a full HSM, in turns of a few: the maps must
 * stay as they are until it is there.
 */
export async function stateDigest(shared: SharedState): Promise<string> {
  const form = formUnder(shared.partition.maskingKey, 'keyark state digest v1');
  await form.writeInTurns(shared);
  return toHex(form.finish());
}

/** Lies in each archive's manifest: local state is compared with nobody, yet must arrive whole. */
export function localDigest(local: LocalState, maskingKey: Uint8Array): Uint8Array {
  const form = formUnder(maskingKey, 'keyark local digest v1');
  form.write(local);
  return form.finish();
}

function formUnder(maskingKey: Uint8Array, label: string): CanonicalForm {
  const key = deriveKey({
    key: maskingKey,
    label,
    context: new Uint8Array(0),
    lengthBytes: DIGEST_BYTES,
  });
  try {
    return new CanonicalForm(createHmac('sha256', key));
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

const TYPE = ascii('type');
const VALUE = ascii('value');

/**
 * What stands in front of an attribute's value: that it is an object of two properties, and the first of
 * them. Written out because a full HSM says it half a million times; a test compares it with `write`.
 */
const ATTRIBUTE = {
  bool: concat(head(LETTER.object, 2), TYPE, ascii('bool'), VALUE),
  ulong: concat(head(LETTER.object, 2), TYPE, ascii('ulong'), VALUE),
  bytes: concat(head(LETTER.object, 2), TYPE, ascii('bytes'), VALUE),
} as const satisfies Record<AttributeValue['type'], Uint8Array>;

function head(letter: number, length: number): Uint8Array {
  return concat(Uint8Array.of(letter), u32(length));
}

function ascii(value: string): Uint8Array {
  return concat(head(LETTER.text, value.length), fromUtf8(value));
}

class CanonicalForm implements AttributeVisitor {
  readonly #hmac: Hmac;
  readonly #buffer = Buffer.alloc(BUFFER_BYTES);
  #at = 0;
  /** Records of one kind have the same names one after the other; they are sorted once. */
  #lastNames: readonly string[] = [];
  #lastOrder: readonly string[] = [];

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
    else if (value instanceof PackedAttributes) this.#packed(value);
    else if (value instanceof Map) this.#map(value);
    else if (Array.isArray(value)) this.#list(value);
    else if (typeof value === 'object') this.#object(value);
    else throw new Broken(`state holds a ${typeof value}`);
  }

  /** As `write`, for an object whose maps hold many records: others have the thread in between. */
  async writeInTurns(value: object): Promise<void> {
    const properties = propertiesOf(value);
    for (const name of this.#namesOf(properties)) {
      this.#text(name);
      const part = properties[name];
      if (part instanceof Map) await this.#mapInTurns(part);
      else this.write(part);
    }
  }

  async #mapInTurns(value: ReadonlyMap<unknown, unknown>): Promise<void> {
    let left = RECORDS_PER_TURN;
    for (const key of this.#keysOf(value)) {
      this.write(key);
      this.write(value.get(key));
      left -= 1;
      if (left > 0) continue;
      await nextTurn();
      left = RECORDS_PER_TURN;
    }
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
    for (const key of this.#keysOf(value)) {
      this.write(key);
      this.write(value.get(key));
    }
  }

  #keysOf(value: ReadonlyMap<unknown, unknown>): readonly unknown[] {
    this.#head(LETTER.map, value.size);
    return ascending([...value.keys()], compareKeys);
  }

  #object(value: object): void {
    const properties = propertiesOf(value);
    for (const name of this.#namesOf(properties)) {
      this.#text(name);
      this.write(properties[name]);
    }
  }

  /** A property that is `undefined` is one that is not there. */
  #namesOf(properties: Properties): readonly string[] {
    let names = Object.keys(properties);
    for (const name of names) {
      if (properties[name] !== undefined) continue;
      names = names.filter((each) => properties[each] !== undefined);
      break;
    }
    this.#head(LETTER.object, names.length);
    if (!sameTexts(names, this.#lastNames)) {
      this.#lastNames = names;
      this.#lastOrder = ascending([...names], compareText);
    }
    return this.#lastOrder;
  }

  // ---- attributes: a map like any other, without a value made for each of them

  #packed(value: PackedAttributes): void {
    this.#head(LETTER.map, value.size);
    value.visit(this);
  }

  bool(type: number, value: boolean): void {
    this.#attribute(type, ATTRIBUTE.bool);
    this.#letter(value ? LETTER.true : LETTER.false);
  }

  ulong(type: number, value: number): void {
    this.#attribute(type, ATTRIBUTE.ulong);
    this.#number(value);
  }

  bytes(type: number, source: Buffer, from: number, end: number): void {
    this.#attribute(type, ATTRIBUTE.bytes);
    const length = end - from;
    this.#head(LETTER.bytes, length);
    if (length > BUFFER_BYTES) {
      this.#flush();
      this.#hmac.update(source.subarray(from, end));
      return;
    }
    this.#room(length);
    source.copy(this.#buffer, this.#at, from, end);
    this.#at += length;
  }

  #attribute(type: number, inFront: Uint8Array): void {
    this.#number(type);
    this.#room(inFront.length);
    copyInto(this.#buffer, inFront, this.#at);
    this.#at += inFront.length;
  }

  // ---- the buffer in front of the HMAC

  #room(length: number): void {
    if (this.#at + length > BUFFER_BYTES) this.#flush();
  }

  #flush(): void {
    this.#hmac.update(this.#buffer.subarray(0, this.#at));
    this.#at = 0;
  }
}

type Properties = Readonly<Record<string, unknown>>;

function propertiesOf(value: object): Properties {
  assert(isPlain(value), 'state holds plain objects only');
  // Only read by names that Object.keys gave, so what comes out is some own property.
  return value as Properties;
}

function sameTexts(some: readonly string[], others: readonly string[]): boolean {
  return some.length === others.length && some.every((text, i) => text === others[i]);
}

function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

function compareKeys(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  if (typeof a === 'string' && typeof b === 'string') return compareText(a, b);
  throw new Broken('state has a map with keys that are neither all texts nor all numbers');
}
