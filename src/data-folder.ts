/**
 * The data folder: whose it is, which version wrote it, and that one process at a time uses it.
 *
 * Run by root it belongs to root with the sticky bit, so that the control plane can write its own files
 * beside the host's folder but can never replace that.
 */
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Clock, isoTime } from './kernel/clock.ts';
import { Failed, Refused } from './kernel/errors.ts';
import type { EpochMs } from './kernel/types.ts';

/** Written by this program. A newer one is refused; there is no older one yet to upgrade from. */
export const DATA_VERSION = 1;

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface DataFolder extends Disposable {
  readonly path: string;
  /** Its service's time may be moved. Decided when the folder is made, for ever. */
  readonly isRehearsal: boolean;
  /** A folder inside, 0700, made if missing; belongs to the control plane. */
  folder(name: string): string;
}

interface Marker {
  readonly version: number;
  readonly createdAt?: string;
  /** Present and true, or absent: a folder is never unmarked. */
  readonly rehearsal?: true;
}

/** What a folder has in it once a service ran on it, whatever became of its marker. */
const TRACES = ['catalog', 'access', 'vault', 'kms', 'host'];

/**
 * @param controlPlane whom the control plane's files belong to; undefined when nobody changes user.
 * @param isRehearsal asks for a rehearsal's folder: a new one becomes one, an old one must be one. Without
 *   it a folder is what it was made as.
 * @throws Refused `Conflict` when another process uses the folder, `WrongState` for a newer version or
 *   `[NOT_A_REHEARSAL]`.
 */
export function openDataFolder(
  path: string,
  options: { clock: Clock; pid: number; controlPlane?: Owner; isRehearsal?: boolean },
): DataFolder {
  const { controlPlane, isRehearsal: isAskedFor = false } = options;
  mkdirSync(path, { recursive: true, mode: 0o700 });
  if (controlPlane !== undefined) {
    chownSync(path, 0, controlPlane.gid);
    chmodSync(path, 0o1771);
  }
  const own = (file: string): string => {
    if (controlPlane !== undefined) chownSync(file, controlPlane.uid, controlPlane.gid);
    return file;
  };
  const marker = readMarker(path) ?? createMarker(path, options.clock, isAskedFor, own);
  const isRehearsal = marker.rehearsal === true;
  if (isAskedFor && !isRehearsal) throw notARehearsal(path);
  const lock = takeLock(path, options, own);
  return {
    path,
    isRehearsal,
    folder(name) {
      const folder = join(path, name);
      if (!existsSync(folder)) {
        mkdirSync(folder, { mode: 0o700 });
        own(folder);
      }
      return folder;
    },
    [Symbol.dispose]: () => lock.close(),
  };
}

/** Undefined for a new folder. @throws Refused for a newer version; Failed `START` for a damaged file. */
function readMarker(path: string): Marker | undefined {
  const file = join(path, 'keyark.json');
  if (!existsSync(file)) return undefined;
  const marker = markerIn(file);
  if (marker.version > DATA_VERSION) {
    throw new Refused(
      'WrongState',
      `[NEWER_DATA] ${path} was written by a newer Keyark (data version ${marker.version}; this one knows ${DATA_VERSION}). Nothing was touched. Start it with the version that wrote it.`,
    );
  }
  return marker;
}

function createMarker(
  path: string,
  clock: Clock,
  isRehearsal: boolean,
  own: (file: string) => string,
): Marker {
  // A folder that only lost its marker may hold keys that matter.
  if (isRehearsal && TRACES.some((name) => existsSync(join(path, name)))) throw notARehearsal(path);
  const marker: Marker = {
    version: DATA_VERSION,
    createdAt: isoTime(clock.now()),
    ...(isRehearsal ? { rehearsal: true } : {}),
  };
  const file = join(path, 'keyark.json');
  writeFileSync(file, `${JSON.stringify(marker)}\n`, { mode: 0o644, flush: true });
  own(file);
  return marker;
}

const notARehearsal = (path: string): Refused =>
  new Refused(
    'WrongState',
    `[NOT_A_REHEARSAL] ${path} was made without --rehearsal, which cannot be changed. Nothing was touched. Give --data with a new folder.`,
  );

/** @throws Failed `START` for a file that is not ours. */
function markerIn(file: string): Marker {
  try {
    const marker: unknown = JSON.parse(readFileSync(file, 'utf8'));
    if (typeof marker === 'object' && marker !== null && 'version' in marker) {
      const { version } = marker;
      const rehearsal = 'rehearsal' in marker ? marker.rehearsal : undefined;
      const isOurs = rehearsal === undefined || rehearsal === true;
      if (typeof version === 'number' && Number.isSafeInteger(version) && isOurs) {
        return { version, ...(rehearsal === true ? { rehearsal } : {}) };
      }
    }
  } catch {
    // Said below, in words that help: what JSON.parse says does not.
  }
  throw new Failed(
    'START',
    `${file} is damaged: it does not say which version wrote this folder. Nothing was touched.`,
  );
}

/** An exclusive SQLite transaction is a lock that the kernel releases when the process dies. */
function takeLock(
  path: string,
  options: { clock: Clock; pid: number },
  own: (file: string) => string,
): DatabaseSync {
  const file = join(path, 'lock');
  const userFile = join(path, 'user');
  const lock = new DatabaseSync(file, { timeout: 0 });
  try {
    lock.exec('PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE');
  } catch (cause) {
    lock.close();
    throw new Refused(
      'InUse',
      `[DATA_IN_USE] Another Keyark (${userOf(userFile)}) uses ${path}. Stop it with \`keyark stop\`, or start this one with --data on another folder.`,
      { cause },
    );
  }
  try {
    chmodSync(own(file), 0o600);
    writeFileSync(userFile, userText(options.pid, options.clock.now()), { mode: 0o600 });
    own(userFile);
  } catch (cause) {
    lock.close();
    throw new Failed('START', `${path} cannot be written`, { cause });
  }
  return lock;
}

function userText(pid: number, now: EpochMs): string {
  return `process ${pid}, since ${isoTime(now)}`;
}

function userOf(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim();
  } catch {
    // The note is a courtesy; the lock is what counts.
    return 'an unknown process';
  }
}
