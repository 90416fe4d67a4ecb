/**
 * The kinds of value that records are made of, each with its size, its bytes and its strict reading.
 *
 * Source: docs/formats/backup-v1.md, "Kinds of value". A value that the format cannot hold is our own
 * mistake when writing (`Broken`) and damage when reading (`MalformedRecord`); nothing is ever clipped.
 */
import { asBuffer, fromHex } from '../../kernel/bytes.ts';
import { assert, Broken } from '../../kernel/errors.ts';
import type { Attributes, AttributeValue } from '../state.ts';

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
const NUMBER_BYTES = 8;
const ID_BYTES = 16;

export const MAX_NAME_BYTES = 255;
export const MAX_NAMES = 4096;
export const MAX_ATTRIBUTES = 256;
export const MAX_ATTRIBUTE_BYTES = 1 << 20;

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

  /** `u32 length ‖` whatever `write` writes. */
  measured(write: () => void): void {
    const at = this.#at;
    this.u32(0);
    write();
    this.#bytes.writeUInt32BE(this.#at - at - 4, at);
  }

  /** `byteLength` is the text's length in UTF-8. */
  text(value: string, byteLength: number): void {
    assert(byteLength <= this.#bytes.length - this.#at, 'a record outgrew its size');
    this.#at += this.#bytes.write(value, this.#at, byteLength, 'utf8');
  }
}

/** Reads within bounds; `part` narrows to the next octets, `end` insists that nothing is left. */
export class ByteReader {
  readonly #bytes: Buffer;
  /** The same memory; its `slice` copies, a Buffer's does not. */
  readonly #plain: Uint8Array;
  #at: number;
  readonly #end: number;

  /** A part looks through its `whole`'s views: making its own would take longer than reading. */
  constructor(bytes: Uint8Array, from = 0, end = bytes.length, whole?: ByteReader) {
    this.#bytes = whole === undefined ? asBuffer(bytes) : whole.#bytes;
    this.#plain =
      whole === undefined
        ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
        : whole.#plain;
    this.#at = from;
    this.#end = end;
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

  part(length: number): ByteReader {
    const at = this.#advance(length);
    return new ByteReader(this.#bytes, at, at + length, this);
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
    into.measured(() => field.type.write(part, into, structures));
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
    const part = from.part(from.u32());
    record[field.name] = field.type.read(part, structures);
    part.end();
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
    into.raw(fromHex(value));
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
    const list: string[] = [];
    for (let left = atMost(from.u32(), MAX_NAMES); left > 0; left--) {
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

const SORT = { bool: 1, ulong: 2, bytes: 3 } as const satisfies Record<
  AttributeValue['type'],
  number
>;
/** `u32 type ‖ u8 sort ‖ u32 length`. */
const ATTRIBUTE_PREFIX_BYTES = 9;

export const attributes: ValueType<Attributes> = {
  size: (value) => {
    assert(value.size <= MAX_ATTRIBUTES, 'too many attributes');
    let size = 4;
    for (const attribute of value.values()) {
      size += ATTRIBUTE_PREFIX_BYTES + attributeSize(attribute);
    }
    return size;
  },
  write: (value, into) => {
    into.u32(value.size);
    for (const [type, attribute] of byType(value)) {
      into.u32(type);
      into.u8(SORT[attribute.type]);
      into.u32(attributeSize(attribute));
      writeAttribute(attribute, into);
    }
  },
  read: (from) => {
    const all = new Map<number, AttributeValue>();
    let previous = -1;
    for (let left = atMost(from.u32(), MAX_ATTRIBUTES); left > 0; left--) {
      const type = from.u32();
      if (type <= previous) throw new MalformedRecord('attributes out of order');
      previous = type;
      all.set(type, readAttribute(from.u8(), from.u32(), from));
    }
    return all;
  },
};

/** Most maps are in order already, and sorting a full HSM's costs as much as writing it. */
function byType(value: Attributes): Iterable<[number, AttributeValue]> {
  let previous = -1;
  for (const type of value.keys()) {
    if (type < previous) return [...value].sort(([a], [b]) => a - b);
    previous = type;
  }
  return value;
}

function attributeSize(attribute: AttributeValue): number {
  if (attribute.type === 'bool') return 1;
  if (attribute.type === 'ulong') return NUMBER_BYTES;
  assert(attribute.value.length <= MAX_ATTRIBUTE_BYTES, 'an attribute is too long');
  return attribute.value.length;
}

function writeAttribute(attribute: AttributeValue, into: ByteWriter): void {
  if (attribute.type === 'bool') into.u8(attribute.value ? 1 : 0);
  else if (attribute.type === 'ulong') into.number(attribute.value);
  else into.raw(attribute.value);
}

/** Records are values, so equal attributes may be one: a full HSM holds half a million, most of them these. */
const TRUE: AttributeValue = { type: 'bool', value: true };
const FALSE: AttributeValue = { type: 'bool', value: false };
/** Covers classes, key types, lengths and the mechanisms that keys are made with. */
const SHARED_ULONGS = 8_192;
const ulongs = new Map<number, AttributeValue>();

function ulongOf(value: number): AttributeValue {
  const known = ulongs.get(value);
  if (known !== undefined) return known;
  const made: AttributeValue = { type: 'ulong', value };
  if (value < SHARED_ULONGS) ulongs.set(value, made);
  return made;
}

function readAttribute(sort: number, length: number, from: ByteReader): AttributeValue {
  if (sort === SORT.bytes) {
    return { type: 'bytes', value: from.bytes(atMost(length, MAX_ATTRIBUTE_BYTES)) };
  }
  if (sort === SORT.ulong && length === NUMBER_BYTES) return ulongOf(from.number());
  if (sort === SORT.bool && length === 1) {
    const value = from.u8();
    if (value <= 1) return value === 1 ? TRUE : FALSE;
  }
  throw new MalformedRecord('an attribute of no known sort');
}

function textSize(value: string, max: number): number {
  const size = Buffer.byteLength(value, 'utf8');
  if (size > max) throw new Broken(`a text of ${size} octets where ${max} fit`);
  return size;
}

function atMost(length: number, max: number): number {
  if (length > max) throw new MalformedRecord('a value is too long');
  return length;
}
