/**
 * A sign of life for somebody else's monitor: while everything is proven and in time, one GET now and then.
 * Whatever goes wrong, this service's own death included, is the same to the monitor: silence.
 */
import type { Clock } from '../kernel/clock.ts';
import { SECOND_MS } from '../kernel/clock.ts';
import type { Events } from './events.ts';
import type { Health } from './health.ts';

const PATIENCE_MS = 10 * SECOND_MS;

export interface HeartbeatDeps {
  readonly clock: Clock;
  readonly events: Events;
  readonly health: () => Promise<Health>;
}

export interface HeartbeatSettings {
  /** http or https, checked where settings are read. */
  readonly url: string;
  readonly everyMs: number;
}

type State = 'sent' | 'withheld' | 'unreachable';

/** Until the signal aborts. Tells each change of its own state once. */
export async function runHeartbeat(
  deps: HeartbeatDeps,
  settings: HeartbeatSettings,
  signal: AbortSignal,
): Promise<void> {
  let told: State | undefined;
  while (!signal.aborted) {
    const { state, why } = await beat(deps, settings.url, signal);
    if (state !== told && !signal.aborted) {
      deps.events.emit({ kind: 'heartbeat', state, why });
      told = state;
    }
    try {
      await deps.clock.sleep(settings.everyMs, signal);
    } catch {
      // Aborted while waiting: the loop's condition ends it.
    }
  }
}

/** One look, and one GET if all is well. Never throws. */
export async function beat(
  deps: HeartbeatDeps,
  url: string,
  signal: AbortSignal,
): Promise<{ state: State; why: string }> {
  try {
    const { level, reasons } = await deps.health();
    if (level !== 'good') {
      return { state: 'withheld', why: reasons.map(({ why }) => why).join('; ') };
    }
  } catch (cause) {
    return { state: 'withheld', why: `the state cannot be told: ${messageOf(cause)}` };
  }
  return await ping(deps.clock, url, signal);
}

/** The path may be a secret between owner and monitor, so only the host is ever told. */
async function ping(
  clock: Clock,
  url: string,
  signal: AbortSignal,
): Promise<{ state: State; why: string }> {
  const { host } = new URL(url);
  const end = new AbortController();
  const enough = new AbortController();
  const patience = AbortSignal.any([signal, enough.signal]);
  const late = clock.sleep(PATIENCE_MS, end.signal).then(
    () => enough.abort(),
    () => {},
  );
  try {
    // Never followed elsewhere, and nothing of ours goes along: no cookies, no credentials, no referrer.
    const answer = await fetch(url, {
      redirect: 'manual',
      credentials: 'omit',
      referrerPolicy: 'no-referrer',
      signal: patience,
    });
    await answer.body?.cancel();
    return answer.ok
      ? { state: 'sent', why: `all is proven and in time; ${host} was told` }
      : { state: 'unreachable', why: `${host} answered ${answer.status}` };
  } catch (cause) {
    const why = enough.signal.aborted ? 'no answer in 10 s' : messageOf(cause);
    return { state: 'unreachable', why: `${host}: ${why}` };
  } finally {
    end.abort();
    await late;
  }
}

function messageOf(cause: unknown): string {
  if (!(cause instanceof Error)) return 'failed';
  // `fetch failed` alone says nothing; its cause has the system's word, never the URL.
  const { cause: inner } = cause;
  return inner instanceof Error && 'code' in inner ? String(inner.code) : cause.message;
}
