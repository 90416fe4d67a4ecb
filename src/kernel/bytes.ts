/** Bytes are `Uint8Array`. Text forms, comparisons and big-endian integers in one place. */
import { timingSafeEqual } from 'node:crypto';

const utf8 = new TextEncoder();
const utf8Strict = new TextDecoder('utf-8', { fatal: true });

export const fromUtf8 = (text: string): Uint8Array => utf8.encode(text);
/** @throws TypeError when the bytes are not UTF-8. */
export const toUtf8 = (bytes: Uint8Array): string => utf8Strict.decode(bytes);
export const toHex = (bytes: Uint8Array): string => asBuffer(bytes).toString('hex');
export const toBase64 = (bytes: Uint8Array): string => asBuffer(bytes).toString('base64');

export function fromHex(text: string): Uint8Array {
  if (!/^([0-9a-f]{2})*$/i.test(text)) throw new TypeError('not hexadecimal text');
  return new Uint8Array(Buffer.from(text, 'hex'));
}

/** Strict: canonical alphabet and padding only, so that one value has one spelling. */
export function fromBase64(text: string): Uint8Array {
  const bytes = Buffer.from(text, 'base64');
  if (bytes.toString('base64') !== text) throw new TypeError('not canonical base64 text');
  return new Uint8Array(bytes);
}

/** A Buffer view over the same memory, for node APIs. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Length is public, content is compared in constant time. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Byte order, as `memcmp`: for sorting. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  return Buffer.compare(a, b);
}

export function u16(value: number): Uint8Array {
  const out = new Uint8Array(2);
  new DataView(out.buffer).setUint16(0, value);
  return out;
}

export function u32(value: number): Uint8Array {
  const out = new Uint8Array(4);
  new DataView(out.buffer).setUint32(0, value);
  return out;
}

export function u64(value: bigint | number): Uint8Array {
  const out = new Uint8Array(8);
  new DataView(out.buffer).setBigUint64(0, BigInt(value));
  return out;
}
