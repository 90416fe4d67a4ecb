/**
 * X.509 certificates (RFC 5280) and certification requests (RFC 2986): just enough to issue, to ask
 * and to judge. P-256 with ECDSA-SHA256 and RSA with SHA-256.
 *
 * Node reads certificates (`X509Certificate`) but neither writes them nor knows requests; those two are
 * small, so they are here instead of in a package inside the boundary (docs/decisions/0008).
 */
import {
  createHash,
  createPublicKey,
  type KeyObject,
  sign,
  verify,
  X509Certificate,
} from 'node:crypto';
import { equalBytes, toHex } from '../kernel/bytes.ts';
import type { EpochMs } from '../kernel/types.ts';
import {
  bitString,
  boolean,
  contextPrimitiveTag,
  contextTag,
  DerReader,
  element,
  objectIdentifier,
  octetString,
  sequence,
  TAG,
  time,
  unsignedInteger,
  wholeBits,
} from './der.ts';
import { CryptoError } from './errors.ts';
import { isP256, publicKeyOf } from './keys.ts';
import { decodeName, encodeName, type Name } from './names.ts';
import { decodePem, encodePem } from './pem.ts';

export { generateEcKeyPair, samePublicKey } from './keys.ts';
export type { Name, NameAttribute } from './names.ts';

export interface CertificateTerms {
  readonly subject: Name;
  readonly issuer: Name;
  readonly subjectPublicKey: KeyObject;
  readonly issuerKey: KeyObject;
  /** 1 to 20 bytes, big-endian, not zero (RFC 5280 §4.1.2.2); 16 random ones do well. */
  readonly serial: Uint8Array;
  readonly notBefore: EpochMs;
  readonly notAfter: EpochMs;
  readonly isCa: boolean;
  /** How many CAs may stand below; for CAs only. */
  readonly pathLength?: number;
}

export interface CertificateFacts {
  /** One attribute a line, as Node renders it: `O=Keyark\nCN=HSM root`. */
  readonly subject: string;
  readonly issuer: string;
  readonly publicKey: KeyObject;
  readonly isCa: boolean;
  readonly notBefore: EpochMs;
  readonly notAfter: EpochMs;
  /** Hexadecimal, lower case. */
  readonly serial: string;
}

const MAX_SERIAL_BYTES = 20;
const MIN_RSA_BITS = 2048;
/** KeyUsage bits (RFC 5280 §4.2.1.3), the first bit highest. */
const DIGITAL_SIGNATURE = bitString(Uint8Array.of(0x80), 7);
const KEY_CERT_SIGN_AND_CRL_SIGN = bitString(Uint8Array.of(0x06), 1);

const OID = {
  ECDSA_SHA256: objectIdentifier('1.2.840.10045.4.3.2'),
  RSA_SHA256: objectIdentifier('1.2.840.113549.1.1.11'),
  SUBJECT_KEY_ID: objectIdentifier('2.5.29.14'),
  KEY_USAGE: objectIdentifier('2.5.29.15'),
  BASIC_CONSTRAINTS: objectIdentifier('2.5.29.19'),
  AUTHORITY_KEY_ID: objectIdentifier('2.5.29.35'),
} as const;
const NULL = Uint8Array.of(0x05, 0x00);
const VERSION_3 = element(contextTag(0), unsignedInteger(Uint8Array.of(2)));

/**
 * Issues a certificate with basicConstraints, keyUsage (both critical) and both key identifiers.
 *
 * Source: RFC 5280 §4.1, §4.2.1.
 * @returns PEM.
 * @throws {CryptoError} `CERTIFICATE` for terms that make no sense, `KEY_KIND`.
 */
export function issueCertificate(terms: CertificateTerms): string {
  checkTerms(terms);
  const { subjectPublicKey, issuerKey } = terms;
  const algorithm = signatureAlgorithm(issuerKey);
  const toBeSigned = sequence(
    VERSION_3,
    unsignedInteger(terms.serial),
    algorithm,
    encodeName(terms.issuer),
    sequence(time(terms.notBefore), time(terms.notAfter)),
    encodeName(terms.subject),
    subjectPublicKeyInfo(subjectPublicKey),
    element(contextTag(3), sequence(...extensions(terms))),
  );
  return encodePem('CERTIFICATE', signedBy(issuerKey, toBeSigned, algorithm));
}

/**
 * A certification request for `key`, signed by it, without attributes.
 *
 * Source: RFC 2986 §4.
 * @returns PEM.
 * @throws {CryptoError} `CERTIFICATE` for a name that can't be written, `KEY_KIND`.
 */
export function makeCsr({ subject, key }: { subject: Name; key: KeyObject }): string {
  const algorithm = signatureAlgorithm(key);
  const info = sequence(
    unsignedInteger(Uint8Array.of(0)),
    encodeName(subject),
    subjectPublicKeyInfo(publicKeyOf(key)),
    element(contextTag(0)),
  );
  return encodePem('CERTIFICATE REQUEST', signedBy(key, info, algorithm));
}

/**
 * Reads a request and checks that whoever made it holds the key.
 *
 * Source: RFC 2986 §4. Attributes may be there and are not looked at.
 * @throws {CryptoError} `CERTIFICATE` for anything but strict DER, our name attributes, a supported key
 *   and a true signature.
 */
export function parseCsr(pem: string): { subject: Name; publicKey: KeyObject } {
  try {
    return readCsr(decodePem('CERTIFICATE REQUEST', pem));
  } catch (cause) {
    if (cause instanceof CryptoError && cause.code === 'CERTIFICATE') throw cause;
    // The reader's and OpenSSL's complaints stay as the cause.
    throw new CryptoError('CERTIFICATE', 'not a certification request that we take', { cause });
  }
}

/**
 * What a certificate says. It says so of itself: `checkIssued` tells who vouches for it.
 * @throws {CryptoError} `CERTIFICATE`.
 */
export function readCertificate(pem: string): CertificateFacts {
  const certificate = parseCertificate(pem);
  return {
    subject: certificate.subject,
    issuer: certificate.issuer,
    publicKey: certificate.publicKey,
    isCa: certificate.ca,
    // OpenSSL has read both as times already.
    notBefore: certificate.validFromDate.getTime() as EpochMs,
    notAfter: certificate.validToDate.getTime() as EpochMs,
    serial: certificate.serialNumber.toLowerCase(),
  };
}

/**
 * Checks that `issuer` is a CA, that its name and key identifier are the ones `child` gives, and that
 * its key signed `child`. Says nothing about times, nor about who trusts the issuer.
 *
 * Source: RFC 5280 §6.1.3 (a)(1), (a)(4); §6.1.4 (k), (n).
 * @throws {CryptoError} `CERTIFICATE`.
 */
export function checkIssued(child: string, issuer: string): void {
  const childCertificate = parseCertificate(child);
  const issuerCertificate = parseCertificate(issuer);
  if (!issuerCertificate.ca) {
    throw new CryptoError('CERTIFICATE', 'the issuer is not a CA (basicConstraints CA:TRUE)');
  }
  if (
    !childCertificate.checkIssued(issuerCertificate) ||
    !childCertificate.verify(issuerCertificate.publicKey)
  ) {
    throw new CryptoError('CERTIFICATE', 'the certificate was not issued by this issuer');
  }
}

// ---- writing ----

function checkTerms({ serial, notBefore, notAfter, isCa, pathLength, issuer }: CertificateTerms) {
  const failure = (why: string) => new CryptoError('CERTIFICATE', why);
  if (serial.length > MAX_SERIAL_BYTES || serial.every((byte) => byte === 0)) {
    throw failure('a serial number is 1 to 20 bytes and not zero');
  }
  if (serial.length === MAX_SERIAL_BYTES && (serial[0] ?? 0) >= 0x80) {
    throw failure('a serial number of 20 bytes starts below 0x80, or it would need 21');
  }
  if (!(notBefore < notAfter)) throw failure('a certificate ends after it begins');
  if (issuer.length === 0) throw failure('an issuer has a name');
  if (pathLength === undefined) return;
  if (!isCa || !Number.isInteger(pathLength) || pathLength < 0 || pathLength > 127) {
    throw failure('a path length is 0 to 127 and belongs to CAs only');
  }
}

function extensions({ isCa, pathLength, subjectPublicKey, issuerKey }: CertificateTerms) {
  const constraints = isCa
    ? [boolean(true), ...(pathLength === undefined ? [] : [smallInteger(pathLength)])]
    : [];
  const authority = element(contextPrimitiveTag(0), keyIdentifier(publicKeyOf(issuerKey)));
  return [
    criticalExtension(OID.BASIC_CONSTRAINTS, sequence(...constraints)),
    criticalExtension(OID.KEY_USAGE, isCa ? KEY_CERT_SIGN_AND_CRL_SIGN : DIGITAL_SIGNATURE),
    extension(OID.SUBJECT_KEY_ID, octetString(keyIdentifier(subjectPublicKey))),
    extension(OID.AUTHORITY_KEY_ID, sequence(authority)),
  ];
}

const smallInteger = (value: number): Uint8Array => unsignedInteger(Uint8Array.of(value));
const extension = (oid: Uint8Array, value: Uint8Array): Uint8Array =>
  sequence(oid, octetString(value));
const criticalExtension = (oid: Uint8Array, value: Uint8Array): Uint8Array =>
  sequence(oid, boolean(true), octetString(value));

/** The leftmost 160 bits of SHA-256 over the key's bit string (RFC 7093 §2, method 1): no SHA-1. */
function keyIdentifier(key: KeyObject): Uint8Array {
  const info = new DerReader(subjectPublicKeyInfo(key)).enter(TAG.SEQUENCE);
  info.next(TAG.SEQUENCE);
  const bits = wholeBits(info.next(TAG.BIT_STRING));
  return new Uint8Array(createHash('sha256').update(bits).digest().subarray(0, 20));
}

/** SIGNED{…}: the thing, the algorithm, the signature (RFC 5280 §4.1.1), checked before it leaves. */
function signedBy(key: KeyObject, toBeSigned: Uint8Array, algorithm: Uint8Array): Uint8Array {
  const signature = sign('sha256', toBeSigned, key);
  if (!verify('sha256', toBeSigned, publicKeyOf(key), signature)) {
    throw new CryptoError('SELF_TEST', 'a fresh signature does not verify');
  }
  return sequence(toBeSigned, algorithm, bitString(signature));
}

// ---- both ways ----

function checkKeyKind(key: KeyObject): 'ec' | 'rsa' {
  if (isP256(key)) return 'ec';
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (key.asymmetricKeyType === 'rsa' && bits >= MIN_RSA_BITS) return 'rsa';
  throw new CryptoError('KEY_KIND', 'certificates are made for P-256 and RSA keys of 2048 bits up');
}

/** AlgorithmIdentifier: no parameters for ECDSA (RFC 5758 §3.2), NULL for RSA (RFC 4055 §5). */
function signatureAlgorithm(key: KeyObject): Uint8Array {
  return checkKeyKind(key) === 'ec' ? sequence(OID.ECDSA_SHA256) : sequence(OID.RSA_SHA256, NULL);
}

function subjectPublicKeyInfo(key: KeyObject): Uint8Array {
  checkKeyKind(key);
  return new Uint8Array(publicKeyOf(key).export({ format: 'der', type: 'spki' }));
}

// ---- reading ----

function readCsr(der: Uint8Array): { subject: Name; publicKey: KeyObject } {
  const file = new DerReader(der);
  const request = file.enter(TAG.SEQUENCE);
  file.end();
  const info = request.next(TAG.SEQUENCE);
  const algorithm = request.next(TAG.SEQUENCE).whole;
  const signature = wholeBits(request.next(TAG.BIT_STRING));
  request.end();

  const members = new DerReader(info.contents, 1);
  if (toHex(members.next(TAG.INTEGER).contents) !== '00') {
    throw new CryptoError('CERTIFICATE', 'a certification request of an unknown version');
  }
  const subject = decodeName(members.enter(TAG.SEQUENCE));
  const spki = members.next(TAG.SEQUENCE).whole;
  members.next(contextTag(0));
  members.end();

  const publicKey = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  // One key, one spelling: compressed points and the like are refused.
  const isCanonical = equalBytes(subjectPublicKeyInfo(publicKey), spki);
  const isSigned =
    equalBytes(signatureAlgorithm(publicKey), algorithm) &&
    verify('sha256', info.whole, publicKey, signature);
  if (!isCanonical || !isSigned) {
    throw new CryptoError('CERTIFICATE', 'the request is not signed by the key that it names');
  }
  return { subject, publicKey };
}

function parseCertificate(pem: string): X509Certificate {
  const der = decodePem('CERTIFICATE', pem);
  try {
    const file = new DerReader(der);
    file.next(TAG.SEQUENCE);
    file.end();
    return new X509Certificate(der);
  } catch (cause) {
    throw new CryptoError('CERTIFICATE', 'not an X.509 certificate', { cause });
  }
}
