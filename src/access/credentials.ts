/**
 * Who may sign requests, kept in one file that only the service's user can read; a change is on the disk
 * before it is in force. The rules are `accounts.ts`'s; this file keeps, finds and seals.
 *
 * Ids never begin `AKIA` or `ASIA`, accounts begin 0000: nothing here can be taken for AWS's own.
 */
import { constants } from 'node:fs';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import type { KeyProblem } from '../aws/sigv4.ts';
import { MINUTE_MS } from '../kernel/clock.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import { type Random, randomBelow } from '../kernel/random.ts';
import type { EpochMs } from '../kernel/types.ts';
import {
  AccessKey,
  type Accounts,
  addAccount,
  addKey,
  checkAccountId,
  ownersKey,
  userKey,
} from './accounts.ts';
import { type Kept, newSessionKey, parseKept, renderKept } from './credentials-file.ts';
import { managedPolicy } from './managed-policies.ts';
import { type Policy, parsePolicy } from './policy.ts';
import { openSession, sealSession } from './session-token.ts';

const FILE = 'credentials.json';
const KEY_PREFIX = 'KEYARK';
/** Of temporary credentials. A long-term key that happens to begin so is still found: keys come first. */
const SESSION_PREFIX = 'KEYARKTMP';
const ID_LENGTH = 20;
const ID_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const SECRET_BYTES = 30;
const ACCOUNT_PREFIX = '0000';
const ACCOUNT_RANDOM_LENGTH = 8;
/** How exactly `last used` is kept over restarts. */
const LAST_USED_MS = 15 * MINUTE_MS;
/** Parsed documents kept in memory. */
const MAX_PARSED = 1_000;
/** AWS's bound for a policy of an identity. */
export const MAX_POLICY_LENGTH = 6_144;

export interface TemporaryCredentials {
  readonly key: AccessKey;
  readonly sessionToken: string;
  readonly expiresAt: EpochMs;
}

export class Credentials {
  readonly #folder: string;
  readonly #random: Random;
  #kept: Kept;
  readonly #lastUsed: Map<string, EpochMs>;
  readonly #parsed = new Map<string, Policy>();
  #lastWrite: Promise<unknown> = Promise.resolve();

  private constructor(folder: string, random: Random, kept: Kept) {
    this.#folder = folder;
    this.#random = random;
    this.#kept = kept;
    this.#lastUsed = new Map(kept.lastUsed);
  }

  /**
   * Reads the folder's keys; on the first start makes one account, `account` or one made up, with one key
   * of its root.
   * @throws Failed `START` for a file that is damaged; Refused `InvalidRequest` for an account of another form.
   */
  static async open(given: {
    folder: string;
    random: Random;
    account?: string;
    now?: EpochMs;
  }): Promise<Credentials> {
    const { folder, random } = given;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const found = await readKept(join(folder, FILE), random);
    if (found !== undefined) {
      if (found.isOld) await writeKept(folder, found.kept);
      return new Credentials(folder, random, found.kept);
    }
    const owner = given.account ?? newAccount(random);
    checkAccountId(owner);
    // Only the very first start has no time to give in old callers; a key without a date is a key.
    const createdAt = given.now ?? (0 as EpochMs);
    const empty: Kept = {
      owner,
      sessionKey: newSessionKey(random),
      accounts: new Map([[owner, { id: owner, createdAt }]]),
      users: new Map(),
      keys: new Map(),
      lastUsed: new Map(),
    };
    const kept = { ...empty, ...addKey(empty, newKey(random, { account: owner, createdAt })) };
    await writeKept(folder, kept);
    return new Credentials(folder, random, kept);
  }

  /** Everything there is, as it is now. */
  get accounts(): Accounts {
    return this.#kept;
  }

  /** A long-term key. */
  find(accessKeyId: string): AccessKey | undefined {
    return this.#kept.keys.get(accessKeyId);
  }

  /** Whose request this is, if the signature fits the key that is returned. */
  identify(
    accessKeyId: string,
    sessionToken: string | undefined,
    now: EpochMs,
  ): AccessKey | KeyProblem {
    const key = this.find(accessKeyId);
    if (key !== undefined) {
      if (sessionToken !== undefined) return 'WRONG_TOKEN';
      return key.isEnabled ? key : 'DISABLED_KEY';
    }
    if (sessionToken === undefined) {
      return accessKeyId.startsWith(SESSION_PREFIX) ? 'MISSING_TOKEN' : 'UNKNOWN_KEY';
    }
    const session = openSession(sessionToken, { key: this.#kept.sessionKey, accessKeyId });
    const parent = session === undefined ? undefined : this.find(session.parentKeyId);
    if (session === undefined || parent === undefined) return 'WRONG_TOKEN';
    if (!parent.isEnabled || session.issuedAt < parent.sessionsFrom) return 'DISABLED_KEY';
    if (now >= session.expiresAt) return 'EXPIRED_TOKEN';
    const { parentKeyId, issuedAt, policy } = session;
    return new AccessKey({
      accessKeyId,
      account: parent.account,
      user: parent.user,
      secretAccessKey: session.secretAccessKey,
      createdAt: issuedAt,
      session: { parentKeyId, issuedAt, ...(policy === undefined ? {} : { policy }) },
    });
  }

  /** What a user's own policies say; undefined for a root, who has none and needs none. */
  policiesOf(key: AccessKey): readonly Policy[] | undefined {
    if (key.user === undefined) return undefined;
    const user = this.#kept.users.get(userKey(key.account, key.user));
    if (user === undefined) return [];
    const managed = [...user.managed].map(managedPolicy).filter((policy) => policy !== undefined);
    return [...managed, ...[...user.policies.values()].map((text) => this.#policy(text))];
  }

  sessionPolicyOf({ session }: AccessKey): Policy | undefined {
    return session?.policy === undefined ? undefined : this.#policy(session.policy);
  }

  noteUse(key: AccessKey, now: EpochMs): void {
    const id = key.session?.parentKeyId ?? key.accessKeyId;
    this.#lastUsed.set(id, now);
    const kept = this.#kept.lastUsed.get(id);
    if (kept !== undefined && now - kept < LAST_USED_MS) return;
    // Put down at once, so that one write is enough for all uses of the next quarter of an hour.
    this.#kept = { ...this.#kept, lastUsed: new Map(this.#lastUsed) };
    // When a key was last used is a courtesy: a disk that refuses it will be heard of where it matters.
    void this.change((accounts) => accounts).catch(() => undefined);
  }

  lastUsedAt(accessKeyId: string): EpochMs | undefined {
    return this.#lastUsed.get(accessKeyId);
  }

  /** What `DATA/env` hands to the owner. */
  default(): AccessKey {
    const key = ownersKey(this.#kept);
    if (key === undefined) throw new Failed('START', 'there is no access key');
    return key;
  }

  /** Oldest first. */
  list(): readonly AccessKey[] {
    return [...this.#kept.keys.values()];
  }

  /** A key of an account's root; the account is made if it is new. @throws Refused. */
  create(account: string, now: EpochMs): Promise<AccessKey> {
    checkAccountId(account);
    return this.createKey({ account, now }, (accounts) =>
      accounts.accounts.has(account)
        ? accounts
        : addAccount(accounts, { id: account, createdAt: now }),
    );
  }

  /** A new key of an account's root or user, after `before` was done, both or neither. @throws Refused. */
  async createKey(
    of: { readonly account: string; readonly user?: string | undefined; readonly now: EpochMs },
    before: (accounts: Accounts) => Accounts = (accounts) => accounts,
  ): Promise<AccessKey> {
    const key = newKey(this.#random, { account: of.account, user: of.user, createdAt: of.now });
    await this.change((accounts) => addKey(before(accounts), key));
    return key;
  }

  /** Durable when it resolves. Changes come one after the other. @throws whatever `work` throws; Failed `DISK`. */
  change(work: (accounts: Accounts) => Accounts): Promise<void> {
    const result = this.#lastWrite.then(async () => {
      const kept: Kept = {
        ...this.#kept,
        ...work(this.#kept),
        lastUsed: new Map(this.#lastUsed),
      };
      await writeKept(this.#folder, kept);
      this.#kept = kept;
    });
    // The next writer waits for this one whatever became of it; its own caller hears of a failure.
    this.#lastWrite = result.catch(() => undefined);
    return result;
  }

  /** Temporary credentials that may do what `parent` may, within `policy`. Nothing is stored. */
  createSession(
    parent: AccessKey,
    wanted: {
      readonly now: EpochMs;
      readonly expiresAt: EpochMs;
      readonly policy?: string | undefined;
    },
  ): TemporaryCredentials {
    if (parent.session !== undefined) {
      throw new Refused('AccessDenied', 'Temporary credentials make no further ones; use the key.');
    }
    const { now, expiresAt, policy } = wanted;
    const accessKeyId = newId(this.#random, SESSION_PREFIX);
    const secretAccessKey = newSecret(this.#random);
    const session = {
      parentKeyId: parent.accessKeyId,
      secretAccessKey,
      issuedAt: now,
      expiresAt,
      ...(policy === undefined ? {} : { policy }),
    };
    const under = { key: this.#kept.sessionKey, accessKeyId, random: this.#random };
    return {
      key: new AccessKey({ accessKeyId, account: parent.account, secretAccessKey }),
      sessionToken: sealSession(session, under),
      expiresAt,
    };
  }

  /** A fresh account number that is not taken. */
  newAccountId(): string {
    for (;;) {
      const id = newAccount(this.#random);
      if (!this.#kept.accounts.has(id)) return id;
    }
  }

  /** Resolves when every change so far has ended. */
  async idle(): Promise<void> {
    await this.#lastWrite;
  }

  /** What is kept was checked when it was set, so it parses. */
  #policy(text: string): Policy {
    const known = this.#parsed.get(text);
    if (known !== undefined) return known;
    const policy = parsePolicy(text, { kind: 'identity', maxLength: MAX_POLICY_LENGTH });
    if (this.#parsed.size >= MAX_PARSED) this.#parsed.clear();
    this.#parsed.set(text, policy);
    return policy;
  }
}

export function newAccount(random: Random): string {
  const digits = Array.from({ length: ACCOUNT_RANDOM_LENGTH }, () => randomBelow(random, 10));
  return ACCOUNT_PREFIX + digits.join('');
}

function newKey(
  random: Random,
  of: { account: string; user?: string | undefined; createdAt: EpochMs },
): AccessKey {
  return new AccessKey({
    ...of,
    accessKeyId: newId(random, KEY_PREFIX),
    secretAccessKey: newSecret(random),
  });
}

function newId(random: Random, prefix: string): string {
  const tail = [...random.bytes(ID_LENGTH - prefix.length)].map((byte) => ID_ALPHABET[byte & 31]);
  return prefix + tail.join('');
}

const newSecret = (random: Random): string =>
  Buffer.from(random.bytes(SECRET_BYTES)).toString('base64');

async function readKept(
  path: string,
  random: Random,
): Promise<{ kept: Kept; isOld: boolean } | undefined> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw new Failed('START', `reading ${path}`, { cause });
  }
  try {
    const value: unknown = JSON.parse(text);
    const isOld = typeof value === 'object' && value !== null && 'version' in value;
    return { kept: parseKept(value, random), isOld: isOld && value.version === 1 };
  } catch (cause) {
    throw new Failed('START', `${path} is not a list of access keys; it was left as it is`, {
      cause,
    });
  }
}

/** Whole or not at all: a new file, synced, renamed over the old one, folder synced. */
async function writeKept(folder: string, kept: Kept): Promise<void> {
  const path = join(folder, FILE);
  try {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    await using file = await open(`${path}.new`, flags, 0o600);
    await file.chmod(0o600);
    await file.writeFile(renderKept(kept));
    await file.sync();
    await rename(`${path}.new`, path);
    await using entry = await open(folder, constants.O_RDONLY);
    await entry.sync();
  } catch (cause) {
    throw new Failed('DISK', `writing ${path}`, { cause });
  }
}

const isMissing = (cause: unknown): boolean =>
  cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
