import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { stateDigest } from '../../../src/hsm/backup/digest.ts';
import { compareText } from '../../../src/hsm/backup/order.ts';
import type { SharedState } from '../../../src/hsm/state.ts';
import { arbitraryState, packed, reversed, sampleState } from './sample.ts';

const { shared } = sampleState();

/** Every value that differs from the given one in a single leaf, property, key or length. */
function* variants(value: unknown): Generator<unknown> {
  if (typeof value === 'number') yield value === 0 ? 1 : value - 1;
  else if (typeof value === 'string')
    yield* [`${value}x`, value.slice(1)].filter((t) => t !== value);
  else if (typeof value === 'boolean') yield !value;
  else if (value === null) yield '';
  else if (value instanceof Uint8Array) {
    yield value.map((octet, i) => (i === 0 ? octet ^ 1 : octet));
    yield value.subarray(1);
  } else if (value instanceof Map) {
    for (const [key, part] of value) {
      yield new Map([...value].filter(([other]) => other !== key));
      for (const other of variants(part)) yield new Map(value).set(key, other);
    }
  } else if (Array.isArray(value)) {
    yield [...value, 'one more'];
  } else if (typeof value === 'object') {
    for (const [name, part] of Object.entries(value)) {
      const { [name]: _, ...rest } = Object.fromEntries(Object.entries(value));
      yield rest;
      for (const other of variants(part)) yield { ...value, [name]: other };
    }
  }
}

test('stateDigest() is the same in whatever order records and attributes were added', async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryState, async (state) => {
      assert.equal(await stateDigest(reversed(state).shared), await stateDigest(state.shared));
    }),
  );
});

test('stateDigest() is the same whether attributes are packed or in a map', async () => {
  await fc.assert(
    fc.asyncProperty(arbitraryState, async (state) => {
      assert.equal(await stateDigest(packed(state).shared), await stateDigest(state.shared));
    }),
  );
  const large = sampleState({ paddingBytes: 300_000 });
  assert.equal(await stateDigest(packed(large).shared), await stateDigest(large.shared));
});

test('stateDigest() changes with every leaf, every property and every record', async () => {
  const seen = new Set([await stateDigest(shared)]);
  let tried = 0;
  for (const variant of variants(shared)) {
    // A state by construction, except where a property is missing: that is the point.
    const state = variant as SharedState;
    if (!(state.partition?.maskingKey instanceof Uint8Array)) continue;
    if (state.partition.maskingKey.length !== 32) continue;
    tried++;
    const digest = await stateDigest(state);
    assert.ok(!seen.has(digest), `variant ${tried} has a digest of another`);
    seen.add(digest);
  }
  assert.ok(tried > 150, `${tried} variants`);
});

test('stateDigest() keeps texts and bytes, keys and values apart', async () => {
  const policies = (...names: string[]) => new Map(names.map((name) => [name, { name, value: 0 }]));
  const states = [
    policies('ab', 'c'),
    policies('a', 'bc'),
    policies('abc'),
    policies('a', 'b', 'c'),
  ].map((policies) => ({ ...shared, policies }));
  const digests = await Promise.all(states.map(stateDigest));
  assert.equal(new Set(digests).size, digests.length);
});

test('stateDigest() depends on the masking key, not on records alone', async () => {
  const partition = { ...shared.partition, maskingKey: new Uint8Array(32) };
  assert.notEqual(await stateDigest({ ...shared, partition }), await stateDigest(shared));
});

test('stateDigest() has a known answer', async () => {
  assert.equal(
    await stateDigest(shared),
    'f73e607612ae081cf8365aae6be1b5ca5e7f812dc26b3be5d4cdf2839ed500fd',
  );
});

test('compareText() orders as the UTF-8 octets do', () => {
  const text = fc.string({ unit: 'binary', maxLength: 6 });
  fc.assert(
    fc.property(text, text, (a, b) => {
      const expected = Buffer.compare(Buffer.from(a), Buffer.from(b));
      assert.equal(Math.sign(compareText(a, b)), expected);
    }),
  );
});
