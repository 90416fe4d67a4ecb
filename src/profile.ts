/**
 * Two named ways to run. `own` gives everything; `aws-exact` switches off whatever AWS does not do, so that what a
 * rehearsal shows is what AWS would show. Every proof, report and status names the profile it was made under.
 */
import { Refused } from './kernel/errors.ts';

export const PROFILES = ['own', 'aws-exact'] as const;
export type Profile = (typeof PROFILES)[number];

interface Row {
  /** As the start of a sentence. */
  readonly what: string;
  readonly own: boolean;
  readonly 'aws-exact': boolean;
  /** What AWS does, or why it is no difference to a client. */
  readonly why: string;
}

export const FEATURES = {
  changeBackups: {
    what: 'Backups seconds after a change',
    own: true,
    'aws-exact': false,
    why: 'AWS backs up daily, after activation, and when HSMs are added or removed: a key made in between is in no backup',
  },
  takeBackup: {
    what: 'Backups on request',
    own: true,
    'aws-exact': false,
    why: 'AWS has no call for it; adding or removing an HSM forces one',
  },
  thinning: {
    what: 'Thinning of change-driven backups',
    own: true,
    'aws-exact': false,
    why: 'AWS has none of these backups, and removes backups by retention alone',
  },
  liveRestores: {
    what: 'Restores into a cluster that has HSMs, and their undo',
    own: true,
    'aws-exact': false,
    why: 'AWS restores into a new cluster only: CreateCluster with SourceBackupId',
  },
  copyRules: {
    what: 'Rules that copy backups by themselves',
    own: true,
    'aws-exact': false,
    why: 'AWS copies on request only: CopyBackupToRegion',
  },
  proofs: {
    what: 'READY only after a second HSM opened it',
    own: true,
    'aws-exact': true,
    why: 'no client sees a difference, except that READY comes later',
  },
  drills: {
    what: 'Opening old backups again',
    own: true,
    'aws-exact': true,
    why: 'it changes nothing that a client sees',
  },
  dailyFloor: {
    what: 'A backup in any 24 hours',
    own: true,
    'aws-exact': true,
    why: 'as AWS does',
  },
} as const satisfies Record<string, Row>;

export type Feature = keyof typeof FEATURES;

export function isOffered(profile: Profile, feature: Feature): boolean {
  return FEATURES[feature][profile];
}

/** @throws Refused `InvalidRequest`, saying why not and what would work. */
export function requireFeature(profile: Profile, feature: Feature): void {
  const row: Row = FEATURES[feature];
  if (row[profile]) return;
  throw new Refused(
    'InvalidRequest',
    `[PROFILE] ${row.what}: not in the profile ${profile}, because ${row.why}. Nothing was done. The profile "own" has it (profile = "own" in keyark.toml, then a restart).`,
  );
}
