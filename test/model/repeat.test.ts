import assert from 'node:assert/strict';
import { test } from 'node:test';
import { walkOnce } from './walk.ts';

const SEED = 5;
const DAYS = 45;

test('a seed repeats its run: the same actions, crash points, answers, ids and events', async () => {
  const first = await walkOnce(SEED, DAYS);
  const again = await walkOnce(SEED, DAYS);
  assert.ok(first.actions > 10 && first.crashes > 0 && first.story.length > 100);
  assert.deepEqual(again, first);
});
