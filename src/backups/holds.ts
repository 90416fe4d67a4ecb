/**
 * Holds: promises that a backup stays. Pure rules; `hold.ts` acts. A compliance hold ends by its date and
 * by nothing else, and its date only ever moves away; a legal hold ends when it is lifted.
 */
import { DAY_MS, isoTime } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Backup, Hold } from './backup.ts';

/** A date further away than this is a slip of the hand, and could never be taken back. */
const LONGEST_MS = 100 * 366 * DAY_MS;

export type HoldTerms =
  | { readonly kind: 'compliance'; readonly until: EpochMs }
  | { readonly kind: 'legal' };

type Held = Pick<Backup, 'id' | 'holds'>;

export function legalHoldOn({ holds }: Pick<Backup, 'holds'>): Hold | undefined {
  return holds.find(({ kind }) => kind === 'legal');
}

/** The compliance hold and its date, whether that has passed or not. */
export function complianceHoldOn({
  holds,
}: Pick<Backup, 'holds'>): (Hold & { readonly until: EpochMs }) | undefined {
  for (const hold of holds) {
    if (hold.kind === 'compliance' && hold.until !== undefined) {
      return { ...hold, until: hold.until };
    }
  }
  return undefined;
}

/** What keeps the backup from going now. */
export function standingHold(backup: Pick<Backup, 'holds'>, now: EpochMs): Hold | undefined {
  const compliance = complianceHoldOn(backup);
  const isStanding = compliance !== undefined && compliance.until > now;
  return legalHoldOn(backup) ?? (isStanding ? compliance : undefined);
}

export function holdText(hold: Hold): string {
  return hold.until === undefined
    ? `under a legal hold ("${hold.why}")`
    : `held until ${isoTime(hold.until)} ("${hold.why}")`;
}

/** @throws Refused `WrongState` `[HELD]` while a hold stands. */
export function refuseHeld(backup: Held, now: EpochMs): void {
  const hold = standingHold(backup, now);
  if (hold === undefined) return;
  throw new Refused(
    'WrongState',
    `[HELD] ${backup.id} is ${holdText(hold)}, set by ${hold.by}, and can't be deleted or shortened; nothing was changed. See all holds: \`keyark hold list\`.`,
  );
}

/** @throws Refused `InvalidRequest`, `WrongState`: not READY, a date not later than the present one. */
export function withHold(
  backup: Backup,
  terms: HoldTerms,
  given: { readonly why: string; readonly by: string; readonly at: EpochMs },
): Backup {
  if (backup.state !== 'READY') {
    throw new Refused(
      'WrongState',
      `${backup.id} is ${backup.state}; only a READY backup can be held.${backup.state === 'PENDING_DELETION' ? ' Bring it back first: `keyark backup undelete`.' : ''}`,
    );
  }
  if (terms.kind === 'legal') {
    const standing = legalHoldOn(backup);
    // Asked for again: the first time may have ended before the vault had it.
    if (standing?.why === given.why) return backup;
    if (standing !== undefined) {
      throw new Refused(
        'WrongState',
        `[HELD] ${backup.id} is ${holdText(standing)} already; nothing was changed. To change its reason, lift it and set it again.`,
      );
    }
    return { ...backup, holds: [...backup.holds, { ...terms, ...given }] };
  }
  checkDate(terms.until, given.at);
  const standing = complianceHoldOn(backup);
  if (standing !== undefined && standing.until > terms.until && standing.until > given.at) {
    throw new Refused(
      'WrongState',
      `[HELD] ${backup.id} is ${holdText(standing)}; a compliance hold can only be prolonged, so ${isoTime(terms.until)} was refused and nothing was changed.`,
    );
  }
  const others = backup.holds.filter(({ kind }) => kind !== 'compliance');
  return { ...backup, holds: [...others, { ...terms, ...given }] };
}

/** @throws Refused `WrongState` when no legal hold stands. */
export function withoutLegalHold(backup: Backup, now: EpochMs): Backup {
  if (legalHoldOn(backup) === undefined) {
    const standing = standingHold(backup, now);
    const why =
      standing === undefined
        ? 'is not held'
        : `is ${holdText(standing)}, which ends by its date and cannot be lifted`;
    throw new Refused('WrongState', `[HELD] ${backup.id} ${why}; nothing was changed.`);
  }
  return { ...backup, holds: backup.holds.filter(({ kind }) => kind !== 'legal') };
}

function checkDate(until: EpochMs, now: EpochMs): void {
  if (until <= now) {
    throw new Refused(
      'InvalidRequest',
      `A hold until ${isoTime(until)} would be over already: it is ${isoTime(now)}. Give a later date.`,
    );
  }
  if (until - now > LONGEST_MS) {
    throw new Refused(
      'InvalidRequest',
      `A hold until ${isoTime(until)} is more than a hundred years long and could never be taken back; give an earlier date, or a legal hold.`,
    );
  }
}
