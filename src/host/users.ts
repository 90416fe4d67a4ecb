/**
 * Who runs what. Started as root, the host with its HSMs and the control plane become two different
 * users, so that the kernel keeps the control plane away from roots, HSM folders and memory. Started by
 * one ordinary user, everything stays that user (SECURITY.md says what that is worth).
 */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { Failed } from '../kernel/errors.ts';

export interface SystemUser {
  readonly uid: number;
  readonly gid: number;
}

/** Numbers without a name: nobody logs in as them, and no package claims them. */
const HOST_DEFAULT: SystemUser = { uid: 61_841, gid: 61_841 };
const CONTROL_PLANE_DEFAULT: SystemUser = { uid: 61_842, gid: 61_842 };

export const isRoot = (): boolean => process.getuid?.() === 0;

/** The user of the host and its HSMs: `keyark-host` where the system has it. */
export const hostUser = (): SystemUser => systemUser('keyark-host') ?? HOST_DEFAULT;

/** The user of `keyark serve`: `keyark` where the system has it. */
export const controlPlaneUser = (): SystemUser => systemUser('keyark') ?? CONTROL_PLANE_DEFAULT;

/** The group whose members may open the doors: `keyark-users` where the system has it. */
export const doorGroup = (): number | undefined => {
  const gid = entry('/etc/group', 'keyark-users')?.[2];
  return gid === undefined ? undefined : Number(gid);
};

/** Gives up root for good: groups first, because afterwards it would be forbidden. */
export function becomeUser(user: SystemUser): void {
  process.setgroups?.([]);
  process.setgid?.(user.gid);
  process.setuid?.(user.uid);
  if (process.getuid?.() !== user.uid || process.getgid?.() !== user.gid) {
    throw new Failed('START', `could not become user ${user.uid}:${user.gid}`);
  }
}

/** @returns the folder above `path` that the user may not pass, if there is one. */
export function blockedAt(path: string, user: SystemUser): string | undefined {
  for (let at = dirname(resolve(path)); ; at = dirname(at)) {
    if (existsSync(at)) {
      const { mode, uid, gid } = statSync(at);
      const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0;
      if (((mode >> shift) & 1) === 0) return at;
    }
    if (dirname(at) === at) return undefined;
  }
}

/** `UID:GID`, as on the command line. */
export function parseUser(text: string): SystemUser {
  const match = /^(\d{1,9}):(\d{1,9})$/.exec(text);
  if (match === null)
    throw new Failed('START', `"${text}" is not UID:GID, for example 61841:61841`);
  return { uid: Number(match[1]), gid: Number(match[2]) };
}

function systemUser(name: string): SystemUser | undefined {
  const fields = entry('/etc/passwd', name);
  return fields === undefined ? undefined : { uid: Number(fields[2]), gid: Number(fields[3]) };
}

function entry(file: string, name: string): readonly string[] | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch {
    // A system without this file has no such name; the numeric default holds.
    return undefined;
  }
  return text
    .split('\n')
    .map((line) => line.split(':'))
    .find(([first]) => first === name);
}
