/**
 * Where pairs are ground: searching primes takes seconds, so it happens on OpenSSL's threads, a few at a
 * time, and the rest waits in a bounded queue. Signing and logging in use the same threads and must not wait.
 */
import { Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import { Serial } from '../kernel/serial.ts';
import { generateEc, generateRsa, generateSecret, type Wishes } from './generate.ts';
import { type Newborn, packedAway } from './objects.ts';
import type { Session } from './sessions.ts';

type Maker = (random: Random, wishes: Wishes) => Promise<readonly Newborn[]>;

const secret =
  (type: 'aes' | 'generic-secret', length: number): Maker =>
  async (random, wishes) => [generateSecret(random, type, length, wishes)];
const rsa =
  (bits: number): Maker =>
  (random, wishes) =>
    generateRsa(random, bits, wishes);
const ec =
  (curve: Parameters<typeof generateEc>[1]): Maker =>
  (random, wishes) =>
    generateEc(random, curve, wishes);

/** Kinds of keys by name, for making many in one call. */
export const KINDS = {
  'aes-128': secret('aes', 16),
  'aes-192': secret('aes', 24),
  'aes-256': secret('aes', 32),
  'generic-secret': secret('generic-secret', 32),
  'rsa-2048': rsa(2_048),
  'rsa-3072': rsa(3_072),
  'rsa-4096': rsa(4_096),
  'ec-p224': ec('P-224'),
  'ec-p256': ec('P-256'),
  'ec-p384': ec('P-384'),
  'ec-p521': ec('P-521'),
  'ec-secp256k1': ec('secp256k1'),
} as const satisfies Record<string, Maker>;
export type KindName = keyof typeof KINDS;
// Object.keys of a table whose keys are KindName by definition.
export const KIND_NAMES = Object.keys(KINDS) as readonly KindName[];

export const MAX_BATCH = 256;
/** Half of the four threads that libuv has. */
const LANES = 2;
const MAX_WAITING = 1_024;

export class KeyMill {
  readonly #random: Random;
  readonly #lanes = new Serial();
  #waiting = 0;
  #next = 0;

  constructor(random: Random) {
    this.#random = random;
  }

  /** @throws Refused `LimitExceeded` when too many keys wait to be made. */
  async run<T>(session: Session, work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING) {
      throw new Refused(
        'LimitExceeded',
        `${MAX_WAITING} keys are waiting to be made; try again in a while.`,
      );
    }
    this.#waiting += 1;
    this.#next = (this.#next + 1) % LANES;
    try {
      return await this.#lanes.run(`lane ${this.#next}`, async () => {
        // Nobody waits for keys of a session that is gone.
        session.assertAlive();
        return await work();
      });
    } finally {
      this.#waiting -= 1;
    }
  }

  /** One family (a secret key, or a pair with its public half first) per kind, labelled with prefix and number. */
  async many(
    session: Session,
    kinds: readonly KindName[],
    labelPrefix: string,
  ): Promise<readonly (readonly Newborn[])[]> {
    const families = kinds.map((kind, i) =>
      this.run(session, async () => {
        const family = await KINDS[kind](this.#random, { label: `${labelPrefix}${i}` });
        // At once: they wait for the whole batch, and for their turn to be written.
        return packedAway(family);
      }),
    );
    // All settle before the first failure is told, so that none is left floating.
    await Promise.allSettled(families);
    return Promise.all(families);
  }
}
