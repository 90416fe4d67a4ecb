/**
 * The lines of a plan on their way from a throw-away HSM to an officer: sealed for the HSMs of the very
 * cluster and incarnation whose state would be replaced, and for nobody else (docs/formats/plan-v1.md).
 *
 * The key derives from the masking key, which only HSMs of this lineage have, so a box proves by whom it
 * was made and can't be led to another cluster by whoever carries it. It must never be larger than one
 * call at the door takes, nor tell by its size more than about how much is in it.
 */
import { openAead, sealAead } from '../crypto/aead.ts';
import { CryptoError } from '../crypto/errors.ts';
import { deriveKey, lengthPrefixed } from '../crypto/kdf.ts';
import { concat, equalBytes, fromUtf8, toUtf8, u32 } from '../kernel/bytes.ts';
import type { Random } from '../kernel/random.ts';
import type { JsonObject } from '../kernel/types.ts';
import type { Partition } from './state.ts';

const MAGIC = fromUtf8('KEYARK-P');
const VERSION = Uint8Array.of(1);
const HEAD = concat(MAGIC, VERSION);
const LABEL = 'keyark plan v1';
const SALT_BYTES = 32;
/** A key for each box, so one nonce does. */
const NONCE = new Uint8Array(12);
const KEY_BYTES = 32;
const PAD_BYTES = 4_096;
/** Beyond this, lines are left out and counted. */
const MAX_LINES_BYTES = 256 * 1024;

export interface PlanText {
  /** What is in the box beside the lines: both states, and when it was made. */
  readonly head: JsonObject;
  readonly lines: readonly JsonObject[];
}

export function sealPlan(
  partition: Partition,
  { head, lines }: PlanText,
  random: Random,
): Uint8Array {
  const kept = linesThatFit(lines);
  const text = fromUtf8(JSON.stringify({ ...head, lines: kept, left: lines.length - kept.length }));
  const length = 4 + text.length;
  const padded = new Uint8Array(Math.ceil(length / PAD_BYTES) * PAD_BYTES);
  padded.set(concat(u32(text.length), text));
  const salt = random.bytes(SALT_BYTES);
  const key = planKey(partition, salt);
  try {
    return concat(HEAD, salt, sealAead(key, NONCE, padded, HEAD));
  } finally {
    for (const bytes of [key, text, padded]) bytes.fill(0);
  }
}

/** @throws {CryptoError} `DECRYPT` for everything that is wrong with it, another cluster's box included. */
export function openPlan(partition: Partition, box: Uint8Array): JsonObject {
  const salt = box.subarray(HEAD.length, HEAD.length + SALT_BYTES);
  if (salt.length !== SALT_BYTES || !equalBytes(box.subarray(0, HEAD.length), HEAD)) {
    throw new CryptoError('DECRYPT', 'these bytes are no plan of this version');
  }
  const key = planKey(partition, salt);
  const padded = openPadded(key, box.subarray(HEAD.length + SALT_BYTES));
  key.fill(0);
  const length = new DataView(padded.buffer, padded.byteOffset).getUint32(0);
  // Authentic, so it is what `sealPlan` wrote: an object.
  return JSON.parse(toUtf8(padded.subarray(4, 4 + length))) as JsonObject;
}

function openPadded(key: Uint8Array, sealed: Uint8Array): Uint8Array {
  try {
    return openAead(key, NONCE, sealed, HEAD);
  } catch (cause) {
    throw new CryptoError(
      'DECRYPT',
      'this plan was not made for the state that this HSM has now; make it again',
      { cause },
    );
  }
}

function planKey({ maskingKey, clusterId, incarnation }: Partition, salt: Uint8Array): Uint8Array {
  return deriveKey({
    key: maskingKey,
    label: LABEL,
    context: lengthPrefixed(fromUtf8(clusterId), fromUtf8(incarnation), salt),
    lengthBytes: KEY_BYTES,
  });
}

function linesThatFit(lines: readonly JsonObject[]): readonly JsonObject[] {
  let bytes = 0;
  const end = lines.findIndex((line) => {
    bytes += fromUtf8(JSON.stringify(line)).length + 1;
    return bytes > MAX_LINES_BYTES;
  });
  return end < 0 ? lines : lines.slice(0, end);
}
