/**
 * Token objects: who sees, uses and changes which, and their life from first commit to tombstone.
 *
 * It must never show an object to somebody without rights on it (a hidden one and a missing one look the
 * same), nor hand out key material: views are made by `viewOf`, which knows no secret attribute.
 */
import { fromHex, toHex, u64 } from '../kernel/bytes.ts';
import { Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import type { JsonObject, JsonValue } from '../kernel/types.ts';
import { flag, flagOf, numberOf, parseChange, renderAttributes, textOf } from './attributes.ts';
import type { Changes, Decision } from './changes.ts';
import { CKA, CKK, CKO } from './constants.ts';
import type { KeyCache } from './key-material.ts';
import { PackedAttributes, wipeAttributes } from './packed-attributes.ts';
import { LIMITS } from './policies.ts';
import type { Login, Session } from './sessions.ts';
import type { Attributes, AttributeValue, ObjectRecord, SharedState } from './state.ts';
import type { Change, Store } from './store.ts';

export interface ObjectsNeeds {
  readonly store: Store;
  readonly changes: Changes;
  readonly keys: KeyCache;
  readonly random: Random;
}

/** An object that is about to exist: everything but its names and owner. */
export type Newborn = ReadonlyMap<number, AttributeValue>;

/** In the small form, and wiped where they lay before: only when all are packed, because halves of a pair share bytes. */
export function packedAway(family: readonly Newborn[]): readonly PackedAttributes[] {
  const packed = family.map((newborn) => PackedAttributes.of(newborn));
  for (const newborn of family) {
    if (!(newborn instanceof PackedAttributes)) wipeAttributes(newborn);
  }
  return packed;
}

export interface ListFilter {
  readonly label?: string | undefined;
  readonly class?: string | undefined;
  readonly keyType?: string | undefined;
  /** The last key of the page before. */
  readonly after?: string | undefined;
  readonly limit?: number | undefined;
}

export const MAX_PAGE = 500;
const DEFAULT_PAGE = 100;
const ID_BYTES = 16;
const MAX_SHAREES = 1_024;

export const CLASS_NAMES: ReadonlyMap<number, string> = new Map([
  [CKO.DATA, 'data'],
  [CKO.CERTIFICATE, 'certificate'],
  [CKO.PUBLIC_KEY, 'public-key'],
  [CKO.PRIVATE_KEY, 'private-key'],
  [CKO.SECRET_KEY, 'secret-key'],
]);

export const KEY_TYPE_NAMES: ReadonlyMap<number, string> = new Map([
  [CKK.RSA, 'rsa'],
  [CKK.EC, 'ec'],
  [CKK.GENERIC_SECRET, 'generic-secret'],
  [CKK.AES, 'aes'],
]);

export class Objects {
  readonly #needs: ObjectsNeeds;
  readonly #byHandle = new HandleIndex();

  constructor(needs: ObjectsNeeds) {
    this.#needs = needs;
  }

  /**
   * The object that this text names, if this user may see it.
   * @throws Refused `NotFound`, also for objects of others; `InvalidRequest` for text that names nothing.
   */
  find(login: Login, reference: string): ObjectRecord {
    return this.#visible(this.#needs.store.shared, login, reference);
  }

  /**
   * Commits new objects of one owner together, counted against the type's limits. Takes the newborns over:
   * their bytes live on in the records alone.
   */
  create(session: Session, opcode: string, newborns: readonly Newborn[]): Promise<ObjectRecord[]> {
    const packed = packedAway(newborns);
    return this.#needs.changes.make(session, {
      opcode,
      decide: (shared): Decision<ObjectRecord[]> => {
        const { name } = needLogin(session);
        checkRoom(shared, packed);
        const records = packed.map(
          (attributes, i): ObjectRecord => ({
            id: toHex(this.#needs.random.bytes(ID_BYTES)),
            handle: shared.nextHandle + i,
            owner: name,
            sharedWith: [],
            attributes,
            createdGeneration: shared.generation + 1,
          }),
        );
        return {
          changes: records.map((object) => ({ kind: 'put-object', object })),
          result: records,
          details: referencesOf(records),
        };
      },
    });
  }

  /** Removes for good; the tombstone keeps a restored or late copy from bringing it back. */
  delete(session: Session, reference: string): Promise<void> {
    return this.#needs.changes.make(session, {
      opcode: 'CN_TOMBSTONE_OBJECT',
      decide: (shared) => {
        const record = this.#owned(shared, needLogin(session), reference);
        if (!flagOf(record.attributes, CKA.DESTROYABLE)) {
          throw new Refused(
            'WrongState',
            `key ${referenceOf(record)} has destroyable=false; set it to true first.`,
          );
        }
        this.#needs.keys.forget(record);
        return {
          changes: [{ kind: 'remove-object', id: record.id }],
          result: undefined,
          details: referenceOf(record),
        };
      },
    });
  }

  setAttributes(session: Session, reference: string, given: JsonObject): Promise<ObjectRecord> {
    return this.#replace(session, 'CN_MODIFY_OBJECT', (shared) => {
      const login = needLogin(session);
      const isAdmin = login.role === 'admin';
      const record = isAdmin
        ? this.#visible(shared, login, reference)
        : this.#owned(shared, login, reference);
      const changed = parseChange(given, record.attributes, isAdmin ? 'admin' : 'owner');
      const attributes = PackedAttributes.of(new Map([...record.attributes, ...changed]));
      return { ...record, attributes };
    });
  }

  /** Lets another crypto user use the key; changing, sharing and deleting stay the owner's. */
  share(session: Session, reference: string, username: string): Promise<ObjectRecord> {
    return this.#replace(session, 'CN_SHARE_OBJECT', (shared) => {
      const record = this.#shareable(shared, needLogin(session), reference);
      const sharee = shared.users.get(username.toLowerCase());
      if (sharee?.role !== 'crypto-user') {
        throw new Refused(
          'NotFound',
          `there is no crypto-user ${username}; user-list shows who there is.`,
        );
      }
      if (sharee.name === record.owner) {
        throw new Refused(
          'Conflict',
          `${sharee.name} owns key ${referenceOf(record)}; nothing to share.`,
        );
      }
      if (record.sharedWith.includes(sharee.name)) return record;
      if (record.sharedWith.length >= MAX_SHAREES) {
        throw new Refused(
          'LimitExceeded',
          `key ${referenceOf(record)} is shared with ${MAX_SHAREES} users already.`,
        );
      }
      return { ...record, sharedWith: [...record.sharedWith, sharee.name].sort() };
    });
  }

  unshare(session: Session, reference: string, username: string): Promise<ObjectRecord> {
    return this.#replace(session, 'CN_SHARE_OBJECT', (shared) => {
      const record = this.#shareable(shared, needLogin(session), reference);
      const name = username.toLowerCase();
      if (!record.sharedWith.includes(name)) {
        throw new Refused('NotFound', `key ${referenceOf(record)} is not shared with ${name}.`);
      }
      return { ...record, sharedWith: record.sharedWith.filter((one) => one !== name) };
    });
  }

  /** One page by handle, so that a page never exceeds a frame and a new key never shifts the next page. */
  list(login: Login, filter: ListFilter): { objects: ObjectRecord[]; next: string | null } {
    const { shared } = this.#needs.store;
    const limit = filter.limit ?? DEFAULT_PAGE;
    const after = filter.after === undefined ? 0 : parseReference(filter.after);
    const found = [...shared.objects.values()]
      .filter((record) => record.handle > after && isVisible(record, login) && fits(record, filter))
      .sort((a, b) => a.handle - b.handle);
    const page = found.slice(0, limit);
    const last = page.at(-1);
    return {
      objects: page,
      next: last !== undefined && found.length > limit ? referenceOf(last) : null,
    };
  }

  #visible(shared: SharedState, login: Login, reference: string): ObjectRecord {
    const record = this.#byHandle.find(shared, parseReference(reference));
    if (record !== undefined && isVisible(record, login)) return record;
    throw new Refused(
      'NotFound',
      `there is no key ${reference} that ${login.name} may see; key-list shows those there are.`,
    );
  }

  #owned(shared: SharedState, login: Login, reference: string): ObjectRecord {
    const record = this.#visible(shared, login, reference);
    if (record.owner === login.name) return record;
    throw new Refused(
      'AccessDenied',
      `key ${reference} belongs to ${record.owner}; ${login.name} may use it, not change, share or delete it.`,
    );
  }

  #shareable(shared: SharedState, login: Login, reference: string): ObjectRecord {
    const record = this.#owned(shared, login, reference);
    if (flagOf(record.attributes, CKA.PRIVATE)) return record;
    throw new Refused('InvalidRequest', `object ${reference} is public: everybody has it already.`);
  }

  #replace(
    session: Session,
    opcode: string,
    change: (shared: SharedState) => ObjectRecord,
  ): Promise<ObjectRecord> {
    return this.#needs.changes.make(session, {
      opcode,
      decide: (shared) => {
        const object = change(shared);
        const before = shared.objects.get(object.id);
        if (before !== undefined && before !== object) this.#needs.keys.forget(before);
        const changes: Change[] = before === object ? [] : [{ kind: 'put-object', object }];
        return { changes, result: object, details: referenceOf(object) };
      },
    });
  }
}

/** From handle to record. Handles are never reused, so an entry is right or its object is gone. */
class HandleIndex {
  readonly #ids = new Map<number, string>();

  find(shared: SharedState, handle: number): ObjectRecord | undefined {
    const id = this.#ids.get(handle);
    const record = id === undefined ? undefined : shared.objects.get(id);
    if (record?.handle === handle) return record;
    if (handle >= shared.nextHandle) return undefined;
    this.#ids.clear();
    for (const one of shared.objects.values()) this.#ids.set(one.handle, one.id);
    const found = this.#ids.get(handle);
    return found === undefined ? undefined : shared.objects.get(found);
  }
}

/** `0x` and 16 hex digits: how CloudHSM prints key references. */
export const referenceOf = (record: ObjectRecord): string => `0x${toHex(u64(record.handle))}`;

function referencesOf(records: readonly ObjectRecord[]): string {
  const [first] = records;
  const last = records.at(-1);
  if (first === undefined || last === undefined) return 'none';
  return first === last ? referenceOf(first) : `${referenceOf(first)} to ${referenceOf(last)}`;
}

function parseReference(text: string): number {
  if (!/^0x[0-9a-f]{16}$/i.test(text)) {
    throw new Refused(
      'InvalidRequest',
      `"${text.slice(0, 32)}" is no key reference; one looks like 0x0000000000000001 and key-list shows them.`,
    );
  }
  const handle = new DataView(fromHex(text.slice(2)).buffer).getBigUint64(0);
  // Handles are counted up from 1, so a larger number names nothing; it must not round to one that does.
  return handle > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(handle);
}

function needLogin(session: Session): Login {
  if (session.login === null) {
    throw new Refused('AccessDenied', 'the login of this session ended meanwhile; log in again.');
  }
  return session.login;
}

/** Owners, sharees, and everybody for objects that are not private; an admin sees all and uses none. */
function isVisible(record: ObjectRecord, login: Login): boolean {
  return (
    login.role === 'admin' ||
    record.owner === login.name ||
    record.sharedWith.includes(login.name) ||
    !flagOf(record.attributes, CKA.PRIVATE)
  );
}

function fits({ attributes }: ObjectRecord, filter: ListFilter): boolean {
  return (
    (filter.label === undefined || textOf(attributes, CKA.LABEL) === filter.label) &&
    (filter.class === undefined || classNameOf(attributes) === filter.class) &&
    (filter.keyType === undefined || keyTypeNameOf(attributes) === filter.keyType)
  );
}

export const classNameOf = (attributes: Attributes): string =>
  CLASS_NAMES.get(numberOf(attributes, CKA.CLASS) ?? -1) ?? 'unknown';

export const keyTypeNameOf = (attributes: Attributes): string | null =>
  KEY_TYPE_NAMES.get(numberOf(attributes, CKA.KEY_TYPE) ?? -1) ?? null;

interface KeyCount {
  readonly keys: number;
  readonly asymmetric: number;
}

const ONE_SECRET: KeyCount = { keys: 1, asymmetric: 0 };
const ONE_PAIR: KeyCount = { keys: 1, asymmetric: 1 };
const NO_KEY: KeyCount = { keys: 0, asymmetric: 0 };

/** How many keys an object is: a pair is one, counted at its private half; certificates and data are none. */
function keyCount(attributes: Attributes): KeyCount {
  switch (numberOf(attributes, CKA.CLASS)) {
    case CKO.SECRET_KEY:
      return ONE_SECRET;
    case CKO.PRIVATE_KEY:
      return ONE_PAIR;
    default:
      return NO_KEY;
  }
}

/** Objects that are no counted keys (public halves, certificates, data): room for each pair and as many again. */
const MAX_OTHER_OBJECTS = 16_666;

function checkRoom(shared: SharedState, newborns: readonly Attributes[]): void {
  const { type } = shared.partition;
  const limits = LIMITS[type];
  let keys = 0;
  let asymmetric = 0;
  let others = 0;
  const add = (attributes: Attributes): void => {
    const count = keyCount(attributes);
    keys += count.keys;
    asymmetric += count.asymmetric;
    others += count.keys === 0 ? 1 : 0;
  };
  for (const { attributes } of shared.objects.values()) add(attributes);
  for (const attributes of newborns) add(attributes);
  if (keys > limits.keys || asymmetric > limits.asymmetricKeys || others > MAX_OTHER_OBJECTS) {
    throw new Refused(
      'LimitExceeded',
      `an HSM of type ${type} holds at most ${limits.keys} keys, ${limits.asymmetricKeys} of them asymmetric pairs, ` +
        `and ${MAX_OTHER_OBJECTS} other objects; this would make ${keys}, ${asymmetric} and ${others}. Nothing was made.`,
    );
  }
}

/** What answers show of an object: never key material. */
export function viewOf(record: ObjectRecord): JsonObject {
  const { attributes } = record;
  const shown: Record<string, JsonValue> = {
    key: referenceOf(record),
    class: classNameOf(attributes),
    type: keyTypeNameOf(attributes),
    label: textOf(attributes, CKA.LABEL),
    owner: record.owner,
    sharedWith: [...record.sharedWith],
    attributes: { ...renderAttributes(attributes), 'unique-id': record.id },
  };
  return shown;
}

/** Listings stay small: no attributes. */
export function summaryOf(record: ObjectRecord): JsonObject {
  const { attributes: _, ...rest } = viewOf(record);
  return rest;
}

/** Settles what only the HSM knows: where the key was born and whether it ever could leave. */
export function withOrigin(
  attributes: ReadonlyMap<number, AttributeValue>,
  isLocal: boolean,
): Newborn {
  const settled = new Map(attributes);
  settled.set(CKA.LOCAL, flag(isLocal));
  const objectClass = numberOf(settled, CKA.CLASS);
  if (objectClass === CKO.PRIVATE_KEY || objectClass === CKO.SECRET_KEY) {
    if (!flagOf(settled, CKA.PRIVATE)) {
      throw new Refused(
        'InvalidRequest',
        'a secret or private key is always private (private=true).',
      );
    }
    settled.set(CKA.ALWAYS_SENSITIVE, flag(isLocal && flagOf(settled, CKA.SENSITIVE)));
    settled.set(CKA.NEVER_EXTRACTABLE, flag(isLocal && !flagOf(settled, CKA.EXTRACTABLE)));
  }
  return settled;
}
