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

/** What keeps an object from being removed: a date, a lock that must be lifted, or both. */
export interface VaultHold {
  readonly until?: EpochMs;
  readonly isLegal: boolean;
}

export interface Vault {
  /** For people and proofs: `folder` and such. */
  readonly kind: string;
  /**
   * Whom holds bind. `service`: whoever comes through this vault, so every call and command of Keyark, but
   * not root on the machine. `store`: everybody, because the store itself locks its objects.
   */
  readonly holdsBind: 'service' | 'store';
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
  /**
   * Really gone when the promise resolves; removing what is not there succeeds.
   * @throws Refused `WrongState` `[HELD]` while a hold stands, whoever asks; nothing was removed then.
   */
  remove(name: ObjectName): Promise<void>;
  /**
   * Durable when the promise resolves. A date only ever moves away: an earlier one leaves the later one.
   * @throws Failed `VAULT_LOST` when there is no such object, `VAULT_WRITE`.
   */
  hold(name: ObjectName, terms: { readonly until: EpochMs } | 'legal'): Promise<void>;
  /** Ends a legal hold; a date stays. Lifting what is not held succeeds. @throws Failed `VAULT_WRITE`. */
  lift(name: ObjectName): Promise<void>;
  /** What stands now; a date that has passed does not. @throws Failed `VAULT_READ`. */
  heldBy(name: ObjectName): Promise<VaultHold | undefined>;
  /** Removes half-written leftovers of a dead process; called once at start, before any put. */
  recover(): Promise<{ removed: number }>;
}
