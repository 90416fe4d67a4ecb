import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  afterChange,
  afterFailure,
  afterProven,
  CONSTANT_CHANGE_COUNT,
  causeOf,
  changeBackupAt,
  DEFAULT_SCHEDULE,
  FIRST_TRY_AFTER_MS,
  FLOOR_MS,
  nextAfterFailure,
  nextAfterSuccess,
  ownMoment,
  SOONEST_AFTER_MS,
} from '../../src/backups/schedule.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/kernel/clock.ts';
import type { EpochMs } from '../../src/kernel/types.ts';
import { at, clusterId, sampleCluster } from '../support/catalog-samples.ts';

const NOON = at(1_800_000_000_000);
const after = (ms: number) => at(NOON + ms);
const ID = clusterId(1);
const someId = fc.integer({ min: 0, max: 1_000_000 }).map(clusterId);
const someTime = fc.integer({ min: 0, max: 2_000_000_000_000 }).map(at);

test('own moments are spread evenly over the cycle, and never change', () => {
  const HOURS = 20;
  const CLUSTERS = 10_000;
  const perHour = new Array<number>(HOURS).fill(0);
  for (let n = 0; n < CLUSTERS; n += 1) {
    const moment = ownMoment(clusterId(n));
    assert.equal(moment, ownMoment(clusterId(n)));
    const hour = Math.floor(moment / HOUR_MS);
    perHour[hour] = (perHour[hour] ?? 0) + 1;
  }
  const mean = CLUSTERS / HOURS;
  assert.ok(
    perHour.every((count) => count > mean * 0.8 && count < mean * 1.2),
    `${perHour}`,
  );
});

test('the next scheduled backup is 16 to 20 hours after a proven one', () => {
  fc.assert(
    fc.property(someId, someTime, (id, createdAt) => {
      const wait = nextAfterSuccess(createdAt, id) - createdAt;
      assert.ok(wait >= SOONEST_AFTER_MS && wait <= FIRST_TRY_AFTER_MS, `${wait}`);
    }),
  );
});

test('a cluster that is at its own moment stays there, 20 hours apart, whatever a backup takes', () => {
  fc.assert(
    fc.property(someId, fc.integer({ min: 0, max: 30 * MINUTE_MS }), (id, takesMs) => {
      const cycle = Math.ceil(NOON / FIRST_TRY_AFTER_MS) * FIRST_TRY_AFTER_MS;
      const moment = at(cycle + ownMoment(id));
      assert.equal(nextAfterSuccess(at(moment + takesMs), id), moment + FIRST_TRY_AFTER_MS);
    }),
  );
});

test('clusters that were thrown together are all back at their own moments within a fortnight', () => {
  for (let n = 0; n < 500; n += 1) {
    let last = NOON;
    while (last < after(14 * 24 * HOUR_MS)) last = nextAfterSuccess(last, clusterId(n));
    assert.equal(last % FIRST_TRY_AFTER_MS, ownMoment(clusterId(n)));
  }
});

test('retries wait longer each time, at most 38 minutes, and several fit before the 24 hours end', () => {
  fc.assert(
    fc.property(someId, (id) => {
      let now = after(FIRST_TRY_AFTER_MS);
      let tries = 0;
      let waited = 0;
      while (now < after(FLOOR_MS)) {
        tries += 1;
        const next = nextAfterFailure(now, tries, id);
        assert.ok(next - now >= waited && next - now <= 38 * MINUTE_MS, `${next - now}`);
        waited = next - now;
        now = next;
      }
      assert.ok(tries >= 8, `${tries} tries`);
    }),
  );
});

test('what failed together is not tried again together', () => {
  const waits = Array.from({ length: 100 }, (_, n) => nextAfterFailure(NOON, 5, clusterId(n)));
  assert.ok(new Set(waits).size > 90);
});

test('a change is backed up five seconds after the last one, in words too', () => {
  const unproven = { firstAt: NOON, lastAt: after(2 * SECOND_MS) };
  const { at: due, why } = changeBackupAt(unproven, [], DEFAULT_SCHEDULE);
  assert.equal(due, after(7 * SECOND_MS));
  assert.equal(why, 'no change for 5 s');
});

test('changes that do not end are backed up after sixty seconds at the latest', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 10 * MINUTE_MS }), (lastMs) => {
      const unproven = { firstAt: NOON, lastAt: after(lastMs) };
      assert.ok(changeBackupAt(unproven, [], DEFAULT_SCHEDULE).at <= after(MINUTE_MS));
    }),
  );
});

/** A cluster that changes every second for so long, backed up as the rule says. */
function underConstantChange(forMs: number): readonly EpochMs[] {
  const taken: EpochMs[] = [];
  let firstAt = NOON;
  while (firstAt < after(forMs)) {
    const recent = taken.toReversed().filter((each) => each > firstAt - HOUR_MS);
    const unproven = { firstAt, lastAt: at(firstAt + 10 * HOUR_MS) };
    const due = changeBackupAt(unproven, recent, DEFAULT_SCHEDULE).at;
    taken.push(due);
    firstAt = at(due + SECOND_MS);
  }
  return taken;
}

test('under constant change there are ten backups a minute apart, then one every five minutes, for ever', () => {
  const taken = underConstantChange(12 * HOUR_MS);
  const gaps = taken.slice(1).map((each, n) => each - (taken[n] ?? NOON));
  assert.ok(gaps.slice(0, CONSTANT_CHANGE_COUNT - 1).every((gap) => gap < 2 * MINUTE_MS));
  assert.ok(gaps.slice(CONSTANT_CHANGE_COUNT - 1).every((gap) => gap === 5 * MINUTE_MS));
});

test('after a quiet hour the next change is backed up within seconds again', () => {
  const taken = underConstantChange(3 * HOUR_MS);
  const later = at((taken.at(-1) ?? NOON) + HOUR_MS + MINUTE_MS);
  const due = changeBackupAt(
    { firstAt: later, lastAt: later },
    taken.toReversed(),
    DEFAULT_SCHEDULE,
  );
  assert.equal(due.at, later + 5 * SECOND_MS);
});

test('a change that is in the newest proven backup already asks for nothing', () => {
  const cluster = sampleCluster(1);
  const facts = { provenGeneration: 7, recent: [], policy: DEFAULT_SCHEDULE };
  const same = afterChange(cluster, { generation: 7, at: NOON }, facts);
  assert.deepEqual(same, { ...cluster, newestChange: { generation: 7, at: NOON } });
  const known = { ...cluster, newestChange: { generation: 9, at: NOON } };
  assert.equal(afterChange(known, { generation: 9, at: after(1) }, facts), undefined);
  const newer = afterChange(cluster, { generation: 8, at: NOON }, facts);
  assert.equal(newer?.unprovenSince, NOON);
  assert.equal(newer?.changeDueAt, after(5 * SECOND_MS));
});

test('with change-driven backups off a change is remembered and nothing is due', () => {
  const off = { ...DEFAULT_SCHEDULE, isChangeDriven: false };
  const facts = { provenGeneration: 0, recent: [], policy: off };
  const changed = afterChange(sampleCluster(1), { generation: 1, at: NOON }, facts);
  assert.equal(changed?.unprovenSince, NOON);
  assert.equal(changed?.changeDueAt, undefined);
});

test('a change during failures waits for the retry: one clock decides', () => {
  const failed = afterFailure({ ...sampleCluster(1), changeDueAt: NOON }, NOON);
  assert.equal(failed.changeDueAt, undefined);
  assert.equal(failed.nextBackupAt, nextAfterFailure(NOON, 1, ID));
  const facts = { provenGeneration: 0, recent: [], policy: DEFAULT_SCHEDULE };
  assert.equal(afterChange(failed, { generation: 1, at: NOON }, facts)?.changeDueAt, undefined);
});

test('a proven backup ends failures and waiting, but for what changed while it was taken', () => {
  const waiting = {
    ...sampleCluster(1),
    newestChange: { generation: 5, at: after(MINUTE_MS) },
    unprovenSince: NOON,
    changeDueAt: after(MINUTE_MS),
    backupFailures: 3,
  };
  const proven = afterProven(waiting, { createdAt: NOON, generation: 5 });
  assert.equal(proven.backupFailures, 0);
  assert.equal(proven.nextBackupAt, nextAfterSuccess(NOON, ID));
  assert.equal(proven.unprovenSince ?? proven.changeDueAt, undefined);
  const behind = afterProven(waiting, { createdAt: after(SECOND_MS), generation: 4 });
  assert.equal(behind.unprovenSince, after(SECOND_MS));
  assert.equal(behind.changeDueAt, after(MINUTE_MS));
});

test('a retry carries the cause of what it retries', () => {
  const unproven = { firstAt: NOON, lastAt: NOON };
  const cases = [
    [{ unproven, provenAt: NOON }, HOUR_MS, 'changed'],
    [{ unproven, provenAt: NOON }, 20 * HOUR_MS, 'scheduled'],
    [{ unproven, provenAt: undefined }, HOUR_MS, 'scheduled'],
    [{ unproven: undefined, provenAt: NOON }, HOUR_MS, 'scheduled'],
  ] as const;
  for (const [facts, ms, cause] of cases) assert.equal(causeOf(facts, after(ms)), cause);
});

/**
 * One cluster, driven by the rules alone: each try fails or succeeds as told; while the service is down nothing happens.
 */
function longestGap(
  id: ReturnType<typeof clusterId>,
  tries: readonly { fails: boolean; downMs: number }[],
): { gapMs: number; failedInARow: number; downMs: number } {
  let cluster = afterProven(sampleCluster(1, { id }), { createdAt: NOON, generation: 1 });
  let provenAt = NOON;
  let worst = { gapMs: 0, failedInARow: 0, downMs: 0 };
  let [failedInARow, downMs] = [0, 0];
  for (const { fails, downMs: down } of tries) {
    const now = at((cluster.nextBackupAt ?? NOON) + down);
    downMs += down;
    if (fails) {
      cluster = afterFailure(cluster, now);
      failedInARow += 1;
      continue;
    }
    if (now - provenAt > worst.gapMs) worst = { gapMs: now - provenAt, failedInARow, downMs };
    cluster = afterProven(cluster, { createdAt: now, generation: 1 });
    [provenAt, failedInARow, downMs] = [now, 0, 0];
  }
  return worst;
}

test('no cluster is without a proof for more than 24 hours unless eight tries failed or the service was down', () => {
  const someTry = fc.record({
    fails: fc.boolean(),
    downMs: fc.oneof({ weight: 9, arbitrary: fc.constant(0) }, fc.nat(30 * HOUR_MS)),
  });
  fc.assert(
    fc.property(someId, fc.array(someTry, { maxLength: 60 }), (id, tries) => {
      const { gapMs, failedInARow, downMs } = longestGap(id, tries);
      assert.ok(gapMs - downMs <= FLOOR_MS || failedInARow >= 8, `${gapMs} ${failedInARow}`);
    }),
  );
});
