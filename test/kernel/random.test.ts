import assert from 'node:assert/strict';
import test from 'node:test';
import fc from 'fast-check';
import { pooledRandom, type Random } from '../../src/kernel/random.ts';

/** Every byte it gives is the next number, so that what was given twice or left out shows. */
function counting(): Random {
  let next = 0;
  return { bytes: (length) => Uint8Array.from({ length }, () => next++ % 251) };
}

test('pooled luck gives each byte at most once, in lengths as asked', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 9_000 }), { maxLength: 40 }), (lengths) => {
      const source: number[] = [];
      const counted = counting();
      const pooled = pooledRandom({
        bytes: (length) => {
          const bytes = counted.bytes(length);
          source.push(...bytes);
          return bytes;
        },
      });
      let from = 0;
      for (const length of lengths) {
        const given = pooled.bytes(length);
        assert.equal(given.length, length);
        // In the order of the source; what is left of a pool that is too small is thrown away.
        while (!given.every((byte, i) => byte === source[from + i])) from += 1;
        assert.ok(from + length <= source.length);
        from += length;
      }
    }),
  );
});

test('what pooled luck gave stays as it is, whatever is done to what it gave before', () => {
  const pooled = pooledRandom(counting());
  const first = pooled.bytes(16);
  const second = pooled.bytes(16);
  first.fill(0xff);
  assert.deepEqual(
    [...second],
    Array.from({ length: 16 }, (_, i) => i + 16),
  );
});
