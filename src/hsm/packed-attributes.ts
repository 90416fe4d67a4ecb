/**
 * An object's attributes as one run of bytes, behind the face of a map.
 *
 * A full HSM holds half a million attributes. Each as a value of its own takes ten times the memory of
 * what it says; packed in the very form in which records carry them, an object is one value, and writing
 * or reading its record is a copy. Source of the form: docs/formats/backup-v1.md, "Kinds of value":
 *
 *   u32 count, then by strictly ascending type: u32 CKA type ‖ u8 sort ‖ u32 length ‖ value
 *
 * It must never hand out a copy of a value's bytes: what the map gives are views, so that wiping the one
 * place wipes the key. They are for the moment: nobody keeps one over a wait.
 */
import { release } from '../crypto/views.ts';
import { assert } from '../kernel/errors.ts';
import type { Attributes, AttributeValue } from './state.ts';

export const MAX_ATTRIBUTES = 256;
export const MAX_ATTRIBUTE_BYTES = 1 << 20;

const SORT = { bool: 1, ulong: 2, bytes: 3 } as const satisfies Record<
  AttributeValue['type'],
  number
>;
const COUNT_BYTES = 4;
/** `u32 type ‖ u8 sort ‖ u32 length`. */
const PREFIX_BYTES = 9;
const SORT_AT = 4;
const LENGTH_AT = 5;
const ULONG_BYTES = 8;
const TWO_32 = 0x1_0000_0000;

/** For whoever looks at every attribute of every object: no value is made, so nothing is to be collected. */
export interface AttributeVisitor {
  bool(type: number, value: boolean): void;
  ulong(type: number, value: number): void;
  /** The value is `source` from `from` to `end`, and no longer there once the visit is over. */
  bytes(type: number, source: Buffer, from: number, end: number): void;
}

export class PackedAttributes implements ReadonlyMap<number, AttributeValue> {
  /** May hold much more: the objects of one archive lie side by side in one piece of memory. */
  #memory: Buffer;
  #from: number;
  #end: number;

  /** Packs a map; gives back what is packed already. @throws Broken for what the form cannot hold. */
  static of(attributes: Attributes): PackedAttributes {
    return attributes instanceof PackedAttributes ? attributes : pack(attributes);
  }

  /**
   * Over bytes that stay where they are and belong to this object from now on.
   * @param memory checked by `flawOf` with the same bounds.
   */
  static over(memory: Buffer, from: number, end: number): PackedAttributes {
    return new PackedAttributes(memory, from, end);
  }

  private constructor(memory: Buffer, from: number, end: number) {
    this.#memory = memory;
    this.#from = from;
    this.#end = end;
  }

  /** Of the packed form. */
  get byteLength(): number {
    return this.#end - this.#from;
  }

  get size(): number {
    return this.#memory.readUInt32BE(this.#from);
  }

  /** Which piece of memory it lies in, to be told from others. */
  get memory(): ArrayBufferLike {
    return this.#memory.buffer;
  }

  /** Whether it has a piece of memory for itself. */
  get isAlone(): boolean {
    return this.memory.byteLength === this.byteLength;
  }

  /** Says the same from another place on; the place before is wiped, and so are views that somebody kept. */
  moveTo(memory: Buffer, at: number): void {
    const length = this.byteLength;
    const before = this.#memory.subarray(this.#from, this.#end);
    memory.set(before, at);
    before.fill(0);
    release(before);
    this.#memory = memory;
    this.#from = at;
    this.#end = at + length;
  }

  copyTo(target: Uint8Array, at: number): void {
    this.#memory.copy(target, at, this.#from, this.#end);
  }

  has(type: number): boolean {
    return this.#find(type) !== undefined;
  }

  get(type: number): AttributeValue | undefined {
    const at = this.#find(type);
    return at === undefined ? undefined : this.#valueAt(at);
  }

  *entries(): Generator<[number, AttributeValue], undefined> {
    for (let at = this.#from + COUNT_BYTES; at < this.#end; at = this.#next(at)) {
      yield [this.#memory.readUInt32BE(at), this.#valueAt(at)];
    }
  }

  [Symbol.iterator](): Generator<[number, AttributeValue], undefined> {
    return this.entries();
  }

  *keys(): Generator<number, undefined> {
    for (const [type] of this.entries()) yield type;
  }

  *values(): Generator<AttributeValue, undefined> {
    for (const [, value] of this.entries()) yield value;
  }

  forEach(
    call: (value: AttributeValue, type: number, map: ReadonlyMap<number, AttributeValue>) => void,
    self?: unknown,
  ): void {
    for (const [type, value] of this.entries()) call.call(self, value, type, this);
  }

  /** All of them by ascending type. */
  visit(visitor: AttributeVisitor): void {
    const memory = this.#memory;
    for (let at = this.#from + COUNT_BYTES; at < this.#end; ) {
      const type = memory.readUInt32BE(at);
      const from = at + PREFIX_BYTES;
      const end = from + memory.readUInt32BE(at + LENGTH_AT);
      const sort = memory[at + SORT_AT];
      if (sort === SORT.bool) visitor.bool(type, memory[from] === 1);
      else if (sort === SORT.ulong) visitor.ulong(type, ulongAt(memory, from));
      else visitor.bytes(type, memory, from, end);
      at = end;
    }
  }

  /** Where the attribute begins. */
  #find(type: number): number | undefined {
    for (let at = this.#from + COUNT_BYTES; at < this.#end; at = this.#next(at)) {
      const found = this.#memory.readUInt32BE(at);
      if (found >= type) return found === type ? at : undefined;
    }
    return undefined;
  }

  #next(at: number): number {
    return at + PREFIX_BYTES + this.#memory.readUInt32BE(at + LENGTH_AT);
  }

  #valueAt(at: number): AttributeValue {
    const memory = this.#memory;
    const from = at + PREFIX_BYTES;
    const sort = memory[at + SORT_AT];
    if (sort === SORT.bool) return memory[from] === 1 ? TRUE : FALSE;
    if (sort === SORT.ulong) return { type: 'ulong', value: ulongAt(memory, from) };
    const length = memory.readUInt32BE(at + LENGTH_AT);
    // A plain array, not a Buffer, whose `slice` would be another view.
    const value = new Uint8Array(memory.buffer, memory.byteOffset + from, length);
    return { type: 'bytes', value };
  }
}

const TRUE: AttributeValue = { type: 'bool', value: true };
const FALSE: AttributeValue = { type: 'bool', value: false };

function pack(attributes: Attributes): PackedAttributes {
  assert(attributes.size <= MAX_ATTRIBUTES, 'too many attributes');
  let size = COUNT_BYTES;
  for (const attribute of attributes.values()) size += PREFIX_BYTES + valueBytes(attribute);
  const memory = Buffer.alloc(size);
  let at = memory.writeUInt32BE(attributes.size, 0);
  for (const [type, attribute] of [...attributes].sort(([a], [b]) => a - b)) {
    at = memory.writeUInt32BE(type, at);
    at = memory.writeUInt8(SORT[attribute.type], at);
    at = memory.writeUInt32BE(valueBytes(attribute), at);
    at = writeValue(attribute, memory, at);
  }
  return PackedAttributes.over(memory, 0, size);
}

function valueBytes(attribute: AttributeValue): number {
  if (attribute.type === 'bool') return 1;
  if (attribute.type === 'ulong') return ULONG_BYTES;
  assert(attribute.value.length <= MAX_ATTRIBUTE_BYTES, 'an attribute is too long');
  return attribute.value.length;
}

function writeValue(attribute: AttributeValue, memory: Buffer, at: number): number {
  if (attribute.type === 'bool') return memory.writeUInt8(attribute.value ? 1 : 0, at);
  if (attribute.type === 'bytes') {
    memory.set(attribute.value, at);
    return at + attribute.value.length;
  }
  const { value } = attribute;
  assert(Number.isSafeInteger(value) && value >= 0, 'an attribute is no whole number from 0');
  return memory.writeUInt32BE(value >>> 0, memory.writeUInt32BE(Math.floor(value / TWO_32), at));
}

function ulongAt(memory: Buffer, at: number): number {
  return memory.readUInt32BE(at) * TWO_32 + memory.readUInt32BE(at + 4);
}

/** Overwrites the bytes in them, secret or not, wherever they are. */
export function wipeAttributes(attributes: Attributes): void {
  for (const attribute of attributes.values()) {
    if (attribute.type === 'bytes') attribute.value.fill(0);
  }
}

/** What keeps the bytes from being attributes in the one form that there is for them; undefined if nothing. */
export function flawOf(memory: Buffer, from: number, end: number): string | undefined {
  if (end - from < COUNT_BYTES) return 'attributes end too early';
  const count = memory.readUInt32BE(from);
  if (count > MAX_ATTRIBUTES) return 'too many attributes';
  let at = from + COUNT_BYTES;
  let previous = -1;
  for (let left = count; left > 0; left -= 1) {
    if (end - at < PREFIX_BYTES) return 'attributes end too early';
    const type = memory.readUInt32BE(at);
    if (type <= previous) return 'attributes out of order';
    previous = type;
    const length = memory.readUInt32BE(at + LENGTH_AT);
    if (length > MAX_ATTRIBUTE_BYTES) return 'an attribute is too long';
    const value = at + PREFIX_BYTES;
    if (end - value < length) return 'attributes end too early';
    if (!isValue(memory, memory[at + SORT_AT], value, length))
      return 'an attribute of no known sort';
    at = value + length;
  }
  return at === end ? undefined : 'octets were left over';
}

function isValue(memory: Buffer, sort: number | undefined, at: number, length: number): boolean {
  if (sort === SORT.bytes) return true;
  if (sort === SORT.bool) return length === 1 && memory.readUInt8(at) <= 1;
  return sort === SORT.ulong && length === ULONG_BYTES && Number.isSafeInteger(ulongAt(memory, at));
}
