/** Deletion with undo: seven days PENDING_DELETION, and back. Pure transitions; the caller transacts. */
import { DAY_MS, isoTime } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { EpochMs } from '../kernel/types.ts';
import { isOffered, type Profile } from '../profile.ts';
import type { Backup, PendingBackup, Removal } from './backup.ts';
import { refuseHeld } from './holds.ts';

export const UNDO_MS = 7 * DAY_MS;

/** @throws Refused `WrongState` unless READY, and while a hold stands. */
export function markDeleted(backup: Backup, now: EpochMs, removal: Removal): PendingBackup {
  if (backup.state !== 'READY') {
    throw new Refused(
      'WrongState',
      `${backup.id} is ${backup.state}; only a READY backup can be deleted.`,
    );
  }
  refuseHeld(backup, now);
  // A time plus a duration is a time.
  const purgeAt = (now + UNDO_MS) as EpochMs;
  return { ...backup, state: 'PENDING_DELETION', purgeAt, removal };
}

/**
 * Back to READY, and safe from retention and thinning for seven days, so that there is time to change the
 * policy or to set it to never expire. In `aws-exact` the next review takes it again, as AWS's purge does.
 * @throws Refused `WrongState` unless PENDING_DELETION with time left.
 */
export function markUndeleted(backup: Backup, now: EpochMs, profile: Profile): Backup {
  if (backup.state !== 'PENDING_DELETION') {
    throw new Refused(
      'WrongState',
      `${backup.id} is ${backup.state}; only a backup in PENDING_DELETION can be brought back.`,
    );
  }
  if (backup.purgeAt <= now || backup.removal.purgeBegunAt !== undefined) {
    throw new Refused(
      'WrongState',
      `${backup.id} could be brought back until ${isoTime(backup.purgeAt)}; it is being purged.`,
    );
  }
  const { purgeAt: _purgeAt, removal: _removal, sparedUntil: _spared, ...rest } = backup;
  const ready: Backup = { ...rest, state: 'READY' };
  if (!isOffered(profile, 'undoGrace')) return ready;
  // A time plus a duration is a time.
  return { ...ready, sparedUntil: (now + UNDO_MS) as EpochMs };
}
