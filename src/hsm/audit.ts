/**
 * This HSM's audit records: one gapless sequence through its whole life, the newest ones kept.
 *
 * A restore continues the sequence and never replaces it; what the archive's own position was stands in
 * the restore's record.
 */
import type { EpochMs } from '../kernel/types.ts';
import type { AuditRecord, Change } from './store.ts';

export type AuditEntry = AuditRecord & { readonly sequence: number };

export const AUDIT_RECORDS_KEPT = 10_000;
/** Dropping the oldest moves all others, so it is done for a thousand at a time. */
const SLACK = 1_000;

export class AuditRing {
  #entries: AuditEntry[] = [];
  #next = 0;

  /** The number the next record gets; numbers start at 0. */
  get next(): number {
    return this.#next;
  }

  /** The newest records, oldest first. */
  newest(limit: number): readonly AuditEntry[] {
    return this.#entries.slice(-Math.min(limit, AUDIT_RECORDS_KEPT));
  }

  append(record: AuditRecord): void {
    this.#entries.push({ ...record, sequence: this.#next });
    this.#next += 1;
    if (this.#entries.length > AUDIT_RECORDS_KEPT + SLACK) {
      this.#entries = this.#entries.slice(-AUDIT_RECORDS_KEPT);
    }
  }

  /** Takes what a snapshot kept: the newest records before number `next`. */
  load(next: number, records: readonly AuditRecord[]): void {
    this.#next = next - records.length;
    this.#entries = [];
    for (const record of records) this.append(record);
  }
}

/** A record of what the HSM itself did, outside any officer's session; `response` 0 says it went well. */
export function auditChange(
  at: EpochMs,
  what: { opcode: string; details?: string | undefined; response?: number },
): Change {
  const { opcode, details, response = 0 } = what;
  const record = { at, opcode, response, session: 0 };
  return { kind: 'audit', record: details === undefined ? record : { ...record, details } };
}
