import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { pauseMs, placesFor, startsAllowed } from '../../src/backups/due.ts';
import { HOUR_MS, SECOND_MS } from '../../src/kernel/clock.ts';
import { at } from '../support/catalog-samples.ts';

const some = fc.record({ scheduled: fc.nat(1_000), changed: fc.nat(1_000) });

test('never more run at once than are allowed, and a free place is not left empty', () => {
  fc.assert(
    fc.property(
      some,
      fc.integer({ min: 2, max: 64 }),
      fc.nat(64),
      fc.nat(64),
      (waiting, atOnce, a, b) => {
        const running = {
          scheduled: Math.min(a, atOnce),
          changed: Math.min(b, atOnce - Math.min(a, atOnce)),
        };
        const places = placesFor({ waiting, running, atOnce });
        const total = places.scheduled + places.changed + running.scheduled + running.changed;
        assert.ok(total <= atOnce);
        assert.ok(places.scheduled <= waiting.scheduled && places.changed <= waiting.changed);
        const isFull = total === atOnce;
        const isOneLane =
          waiting.scheduled + running.scheduled === 0 || waiting.changed + running.changed === 0;
        const areAllIn =
          places.scheduled === waiting.scheduled && places.changed === waiting.changed;
        if (isOneLane) assert.ok(isFull || areAllIn);
      },
    ),
  );
});

test('a thousand missed backups leave a place for a new key, and constant change leaves one for the floor', () => {
  const nothing = { scheduled: 0, changed: 0 };
  const both = { scheduled: 1_000, changed: 1_000 };
  assert.deepEqual(placesFor({ waiting: both, running: nothing, atOnce: 2 }), {
    scheduled: 1,
    changed: 1,
  });
  const floorOnly = { scheduled: 1_000, changed: 0 };
  assert.deepEqual(placesFor({ waiting: floorOnly, running: nothing, atOnce: 2 }), {
    scheduled: 2,
    changed: 0,
  });
  const running = { scheduled: 0, changed: 1 };
  assert.deepEqual(placesFor({ waiting: both, running, atOnce: 2 }), { scheduled: 1, changed: 0 });
});

test('a few missed backups follow each other at once, many within about an hour', () => {
  assert.equal(pauseMs(3), 5 * SECOND_MS);
  assert.equal(pauseMs(1_000), 3_600);
  assert.equal(pauseMs(100_000) * 100_000, HOUR_MS);
});

test('starts are spread: none before its pause is over, several when a pause is shorter than a tick', () => {
  assert.equal(startsAllowed(at(1_000), undefined, 1), 1);
  assert.equal(startsAllowed(at(4_599), at(1_000), 1_000), 0);
  assert.equal(startsAllowed(at(4_600), at(1_000), 1_000), 1);
  assert.equal(startsAllowed(at(2_000), at(1_000), 36_000), 10);
  // A clock that was set back must not stop the schedule.
  assert.equal(startsAllowed(at(1_000), at(9_000_000), 1), 1);
});
