/**
 * Access keys: who may sign requests, and for which account. They rest in one file that only the
 * service's user can read; a change is on the disk before it is in force.
 *
 * Ids never begin `AKIA` or `ASIA`, accounts begin 0000: nothing here can be taken for AWS's own.
 */
import { constants } from 'node:fs';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { Failed, Refused } from '../kernel/errors.ts';
import { type Random, randomBelow } from '../kernel/random.ts';

const FILE = 'credentials.json';
const VERSION = 1;
const ID_PREFIX = 'KEYARK';
const ID_RANDOM_LENGTH = 14;
const ID_ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567';
const SECRET_BYTES = 30;
const ACCOUNT_PREFIX = '0000';
const ACCOUNT_RANDOM_LENGTH = 8;
const MAX_KEYS = 1_000;

/** Holds its secret where neither JSON, a log line nor an inspection finds it. */
export class AccessKey {
  readonly accessKeyId: string;
  readonly account: string;
  readonly #secret: string;

  constructor(parts: { accessKeyId: string; account: string; secretAccessKey: string }) {
    this.accessKeyId = parts.accessKeyId;
    this.account = parts.account;
    this.#secret = parts.secretAccessKey;
  }

  /** 40 characters. */
  get secretAccessKey(): string {
    return this.#secret;
  }
}

export class Credentials {
  readonly #folder: string;
  readonly #random: Random;
  #keys: ReadonlyMap<string, AccessKey>;
  #lastWrite: Promise<unknown> = Promise.resolve();

  private constructor(folder: string, random: Random, keys: readonly AccessKey[]) {
    this.#folder = folder;
    this.#random = random;
    this.#keys = byId(keys);
  }

  /**
   * Reads the folder's keys; on the first start makes one key for `account`, or for one it makes up.
   * @throws Failed `START` for a file that is damaged; Refused `InvalidRequest` for an account of another form.
   */
  static async open(given: {
    folder: string;
    random: Random;
    account?: string;
  }): Promise<Credentials> {
    const { folder, random, account } = given;
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const credentials = new Credentials(folder, random, await readKeys(join(folder, FILE)));
    if (credentials.#keys.size === 0) {
      await credentials.create(account ?? newAccount(random));
    }
    return credentials;
  }

  find(accessKeyId: string): AccessKey | undefined {
    return this.#keys.get(accessKeyId);
  }

  /** The first key that was made: what `DIR/env` hands to the owner. */
  default(): AccessKey {
    const [first] = this.#keys.values();
    if (first === undefined) throw new Failed('START', 'there is no access key');
    return first;
  }

  /** Oldest first. */
  list(): readonly AccessKey[] {
    return [...this.#keys.values()];
  }

  /** A new key; durable when it resolves. @throws Refused `InvalidRequest`, `LimitExceeded`. */
  create(account: string): Promise<AccessKey> {
    if (!/^0000\d{8}$/.test(account)) {
      throw new Refused(
        'InvalidRequest',
        `"${account.slice(0, 32)}" is not an account of this Keyark: 12 digits that begin 0000.`,
      );
    }
    const result = this.#lastWrite.then(async () => {
      if (this.#keys.size >= MAX_KEYS) {
        throw new Refused('LimitExceeded', `There are ${MAX_KEYS} access keys; remove one first.`);
      }
      const key = new AccessKey({
        accessKeyId: newAccessKeyId(this.#random),
        account,
        secretAccessKey: Buffer.from(this.#random.bytes(SECRET_BYTES)).toString('base64'),
      });
      const keys = [...this.#keys.values(), key];
      await writeKeys(this.#folder, keys);
      this.#keys = byId(keys);
      return key;
    });
    // The next writer waits for this one whatever became of it; its own caller hears of a failure.
    this.#lastWrite = result.catch(() => undefined);
    return result;
  }
}

export function newAccount(random: Random): string {
  const digits = Array.from({ length: ACCOUNT_RANDOM_LENGTH }, () => randomBelow(random, 10));
  return ACCOUNT_PREFIX + digits.join('');
}

function newAccessKeyId(random: Random): string {
  const tail = [...random.bytes(ID_RANDOM_LENGTH)].map((byte) => ID_ALPHABET[byte & 31]);
  return ID_PREFIX + tail.join('');
}

const byId = (keys: readonly AccessKey[]): ReadonlyMap<string, AccessKey> =>
  new Map(keys.map((key) => [key.accessKeyId, key]));

async function readKeys(path: string): Promise<readonly AccessKey[]> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (cause) {
    if (isMissing(cause)) return [];
    throw new Failed('START', `reading ${path}`, { cause });
  }
  try {
    return parseKeys(JSON.parse(text));
  } catch (cause) {
    throw new Failed('START', `${path} is not a list of access keys; it was left as it is`, {
      cause,
    });
  }
}

function parseKeys(value: unknown): readonly AccessKey[] {
  const { version, keys } = asRecord(value);
  if (version !== VERSION || !Array.isArray(keys)) throw new TypeError('unknown version');
  return keys.map((entry: unknown) => {
    const { accessKeyId, account, secretAccessKey } = asRecord(entry);
    if (
      typeof accessKeyId !== 'string' ||
      typeof account !== 'string' ||
      typeof secretAccessKey !== 'string'
    ) {
      throw new TypeError('a key without id, account or secret');
    }
    return new AccessKey({ accessKeyId, account, secretAccessKey });
  });
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null) throw new TypeError('not an object');
  // An object's members are unknown, which is all this type says.
  return value as Readonly<Record<string, unknown>>;
}

/** Whole or not at all: a new file, synced, renamed over the old one, folder synced. */
async function writeKeys(folder: string, keys: readonly AccessKey[]): Promise<void> {
  const path = join(folder, FILE);
  const text = JSON.stringify(
    {
      version: VERSION,
      keys: keys.map(({ accessKeyId, account, secretAccessKey }) => ({
        accessKeyId,
        account,
        secretAccessKey,
      })),
    },
    undefined,
    2,
  );
  try {
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_TRUNC | constants.O_NOFOLLOW;
    await using file = await open(`${path}.new`, flags, 0o600);
    await file.chmod(0o600);
    await file.writeFile(`${text}\n`);
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
