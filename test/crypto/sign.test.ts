import assert from 'node:assert/strict';
import { generateKeyPairSync } from 'node:crypto';
import { test } from 'node:test';
import { generateEcKeyPair } from '../../src/crypto/keys.ts';
import { signStatement, verifyStatement } from '../../src/crypto/sign.ts';

const { publicKey, privateKey } = generateEcKeyPair();
const statement = { kind: 'test', n: 1, list: ['a', null, true] };

test('verifyStatement() takes what signStatement() signed, whatever the order of members', () => {
  const signature = signStatement(privateKey, statement);
  const shuffled = { list: ['a', null, true], n: 1, kind: 'test' };
  assert.equal(verifyStatement(publicKey, shuffled, signature), true);
});

test('verifyStatement() is false for another statement, key or signature, and never throws', () => {
  const signature = signStatement(privateKey, statement);
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
  assert.equal(verifyStatement(publicKey, { ...statement, n: 2 }, signature), false);
  assert.equal(verifyStatement(generateEcKeyPair().publicKey, statement, signature), false);
  assert.equal(verifyStatement(rsa, statement, signature), false);
  for (const bad of ['', 'AAAA', 'not base64!', `${signature}\n`, signature.slice(0, -4)]) {
    assert.equal(verifyStatement(publicKey, statement, bad), false, bad);
  }
});

test('signStatement() signs with private P-256 keys only', () => {
  const refused = { name: 'CryptoError', code: 'KEY_KIND' };
  const p384 = generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey;
  assert.throws(() => signStatement(publicKey, statement), refused);
  assert.throws(() => signStatement(p384, statement), refused);
});
