import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import type { Hold } from '../../src/backups/backup.ts';
import {
  type ClusterBackups,
  earliestEnd,
  fateOfCopy,
  fatesOf,
  NEVER,
  type RetentionFacts,
  withExpiry,
  withOwnRetention,
} from '../../src/backups/retention.ts';
import { DAY_MS, HOUR_MS, isoTime } from '../../src/kernel/clock.ts';
import { at, backupId, clusterId, pendingBackup, readyBackup } from '../support/catalog-samples.ts';

const START = 20_000 * DAY_MS;
const NOW = at(START + 500 * DAY_MS);
const OWN = { thinning: true };
const AWS_EXACT = { thinning: false };
const COPY = {
  copiedAt: at(START + 10 * DAY_MS),
  sourceRegion: 'eu-west-1',
  sourceBackup: backupId(99),
  sourceCluster: clusterId(9),
};

const hold = (until?: number): Hold => ({
  kind: until === undefined ? 'legal' : 'compliance',
  ...(until === undefined ? {} : { until: at(until) }),
  why: 'audit',
  by: 'somebody',
  at: at(START),
});

function backup(n: number, ms: number, changes: Partial<RetentionFacts> = {}): RetentionFacts {
  return readyBackup(n, { createdAt: at(START + ms), ...changes });
}

function fate(n: number, facts: Partial<ClusterBackups>, policy = OWN, now = NOW) {
  const all = fatesOf(
    { retentionDays: 90, ready: [], newest: undefined, neededFor: () => undefined, ...facts },
    now,
    policy,
  );
  return all.find(({ id }) => id === backupId(n));
}

const NEWEST = backup(50, 400 * DAY_MS);

describe('retention', () => {
  test('ends a backup at the age that its cluster says, and says so', () => {
    assert.deepEqual(fate(1, { ready: [backup(1, 0), NEWEST] }), {
      id: backupId(1),
      what: 'retention',
      at: at(START + 90 * DAY_MS),
      why: "older than its cluster's retention of 90 days",
    });
  });

  test('honours a stored retention beyond what can be asked for', () => {
    const found = fate(1, { ready: [backup(1, 0), NEWEST], retentionDays: 455 });
    assert.equal(found?.what === 'retention' && found.at, START + 455 * DAY_MS);
  });

  const KEPT: readonly [string, Partial<RetentionFacts>, RegExp][] = [
    ['NeverExpires', { neverExpires: true }, /never expire/],
    ['a legal hold', { holds: [hold()] }, /under a legal hold \("audit"\)/],
    ['a legal hold beside a past date', { holds: [hold(START), hold()] }, /legal hold/],
  ];
  for (const [what, changes, why] of KEPT) {
    test(`keeps what is under ${what}, and says why`, () => {
      const found = fate(1, { ready: [backup(1, 0, changes), NEWEST] });
      assert.equal(found?.what, 'kept');
      assert.match(found?.why ?? '', why);
    });
  }

  const LATER: readonly [string, Partial<RetentionFacts>][] = [
    ['a compliance hold', { holds: [hold(START + 200 * DAY_MS)] }],
    ['an undo', { sparedUntil: at(START + 200 * DAY_MS) }],
  ];
  for (const [what, changes] of LATER) {
    test(`waits for the end of ${what}, and says until when`, () => {
      const found = fate(1, { ready: [backup(1, 0, changes), NEWEST] });
      assert.equal(found?.what === 'retention' && found.at, START + 200 * DAY_MS);
      assert.match(found?.why ?? '', new RegExp(isoTime(at(START + 200 * DAY_MS))));
    });
  }

  test('never ends the newest READY backup, by creation or by its time', () => {
    const [older, younger] = [backup(1, 0), backup(2, 1)];
    assert.match(fate(2, { ready: [younger, older] })?.why ?? '', /the newest READY backup/);
    // The clock went back before backup 1 was taken: it is the newest by creation.
    for (const n of [1, 2]) {
      assert.equal(fate(n, { ready: [older, younger], newest: backupId(1) })?.what, 'kept');
    }
  });

  test('never ends the newest one that opens, and says so, while the newest of all does not', () => {
    const [oldest, sound] = [backup(1, 0), backup(2, 1)];
    const broken = backup(3, 2, { drill: { at: NOW, failure: 'not what was stored' } });
    const ready = [oldest, sound, broken];
    assert.equal(fate(1, { ready, newest: broken.id })?.what, 'retention');
    assert.match(fate(2, { ready, newest: broken.id })?.why ?? '', /newest backup .* that opens/);
    assert.match(fate(3, { ready, newest: broken.id })?.why ?? '', /newest READY backup/);
  });

  test('passes over copies, whatever their age', () => {
    assert.equal(fate(1, { ready: [backup(1, 0, { copy: COPY }), NEWEST] }), undefined);
  });
});

describe('thinning within retention', () => {
  test('lets nothing stand for others that does not open', () => {
    const broken = { drill: { at: NOW, failure: 'not what was stored' } };
    const [first, second] = [
      backup(1, 0, { cause: 'changed' }),
      backup(2, 1, { cause: 'changed' }),
    ];
    assert.equal(fate(1, { ready: [first, second, NEWEST] })?.what, 'thinned');
    const ready = [first, { ...second, ...broken }, NEWEST];
    assert.equal(fate(1, { ready })?.what, 'retention');
  });

  const pair = (changes: Partial<RetentionFacts> = {}) => [
    backup(1, 0, { cause: 'changed', ...changes }),
    backup(2, HOUR_MS / 2, { cause: 'changed' }),
    NEWEST,
  ];

  test('takes the older of two changes in one hour, one day after that hour', () => {
    const found = fate(1, { ready: pair() });
    assert.deepEqual(found?.what === 'thinned' && found.at, START + HOUR_MS + DAY_MS);
  });

  test('is off in the profile that is exactly like AWS', () => {
    assert.equal(fate(1, { ready: pair() }, AWS_EXACT)?.what, 'retention');
  });

  const SAFE: readonly [string, Partial<RetentionFacts>][] = [
    ['scheduled', { cause: 'scheduled' }],
    ['manual', { cause: 'manual' }],
    ['taken at activation', { cause: 'activated' }],
    ['taken before an HSM is added', { cause: 'before-add-hsm' }],
    ['taken before an HSM is deleted', { cause: 'before-delete-hsm' }],
    ['shared', { policy: '{}' }],
    ['never-expiring', { neverExpires: true }],
    ['legally held', { holds: [hold()] }],
    ['a copy', { copy: COPY }],
  ];
  for (const [what, changes] of SAFE) {
    test(`never touches a backup that is ${what}`, () => {
      assert.notEqual(fate(1, { ready: pair(changes) })?.what, 'thinned');
    });
  }

  test('waits while something under way needs the backup, and asks again', () => {
    const neededFor = () => 'a copy of it is under way';
    const found = fate(1, { ready: pair(), neededFor }, OWN, at(START + 3 * DAY_MS));
    assert.ok(found?.what === 'thinned' && found.at > START + 3 * DAY_MS);
    assert.match(found.why, /a copy of it is under way/);
  });
});

const facts: fc.Arbitrary<RetentionFacts> = fc
  .record({
    n: fc.integer({ min: 0, max: 1_000_000 }),
    ms: fc.integer({ min: 0, max: 120 * DAY_MS }),
    cause: fc.constantFrom('changed', 'changed', 'scheduled', 'manual'),
    neverExpires: fc.boolean(),
    shared: fc.boolean(),
    held: fc.constantFrom('no', 'no', 'legal', 'until'),
    spared: fc.option(fc.integer({ min: 0, max: 200 * DAY_MS })),
    until: fc.integer({ min: 0, max: 300 * DAY_MS }),
    isBroken: fc.boolean(),
  })
  .map(({ n, ms, cause, neverExpires, shared, held, spared, until, isBroken }) => ({
    ...backup(n, ms, {
      cause: cause as RetentionFacts['cause'],
      neverExpires,
      ...(shared ? { policy: '{}' } : {}),
      ...(spared === null ? {} : { sparedUntil: at(START + spared) }),
      ...(isBroken ? { drill: { at: NOW, failure: 'not what was stored' } } : {}),
      holds: held === 'no' ? [] : [hold(held === 'legal' ? undefined : START + until)],
    }),
  }));
const clusters = fc.uniqueArray(facts, { selector: ({ id }) => id, maxLength: 30 });
const settings = fc.record({
  retentionDays: fc.integer({ min: 7, max: 379 }),
  thinning: fc.boolean(),
  dayOfLook: fc.integer({ min: 0, max: 600 }),
});

describe('whatever backups a cluster has', () => {
  test('one READY stays, nothing protected goes, and everything over its age has a reason to stay', () => {
    fc.assert(
      fc.property(clusters, settings, (ready, { retentionDays, thinning, dayOfLook }) => {
        const now = at(START + dayOfLook * DAY_MS);
        const cluster = {
          retentionDays,
          ready,
          newest: ready[0]?.id,
          neededFor: () => undefined,
        };
        const fates = fatesOf(cluster, now, { thinning });
        assert.equal(fates.length, ready.length);
        const going = fates.filter((each) => each.what !== 'kept' && each.at <= now);
        assert.ok(ready.length === 0 || going.length < ready.length, 'the last one went');
        const sound = ready.filter(({ drill }) => drill === undefined);
        const staying = sound.filter(({ id }) => !going.some((each) => each.id === id));
        assert.ok(sound.length === 0 || staying.length > 0, 'the last one that opens went');
        for (const each of fates) {
          const row = ready.find(({ id }) => id === each.id)!;
          const isGoing = going.includes(each);
          if (each.what === 'kept') {
            assert.match(each.why, /newest|never expire|legal hold/);
            continue;
          }
          assert.ok(each.at >= row.createdAt + (each.what === 'thinned' ? DAY_MS : 7 * DAY_MS));
          if (!isGoing) continue;
          assert.ok(!row.neverExpires);
          assert.ok(row.holds.every(({ until }) => until !== undefined && until <= now));
          assert.ok((row.sparedUntil ?? 0) <= now);
          if (each.what === 'thinned')
            assert.ok(row.cause === 'changed' && row.policy === undefined);
        }
        for (const row of ready) {
          const found = fates.find(({ id }) => id === row.id)!;
          const isOver = row.createdAt + retentionDays * DAY_MS <= now;
          if (isOver && found.what !== 'kept' && found.at > now) {
            const until = Math.max(
              row.sparedUntil ?? 0,
              ...row.holds.map((each) => each.until ?? 0),
            );
            assert.equal(found.at, until);
          }
        }
      }),
    );
  });

  test('the time of the next look is never later than what happens by itself', () => {
    fc.assert(
      fc.property(clusters, settings, (ready, { retentionDays, thinning, dayOfLook }) => {
        const cluster = { retentionDays, ready, newest: undefined, neededFor: () => undefined };
        for (const each of fatesOf(cluster, at(START + dayOfLook * DAY_MS), { thinning })) {
          const row = ready.find(({ id }) => id === each.id)!;
          if (each.what !== 'kept') assert.ok(each.at >= earliestEnd(row, retentionDays));
        }
      }),
    );
  });
});

describe('a copy', () => {
  test('stays for ever unless it was given a retention, counted from the copying', () => {
    const copy = readyBackup(1, { createdAt: at(START), copy: COPY });
    assert.equal(fateOfCopy(copy).what, 'kept');
    const given = withExpiry(withOwnRetention(copy, 30));
    assert.deepEqual(given.ownRetention, { days: 30, expiresAt: COPY.copiedAt + 30 * DAY_MS });
    assert.equal(withExpiry(withOwnRetention(given, undefined)).ownRetention, undefined);
  });

  test('leaves the index of what expires while it may not go, and comes back afterwards', () => {
    const copy = withOwnRetention(readyBackup(1, { copy: COPY }), 7);
    const expiry = (changes: Partial<typeof copy>): number | undefined =>
      withExpiry({ ...copy, ...changes } as typeof copy).ownRetention?.expiresAt;
    assert.equal(expiry({ neverExpires: true }), NEVER);
    assert.equal(expiry({ holds: [hold()] }), NEVER);
    assert.equal(expiry({ holds: [hold(NOW)] }), NOW);
    assert.equal(expiry({ sparedUntil: NOW }), NOW);
    assert.equal(expiry({}), COPY.copiedAt + 7 * DAY_MS);
  });

  test('alone can have a retention of its own, READY and of 7 to 379 days', () => {
    const copy = readyBackup(1, { copy: COPY });
    assert.throws(() => withOwnRetention(readyBackup(1), 30), { code: 'WrongState' });
    assert.throws(() => withOwnRetention(pendingBackup(1, 1, { copy: COPY }), 30), {
      code: 'WrongState',
    });
    for (const days of [6, 380, 7.5, -1]) {
      assert.throws(() => withOwnRetention(copy, days), { code: 'InvalidRequest' });
    }
  });
});
