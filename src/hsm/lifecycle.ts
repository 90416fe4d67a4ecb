/**
 * What an HSM answers in which state, as one total table. The state is derived from what is stored
 * (identity, partition, the first admin), never kept beside it, so the two cannot disagree. Only OFF
 * and ERROR are moods of the process: before power-on, and after a failed self-test or a damaged disk.
 */
import { Refused } from '../kernel/errors.ts';
import type { HsmCall, Lifecycle } from './protocol.ts';
import type { SharedState } from './state.ts';

/** OFF: started, not yet powered on: no state is loaded. */
export type Mood = Lifecycle | 'OFF';

const LOADED = ['FACTORY', 'MADE', 'BLANK', 'UNINITIALIZED', 'INITIALIZED', 'ACTIVE'] as const;
const ENROLLED = ['BLANK', 'UNINITIALIZED', 'INITIALIZED', 'ACTIVE'] as const;

/** `certify` and `install` may be repeated with the same arguments: a crash may have eaten the answer. */
export const ALLOWED_IN = {
  'power-on': ['OFF'],
  hello: [...LOADED, 'ERROR'],
  'device-request': ['FACTORY'],
  manufacture: ['FACTORY'],
  enrol: ['MADE', ...ENROLLED],
  certify: ['BLANK', 'UNINITIALIZED'],
  install: ['UNINITIALIZED', 'INITIALIZED', 'ACTIVE'],
  seal: ['INITIALIZED', 'ACTIVE'],
  open: ENROLLED,
  exercise: ['INITIALIZED', 'ACTIVE'],
  prove: ['INITIALIZED', 'ACTIVE'],
  keep: ['INITIALIZED', 'ACTIVE'],
  plan: ['INITIALIZED', 'ACTIVE'],
  digest: ['UNINITIALIZED', 'INITIALIZED', 'ACTIVE'],
  'keys-newer-than': ['UNINITIALIZED', 'INITIALIZED', 'ACTIVE'],
  limit: ENROLLED,
  zeroise: [...LOADED, 'ERROR'],
} as const satisfies Record<HsmCall, readonly Mood[]>;

/** Calls that only a throw-away HSM answers. */
export const DRILL_ONLY: ReadonlySet<HsmCall> = new Set(['exercise', 'prove', 'keep', 'plan']);

/** @throws Refused `WrongState`, saying what is and what would work. */
export function checkAllowed(call: HsmCall, mood: Mood, isDrill: boolean): void {
  const moods: readonly Mood[] = ALLOWED_IN[call];
  if (!moods.includes(mood)) {
    throw new Refused(
      'WrongState',
      `"${call}" was asked of an HSM that is ${mood}; it is answered in ${moods.join(', ')}.`,
    );
  }
  if (DRILL_ONLY.has(call) && !isDrill) {
    throw new Refused('WrongState', `"${call}" is answered by a drill HSM only.`);
  }
}

export interface LifecycleFacts {
  readonly isMade: boolean;
  readonly isEnrolled: boolean;
  readonly shared: SharedState | null;
}

export function lifecycleOf({ isMade, isEnrolled, shared }: LifecycleFacts): Lifecycle {
  if (!isMade) return 'FACTORY';
  if (!isEnrolled) return 'MADE';
  if (shared === null) return 'BLANK';
  if (shared.partition.clusterCertificate === null) return 'UNINITIALIZED';
  return awaitsActivation(shared) ? 'INITIALIZED' : 'ACTIVE';
}

/** The unactivated admin exists until the first admin password is set, and never again. */
function awaitsActivation(shared: SharedState): boolean {
  for (const user of shared.users.values()) {
    if (user.role === 'unactivated-admin') return true;
  }
  return false;
}
