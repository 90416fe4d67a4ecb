/**
 * The wrapping function W and its inverse (NIST SP 800-38F §6.1, Algorithms 1 and 2) over many segments
 * of one size at once.
 *
 * Inside one segment W is a chain: each AES call needs the result of the one before. Between segments
 * nothing depends on anything, so step t of *all* segments (lanes) is one AES-256-ECB call, which the
 * CPU fills its pipeline with. A row holds, for one semiblock number i, the 16-byte blocks A ‖ R[i] of
 * all lanes side by side. A step moves A from the row done last into the row at hand, enciphers that
 * row, and the buffer that comes back *is* the row from then on: R never moves. The buffer that went in
 * is let go at once: a MiB of segments otherwise leaves 12 MiB of spent rows behind.
 *
 * Cost: 6n ECB calls of 16 · lanes bytes, so a few lanes are slower than Node's own wrap.
 */
import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';
import { asBytes, release, wipe } from './views.ts';

const ROUNDS = 6;
const BLOCK_WORDS = 4;
/** Lanes moved together between segments and rows: 256 bytes of a row stay in the nearest cache. */
const TILE_LANES = 16;

export interface LaneShape {
  readonly lanes: number;
  /** n: 64-bit semiblocks of plaintext in each segment, at least 2. */
  readonly semiblocks: number;
}

/**
 * W of every lane.
 * @param start A at the beginning: 8 bytes, the same for all lanes.
 * @param plain lanes · 8n bytes, segment after segment.
 * @param out lanes · 8(n + 1) bytes, written segment after segment.
 */
export function encipherLanes(
  kek: KeyObject,
  start: Uint8Array,
  plain: Uint8Array,
  out: Uint8Array,
  { lanes, semiblocks }: LaneShape,
): void {
  const segments = wordsOf(plain);
  const sealed = alignedFor(out);
  const loaded = new Uint32Array(BLOCK_WORDS * lanes * semiblocks);
  const rows = rowsOf(loaded, lanes, semiblocks);
  fillRows(rows, lanes, segments.words, 2 * semiblocks, 0);

  const ecb = createCipheriv('aes-256-ecb', kek, null);
  ecb.setAutoPadding(false);
  let before: Uint32Array = new Uint32Array(BLOCK_WORDS * lanes);
  setFirstHalves(before, start);
  for (let round = 0, t = 0; round < ROUNDS; round += 1) {
    for (let i = 0; i < semiblocks; i += 1, t += 1) {
      // A row exists for every i < semiblocks: `rowsOf` made them.
      const row = rows[i] as Uint32Array;
      // The xor that ends step t is done on the way into step t + 1; for t = 0 there is none.
      moveFirstHalves(before, row, bigEndianWord(t));
      before = wordsOfOwn(ecb.update(row));
      rows[i] = before;
      release(row);
    }
  }
  ecb.final();

  const stride = 2 * (semiblocks + 1);
  const last = bigEndianWord(ROUNDS * semiblocks);
  for (let lane = 0; lane < lanes; lane += 1) {
    sealed.words[lane * stride] = word(before, BLOCK_WORDS * lane);
    sealed.words[lane * stride + 1] = word(before, BLOCK_WORDS * lane + 1) ^ last;
  }
  emptyRows(rows, lanes, sealed.words, stride, 2);
  if (sealed.isCopy) out.set(bytesOf(sealed.words));
  wipe(loaded);
  if (segments.isCopy) wipe(segments.words);
  release(loaded, ...rows);
}

/**
 * W⁻¹ of every lane. `out` is written only when every lane's A came out as `start`.
 * @param wrapped lanes · 8(n + 1) bytes.
 * @param out lanes · 8n bytes.
 * @returns whether it was so; the work done is the same either way.
 */
export function decipherLanes(
  kek: KeyObject,
  start: Uint8Array,
  wrapped: Uint8Array,
  out: Uint8Array,
  { lanes, semiblocks }: LaneShape,
): boolean {
  const segments = wordsOf(wrapped);
  const opened = alignedFor(out);
  const stride = 2 * (semiblocks + 1);
  const loaded = new Uint32Array(BLOCK_WORDS * lanes * semiblocks);
  const rows = rowsOf(loaded, lanes, semiblocks);
  fillRows(rows, lanes, segments.words, stride, 2);

  const ecb = createDecipheriv('aes-256-ecb', kek, null);
  ecb.setAutoPadding(false);
  let before: Uint32Array = new Uint32Array(BLOCK_WORDS * lanes);
  for (let lane = 0; lane < lanes; lane += 1) {
    before[BLOCK_WORDS * lane] = word(segments.words, lane * stride);
    before[BLOCK_WORDS * lane + 1] = word(segments.words, lane * stride + 1);
  }
  for (let t = ROUNDS * semiblocks; t > 0; ) {
    for (let i = semiblocks - 1; i >= 0; i -= 1, t -= 1) {
      // As above.
      const row = rows[i] as Uint32Array;
      moveFirstHalves(before, row, bigEndianWord(t));
      before = wordsOfOwn(ecb.update(row));
      rows[i] = before;
      release(row);
    }
  }
  ecb.final();

  const isGenuine = haveFirstHalves(before, start);
  if (isGenuine) {
    emptyRows(rows, lanes, opened.words, 2 * semiblocks, 0);
    if (opened.isCopy) out.set(bytesOf(opened.words));
  }
  // After the last round the rows hold plaintext.
  wipe(...rows);
  if (opened.isCopy) wipe(opened.words);
  release(loaded, ...rows);
  return isGenuine;
}

/** The hot loop: A of each lane, its low word xored with t (t < 2^32, so the high word stays). */
function moveFirstHalves(from: Uint32Array, to: Uint32Array, t: number): void {
  const end = to.length;
  for (let k = 0; k < end; k += BLOCK_WORDS) {
    to[k] = word(from, k);
    to[k + 1] = word(from, k + 1) ^ t;
  }
}

function setFirstHalves(row: Uint32Array, value: Uint8Array): void {
  const [high, low] = twoWords(value);
  for (let k = 0; k < row.length; k += BLOCK_WORDS) {
    row[k] = high;
    row[k + 1] = low;
  }
}

/** Looks at every lane, whatever the first ones say. */
function haveFirstHalves(row: Uint32Array, value: Uint8Array): boolean {
  const [high, low] = twoWords(value);
  let difference = 0;
  for (let k = 0; k < row.length; k += BLOCK_WORDS) {
    difference |= (word(row, k) ^ high) | (word(row, k + 1) ^ low);
  }
  return difference === 0;
}

/** Semiblock i of every segment into the second half of its block in row i. */
function fillRows(
  rows: readonly Uint32Array[],
  lanes: number,
  segments: Uint32Array,
  stride: number,
  offset: number,
): void {
  for (let first = 0; first < lanes; first += TILE_LANES) {
    const end = Math.min(first + TILE_LANES, lanes);
    rows.forEach((row, i) => {
      let from = first * stride + offset + 2 * i;
      for (let k = BLOCK_WORDS * first + 2; k < BLOCK_WORDS * end; k += BLOCK_WORDS) {
        row[k] = word(segments, from);
        row[k + 1] = word(segments, from + 1);
        from += stride;
      }
    });
  }
}

/** The way back. */
function emptyRows(
  rows: readonly Uint32Array[],
  lanes: number,
  segments: Uint32Array,
  stride: number,
  offset: number,
): void {
  for (let first = 0; first < lanes; first += TILE_LANES) {
    const end = Math.min(first + TILE_LANES, lanes);
    rows.forEach((row, i) => {
      let to = first * stride + offset + 2 * i;
      for (let k = BLOCK_WORDS * first + 2; k < BLOCK_WORDS * end; k += BLOCK_WORDS) {
        segments[to] = word(row, k);
        segments[to + 1] = word(row, k + 1);
        to += stride;
      }
    });
  }
}

function rowsOf(all: Uint32Array, lanes: number, semiblocks: number): Uint32Array[] {
  const rowWords = BLOCK_WORDS * lanes;
  return Array.from({ length: semiblocks }, (_, i) =>
    all.subarray(i * rowWords, (i + 1) * rowWords),
  );
}

interface Words {
  readonly words: Uint32Array;
  readonly isCopy: boolean;
}

/** Words over the same memory where alignment allows, else over a copy. */
function wordsOf(bytes: Uint8Array): Words {
  if (bytes.byteOffset % 4 === 0) {
    return {
      words: new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4),
      isCopy: false,
    };
  }
  // `slice` of a Buffer is a view; this one copies.
  return { words: new Uint32Array(new Uint8Array(bytes).buffer), isCopy: true };
}

/** As `wordsOf` for memory that will be written: nothing to copy in. */
function alignedFor(bytes: Uint8Array): Words {
  return bytes.byteOffset % 4 === 0
    ? wordsOf(bytes)
    : { words: new Uint32Array(bytes.length / 4), isCopy: true };
}

/** What `update` returned is ours alone; its alignment is the allocator's, checked all the same. */
const wordsOfOwn = (buffer: Buffer): Uint32Array => wordsOf(asBytes(buffer)).words;

const bytesOf = (words: Uint32Array): Uint8Array =>
  new Uint8Array(words.buffer, words.byteOffset, words.byteLength);

// Every index is below the array's length by the loops' bounds; the type checker can't see it.
const word = (words: Uint32Array, at: number): number => words[at] as number;

function twoWords(value: Uint8Array): readonly [number, number] {
  const words = new Uint32Array(new Uint8Array(value).buffer);
  return [word(words, 0), word(words, 1)];
}

const scratch = new DataView(new ArrayBuffer(4));
const scratchWord = new Uint32Array(scratch.buffer);
/** `value` as the machine reads a word that holds it in big-endian order. */
function bigEndianWord(value: number): number {
  scratch.setUint32(0, value);
  return word(scratchWord, 0);
}
