/**
 * The HSM's disk: two snapshot slots and a log, files that the host makes beforehand. The only file of
 * the boundary that touches node:fs. It moves bytes that are already encrypted (`disk-format.ts`).
 *
 * Under `--permission` a process may not fsync. The files are opened with O_DSYNC instead: a write
 * returns when its bytes, and the length of the file where it grew, rest on the platter.
 */
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { toHex } from '../kernel/bytes.ts';
import { Failed } from '../kernel/errors.ts';

export const DISK_FILES = ['slot-0', 'slot-1', 'log'] as const;
export type DiskFile = (typeof DISK_FILES)[number];

export interface HsmDisk {
  /** False for a disk that keeps nothing: the store then spares itself the encoding. */
  readonly isDurable: boolean;
  size(file: DiskFile): Promise<number>;
  /** Shorter than asked at the end of the file. */
  read(file: DiskFile, offset: number, length: number): Promise<Uint8Array>;
  /** Durable when it resolves. A power cut before that leaves any mixture of old and new bytes. */
  write(file: DiskFile, offset: number, bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** @throws Failed `DISK` when the host did not make the files. */
export function openFolder(folder: string): HsmDisk {
  const descriptors = new Map<DiskFile, number>();
  for (const file of DISK_FILES) descriptors.set(file, openFile(join(folder, file)));
  return new FolderDisk(descriptors);
}

function openFile(path: string): number {
  try {
    const descriptor = openSync(path, constants.O_RDWR | constants.O_DSYNC | constants.O_NOFOLLOW);
    if (!fstatSync(descriptor).isFile()) throw new TypeError('not a regular file');
    return descriptor;
  } catch (cause) {
    throw new Failed('DISK', 'opening the HSM’s files; the host makes them beforehand', { cause });
  }
}

class FolderDisk implements HsmDisk {
  readonly isDurable = true;
  readonly #descriptors: Map<DiskFile, number>;

  constructor(descriptors: Map<DiskFile, number>) {
    this.#descriptors = descriptors;
  }

  async size(file: DiskFile): Promise<number> {
    return await attempt(`measuring ${file}`, (done) =>
      fs.fstat(this.#descriptor(file), (cause, stats) => done(cause, stats?.size)),
    );
  }

  async read(file: DiskFile, offset: number, length: number): Promise<Uint8Array> {
    const out = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      const count = await attempt<number>(`reading ${file}`, (done) =>
        fs.read(this.#descriptor(file), out, filled, length - filled, offset + filled, done),
      );
      if (count === 0) break;
      filled += count;
    }
    return out.subarray(0, filled);
  }

  async write(file: DiskFile, offset: number, bytes: Uint8Array): Promise<void> {
    let written = 0;
    while (written < bytes.length) {
      written += await attempt<number>(`writing ${file}`, (done) =>
        fs.write(
          this.#descriptor(file),
          bytes,
          written,
          bytes.length - written,
          offset + written,
          done,
        ),
      );
    }
  }

  async close(): Promise<void> {
    for (const descriptor of this.#descriptors.values()) closeSync(descriptor);
    this.#descriptors.clear();
  }

  #descriptor(file: DiskFile): number {
    const descriptor = this.#descriptors.get(file);
    if (descriptor === undefined) throw new Failed('DISK', `${file} is closed`);
    return descriptor;
  }
}

function attempt<T>(
  what: string,
  run: (done: (cause: Error | null, value?: T) => void) => void,
): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    run((cause, value) => {
      if (cause === null && value !== undefined) resolve(value);
      else reject(new Failed('DISK', `${what} (${errorCode(cause)})`, { cause }));
    });
  });
}

/** `ENOSPC`, `EIO`: tells an operator what to do, and names no path. */
function errorCode(cause: Error | null): string {
  return cause !== null && 'code' in cause ? String(cause.code) : 'no result';
}

/** A disk that keeps nothing, for drills: reads are empty, writes go nowhere. */
export function noDisk(): HsmDisk {
  return {
    isDurable: false,
    size: async () => 0,
    read: async () => new Uint8Array(),
    write: async () => {},
    close: async () => {},
  };
}

/** A disk in memory, for an HSM that lives inside another process. */
export function memoryDisk(files = new Map<DiskFile, Uint8Array>()): HsmDisk {
  const content = (file: DiskFile) => files.get(file) ?? new Uint8Array();
  return {
    isDurable: true,
    size: async (file) => content(file).length,
    read: async (file, offset, length) => content(file).slice(offset, offset + length),
    write: async (file, offset, bytes) => {
      const before = content(file);
      const after = new Uint8Array(Math.max(before.length, offset + bytes.length));
      after.set(before);
      after.set(bytes, offset);
      files.set(file, after);
    },
    close: async () => {},
  };
}

/** SHA-256 of the program that runs, hex: what `hello` and every proof say about the code. */
export function hashProgram(path: string): string {
  return toHex(createHash('sha256').update(readFileSync(path)).digest());
}
