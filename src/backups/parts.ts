/** A stored backup is one body and small key records beside it (docs/decisions/0003). */

/** Names within the backup's folder. Records carry a number: rotation appends, nothing is rewritten. */
export const PARTS = {
  body: 'body',
  sealRecord: 'seal-1',
  outerRecord: 'outer-1',
} as const;

/** Purge goes in this order: without its records a body is noise, so they die first. */
export const PURGE_ORDER = [PARTS.outerRecord, PARTS.sealRecord, PARTS.body] as const;

/** No key record is longer. */
export const SMALL_PARTS_BYTES = 64 * 1024;
