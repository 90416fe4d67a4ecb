import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { test } from 'node:test';
import { aesCmac, keyCheckValue } from '../../src/crypto/kcv.ts';
import { fromHex, toHex } from '../../src/kernel/bytes.ts';
import generated from '../vectors/kbkdf.json' with { type: 'json' };
import wycheproof from '../vectors/wycheproof_aes256_cmac.json' with { type: 'json' };

test('aesCmac() agrees with every Wycheproof test and with none of the forged tags', () => {
  const tests = wycheproof.testGroups.flatMap((group) => group.tests);
  assert.equal(tests.length, 102);
  for (const vector of tests) {
    const tag = toHex(aesCmac(fromHex(vector.key), fromHex(vector.msg)));
    assert.equal(tag === vector.tag, vector.result === 'valid', `tcId ${vector.tcId}`);
  }
});

test('aesCmac() gives the blocks of the generated CMAC derivations', () => {
  for (const vector of generated.cmac_counter_mode_without_K0) {
    const bits = (vector.lengthBytes * 8).toString(16).padStart(8, '0');
    const data = fromHex(`00000001${vector.label}00${vector.context}${bits}`);
    const block = toHex(aesCmac(createSecretKey(fromHex(vector.key)), data));
    assert.equal(block.slice(0, 2 * vector.lengthBytes), vector.out.slice(0, 32));
  }
});

test('aesCmac() gives the AES-128 answers of RFC 4493', () => {
  const key = fromHex('2b7e151628aed2a6abf7158809cf4f3c');
  assert.equal(toHex(aesCmac(key, new Uint8Array(0))), 'bb1d6929e95937287fa37d129b756746');
  assert.equal(
    toHex(aesCmac(key, fromHex('6bc1bee22e409f96e93d7e117393172a'))),
    '070a16b46b4d4144f79bdd9dd04a287c',
  );
});

test('keyCheckValue() is the start of the CMAC of a zero block, for AES keys only', () => {
  const key = fromHex('2b7e151628aed2a6abf7158809cf4f3c');
  assert.deepEqual(keyCheckValue(key), aesCmac(key, new Uint8Array(16)).slice(0, 3));
  assert.throws(() => keyCheckValue(new Uint8Array(20)), { name: 'CryptoError', code: 'LENGTH' });
});
