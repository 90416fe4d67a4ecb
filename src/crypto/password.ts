/**
 * Passwords to verifiers: Argon2id (RFC 9106), one computation at a time.
 *
 * Each computation takes its memory and a core's attention, and strangers can ask for them, so they
 * queue, and a full queue refuses instead of growing.
 */
import { argon2 } from 'node:crypto';
import { Refused } from '../kernel/errors.ts';
import { CryptoError } from './errors.ts';
import { asBytes } from './views.ts';

export interface PasswordCost {
  readonly memoryKiB: number;
  readonly passes: number;
}

export interface PasswordParameters extends PasswordCost {
  /** 16 bytes or more, random per password. */
  readonly salt: Uint8Array;
}

/** 19 MiB and two passes: OWASP's first choice for Argon2id, some 20 ms. */
export const DEFAULT_PASSWORD_COST: PasswordCost = { memoryKiB: 19_456, passes: 2 };
export const PASSWORD_HASH_BYTES = 32;

const PARALLELISM = 1;
const MIN_SALT_BYTES = 8;

export class PasswordHasher {
  readonly #maxQueued: number;
  #last: Promise<unknown> = Promise.resolve();
  #queued = 0;

  /** @param maxQueued computations waiting or under way before `hash` refuses. */
  constructor({ maxQueued }: { maxQueued: number }) {
    this.#maxQueued = maxQueued;
  }

  /**
   * The verifier of a password, computed off the main thread after all that were asked for before.
   *
   * Source: RFC 9106 §3, Argon2id, p = 1, no secret, no associated data.
   * @param password any bytes; overwrite them when the promise settles.
   * @returns 32 bytes.
   * @throws {Refused} `LimitExceeded` when the queue is full.
   * @throws {CryptoError} `LENGTH` for a salt or a cost that RFC 9106 does not allow.
   */
  async hash(password: Uint8Array, parameters: PasswordParameters): Promise<Uint8Array> {
    checkParameters(parameters);
    if (this.#queued >= this.#maxQueued) {
      throw new Refused(
        'LimitExceeded',
        `${this.#queued} passwords are being checked already; try again in a few seconds.`,
      );
    }
    this.#queued += 1;
    const result = this.#last.then(() => argon2id(password, parameters));
    // The next one starts whatever became of this one; who asked for this one hears of its failure.
    this.#last = result.catch(() => {});
    try {
      return await result;
    } finally {
      this.#queued -= 1;
    }
  }
}

function argon2id(message: Uint8Array, parameters: PasswordParameters): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    argon2(
      'argon2id',
      {
        message,
        nonce: parameters.salt,
        parallelism: PARALLELISM,
        tagLength: PASSWORD_HASH_BYTES,
        memory: parameters.memoryKiB,
        passes: parameters.passes,
      },
      (cause, hash) => (cause === null ? resolve(asBytes(hash)) : reject(cause)),
    );
  });
}

/** RFC 9106 §3.1: salt of at least 8 bytes, m of at least 8p KiB, t of at least 1. */
function checkParameters({ salt, memoryKiB, passes }: PasswordParameters): void {
  const isAllowed =
    salt.length >= MIN_SALT_BYTES &&
    Number.isInteger(memoryKiB) &&
    memoryKiB >= 8 * PARALLELISM &&
    memoryKiB < 2 ** 32 &&
    Number.isInteger(passes) &&
    passes >= 1 &&
    passes < 2 ** 32;
  if (!isAllowed) throw new CryptoError('LENGTH', 'Argon2id does not take this salt or cost');
}
