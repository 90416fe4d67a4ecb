import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type ForecastFacts, forecastOf } from '../../src/backups/forecast.ts';
import {
  DEFAULT_SCHEDULE,
  nextAfterFailure,
  nextAfterSuccess,
} from '../../src/backups/schedule.ts';
import { DAY_MS, HOUR_MS, SECOND_MS } from '../../src/kernel/clock.ts';
import {
  at,
  backupId,
  clusterId,
  pendingBackup,
  readyBackup,
  sampleCluster,
} from '../support/catalog-samples.ts';

const NOW = at(1_800_000_000_000);
const after = (ms: number) => at(NOW + ms);

const FACTS: ForecastFacts = {
  cluster: sampleCluster(1, { nextBackupAt: after(HOUR_MS) }),
  hasLiveHsm: true,
  provenGeneration: 3,
  recent: [],
  ready: [],
  newest: undefined,
  pending: [],
  fates: [],
  policy: DEFAULT_SCHEDULE,
};

test('the next backups are those of the schedule, as it will decide them', () => {
  const { backups } = forecastOf(FACTS, NOW, 3);
  const second = nextAfterSuccess(after(HOUR_MS), clusterId(1));
  const third = nextAfterSuccess(second, clusterId(1));
  assert.deepEqual(
    backups.map(({ at: time, cause }) => [time, cause]),
    [
      [after(HOUR_MS), 'scheduled'],
      [second, 'scheduled'],
      [third, 'scheduled'],
    ],
  );
});

test('a change that waits comes first, and moves the schedule', () => {
  const cluster = sampleCluster(1, {
    nextBackupAt: after(HOUR_MS),
    newestChange: { generation: 4, at: NOW },
    unprovenSince: NOW,
  });
  const { backups } = forecastOf({ ...FACTS, cluster }, NOW, 2);
  const due = after(5 * SECOND_MS);
  assert.deepEqual(backups[0], { at: due, cause: 'changed', why: 'no change for 5 s' });
  assert.equal(backups[1]?.at, nextAfterSuccess(due, clusterId(1)));
});

test('after failures the next try says so, and the change waits for it', () => {
  const cluster = sampleCluster(1, {
    nextBackupAt: nextAfterFailure(NOW, 2, clusterId(1)),
    backupFailures: 2,
    newestChange: { generation: 4, at: NOW },
  });
  const [first] = forecastOf({ ...FACTS, cluster }, NOW, 1).backups;
  assert.equal(first?.at, cluster.nextBackupAt);
  assert.match(first?.why ?? '', /try 3: 2 have failed/);
});

test('what is overdue is forecast for now, never for the past', () => {
  const cluster = sampleCluster(1, { nextBackupAt: at(NOW - DAY_MS) });
  const [first] = forecastOf({ ...FACTS, cluster }, NOW, 1).backups;
  assert.equal(first?.at, NOW);
  assert.equal(first?.why, 'due now');
});

test('nothing is promised where nothing would be done, and a note says why', () => {
  const off = forecastOf({ ...FACTS, hasLiveHsm: false }, NOW, 3);
  assert.deepEqual(off.backups, []);
  assert.match(off.notes.join(), /no live HSM/);
  const deleted = forecastOf(
    { ...FACTS, cluster: sampleCluster(1, { state: 'DEGRADED' }) },
    NOW,
    3,
  );
  assert.deepEqual(deleted.backups, []);
  const policy = { ...DEFAULT_SCHEDULE, isChangeDriven: false };
  assert.match(forecastOf({ ...FACTS, policy }, NOW, 3).notes.join(), /with the schedule only/);
});

test('removals are listed soonest first, each with what it is and why', () => {
  const { removals } = forecastOf(
    {
      ...FACTS,
      pending: [pendingBackup(1, after(3 * DAY_MS))],
      fates: [
        { id: backupId(2), what: 'retention', at: after(DAY_MS), why: 'older than 90 days' },
        { id: backupId(3), what: 'thinned', at: after(5 * DAY_MS), why: 'one an hour' },
        { id: backupId(4), what: 'kept', why: 'it is held' },
      ],
    },
    NOW,
    9,
  );
  assert.deepEqual(
    removals.map(({ backupId: id, what }) => [id, what]),
    [
      [backupId(2), 'retention'],
      [backupId(1), 'purge'],
      [backupId(3), 'thinned'],
    ],
  );
  assert.match(removals[1]?.why ?? '', /seven days after its deletion \(a test\)/);
});

test('drills are listed soonest first, but for what is gone by then', () => {
  const ready = [
    readyBackup(1, { createdAt: at(NOW - 10 * DAY_MS) }),
    readyBackup(2, { createdAt: at(NOW - HOUR_MS) }),
    readyBackup(3, { createdAt: at(NOW - 20 * DAY_MS) }),
  ];
  const { drills } = forecastOf(
    {
      ...FACTS,
      ready,
      newest: backupId(2),
      fates: [{ id: backupId(3), what: 'thinned', at: after(DAY_MS), why: 'one a day' }],
    },
    NOW,
    9,
  );
  assert.deepEqual(
    drills.map(({ backupId: id, at: time }) => [id, time]),
    [
      [backupId(2), after(23 * HOUR_MS)],
      [backupId(1), after(15 * DAY_MS)],
    ],
  );
});

test('of a cluster that is elsewhere only removals and drills are forecast', () => {
  const cluster = { id: clusterId(1), state: 'ELSEWHERE' } as const;
  const { backups, removals, notes } = forecastOf(
    {
      ...FACTS,
      cluster,
      hasLiveHsm: false,
      fates: [{ id: backupId(1), what: 'retention', at: at(NOW - 1), why: 'old' }],
    },
    NOW,
    9,
  );
  assert.deepEqual(backups, []);
  // What is overdue is forecast for now.
  assert.deepEqual(removals, [{ backupId: backupId(1), what: 'retention', at: NOW, why: 'old' }]);
  assert.equal(notes.length, 1);
  assert.match(notes.join(), /not of this region/);
});

test('where nothing is removed each reason is said once, but not a hundred of them', () => {
  const kept = (n: number, why: string) => ({ id: backupId(n), what: 'kept', why }) as const;
  const notesOf = (fates: ForecastFacts['fates']) => forecastOf({ ...FACTS, fates }, NOW, 9).notes;
  assert.deepEqual(notesOf([kept(1, 'held'), kept(2, 'held')]), [
    'nothing is removed by itself: held',
  ]);
  const many = Array.from({ length: 100 }, (_, n) => kept(n, `held until ${n}`));
  assert.equal(notesOf(many).length, 3);
});
