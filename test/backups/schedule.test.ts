import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  type ClusterFacts,
  changeBackupAt,
  DEFAULT_SCHEDULE,
  dueBackups,
  nextAfterFailure,
  nextAfterSuccess,
} from '../../src/backups/schedule.ts';
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../../src/kernel/clock.ts';
import type { ClusterId } from '../../src/kernel/ids.ts';
import type { EpochMs } from '../../src/kernel/types.ts';

const at = (ms: number) => ms as EpochMs;
const NOON = at(1_800_000_000_000);
const after = (ms: number) => at(NOON + ms);

function facts(change: Partial<ClusterFacts>): ClusterFacts {
  return {
    clusterId: 'cluster-keyarkaaaaaaaaaa' as ClusterId,
    hasLiveHsm: true,
    nextBackupAt: after(20 * HOUR_MS),
    failures: 0,
    unproven: undefined,
    ...change,
  };
}

test('dueBackups() starts the scheduled backup at its minute, not before', () => {
  const cluster = facts({ nextBackupAt: NOON });
  assert.deepEqual(dueBackups([cluster], after(-1), DEFAULT_SCHEDULE), []);
  assert.deepEqual(dueBackups([cluster], NOON, DEFAULT_SCHEDULE), [
    { clusterId: cluster.clusterId, cause: 'scheduled' },
  ]);
});

test('dueBackups() asks nothing of a cluster without a live HSM', () => {
  const cluster = facts({
    hasLiveHsm: false,
    nextBackupAt: NOON,
    unproven: { firstAt: NOON, lastAt: NOON },
  });
  assert.deepEqual(dueBackups([cluster], after(48 * HOUR_MS), DEFAULT_SCHEDULE), []);
});

test('a change is backed up five seconds after the last one', () => {
  const unproven = { firstAt: NOON, lastAt: after(2 * SECOND_MS) };
  const cluster = facts({ unproven });
  assert.deepEqual(dueBackups([cluster], after(6_999), DEFAULT_SCHEDULE), []);
  assert.deepEqual(dueBackups([cluster], after(7_000), DEFAULT_SCHEDULE), [
    { clusterId: cluster.clusterId, cause: 'changed' },
  ]);
});

test('constant change is backed up after sixty seconds at the latest', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 10 * MINUTE_MS }), (lastMs) => {
      const due = changeBackupAt(
        { unproven: { firstAt: NOON, lastAt: after(lastMs) }, failures: 0 },
        DEFAULT_SCHEDULE,
      );
      assert.ok(due !== undefined && due <= after(MINUTE_MS));
    }),
  );
});

test('one setting switches change-driven backups off and leaves the 24-hour floor', () => {
  const policy = { ...DEFAULT_SCHEDULE, isChangeDriven: false };
  const changed = facts({ unproven: { firstAt: NOON, lastAt: NOON } });
  assert.deepEqual(dueBackups([changed], after(HOUR_MS), policy), []);
  assert.equal(dueBackups([changed], after(20 * HOUR_MS), policy)[0]?.cause, 'scheduled');
});

test('a failed change-driven try is repeated by the schedule alone', () => {
  const failed = facts({
    failures: 1,
    nextBackupAt: nextAfterFailure(NOON, 1),
    unproven: { firstAt: NOON, lastAt: NOON },
  });
  assert.deepEqual(dueBackups([failed], after(59 * SECOND_MS), DEFAULT_SCHEDULE), []);
  assert.equal(dueBackups([failed], after(MINUTE_MS), DEFAULT_SCHEDULE).length, 1);
});

test('retries wait longer each time, at most half an hour, and several fit before the 24 hours end', () => {
  let now = nextAfterSuccess(NOON);
  let tries = 0;
  while (now < after(24 * HOUR_MS)) {
    tries += 1;
    const next = nextAfterFailure(now, tries);
    assert.ok(next > now && next - now <= 30 * MINUTE_MS);
    now = next;
  }
  assert.ok(tries >= 8, `${tries} tries`);
});
