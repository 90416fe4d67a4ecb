/** How people write how long: `90s`, `10m`, `2h`. */
import { HOUR_MS, MINUTE_MS, SECOND_MS } from '../kernel/clock.ts';
import { CommandFailed, EXIT } from './exit-codes.ts';

const UNITS = new Map([
  ['s', SECOND_MS],
  ['m', MINUTE_MS],
  ['h', HOUR_MS],
]);
const LONGEST_MS = 48 * HOUR_MS;

/** @throws CommandFailed `USAGE`. */
export function parseDuration(text: string, option: string): number {
  const [, number, unit = 's'] = /^(\d{1,6})([smh])?$/.exec(text) ?? [];
  const ms = Number(number) * (UNITS.get(unit) ?? Number.NaN);
  if (ms > 0 && ms <= LONGEST_MS) return ms;
  throw new CommandFailed(
    EXIT.USAGE,
    `${option} ${text}: a time such as 90s, 10m or 2h is expected, at most 48h.`,
  );
}
