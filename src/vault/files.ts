/**
 * The few file calls a folder vault makes, as an argument: what can fail is exactly this list, and the
 * fault tests fail every n-th of them.
 */
import * as fs from 'node:fs/promises';

export interface VaultFiles {
  /** An existing folder is fine. @throws ENOENT without its parent. */
  makeFolder(path: string): Promise<void>;
  /** A new file that nobody may write after this handle is closed. @throws EEXIST. */
  create(path: string): Promise<NewFile>;
  open(path: string): Promise<StoredFile>;
  /** A second name for the same file. Never overwrites. @throws EEXIST. */
  link(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** @throws ENOTEMPTY. */
  removeFolder(path: string): Promise<void>;
  names(folder: string): Promise<readonly string[]>;
  /** Makes the folder's entries durable. */
  syncFolder(path: string): Promise<void>;
  freeBytes(path: string): Promise<number>;
}

export interface NewFile {
  /** Writes all of it, after what was written before. */
  append(bytes: Uint8Array): Promise<void>;
  sync(): Promise<void>;
  close(): Promise<void>;
}

export interface StoredFile {
  facts(): Promise<{ sizeBytes: number; modifiedMs: number }>;
  /** @returns how many bytes there were, 0 at the end. */
  read(into: Uint8Array, position: number): Promise<number>;
  close(): Promise<void>;
}

const FOLDER_MODE = 0o700;
/** Sealed bytes are written once: not even their owner may write them again. */
const FILE_MODE = 0o400;

export const machineFiles: VaultFiles = {
  makeFolder: async (path) => {
    try {
      await fs.mkdir(path, { mode: FOLDER_MODE });
    } catch (cause) {
      if (errorCode(cause) !== 'EEXIST') throw cause;
    }
  },
  create: async (path) => {
    const handle = await fs.open(path, 'wx', FILE_MODE);
    return {
      append: async (bytes) => {
        for (let at = 0; at < bytes.length; ) {
          at += (await handle.write(bytes, at)).bytesWritten;
        }
      },
      sync: () => handle.sync(),
      close: () => handle.close(),
    };
  },
  open: async (path) => {
    const handle = await fs.open(path, 'r');
    return {
      facts: async () => {
        const { size, mtimeMs } = await handle.stat();
        return { sizeBytes: size, modifiedMs: Math.floor(mtimeMs) };
      },
      read: async (into, position) => (await handle.read(into, { position })).bytesRead,
      close: () => handle.close(),
    };
  },
  link: fs.link,
  unlink: fs.unlink,
  removeFolder: fs.rmdir,
  names: (folder) => fs.readdir(folder),
  syncFolder: async (path) => {
    const handle = await fs.open(path, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  },
  freeBytes: async (path) => {
    const { bavail, bsize } = await fs.statfs(path);
    return bavail * bsize;
  },
};

/** `ENOENT` and such; undefined for what is no system error. */
export function errorCode(cause: unknown): string | undefined {
  return cause instanceof Error && 'code' in cause ? String(cause.code) : undefined;
}
