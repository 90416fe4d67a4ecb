/**
 * The HSM's state and the only way to change it. Everything inside the boundary reads `shared` and
 * `local` and writes through `commit`; nothing else knows how state rests on disk.
 *
 * Laws: when `commit` resolves the change is durable (kill -9, power cut). Commits take effect in order
 * and completely or not at all. `generation` grows by one per commit that touches shared state.
 */
import type {
  LocalState,
  ObjectRecord,
  Partition,
  PolicyRecord,
  SharedState,
  UserRecord,
} from './state.ts';

export type Change =
  | { readonly kind: 'put-user'; readonly user: UserRecord }
  | { readonly kind: 'remove-user'; readonly name: string }
  /** Replaces by id. `nextHandle` moves past the object's handle by itself. */
  | { readonly kind: 'put-object'; readonly object: ObjectRecord }
  /** Leaves a tombstone. */
  | { readonly kind: 'remove-object'; readonly id: string }
  | { readonly kind: 'put-policy'; readonly policy: PolicyRecord }
  | { readonly kind: 'put-partition'; readonly partition: Partition }
  /** Local: 0 forgets the counter. */
  | { readonly kind: 'set-failures'; readonly name: string; readonly count: number }
  /** Local: one audit record; the store gives it its sequence number. */
  | { readonly kind: 'audit'; readonly record: AuditRecord };

/** Fields as in CloudHSM's audit log; numbers and names, never key material. */
export interface AuditRecord {
  readonly at: number;
  /** `CN_LOGIN`, `CN_BACKUP_BEGIN`, … */
  readonly opcode: string;
  /** 0 is success. */
  readonly response: number;
  readonly session: number;
  readonly user?: string;
  readonly details?: string;
}

export interface Store {
  /** Throws Broken when there is no partition yet (`hasPartition`). */
  readonly shared: SharedState;
  readonly hasPartition: boolean;
  readonly local: LocalState;
  /** @throws Failed `DISK`; the HSM then enters its error state. */
  commit(changes: readonly Change[]): Promise<void>;
  /** Replaces all shared state and the counters with an opened backup's, or none of it. */
  replace(shared: SharedState, local: LocalState): Promise<void>;
  /** Removes partition and everything in it; the device's identity stays. */
  erase(): Promise<void>;
  /** Newest audit records, oldest first, at most `limit`. */
  audit(limit: number): readonly (AuditRecord & { readonly sequence: number })[];
}
