import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Thinnable } from '../../src/backups/thin.ts';
import { thinningOf } from '../../src/backups/thin.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/kernel/clock.ts';
import { at, backupId } from '../support/catalog-samples.ts';

const START = 20_000 * DAY_MS;

/** A few weeks of changes: bursts, quiet hours, equal times. */
const histories: fc.Arbitrary<readonly Thinnable[]> = fc
  .array(
    fc.oneof(
      { weight: 5, arbitrary: fc.integer({ min: 0, max: 40 * MINUTE_MS }) },
      { weight: 2, arbitrary: fc.integer({ min: 0, max: 30 * HOUR_MS }) },
      { weight: 1, arbitrary: fc.constant(0) },
    ),
    { maxLength: 80 },
  )
  .map((gaps) => {
    let now = START;
    return gaps.map((gap, n) => {
      now += gap;
      return { id: backupId(n), createdAt: at(now) };
    });
  });
const looks = fc.array(fc.integer({ min: 0, max: 100 * DAY_MS }), { maxLength: 8 });

/** What is left after looking at this time. */
function afterLook(backups: readonly Thinnable[], now: number): readonly Thinnable[] {
  const thinnings = thinningOf(backups);
  return backups.filter(({ id }) => (thinnings.get(id)?.at ?? Infinity) > now);
}

const ids = (backups: readonly Thinnable[]) => backups.map(({ id }) => id).sort();
const bucket = (ms: number, width: number): number => Math.floor(ms / width);

describe('thinning', () => {
  test('keeps everything for 24 hours, one an hour for 7 days, one a day after that', () => {
    const every5Minutes = Array.from({ length: 30 * 24 * 12 }, (_, n) => ({
      id: backupId(n),
      createdAt: at(START + n * 5 * MINUTE_MS),
    }));
    const now = START + 30 * DAY_MS;
    const left = afterLook(every5Minutes, now);
    const ofAge = (from: number, to: number): readonly Thinnable[] =>
      left.filter(({ createdAt }) => now - createdAt > from && now - createdAt <= to);
    assert.equal(ofAge(0, DAY_MS).length, 24 * 12);
    assert.equal(ofAge(DAY_MS, 7 * DAY_MS).length, 6 * 24);
    assert.equal(ofAge(7 * DAY_MS, 30 * DAY_MS).length, 23);
  });

  test('touches nothing younger than 24 hours', () => {
    fc.assert(
      fc.property(histories, (backups) => {
        for (const [id, thinning] of thinningOf(backups)) {
          const { createdAt } = backups.find((backup) => backup.id === id)!;
          assert.ok(thinning.at - createdAt >= DAY_MS);
        }
      }),
    );
  });

  test('leaves for whatever it takes a younger one, less than an hour or a day away', () => {
    fc.assert(
      fc.property(histories, looks, (backups, times) => {
        const now = START + Math.max(0, ...times);
        const left = afterLook(backups, now);
        for (const gone of backups.filter((backup) => !left.includes(backup))) {
          const isOld = now >= (bucket(gone.createdAt, DAY_MS) + 1) * DAY_MS + 7 * DAY_MS;
          const width = isOld ? DAY_MS : HOUR_MS;
          const near = left.find(
            ({ createdAt }) => createdAt >= gone.createdAt && createdAt - gone.createdAt < width,
          );
          assert.ok(near !== undefined, `${gone.id} left a gap`);
        }
      }),
    );
  });

  test('never makes a gap between two neighbours wider than the old one and a bucket', () => {
    fc.assert(
      fc.property(histories, looks, (backups, times) => {
        const widest = (list: readonly Thinnable[]): number => {
          const sorted = list.map(({ createdAt }) => createdAt).sort((a, b) => a - b);
          return Math.max(0, ...sorted.slice(1).map((each, i) => each - (sorted[i] ?? each)));
        };
        const left = afterLook(backups, START + Math.max(0, ...times));
        assert.ok(widest(left) < widest(backups) + DAY_MS);
      }),
    );
  });

  test('ends the same after many looks, one late look, or the same look twice', () => {
    fc.assert(
      fc.property(histories, looks, (backups, times) => {
        const inOrder = times.map((ms) => START + ms).sort((a, b) => a - b);
        const last = inOrder.at(-1) ?? START;
        const stepwise = inOrder.reduce(afterLook, backups);
        const once = afterLook(backups, last);
        assert.deepEqual(ids(stepwise), ids(once));
        assert.deepEqual(ids(afterLook(once, last)), ids(once));
      }),
    );
  });

  test('does not depend on the order in which backups are looked at', () => {
    fc.assert(
      fc.property(
        histories.chain((backups) =>
          fc.tuple(
            fc.constant(backups),
            fc.shuffledSubarray([...backups], { minLength: backups.length }),
          ),
        ),
        ([backups, shuffled]) => {
          assert.deepEqual(
            new Map([...thinningOf(shuffled)].sort()),
            new Map([...thinningOf(backups)].sort()),
          );
        },
      ),
    );
  });

  test('keeps the one that stands for an hour until the hour is part of a day that old', () => {
    fc.assert(
      fc.property(histories, fc.integer({ min: 0, max: 100 * DAY_MS }), (backups, ms) => {
        const now = START + ms;
        // Younger changes come while time goes on; they must not push out who was kept.
        const known = backups.filter(({ createdAt }) => createdAt <= now);
        const kept = afterLook(known, now).filter(
          ({ createdAt }) => now >= (bucket(createdAt, HOUR_MS) + 1) * HOUR_MS + DAY_MS,
        );
        for (const { id, createdAt } of kept) {
          const dayIsOld = (bucket(createdAt, DAY_MS) + 1) * DAY_MS + 7 * DAY_MS;
          assert.ok((thinningOf(backups).get(id)?.at ?? Infinity) >= dayIsOld);
        }
      }),
    );
  });
});
