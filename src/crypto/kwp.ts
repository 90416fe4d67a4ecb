/**
 * AES-256 key wrap, one key at a time, on Node's own cipher: KW (NIST SP 800-38F §6.2, RFC 3394) and
 * KWP (§6.3, RFC 5649). `kwp-lanes.ts` does the same to many segments at once and much faster.
 *
 * Node's traps, all shut here: it takes any IV of the right size (ours are constants), returns nothing
 * and no error for empty input (lengths are checked first), and fails an unwrap with an error that has
 * no code (translated; one sentence for every cause).
 */
import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';
import { CryptoError } from './errors.ts';
import { asBytes } from './views.ts';

export const KEK_BYTES = 32;
export const SEMIBLOCK_BYTES = 8;

/** ICV1 of SP 800-38F §6.2. */
export const KW_ICV = Uint8Array.of(0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6);
/** ICV2 of SP 800-38F §6.3; the plaintext's length in bytes, 32 bits, follows it. */
export const KWP_ICV = Uint8Array.of(0xa6, 0x59, 0x59, 0xa6);

/** Fewer would be one bare AES block, whose padding can be probed: never made, never opened. */
export const KWP_MIN_PLAINTEXT_BYTES = 9;
export const KWP_MAX_PLAINTEXT_BYTES = 2 ** 31 - 1;
const KW_MIN_PLAINTEXT_BYTES = 16;
const MIN_WRAPPED_BYTES = 24;

const KW = 'id-aes256-wrap';
const KWP = 'id-aes256-wrap-pad';

/**
 * Wraps key material under `kek` (KWP-AE).
 *
 * Source: NIST SP 800-38F §6.3, Algorithm 5. Deterministic: the same input gives the same output.
 * 10 MB/s, blocks the thread.
 * @param kek 32 bytes.
 * @param plaintext 9 to 2^31 - 1 bytes. Up to 8 would be one bare AES block, which we refuse; the upper
 *   bound is OpenSSL's, the standard allows 2^32 - 1.
 * @returns 8 · (⌈n/8⌉ + 1) bytes.
 * @throws {CryptoError} `KEK_LENGTH`, `PLAINTEXT_LENGTH`.
 */
export function wrapKwp(kek: KeyObject, plaintext: Uint8Array): Uint8Array {
  checkKek(kek);
  checkKwpPlaintextLength(plaintext.length);
  return wrap(KWP, KWP_ICV, kek, plaintext);
}

/**
 * Unwraps what `wrapKwp` made (KWP-AD), checking ICV2, the length field and the zero padding.
 *
 * Source: NIST SP 800-38F §6.3, Algorithm 6. 6 MB/s, blocks the thread.
 * @param wrapped at least 24 bytes, a multiple of 8.
 * @throws {CryptoError} `KEK_LENGTH`; `UNWRAP` for everything else.
 */
export function unwrapKwp(kek: KeyObject, wrapped: Uint8Array): Uint8Array {
  return unwrap(KWP, KWP_ICV, kek, wrapped);
}

/**
 * Wraps whole semiblocks under `kek` (KW-AE).
 *
 * Source: NIST SP 800-38F §6.2, Algorithm 3.
 * @param plaintext 16 to 2^31 - 8 bytes, a multiple of 8.
 * @returns n + 8 bytes.
 * @throws {CryptoError} `KEK_LENGTH`, `PLAINTEXT_LENGTH`.
 */
export function wrapKw(kek: KeyObject, plaintext: Uint8Array): Uint8Array {
  checkKek(kek);
  const bytes = plaintext.length;
  if (
    bytes < KW_MIN_PLAINTEXT_BYTES ||
    bytes > KWP_MAX_PLAINTEXT_BYTES ||
    bytes % SEMIBLOCK_BYTES !== 0
  ) {
    throw new CryptoError('PLAINTEXT_LENGTH', 'KW takes 16 bytes or more, a multiple of 8');
  }
  return wrap(KW, KW_ICV, kek, plaintext);
}

/**
 * Unwraps what `wrapKw` made (KW-AD).
 *
 * Source: NIST SP 800-38F §6.2, Algorithm 4.
 * @param wrapped at least 24 bytes, a multiple of 8.
 * @throws {CryptoError} `KEK_LENGTH`; `UNWRAP` for everything else.
 */
export function unwrapKw(kek: KeyObject, wrapped: Uint8Array): Uint8Array {
  return unwrap(KW, KW_ICV, kek, wrapped);
}

/** @throws {CryptoError} `KEK_LENGTH` unless `kek` is an AES-256 key. */
export function checkKek(kek: KeyObject): void {
  if (kek.type !== 'secret' || kek.symmetricKeySize !== KEK_BYTES) {
    throw new CryptoError('KEK_LENGTH', 'a key-encryption key is 32 secret bytes');
  }
}

/** @throws {CryptoError} `PLAINTEXT_LENGTH`. */
export function checkKwpPlaintextLength(bytes: number): void {
  if (bytes < KWP_MIN_PLAINTEXT_BYTES || bytes > KWP_MAX_PLAINTEXT_BYTES) {
    throw new CryptoError('PLAINTEXT_LENGTH', 'KWP takes 9 to 2^31 - 1 bytes');
  }
}

/** The one error of every unwrap that fails, on this path and in the lanes. */
export function unwrapFailure(): CryptoError {
  return new CryptoError('UNWRAP', 'the wrapped bytes do not open under this key');
}

function wrap(cipherName: string, iv: Uint8Array, kek: KeyObject, plaintext: Uint8Array) {
  const cipher = createCipheriv(cipherName, kek, iv);
  const wrapped = cipher.update(plaintext);
  // Nothing is left to come; final() frees the key schedule now instead of at some collection.
  cipher.final();
  return asBytes(wrapped);
}

function unwrap(cipherName: string, iv: Uint8Array, kek: KeyObject, wrapped: Uint8Array) {
  checkKek(kek);
  if (wrapped.length < MIN_WRAPPED_BYTES || wrapped.length % SEMIBLOCK_BYTES !== 0) {
    throw unwrapFailure();
  }
  const decipher = createDecipheriv(cipherName, kek, iv);
  let plaintext: Uint8Array;
  try {
    plaintext = asBytes(decipher.update(wrapped));
    decipher.final();
  } catch {
    // OpenSSL's reason is dropped on purpose: one sentence for every cause.
    throw unwrapFailure();
  }
  // A wrap of 8 bytes or fewer in two semiblocks or more can't be; an empty result never counts.
  if (plaintext.length === 0) throw unwrapFailure();
  return plaintext;
}
