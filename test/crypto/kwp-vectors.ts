/** The key-wrap vectors in one shape, whatever file they come from. */
import { createHash, createSecretKey, type KeyObject } from 'node:crypto';
import { fromHex } from '../../src/kernel/bytes.ts';
import generated from '../vectors/kwp_generated.json' with { type: 'json' };
import wycheproofKw from '../vectors/wycheproof_aes256_kw.json' with { type: 'json' };
import wycheproofKwp from '../vectors/wycheproof_aes256_kwp.json' with { type: 'json' };

export interface GoodWrap {
  readonly name: string;
  readonly kek: KeyObject;
  readonly plaintext: Uint8Array;
  readonly wrappedBytes: number;
  readonly wrappedSha256: string;
}

export interface BadWrap {
  readonly name: string;
  readonly kek: KeyObject;
  readonly wrapped: Uint8Array;
}

export const sha256 = (bytes: Uint8Array): string =>
  createHash('sha256').update(bytes).digest('hex');
const kekOf = (hex: string): KeyObject => createSecretKey(fromHex(hex));

type Wycheproof = typeof wycheproofKw | typeof wycheproofKwp;

function wycheproof(name: string, file: Wycheproof): { good: GoodWrap[]; bad: BadWrap[] } {
  const tests = file.testGroups.flatMap((group) => group.tests);
  const vectors = tests.map((vector) => ({
    isValid: vector.result === 'valid',
    name: `Wycheproof ${name} ${vector.tcId}`,
    kek: kekOf(vector.key),
    plaintext: fromHex(vector.msg),
    wrapped: fromHex(vector.ct),
  }));
  return {
    good: vectors
      .filter((vector) => vector.isValid)
      .map((vector) => ({
        ...vector,
        wrappedBytes: vector.wrapped.length,
        wrappedSha256: sha256(vector.wrapped),
      })),
    bad: vectors.filter((vector) => !vector.isValid),
  };
}

interface Generated {
  readonly tcId: number;
  readonly key: string;
  readonly plaintextSeed: string;
  readonly length: number;
  readonly wrappedLength: number;
  readonly wrappedSha256: string;
}

const fromSeed =
  (name: string) =>
  (vector: Generated): GoodWrap => ({
    name: `generated ${name} ${vector.tcId}`,
    kek: kekOf(vector.key),
    plaintext: new Uint8Array(
      createHash('shake256', { outputLength: vector.length })
        .update(fromHex(vector.plaintextSeed))
        .digest(),
    ),
    wrappedBytes: vector.wrappedLength,
    wrappedSha256: vector.wrappedSha256,
  });

const kw = wycheproof('KW', wycheproofKw);
const kwp = wycheproof('KWP', wycheproofKwp);

export const GOOD_KW: readonly GoodWrap[] = [...kw.good, ...generated.kw.map(fromSeed('KW'))];
/** Includes Wycheproof's "acceptable" wrap of 8 bytes, which KW does not define. */
export const BAD_KW: readonly BadWrap[] = kw.bad;

const goodKwp = [...kwp.good, ...generated.kwp.map(fromSeed('KWP'))];
const isOurs = ({ plaintext }: GoodWrap): boolean => plaintext.length > 8;
export const GOOD_KWP: readonly GoodWrap[] = goodKwp.filter(isOurs);
/** Right by the standard, refused by Keyark: one bare AES block, whose padding can be probed. */
export const TOO_SHORT_KWP: readonly GoodWrap[] = goodKwp.filter((vector) => !isOurs(vector));
export const BAD_KWP: readonly BadWrap[] = [
  ...kwp.bad,
  ...generated.kwp_must_reject.map((vector) => ({
    name: `generated KWP ${vector.tcId}: ${vector.why}`,
    kek: kekOf(vector.key),
    wrapped: fromHex(vector.wrapped),
  })),
];
