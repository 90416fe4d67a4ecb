/**
 * What keys do: sign, verify, encrypt, decrypt. One function per scheme, chosen by the mechanism's row.
 *
 * It must never compute with a key that the user may not use, for a use that its attributes do not
 * allow, or outside the mode's mechanisms; nor say why a ciphertext did not decrypt.
 */
import {
  constants,
  createCipheriv,
  createDecipheriv,
  createHmac,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
  sign as signWith,
  verify as verifyWith,
} from 'node:crypto';
import { asBuffer, concat, equalBytes } from '../kernel/bytes.ts';
import { assert, Refused, unreachable } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import { flagOf, numberOf } from './attributes.ts';
import { CKA, CKO } from './constants.ts';
import type { KeyCache } from './key-material.ts';
import {
  findMechanism,
  type Hash,
  type MechanismRow,
  USAGE_CLASS,
  USAGE_FLAG,
  type Usage,
} from './mechanisms.ts';
import { referenceOf } from './objects.ts';
import type { HsmMode } from './protocol.ts';
import type { ObjectRecord } from './state.ts';

export interface OperationNeeds {
  readonly keys: KeyCache;
  readonly random: Random;
  readonly mode: HsmMode;
}

/** `raw` is r ‖ s as in PKCS#11; `der` is what OpenSSL and X.509 use. Only ECDSA knows the difference. */
export type EcdsaFormat = 'raw' | 'der';

export interface Encrypted {
  readonly data: Uint8Array;
  /** Made here; needed for decrypting. Absent for RSA. */
  readonly iv?: Uint8Array;
}

export interface CipherOptions {
  readonly iv?: Uint8Array | undefined;
  /** AES-GCM only: bound to the ciphertext, not hidden in it. */
  readonly aad?: Uint8Array | undefined;
  /** RSA-OAEP only. */
  readonly hash?: Hash | undefined;
}

const GCM_IV_BYTES = 12;
const GCM_TAG_BYTES = 16;
const CBC_BLOCK_BYTES = 16;

export async function sign(
  needs: OperationNeeds,
  record: ObjectRecord,
  mechanism: string,
  data: Uint8Array,
  format: EcdsaFormat,
): Promise<Uint8Array> {
  const { row, key } = prepare(needs, record, mechanism, 'sign');
  if (row.scheme === 'hmac') return hmac(hashOf(row), key, data);
  return signOnThread(row, key, data, format);
}

export async function verify(
  needs: OperationNeeds,
  record: ObjectRecord,
  mechanism: string,
  data: Uint8Array,
  signature: Uint8Array,
  format: EcdsaFormat,
): Promise<boolean> {
  const { row, key } = prepare(needs, record, mechanism, 'verify');
  if (row.scheme === 'hmac') return equalBytes(hmac(hashOf(row), key, data), signature);
  return verifyWith(hashOf(row), data, signatureOptions(row, key, format), signature);
}

function hmac(hash: Hash, key: KeyObject, data: Uint8Array): Uint8Array {
  return new Uint8Array(createHmac(hash, key).update(data).digest());
}

/** OpenSSL's thread pool: a 4096-bit signature would hold everybody else up for milliseconds. */
function signOnThread(
  row: MechanismRow,
  key: KeyObject,
  data: Uint8Array,
  format: EcdsaFormat,
): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    signWith(hashOf(row), data, signatureOptions(row, key, format), (cause, signature) =>
      cause === null ? resolve(new Uint8Array(signature)) : reject(cause),
    );
  });
}

function signatureOptions(row: MechanismRow, key: KeyObject, format: EcdsaFormat) {
  switch (row.scheme) {
    case 'rsa-pkcs1':
      return { key, padding: constants.RSA_PKCS1_PADDING };
    case 'rsa-pss':
      // Salt as long as the hash: what FIPS 186-5 5.4 allows at most, and what clients expect.
      return {
        key,
        padding: constants.RSA_PKCS1_PSS_PADDING,
        saltLength: constants.RSA_PSS_SALTLEN_DIGEST,
      };
    case 'ecdsa':
      return { key, dsaEncoding: format === 'raw' ? ('ieee-p1363' as const) : ('der' as const) };
    case 'hmac':
    case 'gcm':
    case 'cbc-pad':
    case 'rsa-oaep':
    case 'rsa-pkcs1-encrypt':
      return assert(false, `${row.scheme} makes no signature with a pair`) as never;
    default:
      return unreachable(row.scheme, 'no such scheme');
  }
}

export function encrypt(
  needs: OperationNeeds,
  record: ObjectRecord,
  mechanism: string,
  data: Uint8Array,
  options: CipherOptions = {},
): Encrypted {
  const { row, key } = prepare(needs, record, mechanism, 'encrypt');
  checkOptions(row, options, 'encrypt');
  switch (row.scheme) {
    case 'gcm': {
      const iv = needs.random.bytes(GCM_IV_BYTES);
      const cipher = createCipheriv(aesName(key, 'gcm'), key, iv, { authTagLength: GCM_TAG_BYTES });
      if (options.aad !== undefined) cipher.setAAD(options.aad);
      return { data: concat(cipher.update(data), cipher.final(), cipher.getAuthTag()), iv };
    }
    case 'cbc-pad': {
      const iv = needs.random.bytes(CBC_BLOCK_BYTES);
      const cipher = createCipheriv(aesName(key, 'cbc'), key, iv);
      return { data: concat(cipher.update(data), cipher.final()), iv };
    }
    default:
      return { data: rsaEncrypt(row, key, data, options) };
  }
}

function rsaEncrypt(
  row: MechanismRow,
  key: KeyObject,
  data: Uint8Array,
  options: CipherOptions,
): Uint8Array {
  const bytes = (key.asymmetricKeyDetails?.modulusLength ?? 0) / 8;
  const hashBytes = HASH_BYTES[options.hash ?? 'sha256'];
  // RFC 8017 7.1.1 and 7.2.1.
  const room = bytes - (row.scheme === 'rsa-oaep' ? 2 * hashBytes + 2 : 11);
  if (data.length > room) {
    throw new Refused(
      'InvalidRequest',
      `this key encrypts at most ${room} bytes at a time, not ${data.length}; encrypt an AES key and use that.`,
    );
  }
  return new Uint8Array(publicEncrypt(rsaOptions(row, key, options), data));
}

const HASH_BYTES = { sha224: 28, sha256: 32, sha384: 48, sha512: 64 } as const satisfies Record<
  Hash,
  number
>;

function rsaOptions(row: MechanismRow, key: KeyObject, options: CipherOptions) {
  return row.scheme === 'rsa-oaep'
    ? { key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: options.hash ?? 'sha256' }
    : { key, padding: constants.RSA_PKCS1_PADDING };
}

/** @throws Refused `DoesNotOpen`: wrong key, iv, aad or bytes; one sentence for all. */
export function decrypt(
  needs: OperationNeeds,
  record: ObjectRecord,
  mechanism: string,
  data: Uint8Array,
  options: CipherOptions = {},
): Uint8Array {
  const { row, key } = prepare(needs, record, mechanism, 'decrypt');
  checkOptions(row, options, 'decrypt');
  try {
    return decryptWith(row, key, data, options);
  } catch {
    throw new Refused(
      'DoesNotOpen',
      'this does not decrypt with this key, mechanism and parameters.',
    );
  }
}

function decryptWith(
  row: MechanismRow,
  key: KeyObject,
  data: Uint8Array,
  { iv = new Uint8Array(0), aad, hash }: CipherOptions,
): Uint8Array {
  switch (row.scheme) {
    case 'gcm': {
      const end = data.length - GCM_TAG_BYTES;
      assert(end >= 0, 'shorter than its tag');
      const decipher = createDecipheriv(aesName(key, 'gcm'), key, iv, {
        authTagLength: GCM_TAG_BYTES,
      });
      if (aad !== undefined) decipher.setAAD(aad);
      decipher.setAuthTag(data.subarray(end));
      return concat(decipher.update(data.subarray(0, end)), decipher.final());
    }
    case 'cbc-pad': {
      const decipher = createDecipheriv(aesName(key, 'cbc'), key, iv);
      return concat(decipher.update(data), decipher.final());
    }
    default:
      return new Uint8Array(privateDecrypt(rsaOptions(row, key, { hash }), asBuffer(data)));
  }
}

function aesName(key: KeyObject, mode: 'gcm'): 'aes-128-gcm' | 'aes-192-gcm' | 'aes-256-gcm';
function aesName(key: KeyObject, mode: 'cbc'): 'aes-128-cbc' | 'aes-192-cbc' | 'aes-256-cbc';
function aesName(key: KeyObject, mode: string): string {
  return `aes-${(key.symmetricKeySize ?? 0) * 8}-${mode}`;
}

/** Parameters that the mechanism does not have are refused: ignoring an `aad` would drop its protection. */
function checkOptions(
  row: MechanismRow,
  options: CipherOptions,
  usage: 'encrypt' | 'decrypt',
): void {
  const ivBytes =
    row.scheme === 'gcm' ? GCM_IV_BYTES : row.scheme === 'cbc-pad' ? CBC_BLOCK_BYTES : 0;
  if (usage === 'encrypt' && options.iv !== undefined) {
    throw new Refused(
      'InvalidRequest',
      'the HSM makes the iv itself and answers it; leave it out.',
    );
  }
  if (usage === 'decrypt' && (options.iv?.length ?? 0) !== ivBytes) {
    throw new Refused(
      'InvalidRequest',
      ivBytes === 0
        ? 'this mechanism takes no iv.'
        : `this mechanism takes the iv of ${ivBytes} bytes that encrypt answered.`,
    );
  }
  if (options.aad !== undefined && row.scheme !== 'gcm') {
    throw new Refused('InvalidRequest', 'only AES_GCM takes an aad.');
  }
  if (options.hash !== undefined && row.scheme !== 'rsa-oaep') {
    throw new Refused('InvalidRequest', 'only RSA_PKCS_OAEP takes a hash.');
  }
}

function hashOf(row: MechanismRow): Hash {
  assert(row.hash !== undefined, 'a mechanism that signs names its hash');
  return row.hash;
}

/** Judges key, usage, mechanism and mode; then expands the key. */
function prepare(
  needs: OperationNeeds,
  record: ObjectRecord,
  name: string,
  usage: Usage,
): { row: MechanismRow; key: KeyObject } {
  const { attributes } = record;
  const objectClass = numberOf(attributes, CKA.CLASS);
  const keyType = numberOf(attributes, CKA.KEY_TYPE);
  if (objectClass !== CKO.SECRET_KEY && objectClass !== USAGE_CLASS[usage]) {
    throw new Refused(
      'InvalidRequest',
      `${referenceOf(record)} can't ${usage}: that needs a secret key or the ` +
        `${USAGE_CLASS[usage] === CKO.PRIVATE_KEY ? 'private' : 'public'} half of a pair.`,
    );
  }
  const row = findMechanism({ name, usage, keyType, mode: needs.mode });
  if (!flagOf(attributes, USAGE_FLAG[usage])) {
    throw new Refused(
      'AccessDenied',
      `key ${referenceOf(record)} has ${usage}=false; its owner can set the attribute to true.`,
    );
  }
  return { row, key: needs.keys.get(record) };
}
