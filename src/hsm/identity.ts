/**
 * Who this device is: made by a maker, enrolled for an owner, certified for a partition. Pure decisions
 * on `DeviceRecord` and `Partition`; `hsm.ts` stores what they return.
 *
 * It must never accept a certificate for a key that is not its own, another owner than the pinned one,
 * or an epoch that does not grow; and a private key or a root key leaves it in no form.
 */
import { createPrivateKey, type KeyObject } from 'node:crypto';
import { openBox } from '../crypto/box.ts';
import { verifyStatement } from '../crypto/sign.ts';
import {
  checkIssued,
  generateEcKeyPair,
  issueCertificate,
  makeCsr,
  type Name,
  readCertificate,
  samePublicKey,
} from '../crypto/x509.ts';
import { toHex } from '../kernel/bytes.ts';
import { type Clock, DAY_MS } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { ClusterId } from '../kernel/ids.ts';
import type { Random } from '../kernel/random.ts';
import { Secret } from '../kernel/secret.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { DeviceRecord, RootKey } from './device-record.ts';
import type { HsmCalls, HsmMode, HsmType } from './protocol.ts';
import { isDomainText, Roots } from './roots.ts';
import type { Partition, UserRecord } from './state.ts';

/** Vendor and line come back in every subject; serial numbers are ASCII that a certificate can carry. */
const SERIAL_PATTERN = /^[0-9A-Za-z-]{1,40}$/;
const CERTIFICATE_SERIAL_BYTES = 16;
const MASKING_KEY_BYTES = 32;
const INCARNATION_BYTES = 16;
/** A device outlives its certificates' use by far; the roots of trust are what ends it. */
const LIFETIME_MS = 25 * 365 * DAY_MS;
export const FIRST_ADMIN = 'admin';

// ---- FACTORY → MADE

/** A new device key, made here, and the request that the maker's CA answers. */
export function requestDevice(params: HsmCalls['device-request']['params']): {
  device: DeviceRecord;
  csr: string;
} {
  const { serial, vendor, line } = params;
  if (!SERIAL_PATTERN.test(serial)) {
    throw new Refused('InvalidRequest', 'A serial number is 1 to 40 letters, digits and dashes.');
  }
  if (!isDomainText(vendor) || !isDomainText(line)) {
    throw new Refused('InvalidRequest', 'Vendor and product line have 1 to 64 bytes each.');
  }
  const { privateKey } = generateEcKeyPair();
  const csr = makeCsr({ subject: deviceSubject({ serial, vendor, line }), key: privateKey });
  const der = new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' }));
  const blank = { maker: null, owner: null, hsmCertificate: null };
  return { device: { serial, vendor, line, privateKey: der, ...blank }, csr };
}

/** @throws Refused `InvalidRequest`, `WrongState`; CryptoError for certificates and boxes. */
export function manufactured(
  device: DeviceRecord | null,
  params: HsmCalls['manufacture']['params'],
): DeviceRecord {
  if (device === null) {
    throw new Refused('WrongState', 'There is no device key yet; "device-request" makes it.');
  }
  const { makerRoot, manufacturerHardwareCertificate: hardwareCertificate, mkbkEpoch } = params;
  checkRoot(makerRoot);
  checkHardwareCertificate(device, hardwareCertificate, makerRoot);
  const key = openBox(deviceKey(device), params.mkbk, `mkbk/${device.line}/${mkbkEpoch}`);
  const mkbks = [{ epoch: mkbkEpoch, key }];
  const made = { ...device, maker: { makerRoot, hardwareCertificate, mkbks } };
  // Judges epoch and length of the key.
  rootsOf(made)[Symbol.dispose]();
  return made;
}

// ---- MADE → BLANK, and later epochs

/**
 * The same epoch with the same key again changes nothing: a crash may have eaten the first answer.
 * @throws Refused `AccessDenied` for another owner or a wrong signature, `Conflict` for epochs.
 */
export function enrolled(device: DeviceRecord, params: HsmCalls['enrol']['params']): DeviceRecord {
  const { owner, ownerRoot, ownerHardwareCertificate: hardwareCertificate, akbkEpoch } = params;
  checkRoot(ownerRoot);
  const rootKey = readCertificate(ownerRoot).publicKey;
  checkPinnedOwner(device, owner, rootKey);
  const { serial } = device;
  const { ephemeralPublicKey, wrapped } = params.akbk;
  const statement = { owner, akbkEpoch, akbk: { ephemeralPublicKey, wrapped }, serial };
  if (!verifyStatement(rootKey, statement, params.signature)) {
    throw new Refused('AccessDenied', 'The enrolment is not signed by the owner’s root key.');
  }
  checkHardwareCertificate(device, hardwareCertificate, ownerRoot);
  const key = openBox(deviceKey(device), params.akbk, `akbk/${owner}/${akbkEpoch}`);
  using roots = rootsOf(device);
  roots.addAkbk({ owner, epoch: akbkEpoch, key: new Secret(key) });
  const akbks = roots.entries().akbks.map((root) => ({
    epoch: root.epoch,
    key: new Uint8Array(root.key.expose()),
  }));
  return { ...device, owner: { owner, ownerRoot, hardwareCertificate, akbks } };
}

/** The owner key is pinned at the first enrolment, for ever. */
function checkPinnedOwner(device: DeviceRecord, owner: string, rootKey: KeyObject): void {
  const pinned = device.owner;
  if (pinned === null) return;
  const pinnedKey = readCertificate(pinned.ownerRoot).publicKey;
  if (pinned.owner === owner && samePublicKey(pinnedKey, rootKey)) return;
  throw new Refused(
    'AccessDenied',
    `This device is enrolled for owner "${pinned.owner}" and that owner's key, for ever.`,
  );
}

// ---- BLANK → UNINITIALIZED → INITIALIZED

export interface PartitionMaking {
  readonly clusterId: ClusterId;
  readonly type: HsmType;
  readonly mode: HsmMode;
  readonly clock: Clock;
  readonly random: Random;
}

/** A partition with a key, a masking key and an incarnation of its own, and the admin who waits. */
export function newPartition(
  device: DeviceRecord,
  { clusterId, type, mode, clock, random }: PartitionMaking,
): { partition: Partition; admin: UserRecord } {
  const { privateKey } = generateEcKeyPair();
  const partition: Partition = {
    clusterId,
    incarnation: newIncarnation(random),
    type,
    mode,
    partitionKey: new Uint8Array(privateKey.export({ format: 'der', type: 'pkcs8' })),
    clusterCsr: makeCsr({ subject: partitionSubject(device), key: privateKey }),
    hsmCertificate: certifyKey(device, privateKey, { clock, random }),
    clusterCertificate: null,
    trustAnchor: null,
    maskingKey: random.bytes(MASKING_KEY_BYTES),
  };
  const admin: UserRecord = {
    name: FIRST_ADMIN,
    role: 'unactivated-admin',
    verifier: null,
    createdGeneration: 1,
    passwordGeneration: 1,
  };
  return { partition, admin };
}

export function newIncarnation(random: Random): string {
  return toHex(random.bytes(INCARNATION_BYTES));
}

/** @throws Refused `InvalidRequest`; CryptoError `CERTIFICATE`. */
export function installed(
  partition: Partition,
  { clusterCertificate, trustAnchor }: HsmCalls['install']['params'],
): Partition {
  checkRoot(trustAnchor);
  checkIssued(clusterCertificate, trustAnchor);
  const certified = readCertificate(clusterCertificate).publicKey;
  if (!samePublicKey(certified, partitionKey(partition))) {
    throw new Refused(
      'InvalidRequest',
      'The cluster certificate is for another key than the CSR of this HSM; sign its current CSR.',
    );
  }
  return { ...partition, clusterCertificate, trustAnchor };
}

/**
 * The device vouches for a partition's key. Both hardware certificates carry the device's name and key,
 * so the certificate verifies under the maker's and under the owner's alike.
 */
export function certifyKey(
  device: DeviceRecord,
  key: KeyObject,
  { clock, random }: { clock: Clock; random: Random },
): string {
  const now = clock.now();
  return issueCertificate({
    subject: partitionSubject(device),
    issuer: deviceSubject(device),
    subjectPublicKey: key,
    issuerKey: deviceKey(device),
    serial: positiveSerial(random),
    // A plain number again after the arithmetic; clocks of clients may run a day behind.
    notBefore: (now - DAY_MS) as EpochMs,
    notAfter: (now + LIFETIME_MS) as EpochMs,
    isCa: false,
  });
}

// ---- keys and names

export function deviceKey(device: DeviceRecord): KeyObject {
  return privateKeyOf(device.privateKey);
}

export function partitionKey(partition: Partition): KeyObject {
  return privateKeyOf(partition.partitionKey);
}

function privateKeyOf(der: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
}

/** Copies of the root keys; the caller disposes of them. */
export function rootsOf({ vendor, line, maker, owner }: DeviceRecord): Roots {
  const roots = new Roots();
  const copy = (root: RootKey) => ({
    epoch: root.epoch,
    key: new Secret(new Uint8Array(root.key)),
  });
  for (const root of maker?.mkbks ?? []) roots.addMkbk({ vendor, line, ...copy(root) });
  if (owner !== null) {
    for (const root of owner.akbks) roots.addAkbk({ owner: owner.owner, ...copy(root) });
  }
  return roots;
}

function deviceSubject({ serial, vendor, line }: { serial: string; vendor: string; line: string }) {
  const name: Name = [
    ['O', vendor],
    ['OU', line],
    ['serialNumber', serial],
    ['CN', `HSM:${serial}`],
  ];
  return name;
}

function partitionSubject({ serial, line }: DeviceRecord): Name {
  return [
    ['C', 'US'],
    ['ST', 'CA'],
    ['O', 'Keyark'],
    ['OU', line],
    ['CN', `HSM:${serial}:PARTN:1`],
  ];
}

/** Positive and never zero: the first byte is 0x40 to 0x7f. */
function positiveSerial(random: Random): Uint8Array {
  const serial = random.bytes(CERTIFICATE_SERIAL_BYTES);
  serial[0] = ((serial[0] ?? 0) & 0x3f) | 0x40;
  return serial;
}

function checkRoot(root: string): void {
  checkIssued(root, root);
}

/**
 * Issued by this root, for this device's own key and name, and able to vouch for partitions: shown by a
 * certificate as the device would issue it, which must verify under this one.
 */
function checkHardwareCertificate(device: DeviceRecord, certificate: string, root: string): void {
  checkIssued(certificate, root);
  const key = deviceKey(device);
  if (!samePublicKey(readCertificate(certificate).publicKey, key)) {
    throw new Refused('InvalidRequest', 'The hardware certificate is for another device’s key.');
  }
  const probe = issueCertificate({
    subject: partitionSubject(device),
    issuer: deviceSubject(device),
    subjectPublicKey: key,
    issuerKey: key,
    serial: Uint8Array.of(1),
    // Any two instants do: the probe is looked at here and dropped.
    notBefore: 0 as EpochMs,
    notAfter: DAY_MS as EpochMs,
    isCa: false,
  });
  checkIssued(probe, certificate);
}

/** Two certificates of one device: one key, one subject. */
export function sameSubjectAndKey(a: string, b: string): boolean {
  const [first, second] = [readCertificate(a), readCertificate(b)];
  return first.subject === second.subject && samePublicKey(first.publicKey, second.publicKey);
}
