/**
 * Who there is: accounts, their users, their access keys, as one immutable value; and the rules by which
 * one such value follows another. Pure: `credentials.ts` keeps it on the disk.
 */
import { Refused } from '../kernel/errors.ts';
import type { EpochMs } from '../kernel/types.ts';

export interface Account {
  readonly id: string;
  readonly name?: string;
  readonly createdAt: EpochMs;
}

export interface User {
  readonly account: string;
  readonly name: string;
  readonly createdAt: EpochMs;
  /** Policy name → document as it was given. */
  readonly policies: ReadonlyMap<string, string>;
  /** Names from `managed-policies.ts`. */
  readonly managed: ReadonlySet<string>;
}

/** Holds its secret where neither JSON, a log line nor an inspection finds it. */
export class AccessKey {
  readonly accessKeyId: string;
  readonly account: string;
  /** Absent: the account's root. */
  readonly user: string | undefined;
  readonly isEnabled: boolean;
  readonly createdAt: EpochMs;
  /** Sessions made before are void. */
  readonly sessionsFrom: EpochMs;
  /** Set on temporary credentials. */
  readonly session:
    | { readonly parentKeyId: string; readonly issuedAt: EpochMs; readonly policy?: string }
    | undefined;
  readonly #secret: string;

  constructor(parts: {
    accessKeyId: string;
    account: string;
    secretAccessKey: string;
    user?: string | undefined;
    isEnabled?: boolean;
    createdAt?: EpochMs;
    sessionsFrom?: EpochMs;
    session?: AccessKey['session'];
  }) {
    // The beginning of time: keys of version 1 do not know when they were made.
    const unknown = 0 as EpochMs;
    this.accessKeyId = parts.accessKeyId;
    this.account = parts.account;
    this.user = parts.user;
    this.isEnabled = parts.isEnabled ?? true;
    this.createdAt = parts.createdAt ?? unknown;
    this.sessionsFrom = parts.sessionsFrom ?? unknown;
    this.session = parts.session;
    this.#secret = parts.secretAccessKey;
  }

  /** 40 characters. */
  get secretAccessKey(): string {
    return this.#secret;
  }

  /** An ARN. */
  get principal(): string {
    return principalArn(this.account, this.user);
  }
}

export interface Accounts {
  /** The service's own account: whose root manages accounts. */
  readonly owner: string;
  readonly accounts: ReadonlyMap<string, Account>;
  /** By `userKey`. */
  readonly users: ReadonlyMap<string, User>;
  readonly keys: ReadonlyMap<string, AccessKey>;
}

const MAX_ACCOUNTS = 1_000;
const MAX_USERS = 1_000;
const MAX_KEYS_EACH = 10;
const MAX_POLICIES_EACH = 10;
const USER_NAME = /^[\w+=,.@-]{1,64}$/;
const POLICY_NAME = /^[\w+=,.@-]{1,128}$/;

export const userKey = (account: string, name: string): string => `${account}/${name}`;

export function principalArn(account: string, user: string | undefined): string {
  return `arn:aws:iam::${account}:${user === undefined ? 'root' : `user/${user}`}`;
}

/** @throws Refused `InvalidRequest`. */
export function checkAccountId(id: string): void {
  if (/^0000\d{8}$/.test(id)) return;
  throw new Refused(
    'InvalidRequest',
    `"${id.slice(0, 32)}" is not an account of this Keyark: 12 digits that begin 0000.`,
  );
}

export function addAccount(state: Accounts, account: Account): Accounts {
  checkAccountId(account.id);
  if (state.accounts.has(account.id)) {
    throw new Refused(
      'Conflict',
      `There is an account ${account.id} already; nothing was changed.`,
    );
  }
  if (state.accounts.size >= MAX_ACCOUNTS) {
    throw new Refused('LimitExceeded', `There are ${MAX_ACCOUNTS} accounts; that is the most.`);
  }
  return { ...state, accounts: new Map([...state.accounts, [account.id, account]]) };
}

export function addUser(state: Accounts, user: User): Accounts {
  if (!USER_NAME.test(user.name)) {
    throw new Refused(
      'InvalidRequest',
      `"${user.name.slice(0, 64)}" is no user name: 1 to 64 letters, digits and _+=,.@-.`,
    );
  }
  if (state.users.has(userKey(user.account, user.name))) {
    throw new Refused('Conflict', `There is a user ${user.name} already; nothing was changed.`);
  }
  if (usersOf(state, user.account).length >= MAX_USERS) {
    throw new Refused('LimitExceeded', `The account has ${MAX_USERS} users; that is the most.`);
  }
  return withUser(state, user);
}

/** With the user go the keys, and with the keys every session made from them. */
export function removeUser(state: Accounts, account: string, name: string): Accounts {
  userOf(state, account, name);
  const users = new Map(state.users);
  users.delete(userKey(account, name));
  const keys = [...state.keys].filter(([, key]) => key.account !== account || key.user !== name);
  return { ...state, users, keys: new Map(keys) };
}

/** A new document, or without one the policy of that name that comes with the service. */
export function putPolicy(
  state: Accounts,
  of: { readonly account: string; readonly user: string },
  policy: { readonly name: string; readonly document: string | undefined },
): Accounts {
  const user = userOf(state, of.account, of.user);
  if (!POLICY_NAME.test(policy.name)) {
    throw new Refused(
      'InvalidRequest',
      `"${policy.name.slice(0, 128)}" is no policy name: 1 to 128 letters, digits and _+=,.@-.`,
    );
  }
  const changed =
    policy.document === undefined
      ? { ...user, managed: new Set([...user.managed, policy.name]) }
      : { ...user, policies: new Map([...user.policies, [policy.name, policy.document]]) };
  if (changed.policies.size + changed.managed.size > MAX_POLICIES_EACH) {
    throw new Refused(
      'LimitExceeded',
      `${user.name} has ${MAX_POLICIES_EACH} policies; that is the most. Remove one first.`,
    );
  }
  return withUser(state, changed);
}

export function removePolicy(
  state: Accounts,
  of: { readonly account: string; readonly user: string },
  name: string,
): Accounts {
  const user = userOf(state, of.account, of.user);
  const [policies, managed] = [new Map(user.policies), new Set(user.managed)];
  if (![policies.delete(name), managed.delete(name)].includes(true)) {
    throw new Refused('NotFound', `${user.name} has no policy ${name.slice(0, 128)}.`);
  }
  return withUser(state, { ...user, policies, managed });
}

export function addKey(state: Accounts, key: AccessKey): Accounts {
  if (key.user !== undefined) userOf(state, key.account, key.user);
  else accountOf(state, key.account);
  if (keysOf(state, key.account, key.user).length >= MAX_KEYS_EACH) {
    throw new Refused(
      'LimitExceeded',
      `${key.principal} has ${MAX_KEYS_EACH} access keys; that is the most. Remove one first.`,
    );
  }
  return { ...state, keys: new Map([...state.keys, [key.accessKeyId, key]]) };
}

/** Switching a key off ends the sessions made from it for good, also when it is switched on again. */
export function enableKey(
  state: Accounts,
  id: string,
  change: { readonly isEnabled: boolean; readonly now: EpochMs },
): Accounts {
  const key = keyOf(state, id);
  if (!change.isEnabled) refuseLastOfOwner(state, key, 'switched off');
  const changed = new AccessKey({
    ...key,
    secretAccessKey: key.secretAccessKey,
    isEnabled: change.isEnabled,
    // One millisecond on: a session made at this very moment is void as well.
    ...(change.isEnabled ? {} : { sessionsFrom: (change.now + 1) as EpochMs }),
  });
  return { ...state, keys: new Map([...state.keys, [id, changed]]) };
}

export function removeKey(state: Accounts, id: string): Accounts {
  refuseLastOfOwner(state, keyOf(state, id), 'removed');
  const keys = new Map(state.keys);
  keys.delete(id);
  return { ...state, keys };
}

/** @throws Refused `NotFound`. */
export function accountOf(state: Accounts, id: string): Account {
  const account = state.accounts.get(id);
  if (account !== undefined) return account;
  throw new Refused('NotFound', `There is no account ${id.slice(0, 32)}.`);
}

/** @throws Refused `NotFound`. */
export function userOf(state: Accounts, account: string, name: string): User {
  const user = state.users.get(userKey(account, name));
  if (user !== undefined) return user;
  throw new Refused('NotFound', `There is no user ${name.slice(0, 64)} in account ${account}.`);
}

/** @throws Refused `NotFound`. */
export function keyOf(state: Accounts, id: string): AccessKey {
  const key = state.keys.get(id);
  if (key !== undefined) return key;
  throw new Refused('NotFound', `There is no access key ${id.slice(0, 128)}.`);
}

export const usersOf = (state: Accounts, account: string): readonly User[] =>
  [...state.users.values()].filter((user) => user.account === account);

/** Oldest first. `user` undefined: the root's. */
export const keysOf = (
  state: Accounts,
  account: string,
  user: string | undefined,
): readonly AccessKey[] =>
  [...state.keys.values()].filter((key) => key.account === account && key.user === user);

/** What `DATA/env` hands to the owner: the oldest key of the owner's root that works. */
export const ownersKey = (state: Accounts): AccessKey | undefined =>
  keysOf(state, state.owner, undefined).find(({ isEnabled }) => isEnabled);

/** Without it nobody could manage anything any more. */
function refuseLastOfOwner(state: Accounts, key: AccessKey, what: string): void {
  const working = keysOf(state, state.owner, undefined).filter(({ isEnabled }) => isEnabled);
  if (working.length !== 1 || working[0]?.accessKeyId !== key.accessKeyId) return;
  throw new Refused(
    'WrongState',
    `${key.accessKeyId} is the last working root key of the service's own account and was not ${what}; make another one first: keyark credential create.`,
  );
}

function withUser(state: Accounts, user: User): Accounts {
  return { ...state, users: new Map([...state.users, [userKey(user.account, user.name), user]]) };
}
