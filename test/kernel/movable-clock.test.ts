import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY_MS, SECOND_MS } from '../../src/kernel/clock.ts';
import { MovableClock } from '../../src/kernel/movable-clock.ts';
import { FakeClock } from '../support/fake-clock.ts';

test('a moved clock stays as far ahead of the other one', () => {
  const base = new FakeClock();
  const clock = new MovableClock(base);
  assert.equal(clock.now(), base.now());
  clock.moveAhead(DAY_MS);
  base.advance(SECOND_MS);
  assert.equal(clock.now(), base.now() + DAY_MS);
});

test('a clock is never moved back', () => {
  const clock = new MovableClock(new FakeClock());
  clock.moveAhead(DAY_MS);
  assert.throws(() => clock.moveAhead(DAY_MS - 1), { name: 'Broken' });
});

test('whoever sleeps wakes when the time has come, by passing or by moving', async () => {
  const base = new FakeClock();
  const clock = new MovableClock(base);
  const woken: string[] = [];
  const short = clock.sleep(2 * SECOND_MS).then(() => woken.push('short'));
  const long = clock.sleep(DAY_MS).then(() => woken.push('long'));
  base.advance(2 * SECOND_MS);
  await short;
  clock.moveAhead(SECOND_MS);
  clock.moveAhead(DAY_MS);
  await long;
  assert.deepEqual(woken, ['short', 'long']);
});

test('a sleep that is aborted rejects with the reason', async () => {
  const clock = new MovableClock(new FakeClock());
  const stop = new AbortController();
  const asleep = clock.sleep(DAY_MS, stop.signal);
  stop.abort(new Error('enough'));
  await assert.rejects(asleep, /enough/);
});
