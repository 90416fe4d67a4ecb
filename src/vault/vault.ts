/**
 * Where sealed bytes rest: written once, read back, never overwritten. `test/laws/vault.ts` states and
 * checks the laws for every implementation.
 */
import type { Branded, EpochMs } from '../kernel/types.ts';

/** `<backup id>/<part>`: two segments over `[A-Za-z0-9._-]`, neither of them dots only. */
export type ObjectName = Branded<string, 'ObjectName'>;

export interface Stored {
  readonly name: ObjectName;
  readonly sizeBytes: number;
  /** Hex, over the stored bytes. */
  readonly sha256: string;
  readonly storedAt: EpochMs;
}

export interface Vault {
  /** For people and proofs: `folder` and such. */
  readonly kind: string;
  /**
   * Durable when the promise resolves: bytes, name and folder entry are synced, and the bytes were read
   * back and compared. A failed or interrupted put leaves nothing under `name`.
   * @throws Refused `Conflict` when the name exists. Failed `VAULT_WRITE`, `VAULT_FULL`.
   */
  put(name: ObjectName, body: AsyncIterable<Uint8Array>): Promise<Stored>;
  /**
   * Streams the bytes and checks length and SHA-256 against what was stored: the iteration throws before
   * its end when they differ, so a consumer that reaches the end has the true bytes.
   * @throws Failed `VAULT_LOST` when there is no such object, `VAULT_READ`.
   */
  get(name: ObjectName): AsyncIterable<Uint8Array>;
  /** What is stored, without reading it. */
  stat(name: ObjectName): Promise<Stored | undefined>;
  /** In order of name. `prefix` is a backup id or empty. */
  list(prefix: string): AsyncIterable<Stored>;
  /** Really gone when the promise resolves; removing what is not there succeeds. */
  remove(name: ObjectName): Promise<void>;
  /** Removes half-written leftovers of a dead process; called once at start, before any put. */
  recover(): Promise<{ removed: number }>;
}
