import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runSelfTests, SELF_TEST_NAMES } from '../../src/crypto/self-test.ts';

test('runSelfTests() passes on this machine', () => {
  runSelfTests();
});

test('runSelfTests() fails for each test whose answer is wrong, and names it', () => {
  assert.ok(SELF_TEST_NAMES.length >= 20);
  for (const name of SELF_TEST_NAMES) {
    assert.throws(() => runSelfTests({ wrongAnswer: name }), {
      name: 'CryptoError',
      code: 'SELF_TEST',
      message: `the self-test "${name}" failed`,
    });
  }
});
