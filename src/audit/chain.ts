/**
 * The chain of the trail: each line holds its number, the hash of the line before, and the SHA-256 of all of
 * itself in front of that hash. Bytes: docs/formats/trail-v1.md.
 */
import { createHash } from 'node:crypto';
import { fromUtf8, toUtf8 } from '../kernel/bytes.ts';
import type { JsonObject } from '../kernel/types.ts';

/** The last line so far: what the next one is chained to. */
export interface Head {
  readonly sequence: number;
  /** 64 hex digits. */
  readonly hash: string;
}

/** Before the first line. */
export const GENESIS: Head = { sequence: 0, hash: '0'.repeat(64) };

export interface Link {
  readonly sequence: number;
  readonly previous: string;
  readonly hash: string;
  readonly record: JsonObject;
}

const TAIL = /^,"hash":"([0-9a-f]{64})"}}$/;
/** `,"hash":"` + 64 digits + `"}}`. */
const TAIL_BYTES = 76;
const HASH = /^[0-9a-f]{64}$/;

/** @returns the line with its end of line. */
export function linkLine(record: JsonObject, before: Head): { line: Uint8Array; head: Head } {
  const sequence = before.sequence + 1;
  const open = JSON.stringify({ ...record, chain: { sequence, previous: before.hash } });
  // The two braces that end chain and record come back behind the hash.
  const covered = open.slice(0, -2);
  const hash = sha256(fromUtf8(covered));
  return { line: fromUtf8(`${covered},"hash":"${hash}"}}\n`), head: { sequence, hash } };
}

/**
 * @param line without its end of line.
 * @returns why it is none of ours, in words, or what it holds.
 */
export function readLink(line: Uint8Array): Link | string {
  const tail = TAIL.exec(Buffer.from(line.subarray(-TAIL_BYTES)).toString('latin1'));
  const hash = tail?.[1];
  if (hash === undefined) return 'the line does not end with its hash';
  if (sha256(line.subarray(0, -TAIL_BYTES)) !== hash) return 'the line does not fit its hash';
  let value: unknown;
  try {
    value = JSON.parse(toUtf8(line));
  } catch {
    // Hash right, JSON wrong: somebody computed a hash over something else than a record.
    return 'the line is not JSON';
  }
  if (!isObject(value) || !isObject(value['chain'])) return 'the line is no record';
  const { sequence, previous } = value['chain'];
  if (!Number.isSafeInteger(sequence) || typeof sequence !== 'number') return 'no number';
  if (typeof previous !== 'string' || !HASH.test(previous)) return 'no previous hash';
  return { sequence, previous, hash, record: value };
}

/** In words, or undefined when `link` follows `before`. */
export function breakBetween(before: Head, link: Link): string | undefined {
  if (link.sequence !== before.sequence + 1) {
    return `record ${link.sequence} follows record ${before.sequence}`;
  }
  if (link.previous !== before.hash) {
    return `record ${link.sequence} was chained to another record ${before.sequence}`;
  }
  return undefined;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
