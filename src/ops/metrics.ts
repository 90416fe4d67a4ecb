/**
 * Numbers for Prometheus, in its text format 0.0.4. Counters follow the same events as log and trail, gauges are read
 * when somebody asks. No ids: whoever reads numbers learns how many and how old, never which.
 *
 * Our own hundred lines instead of prom-client: we have counters and gauges with fixed labels and nothing else, and a
 * registry with global state, histograms and process metrics would be more to check than this.
 */
import { SECOND_MS } from '../kernel/clock.ts';
import type { Events, ServiceEvent } from './events.ts';
import { LEVELS } from './health.ts';
import type { Protection } from './protection.ts';

interface Metric {
  readonly type: 'gauge' | 'counter';
  readonly help: string;
}

const COUNTERS = {
  keyark_backups_started_total: 'Backups begun, by cause.',
  keyark_backups_proven_total: 'Backups that a second HSM opened and proved.',
  keyark_backups_failed_total: 'Backups that did not become READY.',
  keyark_backup_seconds_total: 'Time that proven backups took, summed.',
  keyark_stored_bytes_total: 'Bytes of proven backups, as stored.',
  keyark_restores_total: 'Backups restored onto HSMs.',
  keyark_drills_total: 'READY backups opened again, by outcome.',
  keyark_drills_not_done_total: 'Drills that could not be done; nothing is known about the backup.',
  keyark_deadlines_missed_total: 'Promised times that passed without a proven backup, by deadline.',
  keyark_api_calls_total: 'API calls, by status.',
  keyark_api_seconds_total: 'Time that API calls took, summed.',
  keyark_internal_errors_total: 'Errors that are our own.',
} as const;
type Counter = keyof typeof COUNTERS;

export class Metrics implements Events {
  /** `name{labels}` → value; every combination is a fixed one, so there are few. */
  readonly #values = new Map<string, number>();
  readonly #next: Events;
  #isHeartbeatSent: boolean | undefined;

  /** @param next whoever else hears the events. */
  constructor(next: Events) {
    this.#next = next;
    for (const name of Object.keys(COUNTERS)) {
      // Object.keys forgets the type of the keys of our own constant table.
      if (!LABELLED.has(name as Counter)) this.#values.set(name, 0);
    }
  }

  emit(event: ServiceEvent): void {
    this.#count(event);
    this.#next.emit(event);
  }

  #count(event: ServiceEvent): void {
    for (const [name, amount, labels] of increments(event)) this.#add(name, amount, labels);
    if (event.kind === 'heartbeat') this.#isHeartbeatSent = event.state === 'sent';
  }

  #add(name: Counter, amount: number, labels: Readonly<Record<string, string>> = {}): void {
    const series = `${name}${labelText(labels)}`;
    this.#values.set(series, (this.#values.get(series) ?? 0) + amount);
  }

  /** @param facts undefined when they cannot be told: then the level says so and the ages are left out. */
  render(facts: Protection | undefined, about: { profile: string; due: number }): string {
    const lines: string[] = [];
    const write = (name: string, metric: Metric, series: readonly [string, number][]): void => {
      if (series.length === 0) return;
      lines.push(`# HELP ${name} ${metric.help}`, `# TYPE ${name} ${metric.type}`);
      for (const [each, value] of series) lines.push(`${each} ${value}`);
    };
    for (const [name, help, value, labels] of gauges(facts, about, this.#isHeartbeatSent)) {
      if (value !== undefined) {
        write(name, { type: 'gauge', help }, [[`${name}${labelText(labels ?? {})}`, value]]);
      }
    }
    for (const [name, help] of Object.entries(COUNTERS)) {
      const series = [...this.#values].filter(([each]) => each.split('{')[0] === name);
      write(name, { type: 'counter', help }, series);
    }
    return `${lines.join('\n')}\n`;
  }
}

type Increment = readonly [
  name: Counter,
  amount: number,
  labels?: Readonly<Record<string, string>>,
];

/** What an event counts as. */
function increments(event: ServiceEvent): readonly Increment[] {
  switch (event.kind) {
    case 'backupStarted':
      return [['keyark_backups_started_total', 1, { cause: event.cause }]];
    case 'backupProven':
      return [
        ['keyark_backups_proven_total', 1],
        ['keyark_backup_seconds_total', event.durationMs / SECOND_MS],
        ['keyark_stored_bytes_total', event.storedBytes],
      ];
    case 'backupFailed':
      return [['keyark_backups_failed_total', 1]];
    case 'restored':
      return [['keyark_restores_total', 1]];
    case 'drilled':
      return [['keyark_drills_total', 1, { outcome: event.outcome }]];
    case 'drillNotDone':
      return [['keyark_drills_not_done_total', 1]];
    case 'deadlineMissed':
      return [['keyark_deadlines_missed_total', 1, { deadline: event.deadline }]];
    case 'apiCall':
      return [
        ['keyark_api_calls_total', 1, { status: String(event.status) }],
        ['keyark_api_seconds_total', event.durationMs / SECOND_MS],
      ];
    case 'internalError':
      return [['keyark_internal_errors_total', 1]];
    default:
      // Everything else is for the log alone.
      return [];
  }
}

/** Their series begin with the first event: a label's values are not known before. */
const LABELLED: ReadonlySet<Counter> = new Set([
  'keyark_backups_started_total',
  'keyark_drills_total',
  'keyark_deadlines_missed_total',
  'keyark_api_calls_total',
]);

type Gauge = readonly [
  name: string,
  help: string,
  value: number | undefined,
  labels?: Readonly<Record<string, string>>,
];

function gauges(
  facts: Protection | undefined,
  about: { profile: string; due: number },
  isHeartbeatSent: boolean | undefined,
): readonly Gauge[] {
  const { now, totals, unprovenKeys, health } = facts ?? {};
  const ageOf = (at: number | undefined): number | undefined =>
    now === undefined || at === undefined ? undefined : Math.max(0, now - at) / SECOND_MS;
  return [
    [
      'keyark_newest_proven_backup_age_seconds',
      "Age of the oldest cluster's newest proven backup.",
      ageOf(totals?.oldestProofAt),
    ],
    [
      'keyark_health_level',
      '0 good, 1 late, 2 at risk, 3 unknown: as keyark status --check.',
      LEVELS[health?.level ?? 'unknown'].exitCode,
    ],
    ['keyark_unproven_keys', 'Keys in no proven backup.', unprovenKeys?.keys],
    [
      'keyark_unproven_keys_exact',
      '0 when some HSM could not be asked: there may be more.',
      unprovenKeys && Number(unprovenKeys.isExact),
    ],
    ['keyark_unproven_clusters', 'Clusters with changes in no proven backup.', totals?.unproven],
    [
      'keyark_unproven_age_seconds',
      'For how long the oldest such change has waited.',
      ageOf(totals?.unprovenSince),
    ],
    ['keyark_clusters', 'Clusters in use that have an HSM.', totals?.clusters],
    ['keyark_clusters_without_proof', 'Of them, without any proven backup.', totals?.withoutProof],
    ['keyark_backups_due', 'Scheduled backups that are due and have not begun.', about.due],
    ['keyark_drills_failing', 'READY backups that did not open again.', totals?.failing],
    [
      'keyark_heartbeat_sent',
      '1 while the heartbeat is sent, 0 while it is withheld or not heard.',
      isHeartbeatSent === undefined ? undefined : Number(isHeartbeatSent),
    ],
    ['keyark_info', 'The profile this service runs in.', 1, { profile: about.profile }],
  ];
}

function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replaceAll(/[\\"\n]/g, (c) => ESCAPED[c] ?? c)}"`,
  );
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}
const ESCAPED: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' };

/** What `GET /metrics` answers. */
export function metricsText(deps: {
  readonly metrics: Metrics;
  readonly profile: string;
  readonly protection: () => Promise<Protection>;
  readonly due: () => number;
}): () => Promise<string> {
  return async () => {
    let facts: Protection | undefined;
    let due = 0;
    try {
      facts = await deps.protection();
      due = deps.due();
    } catch {
      // The catalog does not answer: the level says unknown, which is what to alarm on.
    }
    return deps.metrics.render(facts, { profile: deps.profile, due });
  };
}
