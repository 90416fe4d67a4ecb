import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { openBox, publicPoint, type SealedBox, sealBox } from '../../src/crypto/box.ts';
import { generateEcKeyPair } from '../../src/crypto/keys.ts';
import { fromBase64, toBase64 } from '../../src/kernel/bytes.ts';

const device = generateEcKeyPair();
const point = publicPoint(device.publicKey);
const secret = new Uint8Array(randomBytes(32));
const refused = (code: string) => ({ name: 'CryptoError', code });

test('openBox() gives the device what sealBox() put in', () => {
  const box = sealBox(point, secret, 'storage-key');
  assert.deepEqual(openBox(device.privateKey, box, 'storage-key'), secret);
  assert.equal(fromBase64(box.ephemeralPublicKey).length, 65);
  assert.equal(publicPoint(device.privateKey), point);
});

test('two boxes of one secret have nothing in common, unless luck is given', () => {
  const [a, b] = [sealBox(point, secret, 'x'), sealBox(point, secret, 'x')];
  assert.notEqual(a.ephemeralPublicKey, b.ephemeralPublicKey);
  assert.notEqual(a.wrapped, b.wrapped);
  const sevens = { bytes: (length: number) => new Uint8Array(length).fill(7) };
  assert.deepEqual(sealBox(point, secret, 'x', sevens), sealBox(point, secret, 'x', sevens));
});

test('sealBox() gives up on luck that never makes a scalar', () => {
  const zeros = { bytes: (length: number) => new Uint8Array(length) };
  assert.throws(() => sealBox(point, secret, 'x', zeros));
});

test('openBox() refuses another device, another purpose and every flipped bit with one error', () => {
  const box = sealBox(point, secret, 'mkbk/one/1');
  assert.throws(() => openBox(generateEcKeyPair().privateKey, box, 'mkbk/one/1'), refused('BOX'));
  assert.throws(() => openBox(device.privateKey, box, 'mkbk/one/2'), refused('BOX'));
  for (const field of ['ephemeralPublicKey', 'wrapped'] as const) {
    const bytes = fromBase64(box[field]);
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const forged = new Uint8Array(bytes);
      forged[bit >> 3] = forged[bit >> 3]! ^ (1 << (bit & 7));
      const bad: SealedBox = { ...box, [field]: toBase64(forged) };
      assert.throws(() => openBox(device.privateKey, bad, 'mkbk/one/1'), refused('BOX'));
    }
    assert.throws(
      () => openBox(device.privateKey, { ...box, [field]: 'not base64' }, 'mkbk/one/1'),
      refused('BOX'),
    );
  }
});

test('sealBox() makes none for points off the curve, at infinity, compressed or cut', () => {
  const off = fromBase64(point);
  off[64] = off[64]! ^ 1;
  const compressed = Uint8Array.of(2, ...fromBase64(point).subarray(1, 33));
  const zeros = Uint8Array.of(4, ...new Uint8Array(64));
  for (const bad of [off, compressed, zeros, Uint8Array.of(0), off.subarray(0, 64)]) {
    assert.throws(() => sealBox(toBase64(bad), secret, 'x'), refused('BOX'));
  }
});

test('a known box opens: its bytes were made by python-cryptography', () => {
  const text = (hex: string) => Buffer.from(hex, 'hex').toString('base64url');
  const key = createPrivateKey({
    format: 'jwk',
    key: {
      kty: 'EC',
      crv: 'P-256',
      x: text('0217e617f0b6443928278f96999e69a23a4f2c152bdf6d6cdf66e5b80282d4ed'),
      y: text('194a7debcb97712d2dda3ca85aa8765a56f45fc758599652f2897c65306e5794'),
      d: text('1111111111111111111111111111111111111111111111111111111111111111'),
    },
  });
  const box = {
    ephemeralPublicKey:
      'BNZak5d8qj0bCBhS/1ennkZfFmBXcwS66tUF3TpIWJzzUBheiVNy32Ih6joTdVfkc/3bZ1XwW9UHw8Uz/OnJEoU=',
    wrapped: 'b37zl6ltkcAFUgMNd5z9bcHHtVNAZSBxSuOPe0VPJWPl5HKLNFS5zw==',
  };
  assert.deepEqual(
    openBox(key, box, 'akbk/home/1'),
    Uint8Array.from({ length: 32 }, (_, i) => i),
  );
});

test('keys of other kinds are refused', () => {
  const other = generateKeyPairSync('ec', { namedCurve: 'P-384' });
  const box = sealBox(point, secret, 'x');
  assert.throws(() => publicPoint(other.publicKey), refused('KEY_KIND'));
  assert.throws(() => openBox(other.privateKey, box, 'x'), refused('KEY_KIND'));
  assert.throws(() => openBox(device.publicKey, box, 'x'), refused('KEY_KIND'));
});
