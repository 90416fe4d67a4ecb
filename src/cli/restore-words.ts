/** A restore plan in words: which backup, what would change, what stands in the way. Pure: answer in, lines out. */
import { isoTime } from '../kernel/clock.ts';
import type { EpochMs, JsonObject } from '../kernel/types.ts';
import {
  listOf,
  numberOf,
  objectOf,
  optionalObject,
  optionalText,
  optionalTime,
  textOf,
} from './json.ts';
import { rehearsalMark } from './marks.ts';
import { duration } from './print.ts';

/** What each way says of itself, to people. */
const WAYS: Readonly<Record<string, string>> = {
  StartRestore: 'would be restored in place: a new HSM is built from it and takes over',
  CreateHsm: 'has no HSM; CreateHsm would put onto its first one',
  CreateCluster: 'A new cluster (CreateCluster with SourceBackupId) would begin as',
};

export function planLines(plan: JsonObject): readonly string[] {
  // Seconds times 1000 are EpochMs.
  const now = (numberOf(plan, 'Now') * 1000) as EpochMs;
  return [
    `${rehearsalMark(plan)}Plan of a restore (profile ${textOf(plan, 'Profile')}), which changes nothing:`,
    ...backupLines(plan, now),
    '',
    ...sinceLines(plan),
    ...changeLines(plan),
    ...blockerLines(plan),
  ];
}

function backupLines(plan: JsonObject, now: EpochMs): readonly string[] {
  const backup = objectOf(plan, 'Backup');
  const created = optionalTime(backup, 'CreateTimestamp') ?? now;
  const proven = optionalTime(backup, 'ProvenAt');
  const counts = optionalObject(backup, 'Counts');
  const way = WAYS[textOf(plan, 'Way')] ?? '';
  const cluster = optionalText(plan, 'ClusterId');
  const inside =
    counts === undefined
      ? ''
      : `: ${many(numberOf(counts, 'Users'), 'user')}, ${many(numberOf(counts, 'Keys'), 'key')}`;
  return [
    cluster === undefined ? `${way}:` : `${cluster} ${way}:`,
    `  ${textOf(backup, 'BackupId')}   ${textOf(backup, 'BackupState')}, taken ${duration(now - created)} ago (${isoTime(created)})${inside}`,
    proven === undefined
      ? '  not proven'
      : `  proven ${isoTime(proven)}   incarnation ${textOf(backup, 'Incarnation')}, generation ${numberOf(backup, 'Generation')}`,
  ];
}

function sinceLines(plan: JsonObject): readonly string[] {
  const since = plan['ChangesSince'];
  if (since === 0) return ['Nothing was changed since then.'];
  if (typeof since === 'number') return [`Made since, and lost with it: ${many(since, 'change')}.`];
  return optionalObject(plan, 'Current') === undefined
    ? []
    : ['The changes since then can’t be counted: another restore lies between.'];
}

function changeLines(plan: JsonObject): readonly string[] {
  const changes = optionalObject(plan, 'Changes');
  if (changes === undefined) return [];
  const against = textOf(plan, 'ComparedWith');
  if (plan['IsSameState'] === true) return [`It holds the same as ${against} does now.`];
  const policies = numberOf(changes, 'Policies');
  const lines = [
    wordLine('users', objectOf(changes, 'Users'), USER_WORDS),
    wordLine('keys', objectOf(changes, 'Keys'), OBJECT_WORDS),
    wordLine('other objects', objectOf(changes, 'Objects'), OBJECT_WORDS),
    policies === 0 ? undefined : `  policies: ${policies} with another value`,
    changes['IsCertificateChanged'] === true
      ? '  the cluster certificate is another one'
      : undefined,
  ];
  return [`Compared with ${against}:`, ...lines.filter((line) => line !== undefined)];
}

const USER_WORDS = {
  Appear: 'appear again',
  Vanish: 'vanish',
  PasswordChanged: 'get an earlier password',
  RoleChanged: 'get another role',
  Lock: 'locked',
  Unlock: 'unlocked',
} as const;
const OBJECT_WORDS = {
  Appear: 'appear again',
  Vanish: 'vanish',
  AttributesChanged: 'get earlier attributes',
  OwnerChanged: 'get another owner',
  SharingChanged: 'shared otherwise',
} as const;

function wordLine(
  what: string,
  counts: JsonObject,
  words: Readonly<Record<string, string>>,
): string | undefined {
  const parts = Object.entries(words).flatMap(([name, word]) => {
    const count = numberOf(counts, name);
    return count === 0 ? [] : [`${count} ${word}`];
  });
  return parts.length === 0 ? undefined : `  ${what}: ${parts.join(', ')}`;
}

function blockerLines(plan: JsonObject): readonly string[] {
  const blockers = listOf(plan, 'Blockers');
  if (blockers.length === 0) return [];
  const lines = blockers.map((each) => `  [${textOf(each, 'Code')}] ${textOf(each, 'Text')}`);
  return ['', 'In the way:', ...lines];
}

/** The names behind the counts, as the HSM's officer reads them: user, key, policy, one a line. */
export function nameRows(text: JsonObject): readonly (readonly string[])[] {
  return listOf(text, 'lines').map((line) => {
    const { changes } = line;
    const what = Array.isArray(changes)
      ? changes.map((each) => NAME_WORDS[String(each)] ?? String(each))
      : [];
    switch (line['kind']) {
      case 'user':
        return ['user', textOf(line, 'name'), textOf(line, 'role'), what.join(', ')];
      case 'policy':
        return [
          'policy',
          textOf(line, 'name'),
          '',
          `${numberOf(line, 'current')} becomes ${numberOf(line, 'chosen')}`,
        ];
      default: {
        const { attributes } = line;
        const which = Array.isArray(attributes) ? ` (${attributes.join(', ')})` : '';
        return [
          optionalText(line, 'class') ?? 'object',
          optionalText(line, 'label') ?? '(no label)',
          optionalText(line, 'owner') ?? '',
          `${what.join(', ')}${which}`,
        ];
      }
    }
  });
}

const NAME_WORDS: Readonly<Record<string, string>> = {
  appear: 'appears again',
  vanish: 'vanishes',
  passwordChanged: 'earlier password',
  roleChanged: 'other role',
  lock: 'is locked',
  unlock: 'is unlocked',
  attributesChanged: 'earlier attributes',
  ownerChanged: 'other owner',
  sharingChanged: 'shared otherwise',
};

const many = (count: number, what: string): string => `${count} ${what}${count === 1 ? '' : 's'}`;
