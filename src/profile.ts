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
  copyRetention: {
    what: 'A retention for copies',
    own: true,
    'aws-exact': false,
    why: 'AWS keeps a copy in another region until somebody deletes it: DeleteBackup',
  },
  holds: {
    what: 'Holds',
    own: true,
    'aws-exact': false,
    why: 'AWS has none: what protects a backup there are ModifyBackupAttributes with NeverExpires, and policies that deny DeleteBackup',
  },
  undoGrace: {
    what: 'Sparing what was brought back from retention for seven days',
    own: true,
    'aws-exact': false,
    why: "AWS's next purge takes it again, unless the retention was raised or NeverExpires set before RestoreBackup",
  },
  onceOnly: {
    what: 'One resource for a create that an SDK sends twice',
    own: true,
    'aws-exact': false,
    why: 'AWS has no client token for these creates: one whose answer was lost may run twice, and a script must look for the second cluster, HSM or copy',
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
    why: 'no client sees one; the next backup comes early when one fails, still one in any 24 hours as AWS promises',
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

/** Why not, and what would work; undefined when it is offered. */
export function whyNotOffered(profile: Profile, feature: Feature): string | undefined {
  const row: Row = FEATURES[feature];
  if (row[profile]) return undefined;
  return `${row.what}: not in the profile ${profile}, because ${row.why}. The profile "own" has it (profile = "own" in keyark.toml, then a restart).`;
}

/** @throws Refused `InvalidRequest`, saying why not and what would work. */
export function requireFeature(profile: Profile, feature: Feature): void {
  const why = whyNotOffered(profile, feature);
  if (why !== undefined) throw new Refused('InvalidRequest', `[PROFILE] ${why} Nothing was done.`);
}
