/**
 * A vault in one folder of a local disk. `objects/<backup id>/<part>` is what is stored, `incoming/` what
 * is being written, `holds/` what must not be removed (`holds.ts`).
 *
 * A stored file is the object and a 48-byte trailer: `"KYOBJ1\r\n" ‖ u64 length ‖ SHA-256`. The trailer is
 * in the file, not beside it, because then one link makes object and manifest appear together: there is
 * no order in which a crash leaves one without the other, and `cp` carries both. (`head -c -48` gives
 * the object back.) It finds decay and mistakes; against a hand that rewrites files stand the layers above.
 *
 * Linking, not renaming: `link` refuses an existing name even when two writers race, `rename` replaces it.
 * The name appears only after everything under it was written, synced and read back. The read comes
 * through the operating system's cache, so it shows what the file system holds, not the platter.
 */
import { createHash } from 'node:crypto';
import { dirname, join } from 'node:path';
import { asBuffer, concat, equalBytes, fromUtf8, toHex, u64 } from '../kernel/bytes.ts';
import { type Clock, systemClock } from '../kernel/clock.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import { type Random, systemRandom } from '../kernel/random.ts';
import { Serial } from '../kernel/serial.ts';
import type { EpochMs } from '../kernel/types.ts';
import { errorCode, machineFiles, type StoredFile, type VaultFiles } from './files.ts';
import { HoldFiles } from './holds.ts';
import { objectName, splitObjectName } from './names.ts';
import type { ObjectName, Stored, Vault, VaultHold } from './vault.ts';

const MAGIC = fromUtf8('KYOBJ1\r\n');
const TRAILER_BYTES = 8 + 8 + 32;
const CHUNK_BYTES = 64 * 1024;

export class FolderVault implements Vault {
  readonly kind = 'folder';
  readonly holdsBind = 'service';
  readonly #folder: string;
  readonly #files: VaultFiles;
  readonly #random: Random;
  readonly #holds: HoldFiles;
  /** Naming and removing within one backup's folder, one at a time: an emptied folder may go. */
  readonly #turns = new Serial();

  /** @param options.clock decides when a hold has ended: the service's, which on a rehearsal moves. */
  constructor(options: { folder: string; files?: VaultFiles; random?: Random; clock?: Clock }) {
    this.#folder = options.folder;
    this.#files = options.files ?? machineFiles;
    this.#random = options.random ?? systemRandom;
    this.#holds = new HoldFiles({
      folder: join(options.folder, 'holds'),
      files: this.#files,
      clock: options.clock ?? systemClock,
      ensureFolder: (path) => this.#ensureFolder(path),
      settleRemoval: (path) => this.#settleRemoval(path),
    });
  }

  async put(name: ObjectName, body: AsyncIterable<Uint8Array>): Promise<Stored> {
    const incoming = join(this.#folder, 'incoming', toHex(this.#random.bytes(16)));
    let hasFile = false;
    const written = { bytes: 0 };
    try {
      if (await this.#exists(name)) throw alreadyStored(name);
      await this.#ensureFolder(dirname(incoming));
      const file = await this.#files.create(incoming);
      hasFile = true;
      let manifest: Manifest;
      try {
        manifest = await writeObject(file, body, written);
      } finally {
        await file.close();
      }
      const storedAt = await this.#readBack(incoming, name, manifest);
      await this.#turns.run(splitObjectName(name).folder, () => this.#publish(incoming, name));
      return { name, sizeBytes: manifest.sizeBytes, sha256: toHex(manifest.sha256), storedAt };
    } catch (cause) {
      throw await this.#explain(cause, name, written.bytes);
    } finally {
      if (hasFile) await this.#discard(incoming);
    }
  }

  async *get(name: ObjectName): AsyncIterable<Uint8Array> {
    const file = await this.#open(name);
    try {
      yield* this.#checked(file, name);
    } finally {
      await file.close();
    }
  }

  async stat(name: ObjectName): Promise<Stored | undefined> {
    return (await this.#exists(name)) ? await this.#facts(name) : undefined;
  }

  async *list(prefix: string): AsyncIterable<Stored> {
    const folders = await this.#namesIn(join(this.#folder, 'objects'));
    // Sorted as the whole names sort: "/" comes after "-" and ".".
    for (const folder of sortedBy(folders, (each) => `${each}/`)) {
      if (prefix !== '' && folder !== prefix) continue;
      const parts = await this.#namesIn(join(this.#folder, 'objects', folder));
      for (const part of sortedBy(parts, (each) => each)) {
        const stored = await this.#factsUnlessLost(objectName(folder, part));
        if (stored !== undefined) yield stored;
      }
    }
  }

  async remove(name: ObjectName): Promise<void> {
    const path = this.#path(name);
    try {
      await this.#turns.run(splitObjectName(name).folder, async () => {
        await this.#holds.refuseHeld(name);
        try {
          await this.#files.unlink(path);
        } catch (cause) {
          if (errorCode(cause) !== 'ENOENT') throw cause;
        }
        await this.#settleRemoval(dirname(path));
        await this.#holds.forget(name);
      });
    } catch (cause) {
      if (cause instanceof Refused) throw cause;
      throw new Failed('VAULT_WRITE', `removing ${name} from the vault`, { cause });
    }
  }

  async hold(name: ObjectName, terms: { readonly until: EpochMs } | 'legal'): Promise<void> {
    await this.#turns.run(splitObjectName(name).folder, async () => {
      if (!(await this.#exists(name))) throw lost(name);
      await this.#holds.add(name, terms);
    });
  }

  async lift(name: ObjectName): Promise<void> {
    await this.#turns.run(splitObjectName(name).folder, () => this.#holds.lift(name));
  }

  heldBy(name: ObjectName): Promise<VaultHold | undefined> {
    return this.#holds.standing(name);
  }

  async recover(): Promise<{ removed: number }> {
    const incoming = join(this.#folder, 'incoming');
    try {
      const leftovers = await this.#namesIn(incoming);
      for (const each of leftovers) await this.#files.unlink(join(incoming, each));
      if (leftovers.length > 0) await this.#files.syncFolder(incoming);
      return { removed: leftovers.length };
    } catch (cause) {
      throw new Failed('VAULT_WRITE', 'removing unfinished writes from the vault', { cause });
    }
  }

  #path(name: ObjectName): string {
    const { folder, part } = splitObjectName(name);
    return join(this.#folder, 'objects', folder, part);
  }

  /** Gives a finished file its name, durably. The caller holds the folder's turn. */
  async #publish(incoming: string, name: ObjectName): Promise<void> {
    const path = this.#path(name);
    const folder = dirname(path);
    await this.#ensureFolder(dirname(folder));
    await this.#ensureFolder(folder);
    await this.#files.link(incoming, path);
    try {
      await this.#files.syncFolder(folder);
    } catch (cause) {
      await this.#withdraw(path);
      throw cause;
    }
  }

  async #withdraw(path: string): Promise<void> {
    try {
      await this.#files.unlink(path);
      await this.#files.syncFolder(dirname(path));
    } catch {
      // The put already fails, and whoever asked for it removes the name again before trying another.
    }
  }

  /**
   * Durable with every folder above it, up to the first that is there already. The direct parent is
   * synced even when the folder exists: the process that made it may have died before its own sync.
   */
  async #ensureFolder(path: string): Promise<void> {
    try {
      await this.#files.makeFolder(path);
    } catch (cause) {
      if (errorCode(cause) !== 'ENOENT' || dirname(path) === path) throw cause;
      await this.#ensureFolder(dirname(path));
      await this.#files.makeFolder(path);
    }
    await this.#files.syncFolder(dirname(path));
  }

  /** Syncs a folder that lost an entry, and takes it away when that was the last one. */
  async #settleRemoval(folder: string): Promise<void> {
    try {
      await this.#files.removeFolder(folder);
    } catch (cause) {
      const code = errorCode(cause);
      if (code === 'ENOTEMPTY' || code === 'EEXIST') {
        await this.#files.syncFolder(folder);
        return;
      }
      if (code !== 'ENOENT') throw cause;
    }
    // Also when it was gone already: the one who removed it may have died before this sync.
    try {
      await this.#files.syncFolder(dirname(folder));
    } catch (cause) {
      if (errorCode(cause) !== 'ENOENT') throw cause;
    }
  }

  async #discard(incoming: string): Promise<void> {
    try {
      await this.#files.unlink(incoming);
    } catch {
      // `recover` takes it away at the next start; it has no name that anybody reads.
    }
  }

  /** @returns the file's time. */
  async #readBack(path: string, name: ObjectName, written: Manifest): Promise<EpochMs> {
    const file = await this.#files.open(path);
    try {
      for await (const _chunk of this.#checked(file, name, written));
      return await storedAt(file);
    } catch (cause) {
      throw new Failed('VAULT_WRITE', `${name} could not be read back after writing`, { cause });
    } finally {
      await file.close();
    }
  }

  /** Yields the object; throws before its end when it is not what the manifest says. */
  async *#checked(
    file: StoredFile,
    name: ObjectName,
    expected?: Manifest,
  ): AsyncIterable<Uint8Array> {
    const manifest = await readManifest(file, name);
    const hash = createHash('sha256');
    for (let at = 0; at < manifest.sizeBytes; ) {
      const chunk = new Uint8Array(Math.min(CHUNK_BYTES, manifest.sizeBytes - at));
      await readFully(file, chunk, at, name);
      hash.update(chunk);
      at += chunk.length;
      yield chunk;
    }
    const isWhole =
      equalBytes(hash.digest(), manifest.sha256) &&
      (expected === undefined ||
        (expected.sizeBytes === manifest.sizeBytes &&
          equalBytes(expected.sha256, manifest.sha256)));
    if (!isWhole) throw damaged(name);
  }

  async #facts(name: ObjectName): Promise<Stored> {
    const file = await this.#open(name);
    try {
      const { sizeBytes, sha256 } = await readManifest(file, name);
      return { name, sizeBytes, sha256: toHex(sha256), storedAt: await storedAt(file) };
    } finally {
      await file.close();
    }
  }

  /** Removed while we were listing: then it is rightly not listed. */
  async #factsUnlessLost(name: ObjectName): Promise<Stored | undefined> {
    try {
      return await this.#facts(name);
    } catch (cause) {
      if (cause instanceof Failed && cause.code === 'VAULT_LOST') return undefined;
      throw cause;
    }
  }

  async #exists(name: ObjectName): Promise<boolean> {
    const { folder, part } = splitObjectName(name);
    return (await this.#namesIn(join(this.#folder, 'objects', folder))).includes(part);
  }

  async #open(name: ObjectName): Promise<StoredFile> {
    try {
      return await this.#files.open(this.#path(name));
    } catch (cause) {
      const isLost = errorCode(cause) === 'ENOENT';
      throw isLost
        ? lost(name, cause)
        : new Failed('VAULT_READ', `opening ${name} in the vault`, { cause });
    }
  }

  async #namesIn(folder: string): Promise<readonly string[]> {
    try {
      return await this.#files.names(folder);
    } catch (cause) {
      if (errorCode(cause) === 'ENOENT') return [];
      throw new Failed('VAULT_READ', 'listing the vault', { cause });
    }
  }

  /** Our own errors pass; the file system's become ours, with numbers when the disk is full. */
  async #explain(cause: unknown, name: ObjectName, writtenBytes: number): Promise<unknown> {
    const code = errorCode(cause);
    if (code === 'EEXIST') return alreadyStored(name);
    if (code === 'ENOSPC' || code === 'EDQUOT') {
      const free = await this.#freeBytes();
      return new Failed(
        'VAULT_FULL',
        `the vault is full: ${free} bytes free, and storing ${name} needed more than the ${writtenBytes} bytes it had written; nothing of it is left`,
        { cause },
      );
    }
    if (isOurs(cause) || code === undefined) return cause;
    return new Failed('VAULT_WRITE', `storing ${name} in the vault`, { cause });
  }

  async #freeBytes(): Promise<string> {
    try {
      return String(await this.#files.freeBytes(this.#folder));
    } catch {
      // The number is a courtesy; the disk is full either way.
      return 'unknown';
    }
  }
}

interface Manifest {
  readonly sizeBytes: number;
  readonly sha256: Uint8Array;
}

/** Streams the body and its trailer into the file and syncs it. */
async function writeObject(
  file: { append(bytes: Uint8Array): Promise<void>; sync(): Promise<void> },
  body: AsyncIterable<Uint8Array>,
  written: { bytes: number },
): Promise<Manifest> {
  const hash = createHash('sha256');
  for await (const part of body) {
    hash.update(part);
    await file.append(part);
    written.bytes += part.length;
  }
  const sha256 = new Uint8Array(hash.digest());
  await file.append(concat(MAGIC, u64(written.bytes), sha256));
  await file.sync();
  return { sizeBytes: written.bytes, sha256 };
}

async function readManifest(file: StoredFile, name: ObjectName): Promise<Manifest> {
  const { sizeBytes: fileBytes } = await readingFrom(name, () => file.facts());
  if (fileBytes < TRAILER_BYTES) throw damaged(name);
  const trailer = new Uint8Array(TRAILER_BYTES);
  await readFully(file, trailer, fileBytes - TRAILER_BYTES, name);
  const sizeBytes = Number(asBuffer(trailer).readBigUInt64BE(MAGIC.length));
  const isOurs = equalBytes(trailer.subarray(0, MAGIC.length), MAGIC);
  if (!isOurs || sizeBytes !== fileBytes - TRAILER_BYTES) throw damaged(name);
  return { sizeBytes, sha256: trailer.subarray(MAGIC.length + 8) };
}

async function storedAt(file: StoredFile): Promise<EpochMs> {
  // The file system's time is in milliseconds since 1970 too.
  return (await file.facts()).modifiedMs as EpochMs;
}

async function readFully(
  file: StoredFile,
  into: Uint8Array,
  position: number,
  name: ObjectName,
): Promise<void> {
  for (let at = 0; at < into.length; ) {
    const count = await readingFrom(name, () => file.read(into.subarray(at), position + at));
    if (count === 0) throw damaged(name);
    at += count;
  }
}

async function readingFrom<T>(name: ObjectName, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw new Failed('VAULT_READ', `reading ${name} from the vault`, { cause });
  }
}

const damaged = (name: ObjectName): Failed =>
  new Failed('VAULT_READ', `${name} in the vault is not what was stored`);

const lost = (name: ObjectName, cause?: unknown): Failed =>
  new Failed('VAULT_LOST', `${name} is not in the vault`, { cause });

const alreadyStored = (name: ObjectName): Refused =>
  new Refused('Conflict', `${name} is stored already; nothing in a vault is overwritten`);

function isOurs(cause: unknown): cause is Failed | Refused {
  return cause instanceof Failed || cause instanceof Refused;
}

function sortedBy(names: readonly string[], key: (name: string) => string): readonly string[] {
  const order = (a: string, b: string) => (key(a) < key(b) ? -1 : 1);
  return [...names].sort(order);
}
