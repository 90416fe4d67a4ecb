/**
 * What makes one device this device, and how it is written into its own snapshots: identity, private
 * key, certificates, pinned owner, root keys of every epoch. It never leaves the device in any form.
 */

import { fromUtf8, toUtf8 } from '../kernel/bytes.ts';
import { assert } from '../kernel/errors.ts';
import { ByteReader, ByteWriter } from './backup/fields.ts';

export interface RootKey {
  readonly epoch: number;
  /** 32 bytes. Secret. */
  readonly key: Uint8Array;
}

export interface DeviceRecord {
  readonly serial: string;
  readonly vendor: string;
  readonly line: string;
  /** PKCS#8 DER, P-256. Secret. */
  readonly privateKey: Uint8Array;
  readonly maker: MakerPart | null;
  readonly owner: OwnerPart | null;
  /** This device's certificate over the key of the partition it holds now. */
  readonly hsmCertificate: string | null;
}

export interface MakerPart {
  readonly makerRoot: string;
  readonly hardwareCertificate: string;
  /** Oldest first. */
  readonly mkbks: readonly RootKey[];
}

export interface OwnerPart {
  readonly owner: string;
  /** Its key was pinned at the first enrolment. */
  readonly ownerRoot: string;
  readonly hardwareCertificate: string;
  readonly akbks: readonly RootKey[];
}

const VERSION = 1;

/** Fixed order, each part `u32 length ‖ bytes`; absent halves are one zero byte. */
export function encodeDevice(device: DeviceRecord): Uint8Array {
  const parts: Uint8Array[] = [];
  const text = (value: string) => parts.push(fromUtf8(value));
  const flag = (value: boolean) => parts.push(Uint8Array.of(value ? 1 : 0));
  const keys = (values: readonly RootKey[]) => {
    text(String(values.length));
    for (const { epoch, key } of values) {
      text(String(epoch));
      parts.push(key);
    }
  };
  text(String(VERSION));
  text(device.serial);
  text(device.vendor);
  text(device.line);
  parts.push(device.privateKey);
  flag(device.maker !== null);
  if (device.maker !== null) {
    text(device.maker.makerRoot);
    text(device.maker.hardwareCertificate);
    keys(device.maker.mkbks);
  }
  flag(device.owner !== null);
  if (device.owner !== null) {
    text(device.owner.owner);
    text(device.owner.ownerRoot);
    text(device.owner.hardwareCertificate);
    keys(device.owner.akbks);
  }
  flag(device.hsmCertificate !== null);
  if (device.hsmCertificate !== null) text(device.hsmCertificate);
  const out = new Uint8Array(parts.reduce((sum, part) => sum + 4 + part.length, 0));
  const into = new ByteWriter(out);
  for (const part of parts) {
    into.u32(part.length);
    into.raw(part);
  }
  return out;
}

/** Only ever reads what `encodeDevice` wrote and the disk authenticated: anything else is our mistake. */
export function decodeDevice(encoded: Uint8Array): DeviceRecord {
  const from = new ByteReader(encoded);
  const bytes = () => from.bytes(from.u32());
  const text = () => toUtf8(bytes());
  const flag = () => bytes()[0] === 1;
  const keys = (): RootKey[] =>
    Array.from({ length: Number(text()) }, () => ({ epoch: Number(text()), key: bytes() }));
  assert(text() === String(VERSION), 'a device record of another version');
  const serial = text();
  const vendor = text();
  const line = text();
  const privateKey = bytes();
  const maker = flag() ? { makerRoot: text(), hardwareCertificate: text(), mkbks: keys() } : null;
  const owner = flag()
    ? { owner: text(), ownerRoot: text(), hardwareCertificate: text(), akbks: keys() }
    : null;
  const hsmCertificate = flag() ? text() : null;
  from.end();
  return { serial, vendor, line, privateKey, maker, owner, hsmCertificate };
}
