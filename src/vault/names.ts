/** Names of stored objects. Parsed at the door, so no name ever becomes a path that leaves the vault. */
import { Refused } from '../kernel/errors.ts';
import type { ObjectName } from './vault.ts';

const SEGMENT = /^(?!\.+$)[A-Za-z0-9._-]{1,100}$/;

/** @throws Refused `InvalidRequest`. */
export function parseObjectName(text: string): ObjectName {
  const segments = text.split('/');
  if (segments.length !== 2 || !segments.every((segment) => SEGMENT.test(segment))) {
    throw new Refused(
      'InvalidRequest',
      `"${text.slice(0, 64)}" is not the name of a stored object; one looks like backup-keyark2ab3cd4ef5/body.`,
    );
  }
  // The pattern above is what the brand stands for.
  return text as ObjectName;
}

/** @throws Refused `InvalidRequest`. */
export const objectName = (backupId: string, part: string): ObjectName =>
  parseObjectName(`${backupId}/${part}`);

/** The two segments: the backup's folder and the part within it. */
export function splitObjectName(name: ObjectName): { folder: string; part: string } {
  const slash = name.indexOf('/');
  return { folder: name.slice(0, slash), part: name.slice(slash + 1) };
}
