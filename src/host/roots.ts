/**
 * The roots of trust: what only the host may read. A maker has a certificate authority and, for its
 * product line, an MKBK per epoch; an owner has a certificate authority and an AKBK per epoch; the
 * storage root yields the key under which each device seals its own disk.
 *
 *     roots/lock.json                      only when a passphrase was set
 *     roots/makers/NAME/certificate.pem    public
 *     roots/makers/NAME/keys.json          secret; sealed under the passphrase, if one was set
 *     roots/owners/NAME/…                  the same
 *     roots/storage/keys.json
 *     roots.made                           beside the folder: from now on roots are found here, never made
 */
import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { deriveKey, lengthPrefixed } from '../crypto/kdf.ts';
import { generateEcKeyPair } from '../crypto/keys.ts';
import { issueCertificate, type Name } from '../crypto/x509.ts';
import { fromBase64, fromUtf8, toBase64, toUtf8 } from '../kernel/bytes.ts';
import { type Clock, DAY_MS } from '../kernel/clock.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import { rootsLocked } from '../kernel/roots-locked.ts';
import { Secret } from '../kernel/secret.ts';
import type { EpochMs } from '../kernel/types.ts';
import {
  isMissing,
  makeFolder,
  readIfThere,
  removeDurably,
  syncFolder,
  writeDurably,
} from './files.ts';
import { isSealedFile, makeLock, openFile, openLock, sealFile } from './passphrase.ts';

export const DEFAULT_MAKER = 'keyark';
export const DEFAULT_OWNER = 'home';

const ROOT_LIFETIME_MS = 30 * 365 * DAY_MS;
const KEY_BYTES = 32;
const SERIAL_BYTES = 16;

export interface Authority {
  readonly name: string;
  readonly subject: Name;
  readonly certificate: string;
  readonly caKey: KeyObject;
}

export interface EpochKey {
  readonly epoch: number;
  readonly key: Secret;
}

export interface Maker extends Authority {
  readonly vendor: string;
  readonly line: string;
  /** The newest. */
  readonly mkbk: EpochKey;
}

export interface Owner extends Authority {
  readonly akbk: EpochKey;
}

type Kind = 'makers' | 'owners';

interface KeysFile {
  readonly name: string;
  readonly line: string;
  readonly caKey: string;
  /** MKBK or AKBK, oldest first. */
  readonly backupKeys: readonly { readonly epoch: number; readonly key: string }[];
}

interface Opened {
  readonly makers: Map<string, Maker>;
  readonly owners: Map<string, Owner>;
  readonly storageRoot: Secret;
}

export class Roots {
  readonly #folder: string;
  readonly #clock: Clock;
  readonly #random: Random;
  #lockText: string | undefined;
  #fileKey: Secret | undefined;
  #opened: Opened | undefined;

  private constructor(folder: string, clock: Clock, random: Random) {
    this.#folder = folder;
    this.#clock = clock;
    this.#random = random;
  }

  /**
   * Opens the folder; makes the embedded maker and owner on the first start, and on no other. With
   * `passphrase` (a systemd credential) sealed roots are unlocked and evaluation roots are sealed.
   * @param given.made a file outside the folder that remembers that roots were made; `isInUse` says the same
   *   of a folder from before there was one.
   * @throws Failed `START` when roots that were made are not there: new ones would open nothing.
   */
  static async open(
    folder: string,
    given: {
      clock: Clock;
      random: Random;
      passphrase?: Uint8Array | undefined;
      made?: { file: string; isInUse: boolean };
    },
  ): Promise<Roots> {
    const { made } = given;
    const roots = new Roots(folder, given.clock, given.random);
    const lock = await readIfThere(join(folder, 'lock.json'));
    roots.#lockText = lock === undefined ? undefined : toUtf8(lock);
    const isMarked = made !== undefined && (await readIfThere(made.file)) !== undefined;
    if (isMarked || made?.isInUse === true) await roots.#checkPresent();
    await makeFolder(folder, 0o700);
    if (roots.#lockText === undefined) {
      // With a passphrase from the start, no root ever rests in the clear.
      if (given.passphrase !== undefined) await roots.#setLock(given.passphrase);
      await roots.#openAll();
    } else if (given.passphrase !== undefined) {
      await roots.unlock(given.passphrase);
    }
    // Only now, so that a first start that was cut short goes on making.
    if (made !== undefined && !isMarked) await writeDurably(made.file, '', 0o600);
    return roots;
  }

  get areLocked(): boolean {
    return this.#opened === undefined;
  }

  /** No passphrase was ever set: whoever copies the folder has the roots. */
  get isEvaluation(): boolean {
    return this.#lockText === undefined;
  }

  /** @throws Refused `NotAuthenticated`. Unlocking what is open only checks the passphrase. */
  async unlock(passphrase: Uint8Array): Promise<void> {
    if (this.#lockText === undefined) {
      throw new Refused(
        'WrongState',
        'These roots have no passphrase, so nothing is locked. Set one: keyark host seal.',
      );
    }
    const key = await openLock(this.#lockText, passphrase);
    if (this.#opened !== undefined) {
      key.wipe();
      return;
    }
    this.#fileKey = key;
    await this.#openAll();
  }

  /** Seals everything under a passphrase, or replaces the passphrase there is. Needs open roots. */
  async seal(passphrase: Uint8Array): Promise<void> {
    this.#requireOpen();
    await this.#setLock(passphrase);
    await this.#openAll();
  }

  maker(name: string = DEFAULT_MAKER): Maker {
    return found(this.#requireOpen().makers, 'maker', name);
  }

  owner(name: string = DEFAULT_OWNER): Owner {
    return found(this.#requireOpen().owners, 'owner', name);
  }

  async names(): Promise<{ makers: readonly string[]; owners: readonly string[] }> {
    return { makers: await this.#names('makers'), owners: await this.#names('owners') };
  }

  /** Public, so also while locked; empty before the first start has finished. */
  async certificates(): Promise<{ makerRoot: string; ownerRoot: string }> {
    const read = async (kind: Kind, name: string) => {
      const pem = await readIfThere(join(this.#folder, kind, name, 'certificate.pem'));
      return pem === undefined ? '' : toUtf8(pem);
    };
    return {
      makerRoot: await read('makers', DEFAULT_MAKER),
      ownerRoot: await read('owners', DEFAULT_OWNER),
    };
  }

  async createMaker(name: string): Promise<Maker> {
    const { makers } = this.#requireOpen();
    await this.#create('makers', name);
    const maker = await this.#readMaker(name);
    makers.set(name, maker);
    return maker;
  }

  async createOwner(name: string): Promise<Owner> {
    const { owners } = this.#requireOpen();
    await this.#create('owners', name);
    const owner = await this.#readOwner(name);
    owners.set(name, owner);
    return owner;
  }

  /** The key under which this device seals its disk. The caller wipes it. */
  storageKey(serial: string): Secret {
    const { storageRoot } = this.#requireOpen();
    return new Secret(
      deriveKey({
        key: storageRoot.expose(),
        label: 'Keyark device storage v1',
        context: lengthPrefixed(fromUtf8(serial)),
        lengthBytes: KEY_BYTES,
      }),
    );
  }

  #requireOpen(): Opened {
    if (this.#opened === undefined) throw rootsLocked();
    return this.#opened;
  }

  /** The lock first: from here on a sealing that was cut short is finished by the next unlock. */
  async #setLock(passphrase: Uint8Array): Promise<void> {
    const { fileKey, text } = await makeLock(passphrase, this.#random, this.#fileKey);
    await writeDurably(join(this.#folder, 'lock.json'), text, 0o600);
    this.#lockText = text;
    this.#fileKey = fileKey;
  }

  async #openAll(): Promise<void> {
    await this.#clearLeftovers();
    await this.#makeDefaults();
    const makers = new Map<string, Maker>();
    for (const name of await this.#names('makers')) makers.set(name, await this.#readMaker(name));
    const owners = new Map<string, Owner>();
    for (const name of await this.#names('owners')) owners.set(name, await this.#readOwner(name));
    const storage = await this.#readKeys<{ key: string }>(join('storage', 'keys.json'));
    this.#opened = { makers, owners, storageRoot: new Secret(fromBase64(storage.key)) };
  }

  /** Reads only: whoever put too little back finds everything as he left it. */
  async #checkPresent(): Promise<void> {
    const files = [
      join('makers', DEFAULT_MAKER, 'keys.json'),
      join('owners', DEFAULT_OWNER, 'keys.json'),
      join('storage', 'keys.json'),
    ];
    for (const file of files) {
      const content = await readIfThere(join(this.#folder, file));
      if (content === undefined) throw rootsLost(this.#folder, file);
      const isSealed = isSealedFile(JSON.parse(toUtf8(content)));
      if (isSealed && this.#lockText === undefined) throw rootsLost(this.#folder, 'lock.json');
    }
  }

  async #makeDefaults(): Promise<void> {
    const { makers, owners } = await this.names();
    if (!makers.includes(DEFAULT_MAKER)) await this.#create('makers', DEFAULT_MAKER);
    if (!owners.includes(DEFAULT_OWNER)) await this.#create('owners', DEFAULT_OWNER);
    const storage = join('storage', 'keys.json');
    if ((await readIfThere(join(this.#folder, storage))) === undefined) {
      await makeFolder(join(this.#folder, 'storage'), 0o700);
      await this.#writeKeys(storage, { key: toBase64(this.#random.bytes(KEY_BYTES)) });
    }
  }

  /** A folder appears under its name only when both files are in it. */
  async #create(kind: Kind, name: string): Promise<void> {
    checkName(name);
    const parent = join(this.#folder, kind);
    await makeFolder(parent, 0o700);
    if ((await this.#names(kind)).includes(name)) {
      throw new Refused('Conflict', `There is a ${singular(kind)} "${name}" already.`);
    }
    const draft = join(parent, `${DRAFT_PREFIX}${name}`);
    await makeFolder(draft, 0o700);
    const { keys, certificate } = this.#newAuthority(kind, name);
    await writeDurably(join(draft, 'certificate.pem'), certificate, 0o600);
    await this.#writeKeys(join(kind, `${DRAFT_PREFIX}${name}`, 'keys.json'), keys, {
      as: join(kind, name, 'keys.json'),
    });
    await rename(draft, join(parent, name));
    await syncFolder(parent);
  }

  #newAuthority(kind: Kind, name: string): { keys: KeysFile; certificate: string } {
    const pair = generateEcKeyPair();
    const subject = rootSubject(kind, name);
    const now = this.#clock.now();
    const certificate = issueCertificate({
      subject,
      issuer: subject,
      subjectPublicKey: pair.publicKey,
      issuerKey: pair.privateKey,
      serial: this.#random.bytes(SERIAL_BYTES),
      // Sums of times are times; a day back forgives clocks that disagree.
      notBefore: (now - DAY_MS) as EpochMs,
      notAfter: (now + ROOT_LIFETIME_MS) as EpochMs,
      isCa: true,
    });
    const keys: KeysFile = {
      name,
      line: `${name}-hsm-1`,
      caKey: pair.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
      backupKeys: [{ epoch: 1, key: toBase64(this.#random.bytes(KEY_BYTES)) }],
    };
    return { keys, certificate };
  }

  async #readMaker(name: string): Promise<Maker> {
    const { authority, keys, newest } = await this.#readAuthority('makers', name);
    return { ...authority, vendor: name, line: keys.line, mkbk: newest };
  }

  async #readOwner(name: string): Promise<Owner> {
    const { authority, newest } = await this.#readAuthority('owners', name);
    return { ...authority, akbk: newest };
  }

  async #readAuthority(kind: Kind, name: string) {
    const certificate = await readFile(join(this.#folder, kind, name, 'certificate.pem'), 'utf8');
    const keys = await this.#readKeys<KeysFile>(join(kind, name, 'keys.json'));
    const last = keys.backupKeys.at(-1);
    if (last === undefined || keys.name !== name) {
      throw new Failed('DISK_DAMAGED', `root file ${kind}/${name}/keys.json is damaged`);
    }
    const authority: Authority = {
      name,
      subject: rootSubject(kind, name),
      certificate,
      caKey: createPrivateKey(keys.caKey),
    };
    const newest: EpochKey = { epoch: last.epoch, key: new Secret(fromBase64(last.key)) };
    return { authority, keys, newest };
  }

  /** Reads one secret file; once a passphrase is set, a file that still rests in the clear is sealed. */
  async #readKeys<Content extends object>(path: string): Promise<Content> {
    const text = await readFile(join(this.#folder, path), 'utf8');
    // Written by us in this shape; a sealed file is authenticated, a plain one only for evaluation.
    const value = JSON.parse(text) as Content;
    if (!isSealedFile(value)) {
      if (this.#fileKey !== undefined) await this.#writeKeys(path, value);
      return value;
    }
    if (this.#fileKey === undefined) {
      throw new Failed('DISK_DAMAGED', `root file ${path} is sealed, but lock.json is missing`);
    }
    // Authenticated by the seal, and written by us in this shape.
    return JSON.parse(toUtf8(openFile(this.#fileKey, path, value))) as Content;
  }

  async #writeKeys(path: string, content: object, sealed?: { as: string }): Promise<void> {
    const plain = JSON.stringify(content);
    const text =
      this.#fileKey === undefined
        ? `${plain}\n`
        : sealFile(this.#fileKey, sealed?.as ?? path, fromUtf8(plain), this.#random);
    await writeDurably(join(this.#folder, path), text, 0o600);
  }

  async #names(kind: Kind): Promise<readonly string[]> {
    try {
      const all = await readdir(join(this.#folder, kind));
      return all.filter((name) => !name.startsWith('.')).sort();
    } catch (cause) {
      if (isMissing(cause)) return [];
      throw cause;
    }
  }

  /** What a start that was cut short left: half-made authorities and temporary files. */
  async #clearLeftovers(): Promise<void> {
    for (const kind of ['', 'makers', 'owners', 'storage']) {
      const parent = join(this.#folder, kind);
      const all = await readdir(parent).catch((cause: unknown) => {
        if (isMissing(cause)) return [];
        throw cause;
      });
      for (const name of all.filter((name) => name.startsWith('.'))) {
        await removeDurably(join(parent, name));
      }
    }
  }
}

const DRAFT_PREFIX = '.new-';
const NAME = /^[a-z][a-z0-9-]{0,31}$/;

function rootsLost(folder: string, file: string): Failed {
  return new Failed(
    'START',
    `[ROOTS_LOST] ${join(folder, file)} is missing, and this data folder was made with it: without it no HSM starts and no backup opens. Nothing was changed, and no new roots were made, because they would open nothing. Put ${folder} back from your copy of the data folder and start again; for a new beginning use another --data.`,
  );
}

function checkName(name: string): void {
  if (!NAME.test(name)) {
    throw new Refused(
      'InvalidRequest',
      `"${name.slice(0, 40)}" is no name for a maker or owner: 1 to 32 of a-z, 0-9 and -, beginning with a letter.`,
    );
  }
}

const rootSubject = (kind: Kind, name: string): Name => [
  ['O', name],
  ['OU', 'Keyark HSM'],
  ['CN', kind === 'makers' ? `${name} manufacturer root` : `${name} owner root`],
];

const singular = (kind: Kind): string => kind.slice(0, -1);

function found<T>(all: ReadonlyMap<string, T>, kind: string, name: string): T {
  const one = all.get(name);
  if (one === undefined) {
    throw new Refused(
      'NotFound',
      `There is no ${kind} "${name.slice(0, 40)}" here; there is: ${[...all.keys()].join(', ')}.`,
    );
  }
  return one;
}
