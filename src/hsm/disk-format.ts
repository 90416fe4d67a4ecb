/**
 * How an HSM's state rests on its disk: snapshots in two slots and a log of what came after the newest.
 * Everything but magic, sequence numbers and lengths is encrypted, so that a stolen folder reads nothing.
 *
 * Keys: each snapshot, and the log based on it, has its own key, derived (SP 800-108) from the device's
 * storage key, the file kind, the snapshot's sequence and a random salt in its header. No key sees more
 * messages than one log holds, and no byte of one snapshot's log passes for another's.
 *
 *   slot:  magic(8) ‖ u64 sequence ‖ salt(16), then chunks: u32 length ‖ nonce(12) ‖ ciphertext ‖ tag(16);
 *          the top bit of the length marks the last chunk
 *   log:   records at multiples of 16: magic(4) ‖ u64 base ‖ u64 sequence ‖ u32 length ‖ nonce(12) ‖
 *          ciphertext ‖ tag(16), zeros up to the next multiple
 */
import { createSecretKey, type KeyObject } from 'node:crypto';
import { AEAD_NONCE_BYTES, AEAD_TAG_BYTES, openAead, sealAead } from '../crypto/aead.ts';
import { CryptoError } from '../crypto/errors.ts';
import { deriveKey, lengthPrefixed } from '../crypto/kdf.ts';
import { release } from '../crypto/views.ts';
import { asBuffer, concat, equalBytes, fromUtf8, u32, u64 } from '../kernel/bytes.ts';
import { Failed } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import type { DiskFile, HsmDisk } from './disk.ts';

export type Slot = 0 | 1;
const SLOT_FILE = { 0: 'slot-0', 1: 'slot-1' } as const;

const SLOT_MAGIC = fromUtf8('KEYARKS1');
const LOG_MAGIC = 0x4b4c_4f31;
const SALT_BYTES = 16;
const SLOT_HEADER_BYTES = SLOT_MAGIC.length + 8 + SALT_BYTES;
const CHUNK_HEADER_BYTES = 4 + AEAD_NONCE_BYTES;
const CHUNK_BYTES = 256 * 1024;
const LAST_CHUNK = 0x8000_0000;
const LOG_HEADER_BYTES = 4 + 8 + 8 + 4 + AEAD_NONCE_BYTES;
const LOG_ALIGNMENT = 16;
/** A group commit stops collecting well before this. */
export const MAX_RECORD_BYTES = 16 * 1024 * 1024;
const WIPE_BYTES = 1024 * 1024;
/** What a snapshot may grow to; far above a full HSM, far below the machine's memory. */
const MAX_SNAPSHOT_BYTES = 512 * 1024 * 1024;

/** The clear part of a slot. */
export interface SlotHeader {
  readonly slot: Slot;
  readonly sequence: number;
  readonly salt: Uint8Array;
  readonly bytes: Uint8Array;
}

export const damaged = (what: string): Failed =>
  new Failed('DISK_DAMAGED', `the HSM's disk is damaged, or is another device's: ${what}`);

/** Keys of one snapshot and its log. */
function snapshotKey(storageKey: KeyObject, kind: 'slot' | 'log', header: Uint8Array): KeyObject {
  const context = lengthPrefixed(fromUtf8(kind), header);
  const raw = deriveKey({ key: storageKey, label: 'keyark disk v1', context, lengthBytes: 32 });
  const key = createSecretKey(raw);
  raw.fill(0);
  return key;
}

// ---- snapshots

/**
 * Writes a whole snapshot; durable when it resolves. The pieces are wiped once they are encrypted. While a
 * chunk is on its way to the platter the next one is encoded: a full HSM's take as long as each other.
 */
export async function writeSnapshot(
  disk: HsmDisk,
  { storageKey, slot, sequence, random }: WriteSnapshot,
  pieces: Iterable<Uint8Array>,
): Promise<SlotHeader> {
  const salt = random.bytes(SALT_BYTES);
  const bytes = concat(SLOT_MAGIC, u64(sequence), salt);
  const key = snapshotKey(storageKey, 'slot', bytes);
  await disk.write(SLOT_FILE[slot], 0, bytes);
  let at = SLOT_HEADER_BYTES;
  let index = 0;
  let writing = Promise.resolve();
  try {
    for (const { plain, isLast } of chunksOf(pieces)) {
      const chunk = sealChunk({ key, header: bytes, index, isLast, random }, plain);
      plain.fill(0);
      // One at a time and in order, so that nothing is written behind a gap.
      await writing;
      writing = writeChunk(disk, SLOT_FILE[slot], at, chunk);
      at += chunk.length;
      index += 1;
    }
  } finally {
    // Also when encoding failed: whoever hears of it may write here next.
    await writing;
  }
  return { slot, sequence, salt, bytes };
}

async function writeChunk(disk: HsmDisk, file: DiskFile, at: number, chunk: Uint8Array) {
  await disk.write(file, at, chunk);
  release(chunk);
}

export interface WriteSnapshot {
  readonly storageKey: KeyObject;
  readonly slot: Slot;
  readonly sequence: number;
  readonly random: Random;
}

/** `blank`: nothing but zeros. The sequence of a header is not yet authenticated. */
export async function readSlotHeader(
  disk: HsmDisk,
  slot: Slot,
): Promise<SlotHeader | 'blank' | 'bad'> {
  const bytes = await disk.read(SLOT_FILE[slot], 0, SLOT_HEADER_BYTES);
  if (bytes.every((byte) => byte === 0)) return 'blank';
  const magic = bytes.subarray(0, SLOT_MAGIC.length);
  if (bytes.length < SLOT_HEADER_BYTES || !equalBytes(magic, SLOT_MAGIC)) return 'bad';
  const sequence = Number(asBuffer(bytes).readBigUInt64BE(SLOT_MAGIC.length));
  if (!Number.isSafeInteger(sequence) || sequence < 1) return 'bad';
  return { slot, sequence, salt: bytes.subarray(SLOT_MAGIC.length + 8), bytes };
}

/** The snapshot's plaintext in one piece, or null when it is torn, damaged or under another key. */
export async function readSnapshot(
  disk: HsmDisk,
  header: SlotHeader,
  storageKey: KeyObject,
): Promise<Uint8Array | null> {
  const file = SLOT_FILE[header.slot];
  const key = snapshotKey(storageKey, 'slot', header.bytes);
  const size = Math.min(await disk.size(file), MAX_SNAPSHOT_BYTES);
  const out = new Uint8Array(Math.max(0, size - SLOT_HEADER_BYTES));
  let filled = 0;
  let at = SLOT_HEADER_BYTES;
  for (let index = 0; at < size; index += 1) {
    const lead = await disk.read(file, at, CHUNK_HEADER_BYTES);
    if (lead.length < CHUNK_HEADER_BYTES) return null;
    const word = asBuffer(lead).readUInt32BE(0);
    const isLast = word >= LAST_CHUNK;
    const length = isLast ? word - LAST_CHUNK : word;
    if (length > CHUNK_BYTES + AEAD_TAG_BYTES) return null;
    const sealed = await disk.read(file, at + CHUNK_HEADER_BYTES, length);
    const aad = concat(header.bytes, u32(index), lead.subarray(0, 4));
    const plain = openOrNull(key, lead.subarray(4), sealed, aad);
    if (plain === null) return null;
    out.set(plain, filled);
    filled += plain.length;
    plain.fill(0);
    at += CHUNK_HEADER_BYTES + length;
    if (isLast) return out.subarray(0, filled);
  }
  return null;
}

interface ChunkSeal {
  readonly key: KeyObject;
  readonly header: Uint8Array;
  readonly index: number;
  readonly isLast: boolean;
  readonly random: Random;
}

function sealChunk({ key, header, index, isLast, random }: ChunkSeal, plain: Uint8Array) {
  const nonce = random.bytes(AEAD_NONCE_BYTES);
  const length = u32(plain.length + AEAD_TAG_BYTES + (isLast ? LAST_CHUNK : 0));
  const sealed = sealAead(key, nonce, plain, concat(header, u32(index), length));
  const chunk = concat(length, nonce, sealed);
  release(sealed);
  return chunk;
}

/** Pieces of any length → chunks of one length; there is always a last one. The buffer is reused. */
function* chunksOf(
  pieces: Iterable<Uint8Array>,
): Generator<{ plain: Uint8Array; isLast: boolean }, void, void> {
  const buffer = new Uint8Array(CHUNK_BYTES);
  let filled = 0;
  for (const piece of pieces) {
    for (let at = 0; at < piece.length; ) {
      if (filled === CHUNK_BYTES) {
        yield { plain: buffer, isLast: false };
        filled = 0;
      }
      const part = piece.subarray(at, at + CHUNK_BYTES - filled);
      buffer.set(part, filled);
      filled += part.length;
      at += part.length;
    }
    piece.fill(0);
  }
  yield { plain: buffer.subarray(0, filled), isLast: true };
}

/** Overwrites a slot with zeros: a blank slot. */
export async function wipeSlot(disk: HsmDisk, slot: Slot): Promise<void> {
  await wipeFrom(disk, SLOT_FILE[slot], 0);
}

/** Overwrites the log from `offset` on. */
export async function wipeLog(disk: HsmDisk, offset: number): Promise<void> {
  await wipeFrom(disk, 'log', offset);
}

async function wipeFrom(disk: HsmDisk, file: 'slot-0' | 'slot-1' | 'log', offset: number) {
  const size = await disk.size(file);
  for (let at = offset; at < size; at += WIPE_BYTES) {
    await disk.write(file, at, new Uint8Array(Math.min(WIPE_BYTES, size - at)));
  }
}

// ---- the log

/** Appends records of one snapshot's log. One write at a time; the caller sees to it. */
export class LogWriter {
  readonly #disk: HsmDisk;
  readonly #random: Random;
  readonly #base: number;
  readonly #key: KeyObject;
  #offset: number;
  #sequence: number;

  constructor(disk: HsmDisk, random: Random, log: LogPosition) {
    this.#disk = disk;
    this.#random = random;
    this.#base = log.header.sequence;
    this.#key = logKey(log.storageKey, log.header);
    this.#offset = log.offset;
    this.#sequence = log.sequence;
  }

  /** Where the next record goes: how long the log is. */
  get offset(): number {
    return this.#offset;
  }

  /** Durable when it resolves. The payload is wiped. */
  async append(payload: Uint8Array): Promise<void> {
    const nonce = this.#random.bytes(AEAD_NONCE_BYTES);
    const header = concat(
      u32(LOG_MAGIC),
      u64(this.#base),
      u64(this.#sequence),
      u32(payload.length + AEAD_TAG_BYTES),
      nonce,
    );
    const sealed = sealAead(this.#key, nonce, payload, header);
    payload.fill(0);
    const record = new Uint8Array(recordBytes(sealed.length));
    record.set(header);
    record.set(sealed, LOG_HEADER_BYTES);
    release(payload, sealed);
    await this.#disk.write('log', this.#offset, record);
    this.#offset += record.length;
    release(record);
    this.#sequence += 1;
  }
}

export interface LogPosition {
  readonly storageKey: KeyObject;
  readonly header: SlotHeader;
  readonly offset: number;
  readonly sequence: number;
}

export interface LogContent {
  readonly payloads: readonly Uint8Array[];
  /** Where the next record goes. */
  readonly offset: number;
  readonly sequence: number;
}

/**
 * The log of one snapshot, up to its torn last record if it has one: a write that nobody was told of.
 * @throws Failed `DISK_DAMAGED` when a later record of the same log shows that an earlier one was
 *   complete once.
 */
export function parseLog(log: Uint8Array, header: SlotHeader, storageKey: KeyObject): LogContent {
  const key = logKey(storageKey, header);
  const payloads: Uint8Array[] = [];
  let offset = 0;
  for (;;) {
    const record = readRecord(log, offset, header.sequence, key);
    if (record === null || record.sequence !== payloads.length) break;
    payloads.push(record.payload);
    offset += record.bytes;
  }
  for (let at = offset; at < log.length; at += LOG_ALIGNMENT) {
    if (readRecord(log, at, header.sequence, key) !== null) {
      throw damaged(`log record ${payloads.length} of snapshot ${header.sequence}`);
    }
  }
  return { payloads, offset, sequence: payloads.length };
}

/** Whether any record says that it follows this snapshot, by its clear header alone. */
export function mentionsBase(log: Uint8Array, base: number): boolean {
  for (let at = 0; at + LOG_HEADER_BYTES <= log.length; at += LOG_ALIGNMENT) {
    if (baseAt(log, at) === base) return true;
  }
  return false;
}

function logKey(storageKey: KeyObject, header: SlotHeader): KeyObject {
  return snapshotKey(storageKey, 'log', header.bytes);
}

function baseAt(log: Uint8Array, at: number): number | null {
  const view = asBuffer(log);
  return view.readUInt32BE(at) === LOG_MAGIC ? Number(view.readBigUInt64BE(at + 4)) : null;
}

function readRecord(log: Uint8Array, at: number, base: number, key: KeyObject) {
  if (at + LOG_HEADER_BYTES > log.length || baseAt(log, at) !== base) return null;
  const header = log.subarray(at, at + LOG_HEADER_BYTES);
  const view = asBuffer(header);
  const length = view.readUInt32BE(20);
  if (length > MAX_RECORD_BYTES || at + LOG_HEADER_BYTES + length > log.length) return null;
  const sealed = log.subarray(at + LOG_HEADER_BYTES, at + LOG_HEADER_BYTES + length);
  const payload = openOrNull(key, header.subarray(24), sealed, header);
  if (payload === null) return null;
  return { payload, sequence: Number(view.readBigUInt64BE(12)), bytes: recordBytes(length) };
}

const recordBytes = (sealedBytes: number): number =>
  Math.ceil((LOG_HEADER_BYTES + sealedBytes) / LOG_ALIGNMENT) * LOG_ALIGNMENT;

function openOrNull(key: KeyObject, nonce: Uint8Array, sealed: Uint8Array, aad: Uint8Array) {
  try {
    return openAead(key, nonce, sealed, aad);
  } catch (cause) {
    // Bytes that do not open are what a torn write looks like; the callers decide what it means.
    if (cause instanceof CryptoError) return null;
    throw cause;
  }
}
