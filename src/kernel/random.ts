/** Luck as an argument. `systemRandom` is OpenSSL's CTR-DRBG over getrandom. */
import { randomBytes } from 'node:crypto';

export interface Random {
  bytes(length: number): Uint8Array;
}

export const systemRandom: Random = { bytes: (length) => new Uint8Array(randomBytes(length)) };

/** A whole number in [0, bound), without modulo bias worth naming (2^-32 for bounds below 2^16). */
export function randomBelow(random: Random, bound: number): number {
  const b = random.bytes(6);
  const n = b.reduce((sum, byte) => sum * 256 + byte, 0);
  return n % bound;
}
