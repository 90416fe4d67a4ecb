import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DEFAULT_PASSWORD_COST, PasswordHasher } from '../../src/crypto/password.ts';
import { fromUtf8, toHex } from '../../src/kernel/bytes.ts';

const cheap = { salt: fromUtf8('somesalt'), memoryKiB: 256, passes: 2 };

test('hash() gives the known answer of the reference implementation', async () => {
  const hasher = new PasswordHasher({ maxQueued: 1 });
  assert.equal(
    toHex(await hasher.hash(fromUtf8('password'), cheap)),
    '9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe',
  );
});

test('the default cost is 19 MiB and two passes', () => {
  assert.deepEqual(DEFAULT_PASSWORD_COST, { memoryKiB: 19 * 1024, passes: 2 });
});

test('hash() works in order, one at a time, and refuses when the queue is full', async () => {
  const hasher = new PasswordHasher({ maxQueued: 3 });
  const done: number[] = [];
  // The first costs most: were they to run side by side, it would end last.
  const costs = [8_192, 64, 8];
  const running = costs.map((memoryKiB, i) =>
    hasher.hash(fromUtf8('x'), { ...cheap, memoryKiB }).then(() => done.push(i)),
  );
  await assert.rejects(hasher.hash(fromUtf8('x'), cheap), {
    name: 'Refused',
    code: 'LimitExceeded',
  });
  await Promise.all(running);
  assert.deepEqual(done, [0, 1, 2]);
  assert.equal((await hasher.hash(fromUtf8('x'), cheap)).length, 32);
});

test('hash() refuses salts and costs outside RFC 9106 without taking a place in the queue', async () => {
  const hasher = new PasswordHasher({ maxQueued: 1 });
  for (const bad of [
    { salt: new Uint8Array(7) },
    { memoryKiB: 7 },
    { passes: 0 },
    { passes: 1.5 },
  ]) {
    await assert.rejects(hasher.hash(fromUtf8('x'), { ...cheap, ...bad }), {
      name: 'CryptoError',
      code: 'LENGTH',
    });
  }
  assert.equal((await hasher.hash(fromUtf8(''), cheap)).length, 32);
});
