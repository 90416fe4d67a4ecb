/** A device as maker and owner see it: a name and a public key, and the certificate over both. */
import type { KeyObject } from 'node:crypto';
import { publicPoint } from '../crypto/box.ts';
import { issueCertificate, type Name, parseCsr } from '../crypto/x509.ts';
import { type Clock, DAY_MS } from '../kernel/clock.ts';
import { Failed } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Authority } from './roots.ts';

const DEVICE_LIFETIME_MS = 20 * 365 * DAY_MS;
const CERTIFICATE_SERIAL_BYTES = 16;
const DEVICE_SERIAL_BYTES = 10;

export interface Device {
  readonly subject: Name;
  readonly publicKey: KeyObject;
}

export interface Issuing {
  readonly clock: Clock;
  readonly random: Random;
}

/** 20 hexadecimal digits behind `KA`: what is printed on the box. */
export const newSerial = (random: Random): string =>
  `KA${Buffer.from(random.bytes(DEVICE_SERIAL_BYTES)).toString('hex').toUpperCase()}`;

/** Reads a device's request; its signature shows that the device has the key, its name who it is. */
export function verifiedRequest(csr: string, serial: string): Device {
  const device = parseCsr(csr);
  if (!device.subject.some(([, value]) => value.includes(serial))) {
    throw new Failed('START', `the device does not call itself ${serial} in its request`);
  }
  return device;
}

export function certifyDevice(authority: Authority, device: Device, issuing: Issuing): string {
  const now = issuing.clock.now();
  return issueCertificate({
    subject: device.subject,
    issuer: authority.subject,
    subjectPublicKey: device.publicKey,
    issuerKey: authority.caKey,
    serial: issuing.random.bytes(CERTIFICATE_SERIAL_BYTES),
    // Sums of times are times; a day back forgives clocks that disagree.
    notBefore: (now - DAY_MS) as EpochMs,
    notAfter: (now + DEVICE_LIFETIME_MS) as EpochMs,
    isCa: true,
    pathLength: 0,
  });
}

export const publicPointOf = (device: Device): string => publicPoint(device.publicKey);
