/** Time as an argument. The only file that may ask the machine what time it is. */
import { setTimeout as sleepFor } from 'node:timers/promises';
import type { EpochMs } from './types.ts';

export interface Clock {
  now(): EpochMs;
  /** Resolves after `ms` of this clock's time, rejects with the signal's reason when aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** What no setting of the time can move. */
export interface Uptime {
  /** Another one after each start of the machine. */
  bootId(): string;
  /** Since that start, time asleep included. */
  elapsedMs(): number;
}

export const systemClock: Clock = {
  // A plain number from the machine is what EpochMs brands.
  now: () => Date.now() as EpochMs,
  sleep: async (ms, signal) => {
    await sleepFor(ms, undefined, signal === undefined ? {} : { signal });
  },
};

export const SECOND_MS = 1_000;
export const MINUTE_MS = 60 * SECOND_MS;
export const HOUR_MS = 60 * MINUTE_MS;
export const DAY_MS = 24 * HOUR_MS;

/** `2026-11-23T09:14:10Z`: what people and logs see. */
export function isoTime(at: EpochMs): string {
  return new Date(at).toISOString().replace(/\.\d{3}Z$/, 'Z');
}
