/**
 * AES-256-GCM (NIST SP 800-38D §7) for records at rest and in flight.
 *
 * Who calls must never use a nonce twice under one key: a counter, or a key per message. With random
 * nonces at most 2^32 messages per key (§8.3).
 */
import { createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto';
import { CryptoError } from './errors.ts';
import { asBytes, release, wipe } from './views.ts';

export const AEAD_KEY_BYTES = 32;
export const AEAD_NONCE_BYTES = 12;
export const AEAD_TAG_BYTES = 16;

/**
 * Encrypts and authenticates `plaintext`, authenticates `aad`.
 *
 * Source: NIST SP 800-38D §7.1, Algorithm 4.
 * @param key 32 bytes.
 * @param nonce 12 bytes.
 * @returns ciphertext ‖ 16-byte tag: 16 bytes more than the plaintext.
 * @throws {CryptoError} `LENGTH` for another size of key or nonce.
 */
export function sealAead(
  key: Uint8Array | KeyObject,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  aad: Uint8Array,
): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', aeadKey(key), checkedNonce(nonce), {
    authTagLength: AEAD_TAG_BYTES,
  });
  cipher.setAAD(aad);
  const sealed = new Uint8Array(plaintext.length + AEAD_TAG_BYTES);
  const ciphertext = cipher.update(plaintext);
  sealed.set(ciphertext);
  release(ciphertext);
  cipher.final();
  sealed.set(cipher.getAuthTag(), plaintext.length);
  return sealed;
}

/**
 * Opens what `sealAead` made. Nothing of the plaintext leaves before the tag was checked.
 *
 * Source: NIST SP 800-38D §7.2, Algorithm 5.
 * @throws {CryptoError} `LENGTH` for another size of key or nonce; `DECRYPT` for everything else.
 */
export function openAead(
  key: Uint8Array | KeyObject,
  nonce: Uint8Array,
  sealed: Uint8Array,
  aad: Uint8Array,
): Uint8Array {
  const decipher = createDecipheriv('aes-256-gcm', aeadKey(key), checkedNonce(nonce), {
    authTagLength: AEAD_TAG_BYTES,
  });
  const bodyBytes = sealed.length - AEAD_TAG_BYTES;
  if (bodyBytes < 0) throw decryptFailure();
  decipher.setAAD(aad);
  decipher.setAuthTag(sealed.subarray(bodyBytes));
  const plaintext = asBytes(decipher.update(sealed.subarray(0, bodyBytes)));
  try {
    decipher.final();
  } catch {
    // OpenSSL says no more than "unsupported state"; what was deciphered is not to be seen.
    wipe(plaintext);
    throw decryptFailure();
  }
  return plaintext;
}

const decryptFailure = (): CryptoError =>
  new CryptoError('DECRYPT', 'the sealed bytes do not open under this key');

function aeadKey(key: Uint8Array | KeyObject): KeyObject {
  const object = key instanceof Uint8Array ? createSecretKey(key) : key;
  if (object.type !== 'secret' || object.symmetricKeySize !== AEAD_KEY_BYTES) {
    throw new CryptoError('LENGTH', 'an AES-256-GCM key is 32 secret bytes');
  }
  return object;
}

function checkedNonce(nonce: Uint8Array): Uint8Array {
  if (nonce.length !== AEAD_NONCE_BYTES) {
    throw new CryptoError('LENGTH', 'an AES-256-GCM nonce is 12 bytes');
  }
  return nonce;
}
