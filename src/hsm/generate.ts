/**
 * Where keys are born: made here or brought in. Each function answers the attributes of objects that do
 * not exist yet; `Objects.create` commits them.
 *
 * It must never let a pair exist that does not sign and verify (pairwise-consistency test, FIPS 140-3
 * IG 10.3.A), nor block the process while a long RSA key is searched.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPair,
  type KeyObject,
  sign,
  verify,
  X509Certificate,
} from 'node:crypto';
import { assert, Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import type { JsonObject } from '../kernel/types.ts';
import { bytes, defaultsOf, flag, number, parseCreation } from './attributes.ts';
import {
  type AttributeType,
  CKA,
  CKC,
  CKK,
  CKM,
  CKO,
  type KeyType,
  type ObjectClass,
} from './constants.ts';
import {
  CURVES,
  type CurveName,
  pairMaterial,
  publicMaterial,
  RSA_PUBLIC_EXPONENT,
  secretCheckValue,
} from './key-material.ts';
import { type Newborn, withOrigin } from './objects.ts';
import type { AttributeValue } from './state.ts';

export type SecretType = 'aes' | 'generic-secret';

/** What its creator says about a new object. */
export interface Wishes {
  readonly label: string;
  readonly attributes?: JsonObject | undefined;
  /** Of the public half. */
  readonly publicAttributes?: JsonObject | undefined;
}

export const MAX_GENERIC_SECRET_BYTES = 800;
const ID_BYTES = 16;

const SECRETS = {
  aes: {
    keyType: CKK.AES,
    mechanism: CKM.AES_KEY_GEN,
    usages: [CKA.ENCRYPT, CKA.DECRYPT],
  },
  'generic-secret': {
    keyType: CKK.GENERIC_SECRET,
    mechanism: CKM.GENERIC_SECRET_KEY_GEN,
    usages: [CKA.SIGN, CKA.VERIFY],
  },
} as const satisfies Record<
  SecretType,
  { keyType: KeyType; mechanism: number; usages: readonly AttributeType[] }
>;

/** What the halves of a pair may do unless the creator says otherwise. */
const PAIR_USAGES = {
  [CKK.RSA]: { public: [CKA.VERIFY, CKA.ENCRYPT], private: [CKA.SIGN, CKA.DECRYPT] },
  [CKK.EC]: { public: [CKA.VERIFY], private: [CKA.SIGN] },
} as const;

/** @throws Refused `InvalidRequest` for a length that its type does not have. */
export function generateSecret(
  random: Random,
  type: SecretType,
  length: number,
  wishes: Wishes,
): Newborn {
  checkSecretLength(type, length);
  return secretKey(type, random.bytes(length), wishes, SECRETS[type].mechanism);
}

/** @throws Refused as `generateSecret`. */
export function importSecret(type: SecretType, value: Uint8Array, wishes: Wishes): Newborn {
  checkSecretLength(type, value.length);
  return secretKey(type, value, wishes, undefined);
}

function checkSecretLength(type: SecretType, length: number): void {
  if (type === 'aes' && ![16, 24, 32].includes(length)) {
    throw new Refused('InvalidRequest', `an AES key has 16, 24 or 32 bytes, not ${length}.`);
  }
  if (length < 1 || length > MAX_GENERIC_SECRET_BYTES) {
    throw new Refused(
      'InvalidRequest',
      `a generic secret has 1 to ${MAX_GENERIC_SECRET_BYTES} bytes, not ${length}.`,
    );
  }
}

function secretKey(
  type: SecretType,
  value: Uint8Array,
  wishes: Wishes,
  mechanism: number | undefined,
): Newborn {
  const { keyType, usages } = SECRETS[type];
  const checkValue = secretCheckValue(keyType, value);
  const wanted = wishesOf(CKO.SECRET_KEY, wishes.label, wishes.attributes);
  return withOrigin(
    new Map([
      ...defaultsOf(CKO.SECRET_KEY),
      ...usages.map((usage): [number, AttributeValue] => [usage, flag(true)]),
      ...wanted,
      [CKA.KEY_TYPE, number(keyType)],
      [CKA.VALUE, bytes(value)],
      [CKA.VALUE_LEN, number(value.length)],
      ...(checkValue === undefined ? [] : [[CKA.CHECK_VALUE, bytes(checkValue)] as const]),
      ...generatedBy(mechanism),
    ]),
    mechanism !== undefined,
  );
}

/** Public half first. RSA of 4096 bits takes seconds, on OpenSSL's threads. */
export async function generateRsa(
  random: Random,
  bits: number,
  wishes: Wishes,
): Promise<[Newborn, Newborn]> {
  judgeWishes(wishes);
  const privateKey = await new Promise<KeyObject>((resolve, reject) => {
    const options = { modulusLength: bits, publicExponent: RSA_PUBLIC_EXPONENT };
    generateKeyPair('rsa', options, (cause, _, key) =>
      cause === null ? resolve(key) : reject(cause),
    );
  });
  return pairOf(random, privateKey, wishes, CKM.RSA_PKCS_KEY_PAIR_GEN);
}

/** Public half first. */
export async function generateEc(
  random: Random,
  curve: CurveName,
  wishes: Wishes,
): Promise<[Newborn, Newborn]> {
  judgeWishes(wishes);
  const privateKey = await new Promise<KeyObject>((resolve, reject) => {
    const options = { namedCurve: CURVES[curve].openssl };
    generateKeyPair('ec', options, (cause, _, key) =>
      cause === null ? resolve(key) : reject(cause),
    );
  });
  return pairOf(random, privateKey, wishes, CKM.EC_KEY_PAIR_GEN);
}

/** Before the costly part: what can't be granted is refused at once. */
function judgeWishes(wishes: Wishes): void {
  wishesOf(CKO.PUBLIC_KEY, wishes.label, wishes.publicAttributes);
  wishesOf(CKO.PRIVATE_KEY, wishes.label, wishes.attributes);
}

/** Both halves of a private key in PKCS#8 PEM; public half first. */
export function importPair(random: Random, pem: string, wishes: Wishes): [Newborn, Newborn] {
  const key = readKey(() => {
    if (!pem.trimStart().startsWith('-----BEGIN PRIVATE KEY-----'))
      throw new TypeError('not PKCS#8');
    return createPrivateKey(pem);
  }, 'one unencrypted private key in PKCS#8 PEM ("-----BEGIN PRIVATE KEY-----")');
  return pairOf(random, key, wishes, undefined);
}

/** A public key alone, in SPKI PEM. */
export function importPublic(pem: string, wishes: Wishes): Newborn {
  const key = readKey(() => {
    if (!pem.trimStart().startsWith('-----BEGIN PUBLIC KEY-----')) throw new TypeError('not SPKI');
    return createPublicKey(pem);
  }, 'one public key in SPKI PEM ("-----BEGIN PUBLIC KEY-----")');
  const material = publicMaterial(key);
  return withOrigin(
    half(CKO.PUBLIC_KEY, keyTypeOf(key), material, wishes.label, wishes.attributes),
    false,
  );
}

/** OpenSSL's own words could repeat parts of the key, so they are dropped. */
function readKey(read: () => KeyObject, wanted: string): KeyObject {
  try {
    return read();
  } catch {
    throw new Refused('InvalidRequest', `this is not ${wanted}; nothing was imported.`);
  }
}

function pairOf(
  random: Random,
  privateKey: KeyObject,
  wishes: Wishes,
  mechanism: number | undefined,
): [Newborn, Newborn] {
  const material = pairMaterial(privateKey);
  const keyType = keyTypeOf(privateKey);
  checkPairwise(random, privateKey, mechanism !== undefined);
  // Halves find each other by CKA_ID, as OpenSSL's engine and pkcs11-tool expect.
  const id: [number, AttributeValue] = [CKA.ID, bytes(random.bytes(ID_BYTES))];
  const isLocal = mechanism !== undefined;
  const publicHalf = half(
    CKO.PUBLIC_KEY,
    keyType,
    material.public,
    wishes.label,
    wishes.publicAttributes,
    id,
  );
  const privateHalf = half(
    CKO.PRIVATE_KEY,
    keyType,
    material.private,
    wishes.label,
    wishes.attributes,
    id,
  );
  return [
    withOrigin(new Map([...publicHalf, ...generatedBy(mechanism)]), isLocal),
    withOrigin(new Map([...privateHalf, ...generatedBy(mechanism)]), isLocal),
  ];
}

function half(
  objectClass: typeof CKO.PUBLIC_KEY | typeof CKO.PRIVATE_KEY,
  keyType: typeof CKK.RSA | typeof CKK.EC,
  material: readonly (readonly [number, AttributeValue])[],
  label: string,
  attributes: JsonObject | undefined,
  id?: [number, AttributeValue],
): Map<number, AttributeValue> {
  const usages = PAIR_USAGES[keyType][objectClass === CKO.PUBLIC_KEY ? 'public' : 'private'];
  return new Map([
    ...defaultsOf(objectClass),
    ...usages.map((usage): [number, AttributeValue] => [usage, flag(true)]),
    ...(id === undefined ? [] : [id]),
    ...wishesOf(objectClass, label, attributes),
    ...material,
  ]);
}

function keyTypeOf(key: KeyObject): typeof CKK.RSA | typeof CKK.EC {
  return key.asymmetricKeyType === 'rsa' ? CKK.RSA : CKK.EC;
}

function generatedBy(mechanism: number | undefined): [number, AttributeValue][] {
  return mechanism === undefined ? [] : [[CKA.KEY_GEN_MECHANISM, number(mechanism)]];
}

/** Signs random and verifies it with the public half alone. */
function checkPairwise(random: Random, privateKey: KeyObject, isGenerated: boolean): void {
  const message = random.bytes(32);
  const publicKey = createPublicKey({
    key: createPublicKey(privateKey).export({ format: 'der', type: 'spki' }),
    format: 'der',
    type: 'spki',
  });
  let isConsistent = false;
  try {
    isConsistent = verify('sha256', message, publicKey, sign('sha256', message, privateKey));
  } catch {
    // A key that can't even compute is as inconsistent as one that computes wrongly.
  }
  if (isConsistent) return;
  assert(!isGenerated, 'a generated pair failed its pairwise-consistency test');
  throw new Refused(
    'InvalidRequest',
    'the two halves of this key do not fit each other; nothing was imported.',
  );
}

/** An X.509 certificate, kept as DER with the names that PKCS#11 clients search for. */
export function importCertificate(pem: string, wishes: Wishes): Newborn {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(pem);
  } catch {
    throw new Refused(
      'InvalidRequest',
      'this is not one X.509 certificate in PEM; nothing was imported.',
    );
  }
  return withOrigin(
    new Map([
      ...defaultsOf(CKO.CERTIFICATE),
      ...wishesOf(CKO.CERTIFICATE, wishes.label, wishes.attributes),
      [CKA.CERTIFICATE_TYPE, number(CKC.X_509)],
      [CKA.VALUE, bytes(new Uint8Array(certificate.raw))],
    ]),
    false,
  );
}

export const MAX_DATA_OBJECT_BYTES = 65_536;

export function importData(value: Uint8Array, wishes: Wishes): Newborn {
  if (value.length > MAX_DATA_OBJECT_BYTES) {
    throw new Refused(
      'InvalidRequest',
      `a data object has at most ${MAX_DATA_OBJECT_BYTES} bytes, not ${value.length}.`,
    );
  }
  return withOrigin(
    new Map([
      ...defaultsOf(CKO.DATA),
      ...wishesOf(CKO.DATA, wishes.label, wishes.attributes),
      [CKA.VALUE, bytes(value)],
    ]),
    false,
  );
}

/** `label` is a parameter of its own; in the attributes it may only say the same. */
function wishesOf(
  objectClass: ObjectClass,
  label: string,
  attributes: JsonObject | undefined,
): Map<number, AttributeValue> {
  return parseCreation({ ...attributes, label }, objectClass);
}
