/**
 * Key material between its two shapes: PKCS#11 attributes (what rests in objects and backups) and
 * OpenSSL's key objects (what computes).
 *
 * It must never turn secret parts into strings: those can't be wiped. RSA goes through PKCS#1 DER,
 * EC through raw scalars, both as bytes that are zeroed after use.
 */
import {
  createCipheriv,
  createHash,
  createPrivateKey,
  createPublicKey,
  createSecretKey,
  type KeyObject,
} from 'node:crypto';
import { concat, equalBytes, fromHex, toHex } from '../kernel/bytes.ts';
import { assert, Refused } from '../kernel/errors.ts';
import { bytes, bytesOf, number, numberOf } from './attributes.ts';
import { CKA, CKK, CKO } from './constants.ts';
import type { Attributes, AttributeValue, ObjectRecord } from './state.ts';

export type CurveName = 'P-224' | 'P-256' | 'P-384' | 'P-521' | 'secp256k1';

interface Curve {
  /** OpenSSL's name. */
  readonly openssl: string;
  /** DER of the curve's object identifier: CKA_EC_PARAMS. */
  readonly params: Uint8Array;
}

export const CURVES = {
  'P-224': { openssl: 'secp224r1', params: fromHex('06052b81040021') },
  'P-256': { openssl: 'prime256v1', params: fromHex('06082a8648ce3d030107') },
  'P-384': { openssl: 'secp384r1', params: fromHex('06052b81040022') },
  'P-521': { openssl: 'secp521r1', params: fromHex('06052b81040023') },
  secp256k1: { openssl: 'secp256k1', params: fromHex('06052b8104000a') },
} as const satisfies Record<CurveName, Curve>;

// The keys of CURVES are CurveName, as the line above makes sure.
export const CURVE_NAMES = Object.keys(CURVES) as readonly CurveName[];

export const RSA_MIN_BITS = 2_048;
export const RSA_MAX_BITS = 4_096;
export const RSA_STEP_BITS = 256;
export const RSA_PUBLIC_EXPONENT = 65_537;

type Entry = readonly [number, AttributeValue];

/** Both halves of a pair as attributes, check value included. */
export interface PairMaterial {
  readonly public: readonly Entry[];
  readonly private: readonly Entry[];
}

/**
 * @throws Refused `InvalidRequest` for a key that is neither RSA 2048-4096 nor on one of our curves.
 */
export function pairMaterial(privateKey: KeyObject): PairMaterial {
  const publicKey = createPublicKey(privateKey);
  const shared = publicMaterial(publicKey);
  const hidden =
    privateKey.asymmetricKeyType === 'rsa' ? rsaPrivate(privateKey) : ecPrivate(privateKey);
  const info = shared.filter(([type]) => type !== CKA.MODULUS_BITS && type !== CKA.EC_POINT);
  return { public: shared, private: [...info, ...hidden] };
}

/** @throws Refused as `pairMaterial`. */
export function publicMaterial(publicKey: KeyObject): readonly Entry[] {
  const info = publicKey.export({ format: 'der', type: 'spki' });
  const common: Entry[] = [
    [CKA.PUBLIC_KEY_INFO, bytes(new Uint8Array(info))],
    [CKA.CHECK_VALUE, bytes(pairCheckValue(info))],
  ];
  if (publicKey.asymmetricKeyType === 'rsa') return [...common, ...rsaPublic(publicKey)];
  if (publicKey.asymmetricKeyType === 'ec') return [...common, ...ecPublic(publicKey)];
  throw unsupported(publicKey.asymmetricKeyType ?? 'unknown');
}

function unsupported(what: string): Refused {
  return new Refused(
    'InvalidRequest',
    `a key of type ${what} can't be kept here; RSA of ${RSA_MIN_BITS} to ${RSA_MAX_BITS} bits and EC on ` +
      `${CURVE_NAMES.join(', ')} can.`,
  );
}

function rsaPublic(publicKey: KeyObject): Entry[] {
  const bits = publicKey.asymmetricKeyDetails?.modulusLength ?? 0;
  const exponent = publicKey.asymmetricKeyDetails?.publicExponent ?? 0n;
  if (bits < RSA_MIN_BITS || bits > RSA_MAX_BITS || bits % RSA_STEP_BITS !== 0) {
    throw unsupported(`RSA with ${bits} bits`);
  }
  if (exponent < BigInt(RSA_PUBLIC_EXPONENT) || exponent % 2n === 0n) {
    throw unsupported(`RSA with public exponent ${exponent}`);
  }
  const [modulus, e] = derIntegers(publicKey.export({ format: 'der', type: 'pkcs1' }));
  assert(modulus !== undefined && e !== undefined, 'an RSA public key has two numbers');
  return [
    [CKA.KEY_TYPE, number(CKK.RSA)],
    [CKA.MODULUS, bytes(modulus)],
    [CKA.MODULUS_BITS, number(bits)],
    [CKA.PUBLIC_EXPONENT, bytes(e)],
  ];
}

const RSA_PRIVATE_PARTS = [
  CKA.PRIVATE_EXPONENT,
  CKA.PRIME_1,
  CKA.PRIME_2,
  CKA.EXPONENT_1,
  CKA.EXPONENT_2,
  CKA.COEFFICIENT,
] as const;

function rsaPrivate(privateKey: KeyObject): Entry[] {
  const der = privateKey.export({ format: 'der', type: 'pkcs1' });
  // RSAPrivateKey (RFC 8017 A.1.2): version, n, e, then the six parts in CKA order.
  const parts = derIntegers(der).slice(3);
  der.fill(0);
  return RSA_PRIVATE_PARTS.map((type, i) => {
    const part = parts[i];
    assert(part !== undefined, 'an RSA private key has nine numbers');
    return [type, bytes(part)];
  });
}

function ecPublic(publicKey: KeyObject): Entry[] {
  const openssl = publicKey.asymmetricKeyDetails?.namedCurve;
  const name = CURVE_NAMES.find((one) => CURVES[one].openssl === openssl);
  if (name === undefined) throw unsupported(`EC on ${openssl ?? 'an unnamed curve'}`);
  const point = publicKey.export({ format: 'raw-public', type: 'uncompressed' });
  return [
    [CKA.KEY_TYPE, number(CKK.EC)],
    // A copy: whoever packs the attributes wipes what they were packed from.
    [CKA.EC_PARAMS, bytes(CURVES[name].params.slice())],
    [CKA.EC_POINT, bytes(derOctets(point))],
  ];
}

function ecPrivate(privateKey: KeyObject): Entry[] {
  const scalar = privateKey.export({ format: 'raw-private' });
  const value = new Uint8Array(scalar);
  scalar.fill(0);
  return [[CKA.VALUE, bytes(value)]];
}

/** First 3 bytes of SHA-1 over the key bits of the SubjectPublicKeyInfo (RFC 5280 4.2.1.2, method 1). */
function pairCheckValue(spki: Uint8Array): Uint8Array {
  const outer = derRead(spki, 0);
  const algorithm = derRead(spki, outer.start);
  const bits = derRead(spki, algorithm.end);
  // The first content byte of a BIT STRING counts unused bits; it is no part of the key.
  const digest = createHash('sha1')
    .update(spki.subarray(bits.start + 1, bits.end))
    .digest();
  return new Uint8Array(digest.subarray(0, 3));
}

/**
 * First 3 bytes of the encrypted zero block: what PKCS#11 2.40 (4.10.2) defines and other HSMs print.
 * Undefined for generic secrets, which have none.
 */
export function secretCheckValue(keyType: number, value: Uint8Array): Uint8Array | undefined {
  if (keyType !== CKK.AES) return undefined;
  const cipher = createCipheriv(`aes-${value.length * 8}-ecb`, value, null);
  return new Uint8Array(cipher.update(new Uint8Array(16)).subarray(0, 3));
}

/** How many key objects stay expanded at a time; each costs a few kilobytes outside JavaScript's heap. */
const MAX_CACHED_KEYS = 1_024;

/** Key objects by record. Records are values, so a changed object is a new entry and the old one ages out. */
export class KeyCache {
  readonly #keys = new Map<ObjectRecord, KeyObject>();

  get(record: ObjectRecord): KeyObject {
    const cached = this.#keys.get(record);
    const key = cached ?? keyObject(record);
    this.#keys.delete(record);
    this.#keys.set(record, key);
    if (this.#keys.size > MAX_CACHED_KEYS) {
      const [oldest] = this.#keys.keys();
      if (oldest !== undefined) this.#keys.delete(oldest);
    }
    return key;
  }

  forget(record: ObjectRecord): void {
    this.#keys.delete(record);
  }

  clear(): void {
    this.#keys.clear();
  }
}

/** The OpenSSL key of a key record. About 5 µs for AES, 30 µs for EC, 100 µs for RSA. */
export function keyObject(record: ObjectRecord): KeyObject {
  const { attributes } = record;
  const objectClass = numberOf(attributes, CKA.CLASS);
  const keyType = numberOf(attributes, CKA.KEY_TYPE);
  if (objectClass === CKO.SECRET_KEY) return createSecretKey(need(attributes, CKA.VALUE));
  if (objectClass === CKO.PUBLIC_KEY) {
    return createPublicKey({
      key: Buffer.from(need(attributes, CKA.PUBLIC_KEY_INFO)),
      format: 'der',
      type: 'spki',
    });
  }
  assert(objectClass === CKO.PRIVATE_KEY, 'a key object is made of keys only');
  return keyType === CKK.RSA ? rsaKeyObject(attributes) : ecKeyObject(attributes);
}

function rsaKeyObject(attributes: Attributes): KeyObject {
  const parts = [CKA.MODULUS, CKA.PUBLIC_EXPONENT, ...RSA_PRIVATE_PARTS];
  const der = derSequence([new Uint8Array(1), ...parts.map((type) => need(attributes, type))]);
  try {
    return createPrivateKey({ key: der, format: 'der', type: 'pkcs1' });
  } finally {
    der.fill(0);
  }
}

function ecKeyObject(attributes: Attributes): KeyObject {
  return createPrivateKey({
    key: Buffer.from(need(attributes, CKA.VALUE)),
    format: 'raw-private',
    asymmetricKeyType: 'ec',
    namedCurve: CURVES[curveOf(attributes)].openssl,
  });
}

export function curveOf(attributes: Attributes): CurveName {
  const params = need(attributes, CKA.EC_PARAMS);
  const name = CURVE_NAMES.find((one) => equalBytes(CURVES[one].params, params));
  assert(name !== undefined, `an EC key on a curve we don't know: ${toHex(params)}`);
  return name;
}

function need(attributes: Attributes, type: (typeof CKA)[keyof typeof CKA]): Uint8Array {
  const value = bytesOf(attributes, type);
  assert(value !== undefined, `a key without its attribute 0x${type.toString(16)}`);
  return value;
}

/** Where an element's content starts and ends. Input is OpenSSL's own DER, so a surprise means we are wrong. */
function derRead(der: Uint8Array, at: number): { start: number; end: number } {
  const first = der[at + 1];
  assert(first !== undefined, 'DER ends early');
  const lengthBytes = first < 0x80 ? 0 : first & 0x7f;
  let length = first < 0x80 ? first : 0;
  for (let i = 0; i < lengthBytes; i += 1) length = length * 256 + (der[at + 2 + i] ?? 0);
  const start = at + 2 + lengthBytes;
  assert(lengthBytes <= 3 && start + length <= der.length, 'DER runs over its end');
  return { start, end: start + length };
}

/** Copies of the INTEGERs of one SEQUENCE, big-endian without leading zeros (PKCS#11's "big integer"). */
function derIntegers(der: Uint8Array): Uint8Array[] {
  const outer = derRead(der, 0);
  const found: Uint8Array[] = [];
  for (let at = outer.start; at < outer.end; ) {
    const { start, end } = derRead(der, at);
    let from = start;
    while (from < end - 1 && der[from] === 0) from += 1;
    // A copy for sure: a Buffer's own `slice` is a view, and the caller wipes what is behind it.
    found.push(new Uint8Array(der.subarray(from, end)));
    at = end;
  }
  return found;
}

function derLength(length: number): number[] {
  if (length < 0x80) return [length];
  return length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
}

const derOctets = (content: Uint8Array): Uint8Array =>
  concat(Uint8Array.of(0x04, ...derLength(content.length)), content);

/** A SEQUENCE of non-negative INTEGERs, written in one buffer so that one `fill` wipes it all. */
function derSequence(numbers: readonly Uint8Array[]): Buffer {
  const headers = numbers.map((value) => {
    const isHigh = ((value[0] ?? 0) & 0x80) !== 0;
    const content = value.length + (isHigh ? 1 : 0);
    return [0x02, ...derLength(content), ...(isHigh ? [0] : [])];
  });
  const length = numbers.reduce(
    (sum, value, i) => sum + value.length + (headers[i]?.length ?? 0),
    0,
  );
  const outer = [0x30, ...derLength(length)];
  const der = Buffer.alloc(outer.length + length);
  der.set(outer, 0);
  let at = outer.length;
  for (const [i, value] of numbers.entries()) {
    const header = headers[i] ?? [];
    der.set(header, at);
    der.set(value, at + header.length);
    at += header.length + value.length;
  }
  return der;
}
