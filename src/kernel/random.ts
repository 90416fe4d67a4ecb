/** Luck as an argument. `systemRandom` is OpenSSL's CTR-DRBG over getrandom. */
import { randomBytes } from 'node:crypto';

export interface Random {
  bytes(length: number): Uint8Array;
}

export const systemRandom: Random = { bytes: (length) => new Uint8Array(randomBytes(length)) };

/** Of one draw from the system: 256 UUIDs. */
const POOL_BYTES = 4_096;

/**
 * The same luck, drawn from the system in bulk and kept until it is asked for: for names, of which many are made
 * and none is secret. Never for keys.
 */
export function pooledRandom(random: Random): Random {
  let pool = new Uint8Array(0);
  return {
    bytes: (length) => {
      if (length > pool.length) pool = new Uint8Array(random.bytes(Math.max(length, POOL_BYTES)));
      const taken = pool.slice(0, length);
      pool = pool.subarray(length);
      return taken;
    },
  };
}

/** A whole number in [0, bound), without modulo bias worth naming (2^-32 for bounds below 2^16). */
export function randomBelow(random: Random, bound: number): number {
  const b = random.bytes(6);
  const n = b.reduce((sum, byte) => sum * 256 + byte, 0);
  return n % bound;
}
