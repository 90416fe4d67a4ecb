/**
 * Seals the whole state: encoded piece by piece, wrapped segment by segment under a key made for this
 * backup alone, which leaves only wrapped under the PBK.
 *
 * Source: docs/formats/backup-v1.md. Never holds the state's bytes a second time as a whole: one batch
 * of segments is in memory, and it is wiped. The same memory serves all batches, because fresh pages cost
 * more than what is done with them.
 */
import { createHash, createSecretKey, type Hash, type KeyObject } from 'node:crypto';
import { wrapKwp } from '../../crypto/kwp.ts';
import { wrapSegments } from '../../crypto/kwp-lanes.ts';
import { release } from '../../crypto/views.ts';
import { concat, toHex } from '../../kernel/bytes.ts';
import { assert } from '../../kernel/errors.ts';
import type { BackupId } from '../../kernel/ids.ts';
import type { Random } from '../../kernel/random.ts';
import { Secret } from '../../kernel/secret.ts';
import type { Epochs } from '../protocol.ts';
import type { Roots } from '../roots.ts';
import type { LocalState, SharedState } from '../state.ts';
import {
  BATCH_SEGMENTS,
  EBK_BYTES,
  encodeHeader,
  encodeSealRecord,
  type Layout,
  layoutOf,
  PIECE_BYTES,
  SEGMENT_BYTES,
  SEGMENT_PREFIX_BYTES,
  WRAPPED_BYTES,
} from './format.ts';
import { SCHEMA, type Schema, StateEncoder } from './records.ts';
import { nextTurn } from './turn.ts';

export interface SealInput {
  readonly shared: SharedState;
  readonly local: LocalState;
  readonly backupId: BackupId;
  readonly roots: Roots;
  readonly random: Random;
  readonly schema?: Schema;
}

export interface SealResult {
  readonly sealRecord: Uint8Array;
  /** Hex. */
  readonly headerSha256: string;
  /** Hex, over header and segments. */
  readonly bodySha256: string;
}

export interface Sealing {
  readonly header: Uint8Array;
  /** Exactly what `body` adds up to. */
  readonly bodyBytes: number;
  /**
   * Header, then segments in chunks of at most 1 MiB, each of them the reader's until he asks for the next.
   * Can be read once.
   */
  readonly body: AsyncIterable<Uint8Array>;
  /** Once `body` was read to its end. @throws Broken before. */
  finish(): SealResult;
}

/**
 * The state is measured and frozen now and sealed while `body` is read; changes in between don't
 * reach it. About 15 ms a MiB, in turns of a batch.
 * @throws Broken when the state does not fit the format (1 GiB; docs/formats/backup-v1.md, Limits).
 */
export function sealState(input: SealInput): Sealing {
  const { shared, local, backupId, roots, random, schema } = input;
  const encoder = new StateEncoder(shared, local, schema ?? SCHEMA);
  const layout = layoutOf(encoder.bytes);
  const header = encodeHeader({ backupId, domain: roots.domain(), layout });
  const epochs = roots.epochs();
  let result: SealResult | undefined;
  let isStarted = false;

  async function* body(): AsyncGenerator<Uint8Array, void, void> {
    assert(!isStarted, 'a sealed body can be read once');
    isStarted = true;
    using ebk = new Secret(random.bytes(EBK_BYTES));
    assert(ebk.length === EBK_BYTES, 'luck came in a wrong length');
    const bodyHash = createHash('sha256').update(header);
    const source = new PlaintextSource(encoder.pieces());
    yield header;
    for await (const chunk of sealedSegments(source, layout, createSecretKey(ebk.expose()))) {
      bodyHash.update(chunk);
      yield chunk;
    }
    const headerSha256 = createHash('sha256').update(header).digest();
    result = {
      sealRecord: wrapRecord({ ebk, headerSha256, plaintextSha256: source.end(), roots, epochs }),
      headerSha256: toHex(headerSha256),
      bodySha256: toHex(bodyHash.digest()),
    };
  }

  return {
    header,
    bodyBytes: header.length + layout.segmentsBytes,
    body: body(),
    finish: () => {
      assert(result !== undefined, 'the body was not read to its end');
      return result;
    },
  };
}

async function* sealedSegments(
  source: PlaintextSource,
  { segmentCount, lastPieceBytes }: Layout,
  ebk: KeyObject,
): AsyncGenerator<Uint8Array, void, void> {
  const lanes = Math.min(BATCH_SEGMENTS, segmentCount);
  const stage = new Uint8Array(lanes * SEGMENT_BYTES);
  const wrapped = new Uint8Array(lanes * WRAPPED_BYTES);
  try {
    for (let first = 0; first < segmentCount - 1; first += lanes) {
      const count = Math.min(lanes, segmentCount - 1 - first);
      const segments = stage.subarray(0, count * SEGMENT_BYTES);
      fillSegments(segments, { first, segmentCount, pieceBytes: PIECE_BYTES }, source);
      const chunk = wrapped.subarray(0, count * WRAPPED_BYTES);
      yield wrapSegments(ebk, segments, SEGMENT_BYTES, count, chunk);
      await nextTurn();
    }
    const last = stage.subarray(0, SEGMENT_PREFIX_BYTES + lastPieceBytes);
    const first = segmentCount - 1;
    fillSegments(last, { first, segmentCount, pieceBytes: lastPieceBytes }, source);
    yield wrapKwp(ebk, last);
  } finally {
    stage.fill(0);
    source.wipe();
    release(stage, wrapped);
  }
}

/** `u32 index ‖ u32 count ‖ piece`, as often as `segments` holds one. */
function fillSegments(
  segments: Uint8Array,
  { first, segmentCount, pieceBytes }: { first: number; segmentCount: number; pieceBytes: number },
  source: PlaintextSource,
): void {
  const view = new DataView(segments.buffer, segments.byteOffset, segments.byteLength);
  const step = SEGMENT_PREFIX_BYTES + pieceBytes;
  for (let at = 0, index = first; at < segments.length; at += step, index += 1) {
    view.setUint32(at, index);
    view.setUint32(at + 4, segmentCount);
    source.fill(segments.subarray(at + SEGMENT_PREFIX_BYTES, at + step));
  }
}

function wrapRecord(parts: {
  ebk: Secret;
  headerSha256: Uint8Array;
  plaintextSha256: Uint8Array;
  roots: Roots;
  epochs: Epochs;
}): Uint8Array {
  const { ebk, headerSha256, plaintextSha256, roots, epochs } = parts;
  using secret = new Secret(concat(ebk.expose(), headerSha256, plaintextSha256));
  return encodeSealRecord({ epochs, wrapped: wrapKwp(roots.pbk(epochs), secret.expose()) });
}

/** The encoder's pieces as one stream that is hashed while it is cut anew, and wiped behind the cut. */
class PlaintextSource {
  readonly #pieces: Iterator<Uint8Array, void, void>;
  readonly #hash: Hash = createHash('sha256');
  #piece: Uint8Array = new Uint8Array(0);
  #at = 0;

  constructor(pieces: Iterator<Uint8Array, void, void>) {
    this.#pieces = pieces;
  }

  fill(target: Uint8Array): void {
    for (let filled = 0; filled < target.length; ) {
      if (this.#at === this.#piece.length) this.#next();
      const part = this.#piece.subarray(this.#at, this.#at + target.length - filled);
      target.set(part, filled);
      filled += part.length;
      this.#at += part.length;
    }
  }

  /** SHA-256 of everything. @throws Broken when something was not taken. */
  end(): Uint8Array {
    assert(this.#at === this.#piece.length && this.#pieces.next().done, 'state outgrew its length');
    return this.#hash.digest();
  }

  wipe(): void {
    this.#piece.fill(0);
  }

  #next(): void {
    const next = this.#pieces.next();
    assert(!next.done, 'state fell short of its length');
    this.#piece = next.value;
    this.#at = 0;
    this.#hash.update(next.value);
  }
}
