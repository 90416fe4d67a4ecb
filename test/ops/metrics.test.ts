import assert from 'node:assert/strict';
import { test } from 'node:test';
import { HOUR_MS } from '../../src/kernel/clock.ts';
import type { ServiceEvent } from '../../src/ops/events.ts';
import { healthOf } from '../../src/ops/health.ts';
import { Metrics, metricsText } from '../../src/ops/metrics.ts';
import type { Protection } from '../../src/ops/protection.ts';
import { at, clusterId } from '../support/catalog-samples.ts';

const NOW = at(1_800_000_000_000);
const TOTALS = {
  clusters: 2,
  withoutProof: 0,
  oldestProofAt: at(NOW - 3 * HOUR_MS),
  oldestProofOf: clusterId(7),
  unproven: 1,
  unprovenSince: at(NOW - 2_000),
  failing: 0,
};
const PROTECTION: Protection = {
  now: NOW,
  totals: TOTALS,
  unprovenKeys: { keys: 4, isExact: true },
  health: healthOf({
    ...TOTALS,
    now: NOW,
    isChangeDriven: true,
    failedDrills: 0,
    overdueDrills: 0,
    areRootsLocked: false,
  }),
};

/** As a scraper reads it. @throws when a line is none of the format. */
function parsed(text: string): { values: Map<string, number>; types: Map<string, string> } {
  const values = new Map<string, number>();
  const types = new Map<string, string>();
  assert.ok(text.endsWith('\n'));
  for (const line of text.trimEnd().split('\n')) {
    if (line.startsWith('# HELP ')) continue;
    const [, name, type] = /^# TYPE ([a-z_]+) (gauge|counter)$/.exec(line) ?? [];
    if (name !== undefined && type !== undefined) {
      assert.ok(!types.has(name), `${name} twice`);
      types.set(name, type);
      continue;
    }
    const [, series = '', base = '', value] =
      /^(([a-z_]+)(?:\{[a-z_]+="(?:[^"\\\n]|\\.)*"\})?) (\S+)$/.exec(line) ?? [];
    assert.ok(value !== undefined && types.has(base), `no sample: ${line}`);
    assert.ok(!values.has(series), `${series} twice`);
    values.set(series, Number(value));
  }
  return { values, types };
}

const silent = { emit: () => {} };
const about = { profile: 'own', due: 3 };

test('the first metric is the age of the oldest newest proven backup, and all are well-formed', () => {
  const text = new Metrics(silent).render(PROTECTION, about);
  assert.match(text, /^# HELP keyark_newest_proven_backup_age_seconds /);
  const { values, types } = parsed(text);
  assert.equal(values.get('keyark_newest_proven_backup_age_seconds'), 10_800);
  assert.equal(values.get('keyark_unproven_keys'), 4);
  assert.equal(values.get('keyark_health_level'), 0);
  assert.equal(values.get('keyark_backups_due'), 3);
  assert.equal(values.get('keyark_info{profile="own"}'), 1);
  for (const [name, type] of types) {
    assert.match(name, /^keyark_/);
    assert.equal(name.endsWith('_total'), type === 'counter', name);
  }
});

test('counters follow the events, which still go on to the log', () => {
  const heard: ServiceEvent[] = [];
  const metrics = new Metrics({ emit: (event) => void heard.push(event) });
  const ids = { backupId: 'b', clusterId: 'c' };
  const proven = {
    kind: 'backupProven',
    ...ids,
    durationMs: 1_500,
    keys: 1,
    storedBytes: 10,
  } as const;
  metrics.emit({ kind: 'backupStarted', ...ids, cause: 'changed' });
  metrics.emit(proven);
  metrics.emit(proven);
  metrics.emit({ kind: 'backupFailed', ...ids, why: 'x' });
  metrics.emit({ kind: 'deadlineMissed', clusterId: 'c', deadline: 'floor', why: 'x' });
  metrics.emit({ kind: 'drilled', ...ids, outcome: 'failed', durationMs: 1 });
  metrics.emit({ kind: 'heartbeat', state: 'withheld', why: 'x' });
  const { values } = parsed(metrics.render(PROTECTION, about));
  assert.equal(values.get('keyark_backups_started_total{cause="changed"}'), 1);
  assert.equal(values.get('keyark_backups_proven_total'), 2);
  assert.equal(values.get('keyark_backup_seconds_total'), 3);
  assert.equal(values.get('keyark_stored_bytes_total'), 20);
  assert.equal(values.get('keyark_backups_failed_total'), 1);
  assert.equal(values.get('keyark_deadlines_missed_total{deadline="floor"}'), 1);
  assert.equal(values.get('keyark_drills_total{outcome="failed"}'), 1);
  assert.equal(values.get('keyark_heartbeat_sent'), 0);
  assert.equal(heard.length, 7);
});

test('no id of anything is in the metrics', () => {
  const metrics = new Metrics(silent);
  metrics.emit({
    kind: 'backupFailed',
    backupId: 'backup-keyarkx',
    clusterId: clusterId(1),
    why: 'x',
  });
  metrics.emit({ kind: 'deadlineMissed', clusterId: clusterId(1), deadline: 'change', why: 'x' });
  assert.doesNotMatch(metrics.render(PROTECTION, about), /cluster-|backup-|hsm-/);
});

test('when nothing can be told the level says unknown, and no age pretends to be fresh', async () => {
  const text = await metricsText({
    metrics: new Metrics(silent),
    profile: 'own',
    protection: () => Promise.reject(new Error('no catalog')),
    due: () => 0,
  })();
  const { values } = parsed(text);
  assert.equal(values.get('keyark_health_level'), 3);
  assert.equal(values.has('keyark_newest_proven_backup_age_seconds'), false);
});
