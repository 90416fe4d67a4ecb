/**
 * The vault's file calls on the real file system, each done before it returns. Nothing waits in the thread pool,
 * so what follows what is the program's doing alone: a seed repeats a run exactly, and at a third of the cost.
 */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  rmdirSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { errorCode, machineFiles, type VaultFiles } from '../../src/vault/files.ts';

export const blockingFiles: VaultFiles = {
  makeFolder: async (path) => {
    try {
      mkdirSync(path, { mode: 0o700 });
    } catch (cause) {
      if (errorCode(cause) !== 'EEXIST') throw cause;
    }
  },
  create: async (path) => {
    const file = openSync(path, 'wx', 0o400);
    return {
      append: async (bytes) => {
        for (let at = 0; at < bytes.length; ) at += writeSync(file, bytes, at);
      },
      sync: async () => fsyncSync(file),
      close: async () => closeSync(file),
    };
  },
  open: async (path) => {
    const file = openSync(path, 'r');
    return {
      facts: async () => {
        const { size, mtimeMs } = fstatSync(file);
        return { sizeBytes: size, modifiedMs: Math.floor(mtimeMs) };
      },
      read: async (into, position) => readSync(file, into, { position }),
      close: async () => closeSync(file),
    };
  },
  link: async (from, to) => linkSync(from, to),
  unlink: async (path) => unlinkSync(path),
  removeFolder: async (path) => rmdirSync(path),
  names: async (folder) => readdirSync(folder),
  syncFolder: async (path) => {
    const folder = openSync(path, 'r');
    try {
      fsyncSync(folder);
    } finally {
      closeSync(folder);
    }
  },
  freeBytes: machineFiles.freeBytes,
};
