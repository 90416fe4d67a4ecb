import assert from 'node:assert/strict';
import { createCipheriv, createSecretKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { KWP_ICV, unwrapKw, unwrapKwp, wrapKw, wrapKwp } from '../../src/crypto/kwp.ts';
import { BAD_KW, BAD_KWP, GOOD_KW, GOOD_KWP, sha256, TOO_SHORT_KWP } from './kwp-vectors.ts';

const kek = createSecretKey(randomBytes(32));
const refused = (code: string) => ({ name: 'CryptoError', code });

test('the vectors are all there', () => {
  assert.equal(GOOD_KW.length, 13 + 28);
  assert.equal(BAD_KW.length, 68 - 13);
  assert.equal(GOOD_KWP.length + TOO_SHORT_KWP.length, 25 + 119);
  assert.equal(BAD_KWP.length, 94 - 25 + 129);
});

for (const [name, vectors, wrap, unwrap] of [
  ['KW', GOOD_KW, wrapKw, unwrapKw],
  ['KWP', GOOD_KWP, wrapKwp, unwrapKwp],
] as const) {
  test(`wrap${name}() and unwrap${name}() give every known answer`, () => {
    for (const vector of vectors) {
      const wrapped = wrap(vector.kek, vector.plaintext);
      assert.equal(wrapped.length, vector.wrappedBytes, vector.name);
      assert.equal(sha256(wrapped), vector.wrappedSha256, vector.name);
      assert.deepEqual(unwrap(vector.kek, wrapped), vector.plaintext, vector.name);
    }
  });
}

test('unwrapKw() refuses every wrong wrap, the empty one included, with one error', () => {
  assert.ok(BAD_KW.some(({ wrapped }) => wrapped.length === 0));
  for (const vector of BAD_KW) {
    assert.throws(() => unwrapKw(vector.kek, vector.wrapped), refused('UNWRAP'), vector.name);
  }
});

test('unwrapKwp() refuses every wrong wrap with one error', () => {
  for (const vector of BAD_KWP) {
    assert.throws(() => unwrapKwp(vector.kek, vector.wrapped), refused('UNWRAP'), vector.name);
  }
  assert.throws(() => unwrapKwp(kek, new Uint8Array(0)), refused('UNWRAP'));
});

test('KWP of 8 bytes or fewer is neither made nor opened', () => {
  assert.ok(TOO_SHORT_KWP.length >= 8);
  for (const vector of TOO_SHORT_KWP) {
    assert.throws(() => wrapKwp(vector.kek, vector.plaintext), refused('PLAINTEXT_LENGTH'));
    const wrapped = createCipheriv('id-aes256-wrap-pad', vector.kek, KWP_ICV).update(
      vector.plaintext,
    );
    assert.equal(sha256(wrapped), vector.wrappedSha256, 'right by the standard');
    assert.throws(() => unwrapKwp(vector.kek, wrapped), refused('UNWRAP'));
  }
});

test('errors of one path are the same text, so that they tell nothing', () => {
  const wrapped = wrapKwp(kek, new Uint8Array(20));
  const messages = [wrapped.fill(1, 31), wrapped.subarray(0, 24), wrapped.subarray(0, 31)].map(
    (bytes) => {
      try {
        return unwrapKwp(kek, bytes);
      } catch (cause) {
        return String(cause);
      }
    },
  );
  assert.equal(new Set(messages).size, 1);
});

test('keys that are no AES-256 keys are refused', () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  for (const key of [
    createSecretKey(randomBytes(16)),
    createSecretKey(randomBytes(33)),
    publicKey,
  ]) {
    assert.throws(() => wrapKwp(key, new Uint8Array(16)), refused('KEK_LENGTH'));
    assert.throws(() => unwrapKwp(key, new Uint8Array(24)), refused('KEK_LENGTH'));
    assert.throws(() => wrapKw(key, new Uint8Array(16)), refused('KEK_LENGTH'));
    assert.throws(() => unwrapKw(key, new Uint8Array(24)), refused('KEK_LENGTH'));
  }
});

test('wrapKw() takes whole semiblocks, two or more', () => {
  for (const length of [0, 8, 17, 23]) {
    assert.throws(() => wrapKw(kek, new Uint8Array(length)), refused('PLAINTEXT_LENGTH'));
  }
});

test('unwrapKwp() gives back what wrapKwp() took', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 9, maxLength: 300 }), (plaintext) => {
      assert.deepEqual(unwrapKwp(kek, wrapKwp(kek, plaintext)), plaintext);
    }),
  );
});

test('unwrapKwp() refuses every single flipped bit and every shorter length', () => {
  const wrapped = wrapKwp(kek, new Uint8Array(randomBytes(61)));
  for (let bit = 0; bit < wrapped.length * 8; bit += 1) {
    const forged = new Uint8Array(wrapped);
    forged[bit >> 3] = forged[bit >> 3]! ^ (1 << (bit & 7));
    assert.throws(() => unwrapKwp(kek, forged), refused('UNWRAP'), `bit ${bit}`);
  }
  for (let length = 0; length < wrapped.length; length += 1) {
    assert.throws(() => unwrapKwp(kek, wrapped.subarray(0, length)), refused('UNWRAP'));
  }
});
