/**
 * Power-on known-answer tests of every algorithm the boundary uses (after FIPS 140-3, ISO/IEC 19790
 * §7.10.3). Whoever starts an HSM runs them before anything else; when one fails, the process must do
 * no cryptography at all.
 *
 * Answers come from the standards named beside them, or were computed with python-cryptography 48; none
 * by the code that is tested. All together some 10 ms.
 */
import {
  argon2Sync,
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  diffieHellman,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { concat, fromHex, fromUtf8, toHex } from '../kernel/bytes.ts';
import { openAead, sealAead } from './aead.ts';
import { CryptoError } from './errors.ts';
import { aesCmac } from './kcv.ts';
import { deriveKey } from './kdf.ts';
import { publicKeyOf } from './keys.ts';
import { unwrapKwp, wrapKwp } from './kwp.ts';
import { MIN_USEFUL_LANES, unwrapLanes, wrapLanes } from './kwp-lanes.ts';
import { SELF_TEST_RSA_KEY, SELF_TEST_RSA_SIGNATURE_SHA256 } from './self-test-rsa-key.ts';

interface KnownAnswer {
  readonly answer: string;
  readonly compute: () => Uint8Array;
}

export interface SelfTestFaults {
  /** Expects a wrong answer of this one, so that a test sees what a failure does. */
  readonly wrongAnswer?: SelfTestName;
}

/** 00 01 02 …, the favourite input of test vectors. */
const ramp = (length: number, from = 0): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => from + i);

const KEY = ramp(32);
const SENTENCE = fromUtf8('Keyark self-test');
const YES_THEN_NO = '0100';

const FIPS_197_BLOCK = '00112233445566778899aabbccddeeff';
const KWP_PLAINTEXT = ramp(21, 0x40);
const KWP_WRAPPED = '9cf7010784caa946ea8a1e6deff2fae34d61bb6b8162d905ac4f79094d0a7b54';
const GCM_SEALED =
  'c78354984160449c05c81d003d64f6e2134715a764eec9eb47c8c4c9e6e650ff8c3f1f96db991a6a';

const TESTS = {
  /** FIPS 197 appendix C.3. */
  'AES-256 encrypt': {
    answer: '8ea2b7ca516745bfeafc49904b496089',
    compute: () => ecb(createCipheriv('aes-256-ecb', KEY, null), FIPS_197_BLOCK),
  },
  'AES-256 decrypt': {
    answer: FIPS_197_BLOCK,
    compute: () =>
      ecb(createDecipheriv('aes-256-ecb', KEY, null), '8ea2b7ca516745bfeafc49904b496089'),
  },
  'KWP wrap': {
    answer: KWP_WRAPPED,
    compute: () => wrapKwp(createSecretKey(KEY), KWP_PLAINTEXT),
  },
  'KWP unwrap': {
    answer: toHex(KWP_PLAINTEXT),
    compute: () => unwrapKwp(createSecretKey(KEY), fromHex(KWP_WRAPPED)),
  },
  'KWP wrap in lanes': {
    answer: KWP_WRAPPED.repeat(MIN_USEFUL_LANES),
    compute: () =>
      wrapLanes(
        createSecretKey(KEY),
        inEveryLane(KWP_PLAINTEXT),
        KWP_PLAINTEXT.length,
        MIN_USEFUL_LANES,
      ),
  },
  'KWP unwrap in lanes': {
    answer: toHex(KWP_PLAINTEXT).repeat(MIN_USEFUL_LANES),
    compute: () =>
      unwrapLanes(
        createSecretKey(KEY),
        inEveryLane(fromHex(KWP_WRAPPED)),
        KWP_PLAINTEXT.length,
        MIN_USEFUL_LANES,
      ),
  },
  'KWP refusal': {
    answer: '0000',
    compute: () => {
      const forged = fromHex(KWP_WRAPPED);
      forged.set([0x9d]);
      const kek = createSecretKey(KEY);
      return yesOrNo(
        accepts(() => unwrapKwp(kek, forged)),
        accepts(() =>
          unwrapLanes(kek, inEveryLane(forged), KWP_PLAINTEXT.length, MIN_USEFUL_LANES),
        ),
      );
    },
  },
  'KBKDF HMAC-SHA-256': {
    answer: '705d1c3250becfb35b0fb627ba27f8921294b211916f0e27271d3dd4a065174ffb0f377b0a8c532a',
    compute: () => deriveKey({ key: KEY, label: SENTENCE, context: ramp(16), lengthBytes: 40 }),
  },
  /** FIPS 180-4, the example "abc". */
  'SHA-256': {
    answer: 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad',
    compute: () => createHash('sha256').update('abc').digest(),
  },
  'SHA-512': {
    answer:
      'ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a' +
      '2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f',
    compute: () => createHash('sha512').update('abc').digest(),
  },
  /** RFC 4231 §4.3. */
  'HMAC-SHA-256': {
    answer: '5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843',
    compute: () => createHmac('sha256', 'Jefe').update('what do ya want for nothing?').digest(),
  },
  /** SP 800-38B appendix D.3, example 10. */
  'AES-256-CMAC': {
    answer: '28a7023f452e8f82bd4bf28d8c37c35c',
    compute: () =>
      aesCmac(
        fromHex('603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4'),
        fromHex('6bc1bee22e409f96e93d7e117393172a'),
      ),
  },
  'AES-256-GCM seal': {
    answer: GCM_SEALED,
    compute: () => sealAead(KEY, ramp(12), ramp(24, 0x80), ramp(20, 0x60)),
  },
  'AES-256-GCM open': {
    answer: toHex(ramp(24, 0x80)),
    compute: () => openAead(KEY, ramp(12), fromHex(GCM_SEALED), ramp(20, 0x60)),
  },
  Argon2id: {
    answer: '519d81315d359f6d6cee549dfce5826892c20d230494786f2ed8ab039888eb41',
    compute: () =>
      argon2Sync('argon2id', {
        message: ramp(8),
        nonce: ramp(16),
        parallelism: 1,
        tagLength: 32,
        memory: 64,
        passes: 1,
      }),
  },
  /** RFC 6979 appendix A.2.5, SHA-256, message "sample". */
  'ECDSA P-256 verify': {
    answer: YES_THEN_NO,
    compute: () => {
      const signature = fromHex(
        'efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716' +
          'f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8',
      );
      const key = { key: rfc6979Key('public'), dsaEncoding: 'ieee-p1363' } as const;
      return yesOrNo(
        verify('sha256', fromUtf8('sample'), key, signature),
        verify('sha256', fromUtf8('Sample'), key, signature),
      );
    },
  },
  'ECDSA P-256 sign': {
    answer: YES_THEN_NO,
    compute: () => {
      const signature = sign('sha256', SENTENCE, rfc6979Key('private'));
      return yesOrNo(
        verify('sha256', SENTENCE, rfc6979Key('public'), signature),
        verify('sha256', fromUtf8('sample'), rfc6979Key('public'), signature),
      );
    },
  },
  /** RFC 5903 §8.1. */
  'ECDH P-256': {
    answer: 'd6840f6b42f6edafd13116e0e12565202fef8e9ece7dce03812464d04b9442de',
    compute: () =>
      diffieHellman({
        privateKey: p256Key(
          'dad0b65394221cf9b051e1feca5787d098dfe637fc90b9ef945d0c3772581180',
          '5271a0461cdb8252d61f1c456fa3e59ab1f45b33accf5f58389e0577b8990bb3',
          'c88f01f510d9ac3f70a292daa2316de544e9aab8afe84049c62a9c57862d1433',
        ),
        publicKey: p256Key(
          'd12dfb5289c8d4f81208b70270398c342296970a0bccb74c736fc7554494bf63',
          '56fbf3ca366cc23e8157854c13c58d6aac23f046ada30f8353e74f33039872ab',
        ),
      }),
  },
  'RSA sign': {
    answer: SELF_TEST_RSA_SIGNATURE_SHA256,
    compute: () =>
      createHash('sha256')
        .update(sign('sha256', SENTENCE, rsaKey()))
        .digest(),
  },
  'RSA verify': {
    answer: YES_THEN_NO,
    compute: () => {
      const key = rsaKey();
      const signature = sign('sha256', SENTENCE, key);
      return yesOrNo(
        verify('sha256', SENTENCE, publicKeyOf(key), signature),
        verify('sha256', fromUtf8('sample'), publicKeyOf(key), signature),
      );
    },
  },
} as const satisfies Record<string, KnownAnswer>;

export type SelfTestName = keyof typeof TESTS;

// `Object.keys` of this table gives its keys.
export const SELF_TEST_NAMES = Object.keys(TESTS) as readonly SelfTestName[];

/**
 * Runs them all, in order, up to the first that fails.
 * @throws {CryptoError} `SELF_TEST` with the test's name and nothing about the values.
 */
export function runSelfTests(faults: SelfTestFaults = {}): void {
  for (const name of SELF_TEST_NAMES) {
    const { answer } = TESTS[name];
    const expected = faults.wrongAnswer === name ? `${answer}00` : answer;
    if (computed(name) !== expected) {
      throw new CryptoError('SELF_TEST', `the self-test "${name}" failed`);
    }
  }
}

function computed(name: SelfTestName): string {
  try {
    return toHex(TESTS[name].compute());
  } catch (cause) {
    throw new CryptoError('SELF_TEST', `the self-test "${name}" could not be run`, { cause });
  }
}

function ecb(cipher: ReturnType<typeof createCipheriv>, block: string): Uint8Array {
  cipher.setAutoPadding(false);
  return concat(cipher.update(fromHex(block)), cipher.final());
}

const inEveryLane = (segment: Uint8Array): Uint8Array =>
  concat(...Array.from({ length: MIN_USEFUL_LANES }, () => segment));

const yesOrNo = (...answers: readonly boolean[]): Uint8Array =>
  Uint8Array.from(answers, (answer) => (answer ? 1 : 0));

/** Whether `attempt` goes through; failing with anything but `UNWRAP` is a failure of the test. */
function accepts(attempt: () => unknown): boolean {
  try {
    attempt();
    return true;
  } catch (cause) {
    if (cause instanceof CryptoError && cause.code === 'UNWRAP') return false;
    throw cause;
  }
}

function rfc6979Key(half: 'public' | 'private'): KeyObject {
  return p256Key(
    '60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6',
    '7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299',
    half === 'private'
      ? 'c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721'
      : undefined,
  );
}

function p256Key(x: string, y: string, d?: string): KeyObject {
  const text = (hex: string) => Buffer.from(hex, 'hex').toString('base64url');
  const point = { kty: 'EC', crv: 'P-256', x: text(x), y: text(y) };
  return d === undefined
    ? createPublicKey({ format: 'jwk', key: point })
    : createPrivateKey({ format: 'jwk', key: { ...point, d: text(d) } });
}

const rsaKey = (): KeyObject =>
  createPrivateKey({
    key: Buffer.from(SELF_TEST_RSA_KEY, 'base64'),
    format: 'der',
    type: 'pkcs8',
  });
