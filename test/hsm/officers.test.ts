import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromUtf8, toBase64 } from '../../src/kernel/bytes.ts';
import { keyOf, OfficersRig } from '../support/officers-rig.ts';

test('an officer activates, makes a user, and the user generates, signs and lists', async () => {
  await using rig = await OfficersRig.make();
  const admin = await rig.activated();
  assert.equal(rig.activations, 1);
  const alice = await rig.cryptoUser(admin, 'alice');
  const aes = await alice.call('key-generate-symmetric', { type: 'aes', bytes: 32, label: 'a' });
  const pair = await alice.call('key-generate-pair', { type: 'ec', curve: 'P-256', label: 'p' });
  const data = toBase64(fromUtf8('hello'));
  const { signature } = await alice.call('sign', {
    key: keyOf(pair, 'privateKey'),
    mechanism: 'ECDSA_SHA256',
    data,
  });
  const verdict = await alice.call('verify', {
    key: keyOf(pair, 'publicKey'),
    mechanism: 'ECDSA_SHA256',
    data,
    signature,
  });
  assert.deepEqual(verdict, { isValid: true });
  const { keys } = await alice.call('key-list');
  assert.equal((keys as unknown[]).length, 3);
  assert.match(keyOf(aes), /^0x[0-9a-f]{16}$/);
});
