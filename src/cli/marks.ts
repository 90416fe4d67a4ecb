/** What must be said before anything else about a service: a rehearsal, a clock in doubt, holds. */
import type { JsonObject } from '../kernel/types.ts';
import { numberOf, optionalObject, textOf } from './json.ts';
import { duration } from './print.ts';

/** @param status the answer of GetStatus. */
export function markLines(status: JsonObject): readonly string[] {
  const lines: string[] = [];
  if (status['IsRehearsal'] === true) {
    const aheadMs = numberOf(status, 'AheadSeconds') * 1000;
    const ahead = aheadMs === 0 ? '' : ` Its time is ${duration(aheadMs)} ahead of the machine's.`;
    lines.push(`REHEARSAL: what happens here proves nothing about any other Keyark.${ahead}`);
  }
  const step = optionalObject(status, 'ClockStep');
  if (step !== undefined) lines.push(stepLine(step));
  return lines;
}

/** In front of whatever could be taken for evidence. @param answer of our own operations. */
export const rehearsalMark = (answer: JsonObject): string =>
  answer['IsRehearsal'] === true ? 'REHEARSAL  ' : '';

export function stepLine(step: JsonObject): string {
  const byMs = numberOf(step, 'BySeconds') * 1000;
  const direction = byMs < 0 ? 'back' : 'forward';
  return `[CLOCK_STEPPED] Nothing is purged: the clock moved ${duration(Math.abs(byMs))} ${direction} ${textOf(step, 'How')}. Check it, then: keyark clock confirm`;
}

/** Below everything else; nothing without holds. */
export function holdLines(status: JsonObject): readonly string[] {
  const holds = optionalObject(status, 'Holds');
  const held = holds === undefined ? 0 : numberOf(holds, 'Backups');
  if (holds === undefined || held === 0) return [];
  const count = held === 1 ? '1 backup is held' : `${held} backups are held`;
  return [`${count}: ${bindText(textOf(holds, 'Bind'))} List: keyark hold list`];
}

export function bindText(binds: string): string {
  return binds === 'store'
    ? 'the store itself locks them, also against root on this machine.'
    : 'the vault refuses to remove them, whoever asks through Keyark; root on this machine is not bound, as only an object store with locks of its own binds root.';
}
