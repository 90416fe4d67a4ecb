/**
 * The data folder: whose it is, which version wrote it, and that one process at a time uses it.
 *
 * Run by root it belongs to root with the sticky bit, so that the control plane can write its own files
 * beside the host's folder but can never replace that.
 */
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { type Clock, isoTime } from './kernel/clock.ts';
import { Failed, Refused } from './kernel/errors.ts';
import type { EpochMs } from './kernel/types.ts';

/**
 * `STEPS[n - 1]` brings a folder of version n to n + 1. A released step is never edited, and each is safe to
 * repeat: the power may go after it and before the new version is written. Rows have steps of their own, in
 * `catalog/schema.ts`.
 */
const STEPS: readonly Step[] = [];
export type Step = (folder: string) => void;

/** Written by this program. A newer one is refused, an older one walks up through the steps. */
export const DATA_VERSION = STEPS.length + 1;

const MARKER = 'keyark.json';
/** Where one of these is, somebody's data is. */
const CONTENTS = ['host', 'catalog', 'access', 'vault', 'kms'];

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
  readonly createdAt: string;
  /** Present and true, or absent: a folder is never unmarked. */
  readonly rehearsal?: true;
}

/**
 * @param options.controlPlane whom its files belong to; undefined when nobody changes user.
 * @param options.isRehearsal asks for a rehearsal's folder: a new one becomes one, an old one must be one.
 *   Without it a folder is what it was made as.
 * @throws Refused `InUse` when another process uses the folder, `WrongState` for a newer version or
 *   `[NOT_A_REHEARSAL]`;
 *   Failed `START` for a folder that does not say its version. Nothing is touched then.
 */
export function openDataFolder(
  path: string,
  options: {
    clock: Clock;
    pid: number;
    controlPlane?: Owner;
    isRehearsal?: boolean;
    steps?: readonly Step[];
  },
): DataFolder {
  const { controlPlane, isRehearsal: isAskedFor = false, steps = STEPS } = options;
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const before = markerIn(path, steps);
  if (isAskedFor && before !== undefined && before.rehearsal !== true) throw notARehearsal(path);
  if (controlPlane !== undefined) {
    chownSync(path, 0, controlPlane.gid);
    chmodSync(path, 0o1771);
  }
  const own = (file: string): string => {
    if (controlPlane !== undefined) chownSync(file, controlPlane.uid, controlPlane.gid);
    return file;
  };
  const lock = takeLock(path, options, own);
  let marker: Marker;
  try {
    marker = bringUp(path, { steps, clock: options.clock, isRehearsal: isAskedFor, own });
  } catch (cause) {
    lock.close();
    throw cause;
  }
  return {
    path,
    isRehearsal: marker.rehearsal === true,
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

/** Under the lock: from nothing, or from whatever version it is, to this program's. */
function bringUp(
  path: string,
  given: {
    steps: readonly Step[];
    clock: Clock;
    isRehearsal: boolean;
    own: (file: string) => string;
  },
): Marker {
  const { steps, clock, isRehearsal, own } = given;
  const newest = steps.length + 1;
  const found = markerIn(path, steps);
  if (found === undefined) {
    const marker: Marker = {
      version: newest,
      createdAt: isoTime(clock.now()),
      ...(isRehearsal ? { rehearsal: true } : {}),
    };
    writeMarker(path, marker, own);
    return marker;
  }
  for (let { version } = found; version < newest; version += 1) {
    steps[version - 1]?.(path);
    writeMarker(path, { ...found, version: version + 1 }, own);
  }
  return { ...found, version: newest };
}

const notARehearsal = (path: string): Refused =>
  new Refused(
    'WrongState',
    `[NOT_A_REHEARSAL] ${path} was made without --rehearsal, which cannot be changed. Nothing was touched. Give --data with a new folder.`,
  );

/**
 * Undefined for an unborn folder: without a version, or with an empty file that a power cut left, and
 * without data.
 */
function markerIn(path: string, steps: readonly Step[]): Marker | undefined {
  const file = join(path, MARKER);
  const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
  if (text === '' && !CONTENTS.some((name) => existsSync(join(path, name)))) return undefined;
  const marker = parseMarker(text);
  if (marker === undefined) {
    throw new Failed(
      'START',
      `${file} is damaged: it does not say which version wrote this folder. Nothing was touched. Put it back from your copy of the folder.`,
    );
  }
  const newest = steps.length + 1;
  if (marker.version > newest) {
    throw new Refused(
      'WrongState',
      `[NEWER_DATA] ${path} was written by a newer Keyark (data version ${marker.version}; this one knows ${newest}). Nothing was touched. Start it with the version that wrote it.`,
    );
  }
  return marker;
}

function parseMarker(text: string): Marker | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The caller says it in words that help: what JSON.parse says does not.
    return undefined;
  }
  if (typeof value !== 'object' || value === null || !('version' in value)) return undefined;
  const { version } = value;
  const createdAt = 'createdAt' in value ? String(value.createdAt) : '';
  const rehearsal = 'rehearsal' in value ? value.rehearsal : undefined;
  const isOurs = rehearsal === undefined || rehearsal === true;
  return isOurs && typeof version === 'number' && Number.isSafeInteger(version) && version >= 1
    ? { version, createdAt, ...(rehearsal === true ? { rehearsal } : {}) }
    : undefined;
}

/** Whole or not at all: content first, then the name, then the folder. */
function writeMarker(path: string, marker: Marker, own: (file: string) => string): void {
  const file = join(path, MARKER);
  const draft = `${file}.new`;
  writeFileSync(draft, `${JSON.stringify(marker)}\n`, { mode: 0o644, flush: true });
  renameSync(own(draft), file);
  const folder = openSync(path, 'r');
  try {
    fsyncSync(folder);
  } finally {
    closeSync(folder);
  }
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
