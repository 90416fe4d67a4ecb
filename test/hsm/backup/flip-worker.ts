/** Opens a backup once for each bit of its stripe, flipped, and reports the bits that were not refused. */
import { parentPort, workerData } from 'node:worker_threads';
import { Refused } from '../../../src/kernel/errors.ts';
import { makeRoots, open } from './sample.ts';

export interface FlipStripe {
  readonly body: Uint8Array;
  readonly sealRecord: Uint8Array;
  readonly stripe: number;
  readonly stripes: number;
}

export interface FlipReport {
  readonly refused: Readonly<Record<string, number>>;
  /** Bits of body ‖ seal record that opened, or failed in another way than by a refusal. */
  readonly wrong: readonly string[];
}

// Only flips.test.ts starts this file, with a FlipStripe.
const { body, sealRecord, stripe, stripes } = workerData as FlipStripe;
const roots = makeRoots();
const refused: Record<string, number> = {};
const wrong: string[] = [];
const bits = (body.length + sealRecord.length) * 8;
for (let bit = stripe; bit < bits; bit += stripes) {
  const at = bit >> 3;
  const [bytes, offset] = at < body.length ? [body, at] : [sealRecord, at - body.length];
  const mask = 1 << (bit & 7);
  bytes[offset] = (bytes[offset] ?? 0) ^ mask;
  try {
    await open({ body, sealRecord }, { roots });
    wrong.push(`bit ${bit} opened`);
  } catch (error) {
    if (error instanceof Refused) refused[error.code] = (refused[error.code] ?? 0) + 1;
    else wrong.push(`bit ${bit}: ${error}`);
  }
  bytes[offset] ^= mask;
}
await open({ body, sealRecord }, { roots });
parentPort?.postMessage({ refused, wrong } satisfies FlipReport);
