/**
 * What would change if one state took another one's place: counts for everybody, and lines with names and
 * labels for an officer of the HSM whose state it is.
 *
 * Pure, over two states of one lineage. It must never put a name, a label or a value into the counts, nor
 * a secret value into the lines: a line names attributes, it does not show them.
 */
import { equalBytes } from '../kernel/bytes.ts';
import type { JsonObject } from '../kernel/types.ts';
import { attributeRow, numberOf } from './attributes.ts';
import { CKA, CKO } from './constants.ts';
import { referenceOf, summaryOf } from './objects.ts';
import { listPolicies } from './policies.ts';
import type { ObjectChanges, PlanChanges, UserChanges } from './protocol.ts';
import type {
  Attributes,
  AttributeValue,
  LocalState,
  ObjectRecord,
  SharedState,
  UserRecord,
} from './state.ts';
import { isLocked } from './users.ts';

/** A state with the counters that travel beside it: a restore brings back both. */
export interface WholeState {
  readonly shared: SharedState;
  readonly local: LocalState;
}

export interface Plan {
  readonly changes: PlanChanges;
  /** Users, policies, keys and objects that differ, one a line, in that order. */
  readonly lines: readonly JsonObject[];
  readonly isSameState: boolean;
}

type UserChange = keyof UserChanges;
type ObjectChange = keyof ObjectChanges;

const KEY_CLASSES: readonly number[] = [CKO.SECRET_KEY, CKO.PRIVATE_KEY, CKO.PUBLIC_KEY];

/** @param current what is there. @param chosen what would be there instead. */
export function planOf(current: WholeState, chosen: WholeState): Plan {
  const users = userLines(current, chosen);
  const policies = policyLines(current.shared, chosen.shared);
  const objects = objectLines(current.shared, chosen.shared);
  const isKey = ({ record }: ObjectLine): boolean =>
    KEY_CLASSES.includes(numberOf(record.attributes, CKA.CLASS) ?? -1);
  const changes: PlanChanges = {
    users: countUsers(users),
    keys: countObjects(objects.filter(isKey)),
    objects: countObjects(objects.filter((line) => !isKey(line))),
    policies: policies.length,
    isCertificateChanged: certificateOf(current) !== certificateOf(chosen),
  };
  const lines = [...users.map(({ line }) => line), ...policies, ...objects.map(({ line }) => line)];
  const isSameState = lines.length === 0 && !changes.isCertificateChanged;
  return { changes, lines, isSameState };
}

const certificateOf = ({ shared: { partition } }: WholeState): string =>
  JSON.stringify([partition.clusterCertificate, partition.trustAnchor]);

// ---- users

interface UserLine {
  readonly changes: readonly UserChange[];
  readonly line: JsonObject;
}

function userLines(current: WholeState, chosen: WholeState): readonly UserLine[] {
  return namesOf(current.shared.users, chosen.shared.users).flatMap((name): UserLine[] => {
    const changes = userChanges(name, current, chosen);
    if (changes.length === 0) return [];
    const role = (chosen.shared.users.get(name) ?? current.shared.users.get(name))?.role ?? '';
    return [{ changes, line: { kind: 'user', name, role, changes } }];
  });
}

function userChanges(name: string, current: WholeState, chosen: WholeState): readonly UserChange[] {
  const [before, after] = [current.shared.users.get(name), chosen.shared.users.get(name)];
  if (before === undefined) return ['appear'];
  if (after === undefined) return ['vanish'];
  const wasLocked = isLocked(current.shared, current.local, name);
  const isLockedThen = isLocked(chosen.shared, chosen.local, name);
  return [
    ...(samePassword(before, after) ? [] : ['passwordChanged' as const]),
    ...(before.role === after.role ? [] : ['roleChanged' as const]),
    ...(wasLocked === isLockedThen ? [] : [wasLocked ? ('unlock' as const) : ('lock' as const)]),
  ];
}

/** Salts are new with every password, so equal verifiers are the same setting of the same password. */
function samePassword({ verifier: a }: UserRecord, { verifier: b }: UserRecord): boolean {
  if (a === null || b === null) return a === b;
  return equalBytes(a.salt, b.salt) && equalBytes(a.hash, b.hash);
}

function countUsers(lines: readonly UserLine[]): UserChanges {
  const count = counterOf(lines);
  return {
    appear: count('appear'),
    vanish: count('vanish'),
    passwordChanged: count('passwordChanged'),
    roleChanged: count('roleChanged'),
    lock: count('lock'),
    unlock: count('unlock'),
  };
}

// ---- policies

function policyLines(current: SharedState, chosen: SharedState): readonly JsonObject[] {
  const before = new Map(listPolicies(current).map(({ name, value }) => [name, value]));
  return listPolicies(chosen).flatMap(({ name, value }): JsonObject[] => {
    const was = before.get(name);
    return was === undefined || was === value
      ? []
      : [{ kind: 'policy', name, current: was, chosen: value }];
  });
}

// ---- keys and other objects

interface ObjectLine {
  readonly changes: readonly ObjectChange[];
  readonly record: ObjectRecord;
  readonly line: JsonObject;
}

/** Names that a line lists; a key may be shared with a thousand. */
const MAX_NAMES = 16;

function objectLines(current: SharedState, chosen: SharedState): readonly ObjectLine[] {
  const lines: ObjectLine[] = [];
  for (const [id, before] of current.objects) {
    const after = chosen.objects.get(id);
    if (after === undefined) lines.push(objectLine(before, ['vanish']));
    else {
      const changes = objectChanges(before, after);
      if (changes.length > 0) lines.push(changedLine(before, after, changes));
    }
  }
  for (const [id, after] of chosen.objects) {
    if (!current.objects.has(id)) lines.push(objectLine(after, ['appear']));
  }
  return lines.sort((a, b) => a.record.handle - b.record.handle);
}

function objectLine(record: ObjectRecord, changes: readonly ObjectChange[]): ObjectLine {
  const { sharedWith: _, ...summary } = summaryOf(record);
  return { changes, record, line: { kind: 'object', ...summary, changes } };
}

function changedLine(
  before: ObjectRecord,
  after: ObjectRecord,
  changes: readonly ObjectChange[],
): ObjectLine {
  const { line, record } = objectLine(after, changes);
  const lost = before.sharedWith.filter((name) => !after.sharedWith.includes(name));
  const won = after.sharedWith.filter((name) => !before.sharedWith.includes(name));
  const details: JsonObject = {
    ...(before.owner === after.owner ? {} : { ownerNow: before.owner }),
    ...(lost.length === 0 ? {} : { noLongerSharedWith: lost.slice(0, MAX_NAMES) }),
    ...(won.length === 0 ? {} : { sharedAgainWith: won.slice(0, MAX_NAMES) }),
    ...(changes.includes('attributesChanged')
      ? { attributes: differingAttributes(before.attributes, after.attributes).map(attributeName) }
      : {}),
  };
  return { changes, record, line: { ...line, key: referenceOf(record), ...details } };
}

function objectChanges(before: ObjectRecord, after: ObjectRecord): readonly ObjectChange[] {
  const isShared =
    before.sharedWith.length !== after.sharedWith.length ||
    before.sharedWith.some((name) => !after.sharedWith.includes(name));
  const differ = differingAttributes(before.attributes, after.attributes).length > 0;
  return [
    ...(differ ? ['attributesChanged' as const] : []),
    ...(before.owner === after.owner ? [] : ['ownerChanged' as const]),
    ...(isShared ? ['sharingChanged' as const] : []),
  ];
}

function differingAttributes(before: Attributes, after: Attributes): readonly number[] {
  // Records are replaced as a whole: one object means nothing changed.
  if (before === after) return [];
  const types = new Set([...before.keys(), ...after.keys()]);
  return [...types].filter((type) => !sameValue(before.get(type), after.get(type)));
}

function sameValue(a: AttributeValue | undefined, b: AttributeValue | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  if (a.type === 'bytes') return b.type === 'bytes' && equalBytes(a.value, b.value);
  return a.type === b.type && a.value === b.value;
}

const attributeName = (type: number): string =>
  attributeRow(type)?.name ?? `0x${type.toString(16)}`;

function countObjects(lines: readonly ObjectLine[]): ObjectChanges {
  const count = counterOf(lines);
  return {
    appear: count('appear'),
    vanish: count('vanish'),
    attributesChanged: count('attributesChanged'),
    ownerChanged: count('ownerChanged'),
    sharingChanged: count('sharingChanged'),
  };
}

// ---- both

function counterOf<Change>(lines: readonly { readonly changes: readonly Change[] }[]) {
  return (change: Change): number => lines.filter(({ changes }) => changes.includes(change)).length;
}

function namesOf(a: ReadonlyMap<string, unknown>, b: ReadonlyMap<string, unknown>): string[] {
  return [...new Set([...a.keys(), ...b.keys()])].sort();
}
