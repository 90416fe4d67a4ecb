/**
 * Every algorithm the HSM computes with, one row each: which keys fit, which attribute must allow it,
 * whether FIPS mode has it. A new algorithm is a new row, never a new code path.
 *
 * FIPS mode refuses RSA PKCS#1 v1.5 encryption, as CloudHSM has since January 2024.
 */
import { Refused } from '../kernel/errors.ts';
import {
  type AttributeType,
  CKA,
  CKK,
  CKM,
  CKO,
  type KeyType,
  type Mechanism,
  type ObjectClass,
} from './constants.ts';
import type { HsmMode } from './protocol.ts';

export type Hash = 'sha224' | 'sha256' | 'sha384' | 'sha512';
export type Usage = 'sign' | 'verify' | 'encrypt' | 'decrypt';

/** How it is computed; `operations.ts` has one function per scheme. */
export type Scheme =
  | 'rsa-pkcs1'
  | 'rsa-pss'
  | 'ecdsa'
  | 'hmac'
  | 'gcm'
  | 'cbc-pad'
  | 'rsa-oaep'
  | 'rsa-pkcs1-encrypt';

export interface MechanismRow {
  readonly mechanism: Mechanism;
  readonly keyTypes: readonly KeyType[];
  readonly scheme: Scheme;
  readonly hash?: Hash;
  readonly usages: readonly Usage[];
  readonly inFips: boolean;
}

const SIGNS = ['sign', 'verify'] as const;
const ENCRYPTS = ['encrypt', 'decrypt'] as const;

function signs(mechanism: Mechanism, keyType: KeyType, scheme: Scheme, hash: Hash): MechanismRow {
  return { mechanism, keyTypes: [keyType], scheme, hash, usages: SIGNS, inFips: true };
}

function hmac(mechanism: Mechanism, hash: Hash): MechanismRow {
  return { ...signs(mechanism, CKK.GENERIC_SECRET, 'hmac', hash) };
}

function encrypts(
  mechanism: Mechanism,
  keyType: KeyType,
  scheme: Scheme,
  inFips: boolean,
): MechanismRow {
  return { mechanism, keyTypes: [keyType], scheme, usages: ENCRYPTS, inFips };
}

/** By PKCS#11 name without CKM_. */
export const MECHANISMS = {
  SHA224_RSA_PKCS: signs(CKM.SHA224_RSA_PKCS, CKK.RSA, 'rsa-pkcs1', 'sha224'),
  SHA256_RSA_PKCS: signs(CKM.SHA256_RSA_PKCS, CKK.RSA, 'rsa-pkcs1', 'sha256'),
  SHA384_RSA_PKCS: signs(CKM.SHA384_RSA_PKCS, CKK.RSA, 'rsa-pkcs1', 'sha384'),
  SHA512_RSA_PKCS: signs(CKM.SHA512_RSA_PKCS, CKK.RSA, 'rsa-pkcs1', 'sha512'),
  SHA224_RSA_PKCS_PSS: signs(CKM.SHA224_RSA_PKCS_PSS, CKK.RSA, 'rsa-pss', 'sha224'),
  SHA256_RSA_PKCS_PSS: signs(CKM.SHA256_RSA_PKCS_PSS, CKK.RSA, 'rsa-pss', 'sha256'),
  SHA384_RSA_PKCS_PSS: signs(CKM.SHA384_RSA_PKCS_PSS, CKK.RSA, 'rsa-pss', 'sha384'),
  SHA512_RSA_PKCS_PSS: signs(CKM.SHA512_RSA_PKCS_PSS, CKK.RSA, 'rsa-pss', 'sha512'),
  ECDSA_SHA224: signs(CKM.ECDSA_SHA224, CKK.EC, 'ecdsa', 'sha224'),
  ECDSA_SHA256: signs(CKM.ECDSA_SHA256, CKK.EC, 'ecdsa', 'sha256'),
  ECDSA_SHA384: signs(CKM.ECDSA_SHA384, CKK.EC, 'ecdsa', 'sha384'),
  ECDSA_SHA512: signs(CKM.ECDSA_SHA512, CKK.EC, 'ecdsa', 'sha512'),
  SHA224_HMAC: hmac(CKM.SHA224_HMAC, 'sha224'),
  SHA256_HMAC: hmac(CKM.SHA256_HMAC, 'sha256'),
  SHA384_HMAC: hmac(CKM.SHA384_HMAC, 'sha384'),
  SHA512_HMAC: hmac(CKM.SHA512_HMAC, 'sha512'),
  AES_GCM: encrypts(CKM.AES_GCM, CKK.AES, 'gcm', true),
  AES_CBC_PAD: encrypts(CKM.AES_CBC_PAD, CKK.AES, 'cbc-pad', true),
  RSA_PKCS_OAEP: encrypts(CKM.RSA_PKCS_OAEP, CKK.RSA, 'rsa-oaep', true),
  RSA_PKCS: encrypts(CKM.RSA_PKCS, CKK.RSA, 'rsa-pkcs1-encrypt', false),
} as const satisfies Record<string, MechanismRow>;

export type MechanismName = keyof typeof MECHANISMS;

const BY_NAME: ReadonlyMap<string, MechanismRow> = new Map(Object.entries(MECHANISMS));

/** The attribute that must be true on the key. */
export const USAGE_FLAG = {
  sign: CKA.SIGN,
  verify: CKA.VERIFY,
  encrypt: CKA.ENCRYPT,
  decrypt: CKA.DECRYPT,
} as const satisfies Record<Usage, AttributeType>;

/** The class a key must have for a usage, when it is one of a pair. */
export const USAGE_CLASS = {
  sign: CKO.PRIVATE_KEY,
  verify: CKO.PUBLIC_KEY,
  encrypt: CKO.PUBLIC_KEY,
  decrypt: CKO.PRIVATE_KEY,
} as const satisfies Record<Usage, ObjectClass>;

/**
 * @throws Refused `InvalidRequest`: no such mechanism, or not for this use or key or mode; names those that are.
 */
export function findMechanism(wanted: {
  readonly name: string;
  readonly usage: Usage;
  readonly keyType: number | undefined;
  readonly mode: HsmMode;
}): MechanismRow {
  const { usage, keyType, mode } = wanted;
  const name = wanted.name.replace(/^CKM_/, '');
  const row = BY_NAME.get(name);
  const fits = (one: MechanismRow): boolean =>
    one.usages.some((u) => u === usage) && one.keyTypes.some((type) => type === keyType);
  if (row !== undefined && fits(row) && mode === 'FIPS' && !row.inFips) {
    throw new Refused(
      'InvalidRequest',
      `mechanism ${name} is not approved, and this HSM is in FIPS mode.`,
    );
  }
  if (row === undefined || !fits(row)) {
    const others = [...BY_NAME].filter(([, one]) => fits(one) && (mode !== 'FIPS' || one.inFips));
    throw new Refused(
      'InvalidRequest',
      `mechanism "${name.slice(0, 64)}" can't ${usage} with this key; ` +
        (others.length === 0
          ? 'no mechanism can.'
          : `these can: ${others.map(([n]) => n).join(', ')}.`),
    );
  }
  return row;
}
