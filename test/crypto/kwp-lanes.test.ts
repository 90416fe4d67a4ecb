import assert from 'node:assert/strict';
import { createSecretKey, type KeyObject, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { KW_ICV, unwrapKwp, wrapKwp } from '../../src/crypto/kwp.ts';
import {
  unwrapLanes,
  unwrapSegments,
  wrapLanes,
  wrappedSegmentBytes,
  wrapSegments,
} from '../../src/crypto/kwp-lanes.ts';
import { decipherLanes, encipherLanes } from '../../src/crypto/w-lanes.ts';
import { concat } from '../../src/kernel/bytes.ts';
import { BAD_KW, BAD_KWP, GOOD_KW, GOOD_KWP, sha256, TOO_SHORT_KWP } from './kwp-vectors.ts';

/** Several lanes, no multiple of the tile, so that a vector stands in first, middle and last lanes. */
const LANES = 9;
const kek = createSecretKey(randomBytes(32));
const refused = (code: string) => ({ name: 'CryptoError', code });
const random = (length: number) => new Uint8Array(randomBytes(length));
const repeated = (bytes: Uint8Array, lanes: number) =>
  concat(...Array.from({ length: lanes }, () => bytes));

/** What the lanes must equal: Node's own cipher, segment by segment. */
function wrapOneByOne(key: KeyObject, plain: Uint8Array, segmentBytes: number): Uint8Array {
  const count = plain.length / segmentBytes;
  return concat(
    ...Array.from({ length: count }, (_, i) =>
      wrapKwp(key, plain.subarray(i * segmentBytes, (i + 1) * segmentBytes)),
    ),
  );
}

test('wrapLanes() and unwrapLanes() give every known answer, in every lane', () => {
  for (const vector of GOOD_KWP) {
    const { length } = vector.plaintext;
    const wrapped = wrapLanes(vector.kek, repeated(vector.plaintext, LANES), length, LANES);
    assert.equal(wrapped.length, LANES * vector.wrappedBytes, vector.name);
    for (let lane = 0; lane < LANES; lane += 1) {
      const own = wrapped.subarray(lane * vector.wrappedBytes, (lane + 1) * vector.wrappedBytes);
      assert.equal(sha256(own), vector.wrappedSha256, `${vector.name}, lane ${lane}`);
    }
    const opened = unwrapLanes(vector.kek, wrapped, length, LANES);
    assert.deepEqual(opened, repeated(vector.plaintext, LANES), vector.name);
  }
});

test('unwrapLanes() refuses every wrong wrap among good ones, whatever length is expected', () => {
  let expressible = 0;
  for (const vector of BAD_KWP) {
    const { length } = vector.wrapped;
    // Lanes are told the plaintext's length; a wrap that no such length leads to (not a multiple of 8, or
    // one bare block) can't even be asked for: see the test after this one.
    if (length < 24 || length % 8 !== 0) continue;
    expressible += 1;
    for (let segmentBytes = length - 15; segmentBytes <= length - 8; segmentBytes += 1) {
      const good = wrapKwp(vector.kek, random(segmentBytes));
      const wrapped = repeated(good, LANES);
      wrapped.set(vector.wrapped, (segmentBytes % LANES) * length);
      assert.throws(
        () => unwrapLanes(vector.kek, wrapped, segmentBytes, LANES),
        refused('UNWRAP'),
        `${vector.name}, expecting ${segmentBytes}`,
      );
    }
  }
  assert.ok(expressible > 150, `${expressible} vectors were used`);
});

test('unwrapLanes() refuses the wraps that have no lane form before it looks at a byte', () => {
  const rest = BAD_KWP.filter(({ wrapped }) => wrapped.length < 24 || wrapped.length % 8 !== 0);
  assert.ok(rest.length > 0);
  for (const { kek: key, wrapped } of rest) {
    const segmentBytes = Math.max(9, wrapped.length - 8);
    assert.throws(
      () => unwrapLanes(key, repeated(wrapped, LANES), segmentBytes, LANES),
      refused('LENGTH'),
    );
  }
  assert.throws(() => unwrapLanes(kek, new Uint8Array(0), 16, 1), refused('LENGTH'));
  assert.throws(() => unwrapLanes(kek, new Uint8Array(0), 16, 0), refused('LENGTH'));
});

test('wrapLanes() makes no segments of 8 bytes or fewer', () => {
  for (const { kek: key, plaintext } of TOO_SHORT_KWP) {
    assert.throws(
      () => wrapLanes(key, repeated(plaintext, LANES), plaintext.length, LANES),
      refused('PLAINTEXT_LENGTH'),
    );
    assert.throws(
      () => unwrapLanes(key, new Uint8Array(16 * LANES), plaintext.length, LANES),
      refused('PLAINTEXT_LENGTH'),
    );
  }
});

test('W in lanes gives every known KW answer, which differ from KWP in the start value only', () => {
  for (const vector of GOOD_KW) {
    const shape = { lanes: LANES, semiblocks: vector.plaintext.length / 8 };
    const plain = repeated(vector.plaintext, LANES);
    const wrapped = new Uint8Array(LANES * vector.wrappedBytes);
    encipherLanes(vector.kek, KW_ICV, plain, wrapped, shape);
    for (let lane = 0; lane < LANES; lane += 1) {
      const own = wrapped.subarray(lane * vector.wrappedBytes, (lane + 1) * vector.wrappedBytes);
      assert.equal(sha256(own), vector.wrappedSha256, `${vector.name}, lane ${lane}`);
    }
    const opened = new Uint8Array(plain.length);
    assert.equal(decipherLanes(vector.kek, KW_ICV, wrapped, opened, shape), true, vector.name);
    assert.deepEqual(opened, plain, vector.name);
  }
});

test('W⁻¹ in lanes refuses every wrong KW wrap that has whole semiblocks, and writes nothing', () => {
  // W is defined from two semiblocks up; the other bad vectors are lengths that have no lane form.
  const expressible = BAD_KW.filter(
    ({ wrapped }) => wrapped.length >= 24 && wrapped.length % 8 === 0,
  );
  assert.ok(expressible.length >= 36);
  for (const { kek: key, wrapped, name } of expressible) {
    const shape = { lanes: LANES, semiblocks: wrapped.length / 8 - 1 };
    const opened = new Uint8Array(LANES * shape.semiblocks * 8);
    const isGenuine = decipherLanes(key, KW_ICV, repeated(wrapped, LANES), opened, shape);
    assert.equal(isGenuine, false, name);
    assert.ok(
      opened.every((byte) => byte === 0),
      name,
    );
  }
});

test('lanes equal Node’s cipher for random sizes, counts and alignments, and back', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 9, max: 200 }),
      fc.integer({ min: 1, max: 40 }),
      fc.integer({ min: 0, max: 7 }),
      (segmentBytes, lanes, shift) => {
        const plain = random(lanes * segmentBytes + shift).subarray(shift);
        const expected = wrapOneByOne(kek, plain, segmentBytes);
        const out = new Uint8Array(expected.length + shift).subarray(shift);
        assert.deepEqual(wrapLanes(kek, plain, segmentBytes, lanes), expected);
        assert.deepEqual(wrapLanes(kek, plain, segmentBytes, lanes, out), expected);
        assert.deepEqual(wrapSegments(kek, plain, segmentBytes, lanes), expected);
        const opened = new Uint8Array(plain.length + shift).subarray(shift);
        assert.deepEqual(unwrapLanes(kek, out, segmentBytes, lanes, opened), plain);
        assert.deepEqual(unwrapSegments(kek, out, segmentBytes, lanes), plain);
      },
    ),
    { numRuns: 200 },
  );
});

test('lanes take Buffers from the shared pool and leave their neighbours alone', () => {
  const pooled = Buffer.alloc(1 + 16 * 20);
  pooled.fill(7);
  const plain = pooled.subarray(1);
  const wrapped = wrapLanes(kek, plain, 16, 20);
  assert.deepEqual(wrapped, wrapOneByOne(kek, plain, 16));
  unwrapLanes(kek, wrapped, 16, 20, plain.fill(0));
  assert.ok(pooled.every((byte) => byte === 7));
});

test('more lanes than one batch holds are the same bytes', () => {
  const [segmentBytes, lanes] = [2_048, 2_500];
  const plain = random(segmentBytes * lanes);
  const wrapped = wrapLanes(kek, plain, segmentBytes, lanes);
  for (const lane of [0, 832, 833, 1_023, 1_024, 1_666, 1_667, 2_499]) {
    const own = wrapped.subarray(lane * 2_056, (lane + 1) * 2_056);
    const segment = plain.subarray(lane * segmentBytes, (lane + 1) * segmentBytes);
    assert.deepEqual(own, wrapKwp(kek, segment), `lane ${lane}`);
    assert.deepEqual(unwrapKwp(kek, own), segment);
  }
  assert.deepEqual(unwrapLanes(kek, wrapped, segmentBytes, lanes), plain);
});

test('the input is left as it was', () => {
  const plain = random(20 * 13);
  const copy = new Uint8Array(plain);
  const wrapped = wrapLanes(kek, plain, 13, 20);
  const wrappedCopy = new Uint8Array(wrapped);
  assert.deepEqual(plain, copy);
  unwrapLanes(kek, wrapped, 13, 20);
  assert.deepEqual(wrapped, wrappedCopy);
});

for (const [name, unwrap, lanes] of [
  ['unwrapLanes', unwrapLanes, 8],
  ['unwrapSegments', unwrapSegments, 3],
] as const) {
  test(`${name}() refuses every single flipped bit and leaves no plaintext behind`, () => {
    const segmentBytes = 21;
    const wrapped = wrapLanes(kek, random(segmentBytes * lanes), segmentBytes, lanes);
    const out = new Uint8Array(segmentBytes * lanes);
    for (let bit = 0; bit < wrapped.length * 8; bit += 1) {
      const forged = new Uint8Array(wrapped);
      forged[bit >> 3] = forged[bit >> 3]! ^ (1 << (bit & 7));
      out.fill(1);
      assert.throws(() => unwrap(kek, forged, segmentBytes, lanes, out), refused('UNWRAP'));
      assert.ok(
        out.every((byte) => byte === 0),
        `bit ${bit}`,
      );
    }
  });

  test(`${name}() refuses a segment of another length, and lanes in another's place keep theirs`, () => {
    const mixed = concat(
      wrapLanes(kek, random(20 * (lanes - 1)), 20, lanes - 1),
      wrapKwp(kek, random(19)),
    );
    assert.throws(() => unwrap(kek, mixed, 20, lanes), refused('UNWRAP'));
  });
}

test('a failure in the last batch wipes the batches before it', () => {
  const [segmentBytes, lanes] = [1_024, 2_100];
  const wrapped = wrapLanes(kek, random(segmentBytes * lanes), segmentBytes, lanes);
  wrapped[wrapped.length - 1] = wrapped.at(-1)! ^ 1;
  const out = new Uint8Array(segmentBytes * lanes);
  assert.throws(() => unwrapLanes(kek, wrapped, segmentBytes, lanes, out), refused('UNWRAP'));
  assert.ok(out.every((byte) => byte === 0));
});

test('sizes that do not fit each other are the caller’s mistake', () => {
  const plain = new Uint8Array(160);
  assert.throws(() => wrapLanes(kek, plain, 16, 11), refused('LENGTH'));
  assert.throws(() => wrapLanes(kek, plain, 16, 0), refused('LENGTH'));
  assert.throws(() => wrapLanes(kek, plain, 16, 10, new Uint8Array(239)), refused('LENGTH'));
  assert.throws(() => wrapSegments(kek, plain, 80, 3), refused('LENGTH'));
  assert.throws(() => unwrapSegments(kek, plain, 80, 2), refused('LENGTH'));
  assert.throws(
    () => wrapLanes(createSecretKey(randomBytes(24)), plain, 16, 10),
    refused('KEK_LENGTH'),
  );
  assert.equal(wrappedSegmentBytes(2_048), 2_056);
  assert.equal(wrappedSegmentBytes(2_041), 2_056);
});
