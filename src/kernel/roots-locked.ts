/** What is said while the roots are sealed and nobody has unlocked them: the same words everywhere. */
import { Refused } from './errors.ts';

export function rootsLocked(): Refused {
  return new Refused(
    'RootsLocked',
    '[ROOTS_LOCKED] Keyark runs but its roots are locked, so no HSM can start. Unlock: `keyark unlock`; ' +
      'for unattended starts: a systemd credential named keyark-roots. Applications wait; nothing is lost.',
  );
}

/** The state message of an HSM that waits for it. */
export const WAITS_FOR_ROOTS =
  'The HSM waits: the roots are locked. Unlock them: keyark unlock. Nothing is lost.';
