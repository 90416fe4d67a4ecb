/**
 * What the customer holds and the service never sees: the customer's CA and the passwords of a cluster
 * that the command line made. `DATA/customer/<name>/`, 0700, files 0600, written whole and synced.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { mkdir, open, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { issueCertificate, type Name, parseCsr } from '../crypto/x509.ts';
import { type Clock, DAY_MS } from '../kernel/clock.ts';
import { type Random, randomBelow } from '../kernel/random.ts';
import type { EpochMs } from '../kernel/types.ts';

const AUTHORITY_NAME: Name = [
  ['O', 'Keyark customer'],
  ['CN', 'Customer CA'],
];
const VALID_DAYS = 3652;
const SERIAL_BYTES = 16;
/** InitializeCluster takes trust anchors of RSA with 2048 or 4096 bits, nothing else. */
const ANCHOR_BITS = 2048;
/** 24 of 32 letters: 120 bits, inside the HSM's limits of 7 to 32 characters and safe in a shell. */
const PASSWORD_LENGTH = 24;
const PASSWORD_LETTERS = 'abcdefghijkmnpqrstuvwxyz23456789';

/** Files of a customer's folder. */
export type CustomerFile = 'cluster-id' | 'ca.key' | 'ca.crt' | 'admin-password' | 'app-password';

export class CustomerFolder {
  readonly path: string;
  readonly #clock: Clock;
  readonly #random: Random;

  constructor(options: { data: string; name: string; clock: Clock; random: Random }) {
    this.path = join(options.data, 'customer', options.name);
    this.#clock = options.clock;
    this.#random = options.random;
  }

  file(name: CustomerFile): string {
    return join(this.path, name);
  }

  /** Without the line's end; undefined when there is no such file. */
  async read(name: CustomerFile): Promise<string | undefined> {
    try {
      return (await readFile(this.file(name), 'utf8')).trimEnd();
    } catch (cause) {
      if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
      throw cause;
    }
  }

  async write(name: CustomerFile, text: string): Promise<void> {
    await mkdir(this.path, { recursive: true, mode: 0o700 });
    const file = this.file(name);
    const handle = await open(`${file}.new`, 'w', 0o600);
    try {
      await handle.writeFile(`${text.trimEnd()}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    await rename(`${file}.new`, file);
  }

  /** The password in this file; made first if there is none, so that it is kept before it is used. */
  async password(name: 'admin-password' | 'app-password'): Promise<string> {
    const kept = await this.read(name);
    if (kept !== undefined) return kept;
    const made = newPassword(this.#random);
    await this.write(name, made);
    return made;
  }

  async trustAnchor(): Promise<string> {
    return (await this.authority()).certificate;
  }

  /** The customer's CA; made first if there is none. */
  async authority(): Promise<Authority> {
    const [key, certificate] = [await this.read('ca.key'), await this.read('ca.crt')];
    if (key !== undefined && certificate !== undefined) {
      return { key: createPrivateKey(key), certificate };
    }
    const made = newAuthority({ clock: this.#clock, random: this.#random });
    await this.write('ca.key', made.key.export({ type: 'pkcs8', format: 'pem' }).toString());
    await this.write('ca.crt', made.certificate);
    return made;
  }
}

export interface Authority {
  readonly key: KeyObject;
  /** PEM. */
  readonly certificate: string;
}

export function newPassword(random: Random): string {
  return Array.from({ length: PASSWORD_LENGTH }, () =>
    PASSWORD_LETTERS.charAt(randomBelow(random, PASSWORD_LETTERS.length)),
  ).join('');
}

export function newAuthority({ clock, random }: { clock: Clock; random: Random }): Authority {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: ANCHOR_BITS });
  const certificate = issueCertificate({
    subject: AUTHORITY_NAME,
    issuer: AUTHORITY_NAME,
    subjectPublicKey: publicKey,
    issuerKey: privateKey,
    isCa: true,
    ...validity({ clock, random }),
  });
  return { key: privateKey, certificate };
}

/** Signs the request that the cluster's HSM made. @throws CryptoError `CERTIFICATE`. */
export function signRequestOfCluster(
  csr: string,
  authority: Authority,
  { clock, random }: { clock: Clock; random: Random },
): string {
  const { subject, publicKey } = parseCsr(csr);
  return issueCertificate({
    subject,
    issuer: AUTHORITY_NAME,
    subjectPublicKey: publicKey,
    issuerKey: authority.key,
    isCa: false,
    ...validity({ clock, random }),
  });
}

function validity({ clock, random }: { clock: Clock; random: Random }): {
  serial: Uint8Array;
  notBefore: EpochMs;
  notAfter: EpochMs;
} {
  const now = clock.now();
  // Times plus durations are times. A day back, for clients whose clock is a little behind.
  return {
    serial: random.bytes(SERIAL_BYTES),
    notBefore: (now - DAY_MS) as EpochMs,
    notAfter: (now + VALID_DAYS * DAY_MS) as EpochMs,
  };
}
