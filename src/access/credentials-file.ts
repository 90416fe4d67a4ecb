/** `credentials.json`: accounts, users and keys as text and back. Version 1 knew keys of roots alone. */
import type { Random } from '../kernel/random.ts';
import type { EpochMs } from '../kernel/types.ts';
import { AccessKey, type Account, type Accounts, type User, userKey } from './accounts.ts';

export interface Kept extends Accounts {
  /** Seals session tokens. 32 bytes. */
  readonly sessionKey: Uint8Array;
  /** Access key id → when it was last used, to the quarter of an hour. */
  readonly lastUsed: ReadonlyMap<string, EpochMs>;
}

const VERSION = 2;
const SESSION_KEY_BYTES = 32;

export const newSessionKey = (random: Random): Uint8Array => random.bytes(SESSION_KEY_BYTES);

export function renderKept(kept: Kept): string {
  const value = {
    version: VERSION,
    owner: kept.owner,
    sessionKey: Buffer.from(kept.sessionKey).toString('base64'),
    accounts: [...kept.accounts.values()],
    users: [...kept.users.values()].map((user) => ({
      ...user,
      policies: Object.fromEntries(user.policies),
      managed: [...user.managed],
    })),
    keys: [...kept.keys.values()].map((key) => ({
      accessKeyId: key.accessKeyId,
      account: key.account,
      user: key.user,
      secretAccessKey: key.secretAccessKey,
      isEnabled: key.isEnabled,
      createdAt: key.createdAt,
      sessionsFrom: key.sessionsFrom,
      lastUsedAt: kept.lastUsed.get(key.accessKeyId),
    })),
  };
  return `${JSON.stringify(value, undefined, 2)}\n`;
}

/** @throws TypeError for what neither version would have written. */
export function parseKept(value: unknown, random: Random): Kept {
  const root = objectOf(value);
  if (root['version'] === 1) return upgrade(root, random);
  if (root['version'] !== VERSION) throw new TypeError('unknown version');
  const owner = textOf(root, 'owner');
  const accounts = listOf(root, 'accounts').map(parseAccount);
  const users = listOf(root, 'users').map(parseUser);
  const keys = listOf(root, 'keys').map((entry) => ({
    key: parseKey(entry),
    lastUsedAt: optionalTime(entry, 'lastUsedAt'),
  }));
  const sessionKey = new Uint8Array(Buffer.from(textOf(root, 'sessionKey'), 'base64'));
  if (sessionKey.length !== SESSION_KEY_BYTES) throw new TypeError('no session key');
  const kept: Kept = {
    owner,
    sessionKey,
    accounts: new Map(accounts.map((account) => [account.id, account])),
    users: new Map(users.map((user) => [userKey(user.account, user.name), user])),
    keys: new Map(keys.map(({ key }) => [key.accessKeyId, key])),
    lastUsed: new Map(
      keys.flatMap(({ key, lastUsedAt }) =>
        lastUsedAt === undefined ? [] : [[key.accessKeyId, lastUsedAt] as const],
      ),
    ),
  };
  if (!kept.accounts.has(owner)) throw new TypeError('the owner has no account');
  return kept;
}

/** The first key's account was the service's own; every key was a root's. */
function upgrade(root: Members, random: Random): Kept {
  const keys = listOf(root, 'keys').map(parseKey);
  const [first] = keys;
  if (first === undefined) throw new TypeError('no key');
  // When they were made was not written down.
  const createdAt = 0 as EpochMs;
  return {
    owner: first.account,
    sessionKey: newSessionKey(random),
    accounts: new Map(keys.map(({ account }) => [account, { id: account, createdAt }])),
    users: new Map(),
    keys: new Map(keys.map((key) => [key.accessKeyId, key])),
    lastUsed: new Map(),
  };
}

function parseAccount(entry: Members): Account {
  const name = optionalText(entry, 'name');
  return {
    id: textOf(entry, 'id'),
    createdAt: timeOf(entry, 'createdAt'),
    ...(name === undefined ? {} : { name }),
  };
}

function parseUser(entry: Members): User {
  const policies = Object.entries(objectOf(entry['policies'])).map(([name, document]) => {
    if (typeof document !== 'string') throw new TypeError('a policy that is no text');
    return [name, document] as const;
  });
  const managed = entry['managed'];
  if (!Array.isArray(managed)) throw new TypeError('no list of managed policies');
  return {
    account: textOf(entry, 'account'),
    name: textOf(entry, 'name'),
    createdAt: timeOf(entry, 'createdAt'),
    policies: new Map(policies),
    managed: new Set(managed.map(String)),
  };
}

function parseKey(entry: Members): AccessKey {
  const isEnabled = entry['isEnabled'] ?? true;
  if (typeof isEnabled !== 'boolean') throw new TypeError('isEnabled is no boolean');
  // The beginning of time: version 1 wrote neither.
  const unknown = 0 as EpochMs;
  return new AccessKey({
    accessKeyId: textOf(entry, 'accessKeyId'),
    account: textOf(entry, 'account'),
    secretAccessKey: textOf(entry, 'secretAccessKey'),
    user: optionalText(entry, 'user'),
    isEnabled,
    createdAt: optionalTime(entry, 'createdAt') ?? unknown,
    sessionsFrom: optionalTime(entry, 'sessionsFrom') ?? unknown,
  });
}

type Members = Readonly<Record<string, unknown>>;

function objectOf(value: unknown): Members {
  if (typeof value !== 'object' || value === null) throw new TypeError('not an object');
  // An object's members are unknown, which is all this type says.
  return value as Members;
}

function listOf(members: Members, name: string): readonly Members[] {
  const list = members[name];
  if (!Array.isArray(list)) throw new TypeError(`${name} is no list`);
  return list.map(objectOf);
}

function textOf(members: Members, name: string): string {
  const value = members[name];
  if (typeof value !== 'string') throw new TypeError(`${name} is no text`);
  return value;
}

const optionalText = (members: Members, name: string): string | undefined =>
  members[name] === undefined ? undefined : textOf(members, name);

function timeOf(members: Members, name: string): EpochMs {
  const value = members[name];
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) {
    throw new TypeError(`${name} is no time`);
  }
  // Whole milliseconds since 1970, as this file wrote them.
  return value as EpochMs;
}

const optionalTime = (members: Members, name: string): EpochMs | undefined =>
  members[name] === undefined ? undefined : timeOf(members, name);
