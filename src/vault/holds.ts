/**
 * The hold records of a folder vault: `holds/<backup id>/<part>~until~<ms>` and `…~legal`, written once.
 *
 * The name says everything and the file is empty, so that there is nothing to read wrongly and no moment
 * at which half of it is there; `~` is in no object's name. A longer hold is one more file beside the
 * shorter one, and the latest date counts. The catalog has no part in this: whoever removes objects
 * through the vault is stopped here, also by a catalog that lost the row or lies.
 */
import { dirname, join } from 'node:path';
import { type Clock, isoTime } from '../kernel/clock.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import type { EpochMs } from '../kernel/types.ts';
import { errorCode, type VaultFiles } from './files.ts';
import { splitObjectName } from './names.ts';
import type { ObjectName, VaultHold } from './vault.ts';

const LEGAL = 'legal';

export interface HoldFilesOptions {
  readonly folder: string;
  readonly files: VaultFiles;
  readonly clock: Clock;
  /** Makes a folder durably, with those above it. */
  readonly ensureFolder: (path: string) => Promise<void>;
  /** Syncs a folder that lost an entry, and removes it when it is empty. */
  readonly settleRemoval: (path: string) => Promise<void>;
}

/** Callers keep changes of one backup apart; see `FolderVault`. */
export class HoldFiles {
  readonly #options: HoldFilesOptions;

  constructor(options: HoldFilesOptions) {
    this.#options = options;
  }

  /** @throws Failed `VAULT_READ` when it cannot be known: an unknown hold counts as one that stands. */
  async standing(name: ObjectName): Promise<VaultHold | undefined> {
    const marks = (await this.#records(name)).map(markOf);
    const until = Math.max(0, ...marks.map((mark) => (mark === LEGAL ? 0 : Number(mark))));
    const isLegal = marks.includes(LEGAL);
    const isDated = until > this.#options.clock.now();
    if (!isLegal && !isDated) return undefined;
    // Written by `add` from an EpochMs.
    return { isLegal, ...(isDated ? { until: until as EpochMs } : {}) };
  }

  /** @throws Refused `WrongState` while a hold stands. */
  async refuseHeld(name: ObjectName): Promise<void> {
    const hold = await this.standing(name);
    if (hold === undefined) return;
    const how =
      hold.until === undefined ? 'under a legal hold' : `held until ${isoTime(hold.until)}`;
    throw new Refused(
      'WrongState',
      `[HELD] ${name} is ${how}; the vault removes nothing that is held. Nothing was removed.`,
    );
  }

  async add(name: ObjectName, terms: { readonly until: EpochMs } | 'legal'): Promise<void> {
    const mark = terms === LEGAL ? LEGAL : `until~${terms.until}`;
    const path = join(this.#folderOf(name), `${splitObjectName(name).part}~${mark}`);
    const { files, ensureFolder } = this.#options;
    try {
      await ensureFolder(dirname(path));
      try {
        const file = await files.create(path);
        try {
          await file.sync();
        } finally {
          await file.close();
        }
      } catch (cause) {
        if (errorCode(cause) !== 'EEXIST') throw cause;
      }
      // Also when it was there: the one who wrote it may have died before this sync.
      await files.syncFolder(dirname(path));
    } catch (cause) {
      throw new Failed('VAULT_WRITE', `holding ${name} in the vault`, { cause });
    }
  }

  async lift(name: ObjectName): Promise<void> {
    await this.#remove(name, (record) => markOf(record) === LEGAL);
  }

  /** After the object is gone: what is left are records of holds that have ended. */
  async forget(name: ObjectName): Promise<void> {
    await this.#remove(name, () => true);
  }

  async #remove(name: ObjectName, isMeant: (record: string) => boolean): Promise<void> {
    const folder = this.#folderOf(name);
    try {
      const records = (await this.#records(name)).filter(isMeant);
      if (records.length === 0) return;
      for (const record of records) await this.#options.files.unlink(join(folder, record));
      await this.#options.settleRemoval(folder);
    } catch (cause) {
      throw new Failed('VAULT_WRITE', `lifting the hold of ${name} in the vault`, { cause });
    }
  }

  async #records(name: ObjectName): Promise<readonly string[]> {
    const { part } = splitObjectName(name);
    try {
      const all = await this.#options.files.names(this.#folderOf(name));
      return all.filter((record) => record.startsWith(`${part}~`));
    } catch (cause) {
      if (errorCode(cause) === 'ENOENT') return [];
      throw new Failed('VAULT_READ', `looking for holds on ${name}`, { cause });
    }
  }

  #folderOf(name: ObjectName): string {
    return join(this.#options.folder, splitObjectName(name).folder);
  }
}

/** `legal`, or the date in milliseconds. */
const markOf = (record: string): string => record.slice(record.lastIndexOf('~') + 1);
