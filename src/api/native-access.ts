/**
 * Accounts, users, their policies and access keys, beside AWS's operations. Secrets are in the answer that
 * made them and nowhere else. Temporary credentials change nothing here: who steals some cannot make them last.
 */
import {
  type AccessKey,
  type Accounts,
  accountOf,
  addAccount,
  addUser,
  enableKey,
  keyOf,
  keysOf,
  putPolicy,
  removeKey,
  removePolicy,
  removeUser,
  userOf,
  usersOf,
} from '../access/accounts.ts';
import type { SignedCaller } from '../access/caller.ts';
import { type Credentials, MAX_POLICY_LENGTH } from '../access/credentials.ts';
import { MANAGED_POLICIES } from '../access/managed-policies.ts';
import { PolicyProblems, parsePolicy } from '../access/policy.ts';
import { type Clock, SECOND_MS } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { EpochMs, JsonObject } from '../kernel/types.ts';
import type { OperationShape, Shape, ValueOf } from './shapes.ts';

export interface AccessFaces {
  readonly credentials: Credentials;
  readonly clock: Clock;
  /** `cloudhsm:CreateCluster`, `keyark:TakeBackup` …: what policies may speak of. */
  readonly actions: ReadonlySet<string>;
}

const accountId = {
  kind: 'text',
  what: 'an account of this Keyark',
  example: '000012345678',
  pattern: /^0000\d{8}$/,
} as const satisfies Shape;
const accountName = {
  kind: 'text',
  what: "an account's name",
  example: 'payments',
  min: 1,
  max: 64,
  pattern: /^[\p{L}\p{N} _.-]+$/u,
} as const satisfies Shape;
const userName = {
  kind: 'text',
  what: 'a user name',
  example: 'ada',
  min: 1,
  max: 64,
  pattern: /^[\w+=,.@-]+$/,
} as const satisfies Shape;
const policyName = {
  kind: 'text',
  what: 'a policy name',
  example: 'backups-of-payments',
  min: 1,
  max: 128,
  pattern: /^[\w+=,.@-]+$/,
} as const satisfies Shape;
const document = {
  kind: 'text',
  what: 'a policy document',
  example:
    '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"cloudhsm:Describe*","Resource":"*"}]}',
  min: 1,
  max: MAX_POLICY_LENGTH,
  isQuoted: false,
} as const satisfies Shape;
const accessKeyId = {
  kind: 'text',
  what: 'an access key id',
  example: 'KEYARKABCDEFGHIJKLMN',
  pattern: /^\w{16,128}$/,
} as const satisfies Shape;

/** 15 minutes to 36 hours, as AWS's GetSessionToken. */
const SHORTEST_SESSION_S = 900;
const LONGEST_SESSION_S = 129_600;
const DEFAULT_SESSION_S = 43_200;
const MAX_SESSION_POLICY = 2_048;

const required = <const S extends Shape>(
  shape: S,
): { readonly shape: S; readonly isRequired: true } => ({
  shape,
  isRequired: true,
});
const optional = <const S extends Shape>(shape: S): { readonly shape: S } => ({ shape });
const operation = <
  const Members extends Readonly<Record<string, { shape: Shape; isRequired?: true }>>,
>(
  members: Members,
): {
  readonly errors: readonly ['NotFound', 'Limit'];
  readonly input: { readonly kind: 'structure'; readonly members: Members };
} => ({ errors: ['NotFound', 'Limit'], input: { kind: 'structure', members } });

// No `satisfies`, as in `shapes.ts`: it would widen what `operation` infers.
export const ACCESS_OPERATIONS = {
  CreateAccount: operation({ Account: optional(accountId), Name: optional(accountName) }),
  ListAccounts: operation({}),
  CreateIamUser: operation({ UserName: required(userName) }),
  ListIamUsers: operation({}),
  DeleteIamUser: operation({ UserName: required(userName) }),
  /** Without a document: the policy of that name that comes with the service. */
  PutUserPolicy: operation({
    UserName: required(userName),
    PolicyName: required(policyName),
    PolicyDocument: optional(document),
  }),
  ListUserPolicies: operation({ UserName: required(userName) }),
  DeleteUserPolicy: operation({ UserName: required(userName), PolicyName: required(policyName) }),
  CreateAccessKey: operation({ UserName: optional(userName), Account: optional(accountId) }),
  ListAccessKeys: operation({ UserName: optional(userName), Account: optional(accountId) }),
  UpdateAccessKey: operation({
    AccessKeyId: required(accessKeyId),
    Status: required({
      kind: 'text',
      what: 'a status',
      example: 'Inactive',
      oneOf: ['Active', 'Inactive'],
    }),
  }),
  DeleteAccessKey: operation({ AccessKeyId: required(accessKeyId) }),
  GetSessionToken: operation({
    DurationSeconds: optional({
      kind: 'integer',
      min: SHORTEST_SESSION_S,
      max: LONGEST_SESSION_S,
    }),
    Policy: optional({ ...document, max: MAX_SESSION_POLICY }),
  }),
} as const;

type AccessName = keyof typeof ACCESS_OPERATIONS;
type RequestFor<Name extends AccessName> = ValueOf<(typeof ACCESS_OPERATIONS)[Name]['input']>;
// Each row is an operation's shape; said here because the table cannot say it itself.
ACCESS_OPERATIONS satisfies Readonly<Record<string, OperationShape>>;

export const ACCESS: {
  readonly [Name in AccessName]: (
    faces: { readonly iam: AccessFaces },
    caller: SignedCaller,
    request: RequestFor<Name>,
  ) => Promise<JsonObject>;
} = {
  CreateAccount: async ({ iam }, caller, request) => {
    refuseSession(caller);
    ownerOnly(iam, caller);
    const id = request.Account ?? iam.credentials.newAccountId();
    const now = iam.clock.now();
    const account = { id, createdAt: now, ...(request.Name && { name: request.Name }) };
    const key = await iam.credentials.createKey({ account: id, now }, (accounts) =>
      addAccount(accounts, account),
    );
    return { Account: { Account: id, Name: request.Name }, AccessKey: renderNewKey(key) };
  },

  ListAccounts: async ({ iam }, caller) => {
    ownerOnly(iam, caller);
    const { accounts, owner } = iam.credentials.accounts;
    return {
      Accounts: [...accounts.values()].map(({ id, name, createdAt }) => ({
        Account: id,
        Name: name,
        IsOwner: id === owner,
        CreateTimestamp: seconds(createdAt),
      })),
    };
  },

  CreateIamUser: async ({ iam }, caller, request) => {
    refuseSession(caller);
    const user = {
      account: caller.account,
      name: request.UserName,
      createdAt: iam.clock.now(),
      policies: new Map(),
      managed: new Set<string>(),
    };
    await iam.credentials.change((accounts) => addUser(accounts, user));
    return { User: renderUser(iam.credentials.accounts, caller.account, user.name) };
  },

  ListIamUsers: async ({ iam }, caller) => {
    const { accounts } = iam.credentials;
    return {
      Users: usersOf(accounts, caller.account).map(({ name }) =>
        renderUser(accounts, caller.account, name),
      ),
    };
  },

  DeleteIamUser: async ({ iam }, caller, request) => {
    refuseSession(caller);
    await iam.credentials.change((accounts) =>
      removeUser(accounts, caller.account, request.UserName),
    );
    return {};
  },

  PutUserPolicy: async ({ iam }, caller, request) => {
    refuseSession(caller);
    const { PolicyName: name, PolicyDocument: text } = request;
    if (text === undefined && !MANAGED_POLICIES.has(name)) {
      throw new Refused(
        'InvalidRequest',
        `There is no built-in policy ${name}; there are ${[...MANAGED_POLICIES.keys()].join(', ')}. Give a document for one of your own.`,
      );
    }
    if (text !== undefined && MANAGED_POLICIES.has(name)) {
      throw new Refused('InvalidRequest', `${name} is a built-in policy; give yours another name.`);
    }
    if (text !== undefined) checkPolicy(text, iam.actions);
    const of = { account: caller.account, user: request.UserName };
    await iam.credentials.change((accounts) => putPolicy(accounts, of, { name, document: text }));
    return {};
  },

  ListUserPolicies: async ({ iam }, caller, request) => {
    const user = userOf(iam.credentials.accounts, caller.account, request.UserName);
    return {
      Policies: [
        ...[...user.managed].map((name) => ({
          PolicyName: name,
          IsBuiltIn: true,
          PolicyDocument: MANAGED_POLICIES.get(name)?.document,
        })),
        ...[...user.policies].map(([name, text]) => ({
          PolicyName: name,
          IsBuiltIn: false,
          PolicyDocument: text,
        })),
      ],
    };
  },

  DeleteUserPolicy: async ({ iam }, caller, request) => {
    refuseSession(caller);
    const of = { account: caller.account, user: request.UserName };
    await iam.credentials.change((accounts) => removePolicy(accounts, of, request.PolicyName));
    return {};
  },

  CreateAccessKey: async ({ iam }, caller, request) => {
    refuseSession(caller);
    const of = keyHolder(iam, caller, request);
    const key = await iam.credentials.createKey({ ...of, now: iam.clock.now() });
    return { AccessKey: renderNewKey(key) };
  },

  ListAccessKeys: async ({ iam }, caller, request) => {
    const { account, user } = keyHolder(iam, caller, request);
    const keys = keysOf(iam.credentials.accounts, account, user);
    return { AccessKeys: keys.map((key) => renderKey(iam, key)) };
  },

  UpdateAccessKey: async ({ iam }, caller, request) => {
    refuseSession(caller);
    const key = keyInReach(iam, caller, request.AccessKeyId);
    const change = { isEnabled: request.Status === 'Active', now: iam.clock.now() };
    await iam.credentials.change((accounts) => enableKey(accounts, key.accessKeyId, change));
    return {};
  },

  DeleteAccessKey: async ({ iam }, caller, request) => {
    refuseSession(caller);
    const key = keyInReach(iam, caller, request.AccessKeyId);
    await iam.credentials.change((accounts) => removeKey(accounts, key.accessKeyId));
    return {};
  },

  GetSessionToken: async ({ iam }, caller, request) => {
    if (request.Policy !== undefined) checkPolicy(request.Policy, iam.actions);
    const now = iam.clock.now();
    const lasts = (request.DurationSeconds ?? DEFAULT_SESSION_S) * SECOND_MS;
    // A time of the clock and some milliseconds are a time.
    const expiresAt = (now + lasts) as EpochMs;
    const made = iam.credentials.createSession(caller.key, {
      now,
      expiresAt,
      policy: request.Policy,
    });
    return {
      Credentials: {
        AccessKeyId: made.key.accessKeyId,
        SecretAccessKey: made.key.secretAccessKey,
        SessionToken: made.sessionToken,
        Expiration: seconds(expiresAt),
      },
    };
  },
};

/** @throws Refused `InvalidRequest` with every problem. */
function checkPolicy(text: string, actions: ReadonlySet<string>): void {
  try {
    parsePolicy(text, { kind: 'identity', maxLength: MAX_POLICY_LENGTH, actions });
  } catch (cause) {
    if (!(cause instanceof PolicyProblems)) throw cause;
    throw new Refused(
      'InvalidRequest',
      `The policy was not set: ${cause.problems.map((problem, i) => `(${i + 1}) ${problem}`).join(' ')}`,
      { cause },
    );
  }
}

function refuseSession({ key }: SignedCaller): void {
  if (key.session === undefined) return;
  throw new Refused(
    'AccessDenied',
    'Temporary credentials cannot change accounts, users, policies or keys; use the access key they were made from. Nothing was changed.',
  );
}

function ownerOnly({ credentials }: AccessFaces, caller: SignedCaller): void {
  const { owner } = credentials.accounts;
  if (caller.account === owner) return;
  throw new Refused(
    'AccessDenied',
    `User: ${caller.principal} is not authorized: accounts are managed from account ${owner}, which owns this Keyark.`,
  );
}

/** Whose keys are meant: the named user's, the caller's own, or the root's of an account that the owner names. */
function keyHolder(
  iam: AccessFaces,
  caller: SignedCaller,
  request: { readonly UserName?: string; readonly Account?: string },
): { readonly account: string; readonly user?: string | undefined } {
  const { UserName: user, Account: account = caller.account } = request;
  if (account === caller.account) {
    return { account, user: user ?? caller.key.user };
  }
  ownerOnly(iam, caller);
  rootOnly(caller, `the keys of account ${account}`);
  accountOf(iam.credentials.accounts, account);
  return { account, user };
}

/** A key of the own account, a root's by a root only; the owner's root reaches every account's. */
function keyInReach(iam: AccessFaces, caller: SignedCaller, id: string): AccessKey {
  const { accounts } = iam.credentials;
  const key = accounts.keys.get(id);
  const isOwnersRoot = caller.account === accounts.owner && caller.key.user === undefined;
  if (key === undefined || (key.account !== caller.account && !isOwnersRoot)) {
    // One answer for what is not there and for what is somebody else's.
    throw new Refused('NotFound', `There is no access key ${id} in account ${caller.account}.`);
  }
  if (key.user === undefined) rootOnly(caller, `a root's key`);
  return keyOf(accounts, id);
}

function rootOnly(caller: SignedCaller, what: string): void {
  if (caller.key.user === undefined) return;
  throw new Refused(
    'AccessDenied',
    `User: ${caller.principal} is not authorized: ${what} can be changed by a root only.`,
  );
}

const renderNewKey = (key: AccessKey): JsonObject => ({
  AccessKeyId: key.accessKeyId,
  // The one time that it is shown.
  SecretAccessKey: key.secretAccessKey,
  Account: key.account,
  UserName: key.user,
});

const renderKey = (iam: AccessFaces, key: AccessKey): JsonObject => ({
  AccessKeyId: key.accessKeyId,
  Account: key.account,
  UserName: key.user,
  Status: key.isEnabled ? 'Active' : 'Inactive',
  CreateTimestamp: seconds(key.createdAt),
  LastUsedTimestamp: seconds(iam.credentials.lastUsedAt(key.accessKeyId)),
});

function renderUser(accounts: Accounts, account: string, name: string): JsonObject {
  const user = userOf(accounts, account, name);
  return {
    UserName: name,
    Arn: `arn:aws:iam::${account}:user/${name}`,
    CreateTimestamp: seconds(user.createdAt),
    AccessKeys: keysOf(accounts, account, name).length,
    Policies: [...user.managed, ...user.policies.keys()],
  };
}

/** Absent for what was never written down. */
const seconds = (at: EpochMs | undefined): number | undefined =>
  at === undefined || at === 0 ? undefined : at / 1000;
