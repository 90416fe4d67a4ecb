import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { Broken } from '../../src/kernel/errors.ts';
import { Secret } from '../../src/kernel/secret.ts';

test('a secret does not fall out as text, by inspection or as JSON', () => {
  const secret = new Secret(new TextEncoder().encode('planted'));
  assert.equal(String(secret), '[secret]');
  assert.equal(inspect({ secret }), '{ secret: [secret] }');
  assert.throws(() => JSON.stringify({ secret }), Broken);
});

test('a secret wipes its bytes at the end of its block and is not usable after', () => {
  const bytes = Uint8Array.of(1, 2, 3);
  const secret = new Secret(bytes);
  {
    using own = secret;
    assert.equal(own.expose()[2], 3);
  }
  assert.deepEqual(bytes, Uint8Array.of(0, 0, 0));
  assert.throws(() => secret.expose(), Broken);
});
