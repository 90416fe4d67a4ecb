/** Waiting for something that others do: asked again and again, for a bounded time. */
import type { Clock } from '../kernel/clock.ts';
import { CommandFailed, EXIT } from './exit-codes.ts';

export interface Patience {
  /** `the HSM is ACTIVE`: what is told when it does not come about. */
  readonly until: string;
  readonly atMostMs: number;
  readonly everyMs?: number;
  readonly signal?: AbortSignal | undefined;
}

const EVERY_MS = 100;

/** @returns the first answer of `ask` that is not undefined. @throws CommandFailed `TIMED_OUT`. */
export async function waitFor<T>(
  clock: Clock,
  patience: Patience,
  ask: () => Promise<T | undefined>,
): Promise<T> {
  const deadline = clock.now() + patience.atMostMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (clock.now() >= deadline) {
      throw new CommandFailed(
        EXIT.TIMED_OUT,
        `Waited ${Math.round(patience.atMostMs / 1000)} s until ${patience.until}, in vain.`,
      );
    }
    await clock.sleep(patience.everyMs ?? EVERY_MS, patience.signal);
  }
}
