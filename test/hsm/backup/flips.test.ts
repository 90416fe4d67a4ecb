import assert from 'node:assert/strict';
import { once } from 'node:events';
import { availableParallelism } from 'node:os';
import { test } from 'node:test';
import { Worker } from 'node:worker_threads';
import type { FlipReport, FlipStripe } from './flip-worker.ts';
import { sampleState, seal } from './sample.ts';

const EIGHT_KIB = 8 * 1024;

/** The sample state, padded so that the body has exactly 8 KiB. */
async function eightKib() {
  for (let paddingBytes = 6_500; ; paddingBytes -= 8) {
    const sealed = await seal(sampleState({ paddingBytes }));
    assert.ok(sealed.body.length >= EIGHT_KIB - 8, 'no padding gives 8 KiB');
    if (sealed.body.length <= EIGHT_KIB) return sealed;
  }
}

async function flipStripe(data: FlipStripe): Promise<FlipReport> {
  const worker = new Worker(new URL('./flip-worker.ts', import.meta.url), { workerData: data });
  const [report] = await once(worker, 'message');
  await worker.terminate();
  return report;
}

test('every bit of a sealed 8-KiB backup, flipped one at a time, is refused', async () => {
  const { body, sealRecord } = await eightKib();
  const stripes = Math.min(availableParallelism(), 8);
  const reports = await Promise.all(
    Array.from({ length: stripes }, (_, stripe) =>
      flipStripe({ body, sealRecord, stripe, stripes }),
    ),
  );
  assert.deepEqual(
    reports.flatMap(({ wrong }) => wrong),
    [],
  );
  const counted = (code: string) =>
    reports.reduce((sum, { refused }) => sum + (refused[code] ?? 0), 0);
  const doesNotOpen = counted('DoesNotOpen');
  const clear = counted('InvalidRequest');
  assert.equal(doesNotOpen + clear, (body.length + sealRecord.length) * 8);
  // Told plainly: the bits of both versions and most bits of vendor, line and owner.
  assert.ok(clear > 16 && clear < 500, `${clear} told from the clear header`);
});
