/** The service's time, as `keyark clock` shows and changes it. */
import type { TimeFacts } from '../api/native-retention.ts';
import type { Clock } from '../kernel/clock.ts';
import type { JsonObject } from '../kernel/types.ts';
import type { ClockStep, ClockWatch } from './clock-watch.ts';
import type { Rehearsal } from './rehearsal.ts';

export interface TimeFactsDeps {
  readonly clock: Clock;
  readonly watch: Pick<ClockWatch, 'step' | 'confirm' | 'trustedNow'>;
  readonly rehearsal: Pick<Rehearsal, 'isRehearsal' | 'aheadMs' | 'advance'>;
}

export function createTimeFacts({ clock, watch, rehearsal }: TimeFactsDeps): TimeFacts {
  const show = (): JsonObject => ({
    Now: clock.now() / 1000,
    IsRehearsal: rehearsal.isRehearsal,
    AheadSeconds: rehearsal.aheadMs / 1000,
    IsPurging: watch.trustedNow() !== undefined,
    Step: renderStep(watch.step()),
  });
  return {
    isRehearsal: rehearsal.isRehearsal,
    clock: show,
    confirm(by) {
      const ended = watch.confirm(by);
      return { ...show(), Confirmed: renderStep(ended) };
    },
    advance(ms, by) {
      rehearsal.advance(ms, by);
      return show();
    },
  };
}

export function renderStep(step: ClockStep | undefined): JsonObject | undefined {
  return step && { BySeconds: step.byMs / 1000, How: step.how, FoundAt: step.foundAt / 1000 };
}
