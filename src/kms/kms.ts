/**
 * The second layer's key service: wraps one data key per backup. It never sees a backup's bytes;
 * `kms/envelope.ts` does the streaming encryption with the data key.
 */
import type { Secret } from '../kernel/secret.ts';

/** Bound into the wrapped key: unwrapping with another context fails. */
export interface EncryptionContext {
  readonly backupId: string;
  readonly clusterId: string;
  readonly region: string;
  readonly account: string;
}

export interface WrappedDataKey {
  /** Names the key for people and for the outer record; `embedded:us-east-1:…`. */
  readonly kmsKeyId: string;
  readonly wrapped: Uint8Array;
}

export interface Kms {
  readonly kind: string;
  /** The key new backups use. */
  currentKeyId(): Promise<string>;
  /** A fresh 32-byte data key and its wrapped form. @throws Failed `KMS`. */
  generateDataKey(context: EncryptionContext): Promise<{ key: Secret; wrapped: WrappedDataKey }>;
  /** @throws Failed `KMS` for every cause alike: unknown key, other context, damaged text. */
  unwrapDataKey(wrapped: WrappedDataKey, context: EncryptionContext): Promise<Secret>;
}
