/** Durations and dates as people write them. */
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../kernel/clock.ts';
import type { EpochMs } from '../kernel/types.ts';
import { CommandFailed, EXIT } from './exit-codes.ts';

const UNITS = new Map([
  ['s', SECOND_MS],
  ['m', MINUTE_MS],
  ['h', HOUR_MS],
  ['d', DAY_MS],
  ['w', 7 * DAY_MS],
]);

/** `90m`, `8d`, `1w`, `1d12h` in milliseconds. @throws CommandFailed `USAGE`. */
export function parseDuration(text: string): number {
  if (!/^(?:\d{1,6}[smhdw])+$/.test(text)) {
    throw new CommandFailed(EXIT.USAGE, `"${text}" is no duration; write 90m, 8d, 1w or 1d12h.`);
  }
  return [...text.matchAll(/(\d+)([smhdw])/g)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * (UNITS.get(unit ?? '') ?? 0),
    0,
  );
}

/**
 * `2027-01-31`, which is to the end of that day, or `2027-01-31T12:00:00Z`; always UTC.
 * @throws CommandFailed `USAGE`, also for a day that no calendar has.
 */
export function parseDate(text: string): EpochMs {
  const isDay = /^\d{4}-\d\d-\d\d$/.test(text);
  const isTime = /^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?Z$/.test(text);
  const at = isDay || isTime ? Date.parse(isDay ? `${text}T00:00:00Z` : text) : Number.NaN;
  // A day that does not exist is moved on to the next month by some parsers.
  const isReal = !Number.isNaN(at) && new Date(at).toISOString().startsWith(text.slice(0, 10));
  if (!isReal) {
    throw new CommandFailed(
      EXIT.USAGE,
      `"${text}" is no date; write 2027-01-31 (to the end of that day) or 2027-01-31T12:00:00Z.`,
    );
  }
  // Milliseconds since 1970 are what EpochMs brands.
  return (isDay ? at + DAY_MS : at) as EpochMs;
}
