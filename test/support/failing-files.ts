/** The vault's file calls on the real file system, of which chosen ones fail before they do anything. */
import { machineFiles, type VaultFiles } from '../../src/vault/files.ts';

export interface FailingFiles {
  readonly files: VaultFiles;
  /** What was called so far, failed ones included. */
  readonly calls: readonly string[];
}

/** @param options.failAt gets the call's name and its number from 1. */
export function failingFiles(options: {
  failAt: (call: string, count: number) => boolean;
  code: string;
}): FailingFiles {
  const calls: string[] = [];
  const step = (call: string): void => {
    calls.push(call);
    if (options.failAt(call, calls.length)) {
      throw Object.assign(new Error(`${options.code}: ${call} was made to fail`), {
        code: options.code,
      });
    }
  };
  const files: VaultFiles = {
    makeFolder: async (path) => {
      step(`makeFolder ${path}`);
      await machineFiles.makeFolder(path);
    },
    create: async (path) => {
      step(`create ${path}`);
      const file = await machineFiles.create(path);
      return {
        append: async (bytes) => {
          step('append');
          await file.append(bytes);
        },
        sync: async () => {
          step('sync');
          await file.sync();
        },
        // A close that fails has closed all the same.
        close: async () => {
          await file.close();
          step('close after writing');
        },
      };
    },
    open: async (path) => {
      step(`open ${path}`);
      const file = await machineFiles.open(path);
      return {
        facts: async () => {
          step('facts');
          return await file.facts();
        },
        read: async (into, position) => {
          step('read');
          return await file.read(into, position);
        },
        close: async () => {
          await file.close();
          step('close after reading');
        },
      };
    },
    link: async (path, to) => {
      step(`link ${to}`);
      await machineFiles.link(path, to);
    },
    unlink: async (path) => {
      step(`unlink ${path}`);
      await machineFiles.unlink(path);
    },
    removeFolder: async (path) => {
      step(`removeFolder ${path}`);
      await machineFiles.removeFolder(path);
    },
    names: async (folder) => {
      step(`names ${folder}`);
      return await machineFiles.names(folder);
    },
    syncFolder: async (path) => {
      step(`syncFolder ${path}`);
      await machineFiles.syncFolder(path);
    },
    freeBytes: machineFiles.freeBytes,
  };
  return { files, calls };
}
