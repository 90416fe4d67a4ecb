/**
 * Which HSMs this host has, on disk:
 *
 *     hsms/HSM_ID/meta.json   what it is and whether it is whole
 *     hsms/HSM_ID/lock        held by the process that runs it
 *     hsms/HSM_ID/disk/       slot-0, slot-1, log: all that the HSM itself may touch
 *     spares/spare-RANDOM/    the same but for meta.json, for a process that is to become an HSM: the folder
 *                             moves then, and the files it has open move along
 *
 * `making` is the intent, `made` the fact. What is still `making` or already `discarding` when a host
 * starts never served anybody, or never will again, and is removed; so are spares, whose process is gone.
 */
import { mkdtemp, open, readdir, realpath, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { toUtf8 } from '../kernel/bytes.ts';
import { Failed } from '../kernel/errors.ts';
import { type ClusterId, type HsmId, parseClusterId, parseHsmId } from '../kernel/ids.ts';
import { makeFolder, readIfThere, removeDurably, syncFolder, writeDurably } from './files.ts';

export interface Meta {
  readonly hsmId: HsmId;
  readonly clusterId: ClusterId;
  readonly serial: string;
  readonly state: 'making' | 'made' | 'discarding';
  /** What callers are told who want to change something; null where changes are taken. */
  readonly frozenBecause: string | null;
}

/** Where a process's files are: `folder` is all that it may touch. */
export interface DiskPlace {
  readonly folder: string;
  readonly lock: string;
}

/** As long as nobody has it. */
export interface SpareDisk extends DiskPlace {
  readonly home: string;
}

const DISK_FILES = ['slot-0', 'slot-1', 'log'];

export class Inventory {
  readonly #folder: string;
  readonly #spares: string;

  private constructor(folder: string) {
    this.#folder = folder;
    this.#spares = join(dirname(folder), 'spares');
  }

  static async open(folder: string): Promise<Inventory> {
    await makeFolder(folder, 0o700);
    // The permission flags of an HSM compare real paths.
    const inventory = new Inventory(await realpath(folder));
    await removeDurably(inventory.#spares);
    return inventory;
  }

  disk(hsmId: HsmId): DiskPlace {
    return placeIn(join(this.#folder, hsmId));
  }

  /** @param spare becomes this HSM's; without one the files are made. */
  async add(meta: Meta, spare?: SpareDisk): Promise<void> {
    const home = join(this.#folder, meta.hsmId);
    if (spare === undefined) {
      await makeFolder(home, 0o700);
      await this.write(meta);
      await makeDisk(placeIn(home));
      return;
    }
    await writeMeta(spare.home, meta);
    await rename(spare.home, home);
    await syncFolder(this.#folder);
  }

  async addSpare(): Promise<SpareDisk> {
    await makeFolder(this.#spares, 0o700);
    // A fresh name: the process of an earlier spare may still touch what has its name.
    const home = await mkdtemp(join(this.#spares, 'spare-'));
    const place = placeIn(home);
    await makeDisk(place);
    return { ...place, home };
  }

  async write(meta: Meta): Promise<void> {
    await writeMeta(join(this.#folder, meta.hsmId), meta);
  }

  async remove(hsmId: HsmId): Promise<void> {
    await removeDurably(join(this.#folder, hsmId));
  }

  async isEmpty(): Promise<boolean> {
    return (await readdir(this.#folder)).length === 0;
  }

  /** All HSMs that are whole; removes the others. @throws Failed `DISK_DAMAGED`. */
  async load(): Promise<readonly Meta[]> {
    const whole: Meta[] = [];
    for (const name of (await readdir(this.#folder)).sort()) {
      const hsmId = parseHsmId(name);
      const meta = await this.#read(hsmId);
      if (meta?.state === 'made') whole.push(meta);
      else await this.remove(hsmId);
    }
    return whole;
  }

  async #read(hsmId: HsmId): Promise<Meta | undefined> {
    const bytes = await readIfThere(join(this.#folder, hsmId, 'meta.json'));
    if (bytes === undefined) return undefined;
    try {
      // Partial of the shape; every member is judged below.
      const value = JSON.parse(toUtf8(bytes)) as Partial<Record<string, unknown>>;
      const { clusterId, serial, state, frozenBecause = null } = value;
      if (
        value['hsmId'] !== hsmId ||
        typeof serial !== 'string' ||
        (frozenBecause !== null && typeof frozenBecause !== 'string') ||
        (state !== 'making' && state !== 'made' && state !== 'discarding')
      ) {
        throw new TypeError('not what this host writes');
      }
      return { hsmId, clusterId: parseClusterId(String(clusterId)), serial, state, frozenBecause };
    } catch (cause) {
      throw new Failed('DISK_DAMAGED', `meta.json of ${hsmId} is damaged`, { cause });
    }
  }
}

function placeIn(home: string): DiskPlace {
  return { folder: join(home, 'disk'), lock: join(home, 'lock') };
}

async function makeDisk({ folder, lock }: DiskPlace): Promise<void> {
  await makeFolder(folder, 0o700);
  for (const path of [...DISK_FILES.map((name) => join(folder, name)), lock]) {
    await (await open(path, 'wx', 0o600)).close();
  }
  await syncFolder(folder);
}

async function writeMeta(home: string, meta: Meta): Promise<void> {
  const text = `${JSON.stringify({ version: 1, ...meta })}\n`;
  await writeDurably(join(home, 'meta.json'), text, 0o600);
}
