/** A version 4 UUID (RFC 9562): what requests and records are called by. */
import type { Random } from './random.ts';

export function newUuid(random: Random): string {
  const bytes = random.bytes(16);
  const hex = [...bytes].map((byte, i) => {
    const fixed = i === 6 ? (byte & 0x0f) | 0x40 : i === 8 ? (byte & 0x3f) | 0x80 : byte;
    return fixed.toString(16).padStart(2, '0');
  });
  return hex.join('').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
