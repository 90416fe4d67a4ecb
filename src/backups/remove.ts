/** Deletion with undo: seven days PENDING_DELETION, and back. Pure transitions; the caller transacts. */
import { DAY_MS, isoTime } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Backup, Removal } from './backup.ts';

export const UNDO_MS = 7 * DAY_MS;

/** @throws Refused `WrongState` unless READY. */
export function markDeleted(backup: Backup, now: EpochMs, removal: Removal): Backup {
  if (backup.state !== 'READY') {
    throw new Refused(
      'WrongState',
      `${backup.id} is ${backup.state}; only a READY backup can be deleted.`,
    );
  }
  // A time plus a duration is a time.
  const purgeAt = (now + UNDO_MS) as EpochMs;
  return { ...backup, state: 'PENDING_DELETION', purgeAt, removal };
}

/** @throws Refused `WrongState` unless PENDING_DELETION with time left. */
export function markUndeleted(backup: Backup, now: EpochMs): Backup {
  if (backup.state !== 'PENDING_DELETION') {
    throw new Refused(
      'WrongState',
      `${backup.id} is ${backup.state}; only a backup in PENDING_DELETION can be brought back.`,
    );
  }
  if (backup.purgeAt <= now) {
    throw new Refused(
      'WrongState',
      `${backup.id} could be brought back until ${isoTime(backup.purgeAt)}; it is being purged.`,
    );
  }
  const { purgeAt: _purgeAt, removal: _removal, ...rest } = backup;
  return { ...rest, state: 'READY' };
}
