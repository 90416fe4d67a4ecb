import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Serial } from '../../src/kernel/serial.ts';

test('Serial runs work of one key in order and one at a time, also after a failure', async () => {
  const serial = new Serial();
  const seen: string[] = [];
  let running = 0;
  const work = (name: string, fails = false) =>
    serial.run('key', async () => {
      running += 1;
      assert.equal(running, 1);
      await Promise.resolve();
      seen.push(name);
      running -= 1;
      if (fails) throw new Error(name);
    });
  const all = [work('a'), work('b', true), work('c')];
  assert.deepEqual(
    (await Promise.allSettled(all)).map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
  assert.deepEqual(seen, ['a', 'b', 'c']);
});

test('Serial lets different keys run side by side', async () => {
  const serial = new Serial();
  const gate = Promise.withResolvers<void>();
  const blocked = serial.run('a', () => gate.promise);
  assert.equal(await serial.run('b', async () => 'done'), 'done');
  gate.resolve();
  await blocked;
});
