/**
 * Whether the machine's time may decide about what cannot be undone. A clock that steps would end
 * retention and undo windows early, so the time of day is held against the machine's uptime, which
 * nobody can set; after a step nothing goes for good until an operator has looked and confirmed.
 *
 * What counts as a step, and why, is docs/decisions/0013.
 */
import type { Catalog } from '../catalog/catalog.ts';
import { type Clock, DAY_MS, HOUR_MS, MINUTE_MS, type Uptime } from '../kernel/clock.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Events } from './events.ts';

/** A step of up to this is what machines do after a rough start. */
const TOLERATED_MS = HOUR_MS;
/** Off for longer than this is asked about: every undo window could be over by a wrong clock. */
const LONGEST_OFF_MS = 7 * DAY_MS;
/** After its start a machine gets this long to ask a time server, before anything goes for good. */
const SETTLE_MS = 10 * MINUTE_MS;
const SEEN_EVERY_MS = 5 * MINUTE_MS;
const SETTING = 'clock';

export interface Sample {
  readonly at: EpochMs;
  readonly upMs: number;
  readonly bootId: string;
}

export interface ClockStep {
  /** By how much: negative is back. */
  readonly byMs: number;
  /** What the clock said when it was found. */
  readonly foundAt: EpochMs;
  readonly how: 'while the machine ran' | 'while the machine was off';
}

export type Verdict =
  | { readonly kind: 'steady' }
  /** Another start of the machine, at a believable time. */
  | { readonly kind: 'restarted' }
  | { readonly kind: 'stepped'; readonly step: ClockStep };

/**
 * @param base what is compared with: small steps add up, because it stays while the machine runs.
 * @param seenAt the newest time that was accepted.
 */
export function judge(base: Sample, seenAt: EpochMs, now: Sample): Verdict {
  const stepped = (byMs: number, how: ClockStep['how']): Verdict => ({
    kind: 'stepped',
    step: { byMs, foundAt: now.at, how },
  });
  if (now.bootId === base.bootId) {
    const byMs = now.at - base.at - (now.upMs - base.upMs);
    return Math.abs(byMs) > TOLERATED_MS
      ? stepped(byMs, 'while the machine ran')
      : { kind: 'steady' };
  }
  // Where the clock puts the machine's start: what has passed since then is the uptime's word.
  const awayMs = now.at - now.upMs - seenAt;
  const isBelievable = awayMs >= -TOLERATED_MS && awayMs <= LONGEST_OFF_MS;
  return isBelievable ? { kind: 'restarted' } : stepped(awayMs, 'while the machine was off');
}

interface State {
  readonly base: Sample;
  readonly seenAt: EpochMs;
  /** The base is the start of a machine that ran before: its first minutes are waited for. */
  readonly isRestarted: boolean;
  readonly step?: ClockStep;
}

export interface ClockWatchDeps {
  readonly catalog: Catalog;
  /** The machine's own, also on a rehearsal: moving a rehearsal's time is no step. */
  readonly machine: Clock;
  readonly uptime: Uptime;
  readonly aheadMs: () => number;
  readonly events: Events;
}

export class ClockWatch {
  readonly #deps: ClockWatchDeps;
  #state: State;

  constructor(deps: ClockWatchDeps) {
    this.#deps = deps;
    const stored = deps.catalog.read((reader) => reader.setting(SETTING));
    // Written from a State by `#keep`.
    this.#state = stored === undefined ? this.#afresh() : (JSON.parse(stored) as State);
    if (stored === undefined) this.#keep(this.#state);
  }

  /** The service's time, looked at once; undefined while nothing may go for good. */
  trustedNow(): EpochMs | undefined {
    const now = this.#sample();
    const { base, seenAt, step } = this.#state;
    if (step !== undefined) return undefined;
    const verdict = judge(base, seenAt, now);
    if (verdict.kind === 'stepped') {
      this.#keep({ ...this.#state, step: verdict.step });
      const { byMs, how } = verdict.step;
      this.#deps.events.emit({ kind: 'clockStepped', byMs, how });
      return undefined;
    }
    if (verdict.kind === 'restarted') {
      this.#keep({ base: now, seenAt: now.at, isRestarted: true });
    } else if (now.at - seenAt >= SEEN_EVERY_MS) {
      this.#keep({ ...this.#state, seenAt: now.at });
    }
    if (this.#state.isRestarted && now.upMs < SETTLE_MS) return undefined;
    // A time plus a duration is a time.
    return (now.at + this.#deps.aheadMs()) as EpochMs;
  }

  /** The step that waits for an operator. */
  step(): ClockStep | undefined {
    return this.#state.step;
  }

  /** From here on the clock is believed again. @returns the step that this ended, if there was one. */
  confirm(by: string): ClockStep | undefined {
    const { step } = this.#state;
    if (step === undefined) return undefined;
    this.#keep(this.#afresh());
    this.#deps.events.emit({ kind: 'clockConfirmed', byMs: step.byMs, by });
    return step;
  }

  #afresh(): State {
    const now = this.#sample();
    return { base: now, seenAt: now.at, isRestarted: false };
  }

  #keep(state: State): void {
    this.#deps.catalog.transact((writer) => writer.putSetting(SETTING, JSON.stringify(state)));
    this.#state = state;
  }

  #sample(): Sample {
    const { machine, uptime } = this.#deps;
    return { at: machine.now(), upMs: uptime.elapsedMs(), bootId: uptime.bootId() };
  }
}
