/** How much faster than Node's own cipher is KWP in lanes, and how far from what AES allows? */
import { createCipheriv, createSecretKey, randomBytes } from 'node:crypto';
import { unwrapKwp, wrapKwp } from '../src/crypto/kwp.ts';
import { unwrapLanes, wrapLanes, wrappedSegmentBytes } from '../src/crypto/kwp-lanes.ts';
import { equalBytes } from '../src/kernel/bytes.ts';
import { type Measured, measure } from './measure.ts';
import type { Bench } from './run.ts';

const TOTAL_BYTES = 16 * 1024 * 1024;
/** A body segment of a backup. */
const SEGMENT_BYTES = 2_048;
const LANES = TOTAL_BYTES / SEGMENT_BYTES;
const WRAPPED_BYTES = wrappedSegmentBytes(SEGMENT_BYTES);
const ECB_UPDATE_BYTES = 256 * 1024;
/** AES calls per 16 bytes of data: 6 per semiblock of 8. */
const AES_PER_BLOCK = 12;
const ROUNDS = 5;

const kek = createSecretKey(randomBytes(32));
const plain = new Uint8Array(randomBytes(TOTAL_BYTES));
const wrapped = new Uint8Array(LANES * WRAPPED_BYTES);
const unwrapped = new Uint8Array(TOTAL_BYTES);

const bench: Bench = {
  question: '16 MiB in segments of 2 KiB, one thread: lanes against id-aes256-wrap-pad',
  guess: 'wrap 12x, unwrap 21x, 40 % of AES-256-ECB/12',
  run: async () => {
    const times = await measure(ROUNDS, {
      wrapLanes: () => wrapLanes(kek, plain, SEGMENT_BYTES, LANES, wrapped),
      unwrapLanes: () => unwrapLanes(kek, wrapped, SEGMENT_BYTES, LANES, unwrapped),
      ecb,
      wrapNative,
      unwrapNative,
    });
    if (!equalBytes(plain, unwrapped))
      throw new Error('what was unwrapped is not what was wrapped');
    for (const [name, time] of Object.entries(times)) {
      console.log(
        `${name.padEnd(12)} n=${time.n} median ${time.medianMs.toFixed(1)} ms, p99 ${time.p99Ms.toFixed(1)} ms, ${speed(time).toFixed(1)} MB/s`,
      );
    }
    const bound = speed(times.ecb) / AES_PER_BLOCK;
    const share = (time: Measured) => `${((100 * speed(time)) / bound).toFixed(0)} %`;
    console.log(`wrap ${(times.wrapNative.medianMs / times.wrapLanes.medianMs).toFixed(1)}x`);
    console.log(`unwrap ${(times.unwrapNative.medianMs / times.unwrapLanes.medianMs).toFixed(1)}x`);
    console.log(
      `share of AES-256-ECB/12 (${bound.toFixed(0)} MB/s): wrap ${share(times.wrapLanes)}, unwrap ${share(times.unwrapLanes)}`,
    );
  },
};
export default bench;

const speed = ({ medianMs }: Measured): number => TOTAL_BYTES / 1e3 / medianMs;

function wrapNative(): void {
  for (let lane = 0; lane < LANES; lane += 1) {
    const segment = plain.subarray(lane * SEGMENT_BYTES, (lane + 1) * SEGMENT_BYTES);
    const native = wrapKwp(kek, segment);
    // One comparison in a thousand: enough to know that both did the same work.
    if (lane % 1_000 !== 0) continue;
    if (!equalBytes(native, wrapped.subarray(lane * WRAPPED_BYTES, (lane + 1) * WRAPPED_BYTES))) {
      throw new Error('the lanes and Node disagree');
    }
  }
}

function unwrapNative(): void {
  for (let lane = 0; lane < LANES; lane += 1) {
    unwrapKwp(kek, wrapped.subarray(lane * WRAPPED_BYTES, (lane + 1) * WRAPPED_BYTES));
  }
}

function ecb(): void {
  const cipher = createCipheriv('aes-256-ecb', kek, null);
  cipher.setAutoPadding(false);
  for (let at = 0; at < TOTAL_BYTES; at += ECB_UPDATE_BYTES) {
    cipher.update(plain.subarray(at, at + ECB_UPDATE_BYTES));
  }
  cipher.final();
}
