/**
 * The embedded key service's files: small, private, durable before anybody relies on them, and never
 * replaced by something that knows less. A key that wrapped a backup and is lost has lost the backup.
 */
import { chmod, link, mkdir, open, readdir, readFile, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { toHex } from '../kernel/bytes.ts';
import type { Random } from '../kernel/random.ts';

const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;

export class KeyFiles {
  readonly #folder: string;
  readonly #random: Random;

  constructor(folder: string, random: Random) {
    this.#folder = folder;
    this.#random = random;
  }

  async prepare(): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: FOLDER_MODE });
    await chmod(this.#folder, FOLDER_MODE);
    await syncFolder(dirname(this.#folder));
  }

  async names(): Promise<readonly string[]> {
    return await readdir(this.#folder);
  }

  /** @returns undefined only when there is no such file; every other trouble is thrown. */
  async read(name: string): Promise<Uint8Array | undefined> {
    try {
      return new Uint8Array(await readFile(join(this.#folder, name)));
    } catch (cause) {
      if (cause instanceof Error && 'code' in cause && cause.code === 'ENOENT') return undefined;
      throw cause;
    }
  }

  /** Writes a new file; of two racers one wins. @returns what the file holds now, ours or the winner's. */
  async createOnce(name: string, bytes: Uint8Array): Promise<Uint8Array> {
    const temporary = await this.#writeTemporary(name, bytes);
    try {
      await link(temporary, join(this.#folder, name));
    } catch (cause) {
      if (!(cause instanceof Error && 'code' in cause && cause.code === 'EEXIST')) throw cause;
    } finally {
      await unlink(temporary);
    }
    // Also for the winner's file: it must be durable before we rely on it.
    await syncFolder(this.#folder);
    return new Uint8Array(await readFile(join(this.#folder, name)));
  }

  async #writeTemporary(name: string, bytes: Uint8Array): Promise<string> {
    const path = join(this.#folder, `.${name}.${toHex(this.#random.bytes(8))}`);
    const file = await open(path, 'wx', FILE_MODE);
    try {
      await file.writeFile(bytes);
      await file.sync();
    } finally {
      await file.close();
    }
    return path;
  }
}

async function syncFolder(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
