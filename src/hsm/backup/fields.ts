/**
 * The kinds of value that records are made of, each with its size, its bytes and its strict reading.
 *
 * Source: docs/formats/backup-v1.md, "Kinds of value". A value that the format cannot hold is our own
 * mistake when writing (`Broken`) and damage when reading (`MalformedRecord`); nothing is ever clipped.
 */
import { asBuffer } from '../../kernel/bytes.ts';
import { assert, Broken } from '../../kernel/errors.ts';
import { flawOf, PackedAttributes } from '../packed-attributes.ts';
import type { Attributes } from '../state.ts';

/** The bytes are no record of ours. Callers decide what that means: a damaged disk, a backup that does not open. */
export class MalformedRecord extends Error {
  override readonly name = 'MalformedRecord';
}

/** What a nested value needs to know: the fields of the structures it may hold. */
export interface Structures {
  readonly verifier: { readonly fields: readonly Field[] };
}

export interface ValueType<T> {
  size(value: T, structures: Structures): number;
  write(value: T, into: ByteWriter, structures: Structures): void;
  /** Reads exactly the rest of `from`. */
  read(from: ByteReader, structures: Structures): T;
}

export interface Field {
  readonly name: string;
  readonly tag: number;
  readonly type: ValueType<unknown>;
  /** What the property is when the field is left out; without it the field is required. */
  readonly absent?: 'null' | 'missing';
}

/** `u8 tag ‖ u32 length`, in front of every field. */
const FIELD_PREFIX_BYTES = 5;
const LENGTH_BYTES = 4;
const NUMBER_BYTES = 8;
const ID_BYTES = 16;

export const MAX_NAME_BYTES = 255;
export const MAX_NAMES = 4096;

/** Below this a loop beats the call into the runtime that a bulk copy costs. */
const SHORT_COPY_BYTES = 40;

export function copyInto(target: Uint8Array, source: Uint8Array, at: number): void {
  if (source.length > SHORT_COPY_BYTES) {
    target.set(source, at);
    return;
  }
  // The index stays inside `source`.
  for (let i = 0; i < source.length; i += 1) target[at + i] = source[i] ?? 0;
}

/** Fills memory of an exact, precomputed size; writing past it is our mistake. */
export class ByteWriter {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = asBuffer(bytes);
  }

  get written(): number {
    return this.#at;
  }

  u8(value: number): void {
    this.#at = this.#bytes.writeUInt8(value, this.#at);
  }

  u32(value: number): void {
    this.#at = this.#bytes.writeUInt32BE(value, this.#at);
  }

  number(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, 'records hold whole numbers from 0');
    this.u32(Math.floor(value / 0x1_0000_0000));
    this.u32(value >>> 0);
  }

  raw(value: Uint8Array): void {
    assert(value.length <= this.#bytes.length - this.#at, 'a record outgrew its size');
    copyInto(this.#bytes, value, this.#at);
    this.#at += value.length;
  }

  packed(value: PackedAttributes): void {
    const length = value.byteLength;
    assert(length <= this.#bytes.length - this.#at, 'a record outgrew its size');
    value.copyTo(this.#bytes, this.#at);
    this.#at += length;
  }

  hex(value: string, byteLength: number): void {
    assert(byteLength <= this.#bytes.length - this.#at, 'a record outgrew its size');
    this.#at += this.#bytes.write(value, this.#at, byteLength, 'hex');
  }

  /** Room for a `u32 length`; `endMeasured` writes it in front of what was written since. */
  beginMeasured(): number {
    this.u32(0);
    return this.#at;
  }

  endMeasured(begin: number): void {
    this.#bytes.writeUInt32BE(this.#at - begin, begin - LENGTH_BYTES);
  }

  /** `byteLength` is the text's length in UTF-8. */
  text(value: string, byteLength: number): void {
    assert(byteLength <= this.#bytes.length - this.#at, 'a record outgrew its size');
    this.#at += this.#bytes.write(value, this.#at, byteLength, 'utf8');
  }
}

/** Reads within bounds; `enter` narrows to the next octets, `leave` insists that none of them is left. */
export class ByteReader {
  readonly #bytes: Buffer;
  /** The same memory; its `slice` copies, a Buffer's does not. */
  readonly #plain: Uint8Array;
  /** From and end of what stays in use, in turn and ascending. */
  readonly #kept: number[] = [];
  #at: number;
  #end: number;

  constructor(bytes: Uint8Array, from = 0) {
    this.#bytes = asBuffer(bytes);
    this.#plain = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = from;
    this.#end = bytes.length;
  }

  get left(): number {
    return this.#end - this.#at;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#advance(1));
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#advance(2));
  }

  u32(): number {
    return this.#bytes.readUInt32BE(this.#advance(4));
  }

  number(): number {
    const value = this.u32() * 0x1_0000_0000 + this.u32();
    if (!Number.isSafeInteger(value)) throw new MalformedRecord('a number is too large');
    return value;
  }

  /** A copy, so that the source can be wiped. */
  bytes(length: number): Uint8Array {
    const at = this.#advance(length);
    return this.#plain.slice(at, at + length);
  }

  text(length: number): string {
    const at = this.#advance(length);
    const text = this.#bytes.toString('utf8', at, at + length);
    // A replacement character is either damage or really there; only then the strict decoder is asked.
    if (text.includes('\ufffd')) return strictText(this.#bytes.subarray(at, at + length));
    return text;
  }

  hex(length: number): string {
    const at = this.#advance(length);
    return this.#bytes.toString('hex', at, at + length);
  }

  /** All that is left, as attributes that stay where they are: they become the caller's memory. */
  attributes(): PackedAttributes {
    const from = this.#at;
    const end = this.#end;
    const flaw = flawOf(this.#bytes, from, end);
    if (flaw !== undefined) throw new MalformedRecord(flaw);
    this.#kept.push(from, end);
    this.#at = end;
    return PackedAttributes.over(this.#bytes, from, end);
  }

  /** Overwrites everything but what stays in use. */
  wipeRest(): void {
    let wiped = 0;
    for (let i = 0; i < this.#kept.length; i += 2) {
      this.#bytes.fill(0, wiped, this.#kept[i]);
      wiped = this.#kept[i + 1] ?? 0;
    }
    this.#bytes.fill(0, wiped);
  }

  /** @returns what `leave` takes. */
  enter(length: number): number {
    const around = this.#end;
    if (length > this.left) throw new MalformedRecord('a record ends too early');
    this.#end = this.#at + length;
    return around;
  }

  leave(around: number): void {
    this.end();
    this.#end = around;
  }

  end(): void {
    if (this.left !== 0) throw new MalformedRecord('octets were left over');
  }

  #advance(length: number): number {
    if (length > this.left) throw new MalformedRecord('a record ends too early');
    const at = this.#at;
    this.#at += length;
    return at;
  }
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function strictText(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch {
    // The decoder's own error would tell no more than this.
    throw new MalformedRecord('a text is not UTF-8');
  }
}

// ---- fields of one record or structure

export function fieldsSize(
  fields: readonly Field[],
  value: object,
  structures: Structures,
): number {
  let size = 0;
  for (const field of fields) {
    const part = property(value, field);
    if (part !== undefined) size += FIELD_PREFIX_BYTES + field.type.size(part, structures);
  }
  return size;
}

export function writeFields(
  fields: readonly Field[],
  value: object,
  into: ByteWriter,
  structures: Structures,
): void {
  for (const field of fields) {
    const part = property(value, field);
    if (part === undefined) continue;
    into.u8(field.tag);
    const begin = into.beginMeasured();
    field.type.write(part, into, structures);
    into.endMeasured(begin);
  }
}

/** Tags ascend by table order; each field once, each required one present, nothing else. */
export function readFields(
  fields: readonly Field[],
  from: ByteReader,
  structures: Structures,
): Record<string, unknown> {
  const record: Record<string, unknown> = {};
  let tag = from.left > 0 ? from.u8() : 0;
  for (const field of fields) {
    if (tag !== field.tag) {
      if (field.absent === undefined) throw new MalformedRecord('a required field is missing');
      if (field.absent === 'null') record[field.name] = null;
      continue;
    }
    const around = from.enter(from.u32());
    record[field.name] = field.type.read(from, structures);
    from.leave(around);
    tag = from.left > 0 ? from.u8() : 0;
  }
  // Tag 0 is never used, so it stands for the end; anything else is unknown, doubled or out of order.
  if (tag !== 0) throw new MalformedRecord('an unexpected field');
  from.end();
  return record;
}

/** `undefined` when there is nothing to write. */
function property(value: object, field: Field): unknown {
  // Tables name properties of the very types they describe; `record()` in records.ts checks that.
  const part = (value as Readonly<Record<string, unknown>>)[field.name];
  if (part !== undefined && part !== null) return part;
  assert(field.absent !== undefined, `a record has no ${field.name}`);
  return undefined;
}

// ---- the kinds of value

export const number: ValueType<number> = {
  size: () => NUMBER_BYTES,
  write: (value, into) => into.number(value),
  read: (from) => from.number(),
};

/** 32 lower-case hexadecimal digits outside, 16 octets inside. */
export const id: ValueType<string> = {
  size: () => ID_BYTES,
  write: (value, into) => {
    assert(/^[0-9a-f]{32}$/.test(value), 'an id is 32 lower-case hexadecimal digits');
    into.hex(value, ID_BYTES);
  },
  read: (from) => from.hex(ID_BYTES),
};

export function text(max: number): ValueType<string> {
  return {
    size: (value) => textSize(value, max),
    write: (value, into) => {
      assert(value.isWellFormed(), 'a text has a lone surrogate');
      into.text(value, textSize(value, max));
    },
    read: (from) => from.text(atMost(from.left, max)),
  };
}

export function bytes(limit: { max: number } | { exactly: number }): ValueType<Uint8Array> {
  const min = 'exactly' in limit ? limit.exactly : 0;
  const max = 'exactly' in limit ? limit.exactly : limit.max;
  return {
    size: (value) => {
      assert(
        value.length >= min && value.length <= max,
        'bytes of a length the format cannot hold',
      );
      return value.length;
    },
    write: (value, into) => into.raw(value),
    read: (from) => {
      if (from.left < min) throw new MalformedRecord('bytes of a wrong length');
      return from.bytes(atMost(from.left, max));
    },
  };
}

/** One octet for one of a few words. */
export function choice<Word extends string>(
  codes: Readonly<Record<Word, number>>,
): ValueType<Word> {
  // Object.entries of a Record keyed by the words gives exactly those words.
  const words = new Map(Object.entries(codes).map(([word, code]) => [code, word as Word]));
  return {
    size: () => 1,
    write: (value, into) => into.u8(codes[value]),
    read: (from) => {
      const word = words.get(from.u8());
      if (word === undefined) throw new MalformedRecord('a code without meaning');
      return word;
    },
  };
}

/** Most objects are shared with nobody; they need no list each. */
const NO_NAMES: readonly string[] = [];

export const names: ValueType<readonly string[]> = {
  size: (value) => {
    assert(value.length <= MAX_NAMES, 'too many names in a list');
    return value.reduce((sum, name) => sum + 4 + textSize(name, MAX_NAME_BYTES), 4);
  },
  write: (value, into) => {
    into.u32(value.length);
    for (const name of value) {
      assert(name.isWellFormed(), 'a text has a lone surrogate');
      const size = textSize(name, MAX_NAME_BYTES);
      into.u32(size);
      into.text(name, size);
    }
  },
  read: (from) => {
    const count = atMost(from.u32(), MAX_NAMES);
    if (count === 0) return NO_NAMES;
    const list: string[] = [];
    for (let left = count; left > 0; left--) {
      list.push(from.text(atMost(from.u32(), MAX_NAME_BYTES)));
    }
    return list;
  },
};

/** The named structure's fields, without a kind in front. */
export function structure<T extends object>(name: keyof Structures): ValueType<T> {
  return {
    size: (value, structures) => fieldsSize(structures[name].fields, value, structures),
    write: (value, into, structures) =>
      writeFields(structures[name].fields, value, into, structures),
    // readFields gives what the structure's table says, and records.ts ties that table to T.
    read: (from, structures) => readFields(structures[name].fields, from, structures) as T,
  };
}

/** In memory they have the form that they have here, so that writing and reading are a copy or less. */
export const attributes: ValueType<Attributes> = {
  size: (value) => PackedAttributes.of(value).byteLength,
  write: (value, into) => into.packed(PackedAttributes.of(value)),
  read: (from) => from.attributes(),
};

function textSize(value: string, max: number): number {
  const size = Buffer.byteLength(value, 'utf8');
  if (size > max) throw new Broken(`a text of ${size} octets where ${max} fit`);
  return size;
}

function atMost(length: number, max: number): number {
  if (length > max) throw new MalformedRecord('a value is too long');
  return length;
}
