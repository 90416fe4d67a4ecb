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
const CHECKS_PER_TURN = 256;
const SAMPLES_PER_TURN = 8;
const INPUT_BYTES = 32;

const KINDS = [
  { kind: 'aes', objectClass: CKO.SECRET_KEY, keyType: CKK.AES, work: roundTrip },
  { kind: 'generic-secret', objectClass: CKO.SECRET_KEY, keyType: CKK.GENERIC_SECRET, work: mac },
  { kind: 'rsa', objectClass: CKO.PRIVATE_KEY, keyType: CKK.RSA, work: signAndVerify },
  { kind: 'ec', objectClass: CKO.PRIVATE_KEY, keyType: CKK.EC, work: signAndVerify },
] as const;
type Kind = (typeof KINDS)[number];

/** All kinds side by side: signatures are made on libuv's threads while this one computes check values. */
export async function exercise(shared: SharedState, random: Random): Promise<ExerciseOutcome> {
  const keys = keysByKind(shared);
  const tried = await Promise.all(
    KINDS.map((kind) => exerciseKind(kind, keys.get(kind) ?? [], random)),
  );
  return { passed: tried.every(({ failed }) => failed === 0), tried };
}

async function exerciseKind(
  { kind, keyType, work }: Kind,
  keys: readonly ObjectRecord[],
  random: Random,
): Promise<ExerciseOutcome['tried'][number]> {
  const bad = new Set<ObjectRecord>();
  const sample = spread(keys, SAMPLE_KEYS);
  const checksAll = keyType === CKK.AES;
  if (checksAll) {
    await inTurns(keys, CHECKS_PER_TURN, (record) => {
      if (!hasItsCheckValue(record)) bad.add(record);
    });
  }
  // No more of them are under way than the sample holds.
  const working: Promise<void>[] = [];
  await inTurns(sample, SAMPLES_PER_TURN, (record) => {
    working.push(
      works(record, work, random).then((isGood) => {
        if (!isGood) bad.add(record);
      }),
    );
  });
  await Promise.all(working);
  return {
    kind,
    present: keys.length,
    tried: checksAll ? keys.length : sample.length,
    failed: bad.size,
  };
}

function keysByKind(shared: SharedState): ReadonlyMap<Kind, readonly ObjectRecord[]> {
  const keys = new Map(KINDS.map((kind) => [kind, [] as ObjectRecord[]]));
  for (const record of shared.objects.values()) {
    const objectClass = numberOf(record.attributes, CKA.CLASS);
    const keyType = numberOf(record.attributes, CKA.KEY_TYPE);
    const kind = KINDS.find((one) => one.objectClass === objectClass && one.keyType === keyType);
    if (kind !== undefined) keys.get(kind)?.push(record);
  }
  return keys;
}

async function inTurns(
  records: readonly ObjectRecord[],
  perTurn: number,
  visit: (record: ObjectRecord) => void,
): Promise<void> {
  for (const [i, record] of records.entries()) {
    visit(record);
    if (i % perTurn === perTurn - 1) await nextTurn();
  }
}

/** A key that can't even be built is one that failed; why is nobody's business out there. */
async function works(record: ObjectRecord, work: Kind['work'], random: Random): Promise<boolean> {
  try {
    return await work(record, random);
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
  try {
    const actual = secretCheckValue(CKK.AES, value);
    return actual !== undefined && equalBytes(actual, expected);
  } catch {
    // Bytes of a length that is no AES key's.
    return false;
  }
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

async function signAndVerify(record: ObjectRecord, random: Random): Promise<boolean> {
  const info = bytesOf(record.attributes, CKA.PUBLIC_KEY_INFO);
  if (info === undefined) return false;
  const publicKey = createPublicKey({ key: Buffer.from(info), format: 'der', type: 'spki' });
  const input = random.bytes(INPUT_BYTES);
  const signature = await onThread<Buffer>((done) =>
    sign('sha256', input, keyObject(record), done),
  );
  return await onThread<boolean>((done) => verify('sha256', input, publicKey, signature, done));
}

function onThread<T>(run: (done: (cause: Error | null, result: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) => {
    run((cause, result) => (cause === null ? resolve(result) : reject(cause)));
  });
}
