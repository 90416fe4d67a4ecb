/**
 * The few file calls the trail makes, as an argument: what can fail is exactly this list. Appending is
 * synchronous: a record is in the system's hands before anything else happens in this process.
 */
import * as fs from 'node:fs';
import * as fsAsync from 'node:fs/promises';
import { join } from 'node:path';

export interface TrailFiles {
  /** Names of all files, in order. */
  names(): readonly string[];
  /** A new, empty file whose entry is durable. */
  create(name: string): void;
  sizeBytes(name: string): number;
  /** Behind what was written before; all of it or throws, then maybe a part of it is there. */
  append(name: string, bytes: Uint8Array): void;
  /** Cuts the end off, durably. */
  truncate(name: string, sizeBytes: number): void;
  /** Durable when it resolves: everything appended before. */
  sync(name: string): Promise<void>;
  /** Fewer bytes than asked for only at the end. */
  read(name: string, at: number, length: number): Promise<Uint8Array>;
  remove(name: string): void;
}

const FILE_MODE = 0o600;

/** @param folder is made if missing. */
export function trailFolder(folder: string): TrailFiles {
  const pathOf = (name: string): string => join(folder, name);
  const syncFolder = (): void => {
    const handle = fs.openSync(folder, 'r');
    try {
      fs.fsyncSync(handle);
    } finally {
      fs.closeSync(handle);
    }
  };
  /** The file that is written, kept open. */
  let open: { name: string; handle: number } | undefined;
  const handleOf = (name: string): number => {
    if (open?.name === name) return open.handle;
    if (open !== undefined) fs.closeSync(open.handle);
    open = undefined;
    const flags = fs.constants.O_WRONLY | fs.constants.O_APPEND | fs.constants.O_NOFOLLOW;
    open = { name, handle: fs.openSync(pathOf(name), flags) };
    return open.handle;
  };
  return {
    names: () => {
      fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
      return fs.readdirSync(folder).filter(isTrailFile).sort();
    },
    create: (name) => {
      fs.closeSync(fs.openSync(pathOf(name), 'wx', FILE_MODE));
      syncFolder();
    },
    sizeBytes: (name) => fs.statSync(pathOf(name)).size,
    append: (name, bytes) => {
      const handle = handleOf(name);
      for (let at = 0; at < bytes.length; ) at += fs.writeSync(handle, bytes, at);
    },
    truncate: (name, sizeBytes) => {
      const handle = handleOf(name);
      fs.ftruncateSync(handle, sizeBytes);
      fs.fsyncSync(handle);
    },
    // A handle of its own: the one for appending may go on to the next file meanwhile.
    sync: async (name) => {
      const handle = await fsAsync.open(pathOf(name), 'r+');
      try {
        await handle.datasync();
      } finally {
        await handle.close();
      }
    },
    read: async (name, at, length) => {
      const handle = await fsAsync.open(pathOf(name), 'r');
      try {
        const bytes = new Uint8Array(length);
        let filled = 0;
        while (filled < length) {
          const { bytesRead } = await handle.read(bytes, filled, length - filled, at + filled);
          if (bytesRead === 0) break;
          filled += bytesRead;
        }
        return bytes.subarray(0, filled);
      } finally {
        await handle.close();
      }
    },
    remove: (name) => {
      fs.unlinkSync(pathOf(name));
      syncFolder();
    },
  };
}

const NAME = /^trail-(\d{12})\.jsonl$/;
const isTrailFile = (name: string): boolean => NAME.test(name);

/** By the number of its first record, so that names sort as records do. */
export const fileNameFor = (sequence: number): string =>
  `trail-${String(sequence).padStart(12, '0')}.jsonl`;

export const firstSequenceOf = (name: string): number => Number(NAME.exec(name)?.[1]);
