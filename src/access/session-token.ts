/**
 * Temporary credentials without a store: everything about a session is sealed into its token (AES-256-GCM)
 * under a key that lies beside the access keys. Whoever holds the token cannot read it; whoever changes a
 * bit of it, or shows it with another access key id, holds nothing. A session ends early with the key it
 * was made from: see `credentials.ts`.
 */
import { openAead, sealAead } from '../crypto/aead.ts';
import { concat, fromUtf8, toUtf8 } from '../kernel/bytes.ts';
import type { Random } from '../kernel/random.ts';
import type { EpochMs } from '../kernel/types.ts';

export interface Session {
  /** The access key it was made with. */
  readonly parentKeyId: string;
  readonly secretAccessKey: string;
  readonly issuedAt: EpochMs;
  readonly expiresAt: EpochMs;
  /** A policy document that narrows what the parent may do. */
  readonly policy?: string;
}

const VERSION = 1;
const NONCE_BYTES = 12;
const MAX_TOKEN_LENGTH = 8_192;

export function sealSession(
  session: Session,
  under: { readonly key: Uint8Array; readonly accessKeyId: string; readonly random: Random },
): string {
  const nonce = under.random.bytes(NONCE_BYTES);
  const plaintext = fromUtf8(JSON.stringify(session));
  const sealed = sealAead(under.key, nonce, plaintext, boundTo(under.accessKeyId));
  return Buffer.from(concat(Uint8Array.of(VERSION), nonce, sealed)).toString('base64url');
}

/** @returns undefined for whatever was not sealed here for this access key id. */
export function openSession(
  token: string,
  under: { readonly key: Uint8Array; readonly accessKeyId: string },
): Session | undefined {
  if (token.length > MAX_TOKEN_LENGTH || !/^[\w-]+$/.test(token)) return undefined;
  const bytes = new Uint8Array(Buffer.from(token, 'base64url'));
  if (bytes[0] !== VERSION || bytes.length <= 1 + NONCE_BYTES) return undefined;
  // One value, one spelling: base64url's spare bits would otherwise make a second token of the same bytes.
  if (Buffer.from(bytes).toString('base64url') !== token) return undefined;
  const nonce = bytes.subarray(1, 1 + NONCE_BYTES);
  const sealed = bytes.subarray(1 + NONCE_BYTES);
  try {
    const plaintext = openAead(under.key, nonce, sealed, boundTo(under.accessKeyId));
    // Sealed by `sealSession` above: the tag was checked.
    return JSON.parse(toUtf8(plaintext)) as Session;
  } catch {
    // One answer for every reason, so that none can be told from another.
    return undefined;
  }
}

const boundTo = (accessKeyId: string): Uint8Array => fromUtf8(`keyark session 1\0${accessKeyId}`);
