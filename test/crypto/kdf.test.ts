import assert from 'node:assert/strict';
import { createHash, createSecretKey } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { deriveKey, lengthPrefixed } from '../../src/crypto/kdf.ts';
import { concat, fromHex, toHex } from '../../src/kernel/bytes.ts';
import vectors from '../vectors/kbkdf.json' with { type: 'json' };

const HASHES = {
  'hmac-sha256': 'sha256',
  'hmac-sha384': 'sha384',
  'hmac-sha512': 'sha512',
} as const;
const refused = { name: 'CryptoError', code: 'LENGTH' };

test('deriveKey() gives every known answer, from bytes and from a key object', () => {
  assert.equal(vectors.tests.length, 138);
  for (const vector of vectors.tests) {
    // The file has these three functions only.
    const hash = HASHES[vector.prf as keyof typeof HASHES];
    const parameters = {
      label: fromHex(vector.label),
      context: fromHex(vector.context),
      lengthBytes: vector.lengthBytes,
      hash,
    };
    const key = fromHex(vector.key);
    const derived = deriveKey({ key, ...parameters });
    assert.equal(
      createHash('sha256').update(derived).digest('hex'),
      vector.sha256,
      `${vector.tcId}`,
    );
    assert.deepEqual(deriveKey({ key: createSecretKey(key), ...parameters }), derived);
  }
});

test('deriveKey() of two joined keys gives the known PBK, and the other order another', () => {
  for (const vector of vectors.pbk) {
    const [mkbk, akbk] = [fromHex(vector.mkbk), fromHex(vector.akbk)];
    const pbk = (...keys: Uint8Array[]) =>
      toHex(
        deriveKey({
          key: concat(...keys),
          label: fromHex(vector.label),
          context: fromHex(vector.context),
          lengthBytes: 32,
          // All of them are HMAC vectors.
          hash: HASHES[vector.prf as keyof typeof HASHES],
        }),
      );
    assert.equal(pbk(mkbk, akbk), vector.pbk_kin_is_concat);
    assert.equal(pbk(akbk, mkbk), vector.pbk_kin_is_swapped_concat_must_differ);
    assert.notEqual(pbk(akbk, mkbk), pbk(mkbk, akbk));
  }
});

test('deriveKey() refuses an empty key, a label with a zero byte and impossible lengths', () => {
  const good = { key: new Uint8Array(32), label: 'x', context: new Uint8Array(0), lengthBytes: 32 };
  assert.throws(() => deriveKey({ ...good, key: new Uint8Array(0) }), refused);
  assert.throws(() => deriveKey({ ...good, label: 'a\0b' }), refused);
  for (const lengthBytes of [0, -1, 1.5, 2 ** 29, Number.NaN]) {
    assert.throws(() => deriveKey({ ...good, lengthBytes }), refused);
  }
});

test('lengthPrefixed() gives different parts different bytes', () => {
  const parts = fc.array(fc.uint8Array({ maxLength: 6 }), { maxLength: 4 });
  fc.assert(
    fc.property(parts, parts, (a, b) => {
      const isSame = a.map(toHex).join() === b.map(toHex).join() && a.length === b.length;
      assert.equal(toHex(lengthPrefixed(...a)) === toHex(lengthPrefixed(...b)), isSame);
    }),
  );
});
