/**
 * Tries restored keys on random made here, and says only how many worked. It takes no input and lets
 * out neither signature nor ciphertext, so that it is no oracle for anybody.
 *
 * Every AES key's check value is computed again; beyond that a bounded sample, spread evenly over the
 * keys of each kind, does real work: encrypt and decrypt, or sign and verify with the public half.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createPublicKey,
  sign,
  verify,
} from 'node:crypto';
import { equalBytes } from '../kernel/bytes.ts';
import type { Random } from '../kernel/random.ts';
import { bytesOf, numberOf } from './attributes.ts';
import { nextTurn } from './backup/turn.ts';
import { CKA, CKK, CKO } from './constants.ts';
import { keyObject, secretCheckValue } from './key-material.ts';
import type { ExerciseOutcome } from './protocol.ts';
import type { ObjectRecord, SharedState } from './state.ts';

export const SAMPLE_KEYS = 64;
const CHECKS_PER_TURN = 512;
const SAMPLES_PER_TURN = 8;
const INPUT_BYTES = 32;

const KINDS = [
  { kind: 'aes', objectClass: CKO.SECRET_KEY, keyType: CKK.AES, work: roundTrip },
  { kind: 'generic-secret', objectClass: CKO.SECRET_KEY, keyType: CKK.GENERIC_SECRET, work: mac },
  { kind: 'rsa', objectClass: CKO.PRIVATE_KEY, keyType: CKK.RSA, work: signAndVerify },
  { kind: 'ec', objectClass: CKO.PRIVATE_KEY, keyType: CKK.EC, work: signAndVerify },
] as const;

export async function exercise(shared: SharedState, random: Random): Promise<ExerciseOutcome> {
  const tried = [];
  for (const { kind, objectClass, keyType, work } of KINDS) {
    const keys = [...shared.objects.values()].filter(
      ({ attributes }) =>
        numberOf(attributes, CKA.CLASS) === objectClass &&
        numberOf(attributes, CKA.KEY_TYPE) === keyType,
    );
    const bad = new Set<ObjectRecord>();
    const check = async (some: readonly ObjectRecord[], perTurn: number, works: Check) => {
      for (const [i, record] of some.entries()) {
        if (!succeeds(() => works(record, random))) bad.add(record);
        if (i % perTurn === perTurn - 1) await nextTurn();
      }
    };
    const checksAll = keyType === CKK.AES;
    if (checksAll) await check(keys, CHECKS_PER_TURN, hasItsCheckValue);
    const sample = spread(keys, SAMPLE_KEYS);
    await check(sample, SAMPLES_PER_TURN, work);
    tried.push({
      kind,
      present: keys.length,
      tried: checksAll ? keys.length : sample.length,
      failed: bad.size,
    });
  }
  return { passed: tried.every(({ failed }) => failed === 0), tried };
}

type Check = (record: ObjectRecord, random: Random) => boolean;

/** A key that can't even be built is one that failed; why is nobody's business out there. */
function succeeds(work: () => boolean): boolean {
  try {
    return work();
  } catch {
    return false;
  }
}

/** At most `count`, first and last among them. */
export function spread<T>(all: readonly T[], count: number): readonly T[] {
  if (all.length <= count) return all;
  const step = (all.length - 1) / (count - 1);
  return Array.from({ length: count }, (_, i) => all[Math.round(i * step)]).filter(
    (item) => item !== undefined,
  );
}

function hasItsCheckValue({ attributes }: ObjectRecord): boolean {
  const value = bytesOf(attributes, CKA.VALUE);
  const expected = bytesOf(attributes, CKA.CHECK_VALUE);
  if (value === undefined || expected === undefined) return false;
  const actual = secretCheckValue(CKK.AES, value);
  return actual !== undefined && equalBytes(actual, expected);
}

function roundTrip(record: ObjectRecord, random: Random): boolean {
  const key = keyObject(record);
  const plain = random.bytes(INPUT_BYTES);
  const name = `aes-${(key.symmetricKeySize ?? 0) * 8}-cbc`;
  const iv = random.bytes(16);
  const cipher = createCipheriv(name, key, iv);
  const sealed = Buffer.concat([cipher.update(plain), cipher.final()]);
  const decipher = createDecipheriv(name, key, iv);
  return equalBytes(Buffer.concat([decipher.update(sealed), decipher.final()]), plain);
}

/** Twice the same tag: all that can be said of a key without a counterpart. */
function mac(record: ObjectRecord, random: Random): boolean {
  const input = random.bytes(INPUT_BYTES);
  const tag = () => createHmac('sha256', keyObject(record)).update(input).digest();
  return equalBytes(tag(), tag());
}

function signAndVerify(record: ObjectRecord, random: Random): boolean {
  const info = bytesOf(record.attributes, CKA.PUBLIC_KEY_INFO);
  if (info === undefined) return false;
  const publicKey = createPublicKey({ key: Buffer.from(info), format: 'der', type: 'spki' });
  const input = random.bytes(INPUT_BYTES);
  return verify('sha256', input, publicKey, sign('sha256', input, keyObject(record)));
}
