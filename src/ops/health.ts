/**
 * How is it, in one of four words, and why. Pure: facts in, level and reasons out. The exit code of
 * `keyark status --check`, the heartbeat and the metric all come from here.
 */
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../kernel/clock.ts';
import type { EpochMs } from '../kernel/types.ts';

export const LEVELS = {
  good: { exitCode: 0, means: 'every cluster is proven, in time, and nothing waits too long' },
  late: { exitCode: 1, means: 'a deadline was missed; what is proven still opens' },
  'at risk': { exitCode: 2, means: 'something would be lost today, or a backup does not open' },
  unknown: { exitCode: 3, means: 'it cannot be told: the service or its HSM host does not answer' },
} as const satisfies Record<string, { exitCode: number; means: string }>;
export type Level = keyof typeof LEVELS;

export interface HealthFacts {
  readonly now: EpochMs;
  /** Clusters in use that have an HSM, whatever is done to them just now. */
  readonly clusters: number;
  readonly withoutProof: number;
  readonly oldestProofAt?: EpochMs;
  /** Clusters with changes that no proven backup has, and since when. */
  readonly unproven: number;
  readonly unprovenSince?: EpochMs;
  /** Whether such changes are promised a backup of their own, soon. */
  readonly isChangeDriven: boolean;
  /** READY backups whose latest drill failed. */
  readonly failedDrills: number;
  /** READY backups that were neither proven nor opened for longer than promised. */
  readonly overdueDrills: number;
  /** Undefined when the host cannot be asked. */
  readonly areRootsLocked: boolean | undefined;
}

export interface Reason {
  readonly level: Exclude<Level, 'good'>;
  readonly why: string;
}

export interface Health {
  /** The worst of the reasons; good without any. */
  readonly level: Level;
  readonly reasons: readonly Reason[];
}

/** How long something may last before it is late, and before it is a risk. */
const LIMITS = {
  proofAge: { late: DAY_MS, risk: 2 * DAY_MS },
  unprovenChange: { late: 10 * MINUTE_MS, risk: HOUR_MS },
  firstProof: { late: 10 * MINUTE_MS, risk: 10 * MINUTE_MS },
} as const;

const ORDER: readonly Level[] = ['good', 'late', 'at risk', 'unknown'];

type Rule = (facts: HealthFacts) => Reason | undefined;

/** A row each; the first sentence of a reason is what a person reads at night. */
const RULES: readonly Rule[] = [
  ({ areRootsLocked }) =>
    areRootsLocked === undefined
      ? { level: 'unknown', why: 'the HSM host does not answer' }
      : undefined,

  ({ areRootsLocked }) =>
    areRootsLocked === true
      ? {
          level: 'at risk',
          why: 'the roots are locked: no HSM runs and no backup can be opened until `keyark unlock`',
        }
      : undefined,

  ({ now, oldestProofAt }) =>
    oldestProofAt === undefined
      ? undefined
      : judged(
          now - oldestProofAt,
          LIMITS.proofAge,
          `the newest proven backup of a cluster is ${hours(now - oldestProofAt)} old; 24 hours are promised`,
        ),

  ({ now, withoutProof, unprovenSince }) =>
    withoutProof === 0
      ? undefined
      : judged(
          now - (unprovenSince ?? now),
          LIMITS.firstProof,
          `${count(withoutProof, 'cluster')} without any proven backup`,
        ),

  ({ now, unproven, unprovenSince, isChangeDriven }) =>
    unproven === 0 || unprovenSince === undefined || !isChangeDriven
      ? undefined
      : judged(
          now - unprovenSince,
          LIMITS.unprovenChange,
          `changes of ${count(unproven, 'cluster')} are in no proven backup, the oldest for ${minutes(now - unprovenSince)}`,
        ),

  ({ failedDrills }) =>
    failedDrills === 0
      ? undefined
      : { level: 'at risk', why: `${count(failedDrills, 'READY backup')} did not open again` },

  ({ overdueDrills }) =>
    overdueDrills === 0
      ? undefined
      : {
          level: 'late',
          why: `${count(overdueDrills, 'READY backup')} not opened again for more than 30 days`,
        },
];

export function healthOf(facts: HealthFacts): Health {
  const reasons = RULES.flatMap((rule) => rule(facts) ?? []);
  const level = reasons.reduce<Level>(
    (worst, each) => (ORDER.indexOf(each.level) > ORDER.indexOf(worst) ? each.level : worst),
    'good',
  );
  return { level, reasons };
}

function judged(
  ms: number,
  limit: { readonly late: number; readonly risk: number },
  why: string,
): Reason | undefined {
  if (ms > limit.risk) return { level: 'at risk', why };
  return ms > limit.late ? { level: 'late', why } : undefined;
}

const count = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`;
const hours = (ms: number): string => `${(ms / HOUR_MS).toFixed(1)} h`;
const minutes = (ms: number): string => `${Math.round(ms / MINUTE_MS)} min`;
