/**
 * Signed statements: ECDSA on P-256 with SHA-256 (FIPS 186-5 §6) over canonical JSON.
 *
 * Proofs, enrolments and other sentences that one part of Keyark hands to another and that must hold
 * when nobody trusts the messenger. Say in the statement what it is (`kind`), so that one can never
 * pass for another.
 */
import { type KeyObject, sign, verify } from 'node:crypto';
import { fromBase64, fromUtf8, toBase64 } from '../kernel/bytes.ts';
import { canonicalJson } from '../kernel/canonical-json.ts';
import type { JsonValue } from '../kernel/types.ts';
import { CryptoError } from './errors.ts';
import { isP256 } from './keys.ts';

/**
 * Signs the canonical JSON of `statement`.
 * @param key a private P-256 key.
 * @returns base64 of the DER signature: different each time.
 * @throws {CryptoError} `KEY_KIND`.
 */
export function signStatement(key: KeyObject, statement: JsonValue): string {
  if (key.type !== 'private' || !isP256(key)) {
    throw new CryptoError('KEY_KIND', 'statements are signed with a private P-256 key');
  }
  return toBase64(sign('sha256', fromUtf8(canonicalJson(statement)), key));
}

/** False for a wrong signature, a malformed one and a key of another kind alike; never throws for them. */
export function verifyStatement(
  publicKey: KeyObject,
  statement: JsonValue,
  signature: string,
): boolean {
  if (!isP256(publicKey)) return false;
  let bytes: Uint8Array;
  try {
    bytes = fromBase64(signature);
  } catch {
    // Not base64 is as wrong as any other signature.
    return false;
  }
  return verify('sha256', fromUtf8(canonicalJson(statement)), publicKey, bytes);
}
