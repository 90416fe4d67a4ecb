/**
 * Keys from keys: NIST SP 800-108r1 §4.1, KDF in counter mode, PRF = HMAC.
 *
 * HMAC and not CMAC: §6.7 shows that who knows the key and chooses the context can steer CMAC's output.
 */
import { createHmac, type KeyObject } from 'node:crypto';
import { asBuffer, concat, fromUtf8, u32 } from '../kernel/bytes.ts';
import { CryptoError } from './errors.ts';
import { wipe } from './views.ts';

export interface Derivation {
  /** K_IN: a uniformly random key, used for nothing but derivation. */
  readonly key: Uint8Array | KeyObject;
  /** What the result is for. Without zero bytes: one of those ends it. Text counts as UTF-8. */
  readonly label: string | Uint8Array;
  /** Whom and what the result is bound to; make it with `lengthPrefixed`. */
  readonly context: Uint8Array;
  /** 1 to 2^29 - 1 bytes, so that the length in bits fits 32 bits. */
  readonly lengthBytes: number;
  /** `sha256` when absent. */
  readonly hash?: 'sha256' | 'sha384' | 'sha512';
}

const MAX_LENGTH_BYTES = 2 ** 29 - 1;

/**
 * Derives a key: K(i) = HMAC(K_IN, [i]32 ‖ Label ‖ 00 ‖ Context ‖ [L]32), L in bits, leftmost bytes kept.
 *
 * Source: NIST SP 800-108r1 §4.1, counter before the fixed input, r = 32.
 * @throws {CryptoError} `LENGTH` for an empty key, a label with a zero byte, or an impossible length.
 */
export function deriveKey({ key, label, context, lengthBytes, hash }: Derivation): Uint8Array {
  const labelBytes = typeof label === 'string' ? fromUtf8(label) : label;
  checkInputs(key, labelBytes, lengthBytes);
  const fixed = concat(labelBytes, Uint8Array.of(0), context, u32(lengthBytes * 8));
  const out = new Uint8Array(lengthBytes);
  for (let i = 1, have = 0; have < lengthBytes; i += 1) {
    const hmacKey = key instanceof Uint8Array ? asBuffer(key) : key;
    const block = createHmac(hash ?? 'sha256', hmacKey)
      .update(u32(i))
      .update(fixed)
      .digest();
    out.set(block.subarray(0, lengthBytes - have), have);
    have += block.length;
    wipe(block);
  }
  return out;
}

/** `u32 length ‖ bytes` of each part: no two lists of parts give the same bytes. */
export function lengthPrefixed(...parts: readonly Uint8Array[]): Uint8Array {
  return concat(...parts.flatMap((part) => [u32(part.length), part]));
}

function checkInputs(key: Uint8Array | KeyObject, label: Uint8Array, lengthBytes: number): void {
  const keyBytes = key instanceof Uint8Array ? key.length : (key.symmetricKeySize ?? 0);
  if (keyBytes === 0) throw new CryptoError('LENGTH', 'a derivation needs a secret key');
  if (label.includes(0)) throw new CryptoError('LENGTH', 'a derivation label has no zero bytes');
  if (!Number.isInteger(lengthBytes) || lengthBytes < 1 || lengthBytes > MAX_LENGTH_BYTES) {
    throw new CryptoError('LENGTH', 'a derived key has 1 to 2^29 - 1 bytes');
  }
}
