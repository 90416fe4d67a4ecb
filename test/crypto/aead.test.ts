import assert from 'node:assert/strict';
import { createSecretKey, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { openAead, sealAead } from '../../src/crypto/aead.ts';
import { fromHex, toHex } from '../../src/kernel/bytes.ts';

const key = new Uint8Array(randomBytes(32));
const nonce = new Uint8Array(12);
const refused = (code: string) => ({ name: 'CryptoError', code });

test('sealAead() gives the known answer of test case 16 of the GCM specification', () => {
  const sealed = sealAead(
    fromHex('feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308'),
    fromHex('cafebabefacedbaddecaf888'),
    fromHex(
      'd9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39',
    ),
    fromHex('feedfacedeadbeeffeedfacedeadbeefabaddad2'),
  );
  assert.equal(
    toHex(sealed),
    '522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662' +
      '76fc6ece0f4e1768cddf8853bb2d551b',
  );
});

test('openAead() gives back what sealAead() took, with bytes or a key object', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200 }),
      fc.uint8Array({ maxLength: 50 }),
      (text, aad) => {
        const sealed = sealAead(key, nonce, text, aad);
        assert.equal(sealed.length, text.length + 16);
        assert.deepEqual(openAead(createSecretKey(key), nonce, sealed, aad), text);
      },
    ),
  );
});

test('openAead() refuses every flipped bit, every cut and other associated data', () => {
  const aad = Uint8Array.of(1, 2, 3);
  const sealed = sealAead(key, nonce, new Uint8Array(20), aad);
  for (let bit = 0; bit < sealed.length * 8; bit += 1) {
    const forged = new Uint8Array(sealed);
    forged[bit >> 3] = forged[bit >> 3]! ^ (1 << (bit & 7));
    assert.throws(() => openAead(key, nonce, forged, aad), refused('DECRYPT'));
  }
  for (let length = 0; length < sealed.length; length += 1) {
    assert.throws(() => openAead(key, nonce, sealed.subarray(0, length), aad), refused('DECRYPT'));
  }
  assert.throws(() => openAead(key, nonce, sealed, new Uint8Array(0)), refused('DECRYPT'));
});

test('keys and nonces of another size are refused', () => {
  const none = new Uint8Array(0);
  assert.throws(() => sealAead(key.subarray(1), nonce, none, none), refused('LENGTH'));
  assert.throws(() => sealAead(key, nonce.subarray(1), none, none), refused('LENGTH'));
  assert.throws(
    () => openAead(key, new Uint8Array(16), new Uint8Array(16), none),
    refused('LENGTH'),
  );
});
