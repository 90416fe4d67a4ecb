import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/kernel/clock.ts';
import { type HealthFacts, healthOf, LEVELS, type Level } from '../../src/ops/health.ts';
import { at } from '../support/catalog-samples.ts';

const NOW = at(1_800_000_000_000);
const ago = (ms: number) => at(NOW - ms);

const GOOD: HealthFacts = {
  now: NOW,
  clusters: 3,
  withoutProof: 0,
  oldestProofAt: ago(20 * HOUR_MS),
  unproven: 0,
  isChangeDriven: true,
  failedDrills: 0,
  overdueDrills: 0,
  areRootsLocked: false,
};
const changed = (ms: number) => ({ unproven: 1, unprovenSince: ago(ms) });

const CASES: readonly (readonly [string, Partial<HealthFacts>, Level])[] = [
  ['everything proven and in time', {}, 'good'],
  ['no cluster at all', { clusters: 0 }, 'good'],
  ['a proof of exactly 24 hours', { oldestProofAt: ago(DAY_MS) }, 'good'],
  ['a proof older than 24 hours', { oldestProofAt: ago(DAY_MS + 1) }, 'late'],
  ['a proof older than 48 hours', { oldestProofAt: ago(2 * DAY_MS + 1) }, 'at risk'],
  ['a proof from the future, by a clock that was wrong', { oldestProofAt: ago(-DAY_MS) }, 'good'],
  ['a change of seconds ago', changed(30_000), 'good'],
  ['a change that waits for more than ten minutes', changed(10 * MINUTE_MS + 1), 'late'],
  ['a change that waits for more than an hour', changed(HOUR_MS + 1), 'at risk'],
  ['the same where none is promised', { ...changed(5 * HOUR_MS), isChangeDriven: false }, 'good'],
  ['a new cluster whose first backup is under way', { ...changed(5_000), withoutProof: 1 }, 'good'],
  ['a cluster without a proof', { ...changed(10 * MINUTE_MS + 1), withoutProof: 1 }, 'at risk'],
  [
    'the same where no changes are promised',
    { ...changed(10 * MINUTE_MS + 1), withoutProof: 1, isChangeDriven: false },
    'at risk',
  ],
  ['a backup that did not open again', { failedDrills: 1 }, 'at risk'],
  ['a drill that is overdue', { overdueDrills: 1 }, 'late'],
  ['locked roots', { areRootsLocked: true }, 'at risk'],
  ['a host that does not answer', { areRootsLocked: undefined }, 'unknown'],
  ['the worst of several', { overdueDrills: 1, failedDrills: 1 }, 'at risk'],
];

for (const [what, facts, level] of CASES) {
  test(`healthOf() says ${level} of ${what}`, () => {
    const health = healthOf({ ...GOOD, ...facts });
    assert.equal(health.level, level);
    assert.equal(health.reasons.length === 0, level === 'good');
  });
}

test('exit codes of the levels are what monitors were promised', () => {
  const codes = Object.values(LEVELS).map(({ exitCode }) => exitCode);
  assert.deepEqual(codes, [0, 1, 2, 3]);
});
