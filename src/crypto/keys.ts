/** Asymmetric keys: making pairs that were tried before use, and telling kinds apart. */
import { createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';
import { fromUtf8 } from '../kernel/bytes.ts';
import { CryptoError } from './errors.ts';

export interface EcKeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

/**
 * A P-256 key pair (FIPS 186-5 §A.2), with the pairwise consistency test that FIPS 140-3 asks for.
 * @throws {CryptoError} `SELF_TEST` when the halves don't fit each other.
 */
export function generateEcKeyPair(): EcKeyPair {
  const pair = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
  const sentence = fromUtf8('pairwise consistency');
  if (!verify('sha256', sentence, pair.publicKey, sign('sha256', sentence, pair.privateKey))) {
    throw new CryptoError('SELF_TEST', 'a fresh key pair failed its pairwise consistency test');
  }
  return pair;
}

export function isP256(key: KeyObject): boolean {
  return key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1';
}

/** The public half of either half. */
export function publicKeyOf(key: KeyObject): KeyObject {
  return key.type === 'private' ? createPublicKey(key) : key;
}

/** Whether two keys, private or public, belong to one pair. */
export function samePublicKey(a: KeyObject, b: KeyObject): boolean {
  return publicKeyOf(a).equals(publicKeyOf(b));
}
