/**
 * The outer form of a sealed backup: clear header, segment sizes, seal record.
 *
 * Source: docs/formats/backup-v1.md. Here is what may be read without a key, and nothing that needs one.
 */
import { concat, fromUtf8, u16, u32, u64 } from '../../kernel/bytes.ts';
import { assert, Refused } from '../../kernel/errors.ts';
import { type BackupId, parseBackupId } from '../../kernel/ids.ts';
import type { Epochs, RestoreDomain } from '../protocol.ts';
import { isDomainText } from '../roots.ts';
import { ByteReader } from './fields.ts';

export const FORMAT_VERSION = 1;
export const EBK_BYTES = 32;
export const SHA256_BYTES = 32;

/** Octets of plaintext in a full segment, the segment itself, and the segment once wrapped. */
export const PIECE_BYTES = 2040;
export const SEGMENT_PREFIX_BYTES = 8;
export const SEGMENT_BYTES = SEGMENT_PREFIX_BYTES + PIECE_BYTES;
export const WRAPPED_BYTES = SEGMENT_BYTES + 8;
/** Segments worked on between two turns of the event loop: 1 MiB, about 5 ms. Twice as many save 10 % and cost 5 MiB. */
export const BATCH_SEGMENTS = 512;

const BODY_MAGIC = fromUtf8('KEYARK-B');
const SEAL_MAGIC = fromUtf8('KEYARK-S');
/** Magic, version and header length: these stay where they are in every version. */
export const HEADER_START_BYTES = 12;
/** Where the fixed fields end and the four texts begin. */
const TEXTS_AT = 32;
const MAX_PLAINTEXT_BYTES = 2 ** 30;
const MIN_HEADER_BYTES = 61;
const MAX_HEADER_BYTES = 255;
/** What the seal record wraps: EBK ‖ SHA-256(header) ‖ SHA-256(plaintext). */
export const SEAL_SECRET_BYTES = EBK_BYTES + 2 * SHA256_BYTES;
const SEAL_PREFIX_BYTES = 20;
const SEAL_RECORD_BYTES = SEAL_PREFIX_BYTES + SEAL_SECRET_BYTES + 8;

export interface Header {
  readonly backupId: BackupId;
  readonly domain: RestoreDomain;
  readonly layout: Layout;
}

export interface Layout {
  readonly plaintextBytes: number;
  readonly segmentCount: number;
  /** Octets of plaintext in the last segment, 1 to 2040. */
  readonly lastPieceBytes: number;
  /** All segments, wrapped. */
  readonly segmentsBytes: number;
}

/** One code and one sentence for every cryptographic or structural failure. */
export function doesNotOpen(): Refused {
  return new Refused(
    'DoesNotOpen',
    'This backup does not open on this HSM: it is damaged, was altered, or was sealed under other keys.',
  );
}

export function layoutOf(plaintextBytes: number): Layout {
  const segmentCount = Math.ceil(plaintextBytes / PIECE_BYTES);
  const lastPieceBytes = plaintextBytes - PIECE_BYTES * (segmentCount - 1);
  return {
    plaintextBytes,
    segmentCount,
    lastPieceBytes,
    segmentsBytes: WRAPPED_BYTES * (segmentCount - 1) + wrappedLastBytes(lastPieceBytes),
  };
}

export function wrappedLastBytes(lastPieceBytes: number): number {
  return 8 * (Math.ceil((SEGMENT_PREFIX_BYTES + lastPieceBytes) / 8) + 1);
}

// ---- header

export function encodeHeader({ backupId, domain, layout }: Header): Uint8Array {
  const { plaintextBytes, segmentCount, segmentsBytes } = layout;
  assert(plaintextBytes >= 1 && plaintextBytes <= MAX_PLAINTEXT_BYTES, 'state outgrew the format');
  const texts = [backupId, domain.vendor, domain.line, domain.owner].map(fromUtf8);
  const textsBytes = texts.reduce((sum, text) => sum + 2 + text.length, 0);
  const headerBytes = TEXTS_AT + textsBytes;
  return concat(
    BODY_MAGIC,
    u16(FORMAT_VERSION),
    u16(headerBytes),
    u32(segmentCount),
    u64(plaintextBytes),
    u64(headerBytes + segmentsBytes),
    ...texts.flatMap((text) => [u16(text.length), text]),
  );
}

/**
 * How long the header is that begins with these 12 octets.
 * @throws Refused `InvalidRequest` for another version, `DoesNotOpen` for anything else.
 */
export function headerBytesOf(start: Uint8Array): number {
  const view = viewOf(start);
  if (start.length !== HEADER_START_BYTES || !startsWith(start, BODY_MAGIC)) throw doesNotOpen();
  checkVersion(view.getUint16(8));
  const headerBytes = view.getUint16(10);
  if (headerBytes < MIN_HEADER_BYTES || headerBytes > MAX_HEADER_BYTES) throw doesNotOpen();
  return headerBytes;
}

/**
 * Reads a whole header. It is not authentic before its digest in the seal record was compared.
 * @throws Refused `DoesNotOpen`, MalformedRecord.
 */
export function parseHeader(bytes: Uint8Array): Header {
  const view = viewOf(bytes);
  const segmentCount = view.getUint32(12);
  const plaintextBytes = view.getBigUint64(16);
  const bodyBytes = view.getBigUint64(24);
  if (plaintextBytes < 1n || plaintextBytes > MAX_PLAINTEXT_BYTES) throw doesNotOpen();
  const layout = layoutOf(Number(plaintextBytes));
  const isConsistent =
    segmentCount === layout.segmentCount &&
    bodyBytes === BigInt(bytes.length + layout.segmentsBytes);
  if (!isConsistent) throw doesNotOpen();
  const from = new ByteReader(bytes, TEXTS_AT);
  const backupId = readBackupId(from.text(from.u16()));
  const vendor = from.text(from.u16());
  const line = from.text(from.u16());
  const owner = from.text(from.u16());
  from.end();
  if (![vendor, line, owner].every(isDomainText)) throw doesNotOpen();
  return { backupId, domain: { vendor, line, owner }, layout };
}

function readBackupId(text: string): BackupId {
  try {
    return parseBackupId(text);
  } catch {
    // Its own words would tell this failure from the others.
    throw doesNotOpen();
  }
}

// ---- seal record

export interface SealRecord {
  readonly epochs: Epochs;
  /** KWP under the PBK of these epochs. */
  readonly wrapped: Uint8Array;
}

export function encodeSealRecord({ epochs, wrapped }: SealRecord): Uint8Array {
  return concat(SEAL_MAGIC, u32(FORMAT_VERSION), u32(epochs.mkbk), u32(epochs.akbk), wrapped);
}

/** @throws Refused `InvalidRequest` for another version, `DoesNotOpen` for anything else. */
export function parseSealRecord(bytes: Uint8Array): SealRecord {
  if (bytes.length < HEADER_START_BYTES || !startsWith(bytes, SEAL_MAGIC)) throw doesNotOpen();
  const view = viewOf(bytes);
  checkVersion(view.getUint32(8));
  if (bytes.length !== SEAL_RECORD_BYTES) throw doesNotOpen();
  const epochs = { mkbk: view.getUint32(12), akbk: view.getUint32(16) };
  return { epochs, wrapped: bytes.subarray(SEAL_PREFIX_BYTES) };
}

function checkVersion(version: number): void {
  if (version === FORMAT_VERSION) return;
  throw new Refused(
    'InvalidRequest',
    `This backup has format version ${version}; this HSM reads version ${FORMAT_VERSION}. ` +
      'Restore it with the release of Keyark that made it, or a newer one.',
  );
}

function startsWith(bytes: Uint8Array, magic: Uint8Array): boolean {
  return magic.every((octet, i) => bytes[i] === octet);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
