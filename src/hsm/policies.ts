/**
 * Named settings of a partition: what they are by default, how far an admin may move them, and those that
 * the type or mode of the HSM fixes. Part of the shared state, so a backup carries them.
 */
import { Refused } from '../kernel/errors.ts';
import type { HsmType } from './protocol.ts';
import type { PolicyRecord, SharedState } from './state.ts';

interface PolicyRow {
  readonly default: number;
  readonly min: number;
  readonly max: number;
}

/** What an admin may set. */
export const POLICIES = {
  /** Characters. */
  'password-min-length': { default: 8, min: 8, max: 32 },
  'password-max-length': { default: 32, min: 8, max: 32 },
  /** A user is locked when more than this many passwords in a row were wrong. */
  'lockout-limit': { default: 5, min: 1, max: 20 },
} as const satisfies Record<string, PolicyRow>;
export type PolicyName = keyof typeof POLICIES;

interface TypeLimits {
  readonly keys: number;
  /** A pair counts as one key. */
  readonly asymmetricKeys: number;
  readonly users: number;
}

/** Fixed by the HSM's type. */
export const LIMITS = {
  'hsm1.medium': { keys: 3_300, asymmetricKeys: 3_300, users: 250 },
  'hsm2m.medium': { keys: 16_666, asymmetricKeys: 3_333, users: 1_024 },
} as const satisfies Record<HsmType, TypeLimits>;

export interface PolicyView {
  readonly name: string;
  readonly value: number;
  readonly min: number;
  readonly max: number;
  readonly isSettable: boolean;
}

export function policyValue(shared: SharedState, name: PolicyName): number {
  return shared.policies.get(name)?.value ?? POLICIES[name].default;
}

/** Settable ones first, then what type and mode fix. */
export function listPolicies(shared: SharedState): readonly PolicyView[] {
  const { type, mode } = shared.partition;
  const limits = LIMITS[type];
  const fixed: [string, number][] = [
    ['fips-mode', mode === 'FIPS' ? 1 : 0],
    ['max-keys', limits.keys],
    ['max-asymmetric-keys', limits.asymmetricKeys],
    ['max-users', limits.users],
  ];
  return [
    ...policyNames().map((name) => ({
      name,
      value: policyValue(shared, name),
      min: POLICIES[name].min,
      max: POLICIES[name].max,
      isSettable: true,
    })),
    ...fixed.map(([name, value]) => ({ name, value, min: value, max: value, isSettable: false })),
  ];
}

function policyNames(): readonly PolicyName[] {
  // Object.keys of a table whose keys are PolicyName by definition.
  return Object.keys(POLICIES) as PolicyName[];
}

/** @throws Refused `InvalidRequest`: no such policy, fixed by type or mode, or out of bounds. */
export function judgePolicy(shared: SharedState, wanted: string, value: number): PolicyRecord {
  const name = policyNames().find((one) => one === wanted);
  if (name === undefined) {
    const isFixed = listPolicies(shared).some((one) => one.name === wanted);
    throw new Refused(
      'InvalidRequest',
      `${isFixed ? `policy "${wanted}" is fixed by the HSM's type and mode` : `there is no policy "${wanted.slice(0, 64)}"`}; ` +
        `these can be set: ${policyNames().join(', ')}.`,
    );
  }
  const { min, max } = POLICIES[name];
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw new Refused(
      'InvalidRequest',
      `policy "${name}" takes a whole number from ${min} to ${max}.`,
    );
  }
  const shortest =
    name === 'password-min-length' ? value : policyValue(shared, 'password-min-length');
  const longest =
    name === 'password-max-length' ? value : policyValue(shared, 'password-max-length');
  if (shortest > longest) {
    throw new Refused(
      'InvalidRequest',
      `passwords can't have at least ${shortest} and at most ${longest} characters; change the other bound first.`,
    );
  }
  return { name, value };
}
