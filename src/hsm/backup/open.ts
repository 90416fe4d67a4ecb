/**
 * Opens a sealed backup: verifies everything, then returns the state, or refuses and returns nothing.
 *
 * Source: docs/formats/backup-v1.md, "Opening". Every cryptographic or structural failure is one refusal
 * with one wording; only the clear header's domain and version are told apart, and only while nothing
 * secret has been touched. Holds one copy of the plaintext, which becomes the state's own memory; when the
 * backup is refused it is wiped.
 */
import { createHash, createSecretKey, type KeyObject } from 'node:crypto';
import { CryptoError } from '../../crypto/errors.ts';
import { unwrapKwp } from '../../crypto/kwp.ts';
import { unwrapSegments } from '../../crypto/kwp-lanes.ts';
import { release } from '../../crypto/views.ts';
import { equalBytes, toHex } from '../../kernel/bytes.ts';
import { Refused } from '../../kernel/errors.ts';
import type { BackupId } from '../../kernel/ids.ts';
import { Secret } from '../../kernel/secret.ts';
import type { Epochs, RestoreDomain } from '../protocol.ts';
import type { Roots } from '../roots.ts';
import type { LocalState, SharedState } from '../state.ts';
import { BodyReader } from './body-reader.ts';
import { MalformedRecord } from './fields.ts';
import {
  BATCH_SEGMENTS,
  doesNotOpen,
  EBK_BYTES,
  HEADER_START_BYTES,
  type Header,
  headerBytesOf,
  type Layout,
  PIECE_BYTES,
  parseHeader,
  parseSealRecord,
  SEAL_SECRET_BYTES,
  SEGMENT_BYTES,
  SEGMENT_PREFIX_BYTES,
  SHA256_BYTES,
  WRAPPED_BYTES,
  wrappedLastBytes,
} from './format.ts';
import { decodeState, SCHEMA, type Schema } from './records.ts';
import { checkRestores, type TypeAndMode } from './rules.ts';
import { nextTurn } from './turn.ts';

export interface OpenInput {
  readonly sealRecord: Uint8Array;
  /** Chunks of any size. Is ended early when the backup is refused; its own errors pass through. */
  readonly body: AsyncIterable<Uint8Array>;
  readonly roots: Roots;
  /** What the target is; compared with the values sealed inside. */
  readonly expect: TypeAndMode;
  readonly schema?: Schema;
}

export interface OpenedArchive {
  readonly shared: SharedState;
  readonly local: LocalState;
  /** Hex. */
  readonly headerSha256: string;
  /** Hex. */
  readonly bodySha256: string;
  readonly epochs: Epochs;
  readonly backupId: BackupId;
}

/**
 * @throws Refused `DoesNotOpen` for every cryptographic or structural failure; `InvalidRequest` for
 *   another restore domain or format version; `WrongState` when type or mode forbid this target.
 */
export async function openArchive(input: OpenInput): Promise<OpenedArchive> {
  const reader = new BodyReader(input.body);
  try {
    return await openFrom(reader, input);
  } catch (cause) {
    if (cause instanceof CryptoError || cause instanceof MalformedRecord) throw doesNotOpen();
    throw cause;
  } finally {
    await reader.close();
  }
}

async function openFrom(reader: BodyReader, input: OpenInput): Promise<OpenedArchive> {
  const { roots, expect, schema } = input;
  const { header, headerSha256 } = await readHeader(reader, roots.domain());
  const { epochs, wrapped } = parseSealRecord(input.sealRecord);
  if (!roots.has(epochs)) throw doesNotOpen();
  using secret = new Secret(unwrapKwp(roots.pbk(epochs), wrapped));
  const sealed = sealedParts(secret);
  if (!equalBytes(sealed.headerSha256, headerSha256)) throw doesNotOpen();

  // From here on the header is authentic, so its lengths may allocate.
  const plaintext = new Uint8Array(header.layout.plaintextBytes);
  try {
    const digests = await unwrapBody(reader, header.layout, createSecretKey(sealed.ebk), plaintext);
    if (!equalBytes(sealed.plaintextSha256, digests.plaintextSha256)) throw doesNotOpen();
    await nextTurn();

    const { shared, local } = decodeState(plaintext, schema ?? SCHEMA);
    checkRestores(shared.partition, expect);
    return {
      shared,
      local,
      headerSha256: toHex(headerSha256),
      bodySha256: toHex(digests.bodySha256),
      epochs,
      backupId: header.backupId,
    };
  } catch (cause) {
    plaintext.fill(0);
    throw cause;
  }
}

async function readHeader(
  reader: BodyReader,
  own: RestoreDomain,
): Promise<{ header: Header; headerSha256: Uint8Array }> {
  const start = new Uint8Array(HEADER_START_BYTES);
  await reader.fill(start);
  const bytes = new Uint8Array(headerBytesOf(start));
  bytes.set(start);
  await reader.fill(bytes.subarray(HEADER_START_BYTES));
  const header = parseHeader(bytes);
  checkDomain(header.domain, own);
  return { header, headerSha256: createHash('sha256').update(bytes).digest() };
}

function checkDomain(needed: RestoreDomain, own: RestoreDomain): void {
  const isOwn =
    needed.vendor === own.vendor && needed.line === own.line && needed.owner === own.owner;
  if (isOwn) return;
  throw new Refused(
    'InvalidRequest',
    `This backup needs an HSM of ${domainText(needed)}; this one is of ${domainText(own)}.`,
  );
}

function domainText({ vendor, line, owner }: RestoreDomain): string {
  const [v, l, o] = [vendor, line, owner].map((text) => JSON.stringify(text));
  return `vendor ${v}, product line ${l}, owner ${o}`;
}

/** Views into `secret`, which must have exactly the right length. */
function sealedParts(secret: Secret): {
  ebk: Uint8Array;
  headerSha256: Uint8Array;
  plaintextSha256: Uint8Array;
} {
  const bytes = secret.expose();
  if (bytes.length !== SEAL_SECRET_BYTES) throw doesNotOpen();
  return {
    ebk: bytes.subarray(0, EBK_BYTES),
    headerSha256: bytes.subarray(EBK_BYTES, EBK_BYTES + SHA256_BYTES),
    plaintextSha256: bytes.subarray(EBK_BYTES + SHA256_BYTES),
  };
}

/** Fills `plaintext`; nothing of it may be used before its digest was compared. */
async function unwrapBody(
  reader: BodyReader,
  { segmentCount, lastPieceBytes }: Layout,
  ebk: KeyObject,
  plaintext: Uint8Array,
): Promise<{ bodySha256: Uint8Array; plaintextSha256: Uint8Array }> {
  const lanes = Math.min(BATCH_SEGMENTS, segmentCount);
  const wrapped = new Uint8Array(lanes * WRAPPED_BYTES);
  const stage = new Uint8Array(lanes * SEGMENT_BYTES);
  const hash = createHash('sha256');
  try {
    for (let first = 0; first < segmentCount - 1; first += lanes) {
      const count = Math.min(lanes, segmentCount - 1 - first);
      const source = wrapped.subarray(0, count * WRAPPED_BYTES);
      await reader.fill(source);
      const segments = stage.subarray(0, count * SEGMENT_BYTES);
      unwrapSegments(ebk, source, SEGMENT_BYTES, count, segments);
      takePieces(segments, { first, segmentCount, pieceBytes: PIECE_BYTES }, plaintext);
      hash.update(plaintext.subarray(first * PIECE_BYTES, (first + count) * PIECE_BYTES));
      await nextTurn();
    }
    const last = wrapped.subarray(0, wrappedLastBytes(lastPieceBytes));
    await reader.fill(last);
    using segment = new Secret(unwrapKwp(ebk, last));
    if (segment.length !== SEGMENT_PREFIX_BYTES + lastPieceBytes) throw doesNotOpen();
    const first = segmentCount - 1;
    takePieces(segment.expose(), { first, segmentCount, pieceBytes: lastPieceBytes }, plaintext);
    hash.update(plaintext.subarray(first * PIECE_BYTES));
    return { bodySha256: await reader.end(), plaintextSha256: hash.digest() };
  } finally {
    stage.fill(0);
    release(stage, wrapped);
  }
}

/** Checks index and count of each segment and puts its piece where it belongs. */
function takePieces(
  segments: Uint8Array,
  { first, segmentCount, pieceBytes }: { first: number; segmentCount: number; pieceBytes: number },
  plaintext: Uint8Array,
): void {
  const view = new DataView(segments.buffer, segments.byteOffset, segments.byteLength);
  const step = SEGMENT_PREFIX_BYTES + pieceBytes;
  for (let at = 0, index = first; at < segments.length; at += step, index += 1) {
    const isInPlace = view.getUint32(at) === index && view.getUint32(at + 4) === segmentCount;
    if (!isInPlace) throw doesNotOpen();
    plaintext.set(segments.subarray(at + SEGMENT_PREFIX_BYTES, at + step), index * PIECE_BYTES);
  }
}
