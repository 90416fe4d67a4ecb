import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openCatalog } from '../../src/catalog/sqlite.ts';
import { DAY_MS } from '../../src/kernel/clock.ts';
import { MovableClock } from '../../src/kernel/movable-clock.ts';
import { Rehearsal } from '../../src/ops/rehearsal.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { tempFolder } from '../support/temp-folder.ts';

const events = { emit: () => {} };

test('how far a rehearsal is ahead survives a restart', async () => {
  await using folder = await tempFolder();
  using catalog = openCatalog({ folder: folder.path });
  const base = new FakeClock();
  const clock = new MovableClock(base);
  new Rehearsal({ catalog, clock, events }).advance(8 * DAY_MS, 'somebody');
  assert.equal(clock.now(), base.now() + 8 * DAY_MS);
  const next = new MovableClock(base);
  assert.equal(new Rehearsal({ catalog, clock: next, events }).aheadMs, 8 * DAY_MS);
  assert.equal(next.now(), base.now() + 8 * DAY_MS);
});

test('a rehearsal goes ten years ahead at most, in however many moves', async () => {
  await using folder = await tempFolder();
  using catalog = openCatalog({ folder: folder.path });
  const rehearsal = new Rehearsal({ catalog, clock: new MovableClock(new FakeClock()), events });
  rehearsal.advance(3_000 * DAY_MS, 'somebody');
  assert.throws(() => rehearsal.advance(700 * DAY_MS, 'somebody'), { code: 'InvalidRequest' });
  assert.equal(rehearsal.aheadMs, 3_000 * DAY_MS);
});

test('a service that is no rehearsal refuses to move its time', async () => {
  await using folder = await tempFolder();
  using catalog = openCatalog({ folder: folder.path });
  const rehearsal = new Rehearsal({ catalog, clock: undefined, events });
  assert.throws(() => rehearsal.advance(1_000, 'somebody'), {
    code: 'WrongState',
    message: /^\[NOT_A_REHEARSAL\]/,
  });
});

test('a rehearsal whose folder lost the mark does not start as anything else', async () => {
  await using folder = await tempFolder();
  using catalog = openCatalog({ folder: folder.path });
  new Rehearsal({ catalog, clock: new MovableClock(new FakeClock()), events });
  assert.throws(() => new Rehearsal({ catalog, clock: undefined, events }), { code: 'START' });
});
