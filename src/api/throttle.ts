/** How often an account may call, in a region: a bucket for reads and one for everything that changes something. */
import type { Scope } from '../catalog/catalog.ts';
import { type Clock, SECOND_MS } from '../kernel/clock.ts';
import { ProtocolError } from './errors.ts';

export interface Rates {
  readonly readsPerSecond: number;
  readonly writesPerSecond: number;
}

/** So many seconds' worth of calls may come at once after a rest. */
const BURST_SECONDS = 4;

interface Bucket {
  readonly tokens: number;
  readonly at: number;
}

export class Throttle {
  readonly #rates: Rates;
  readonly #clock: Clock;
  /** Only callers with a good signature get here, so there are as many as accounts times regions. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(rates: Rates, clock: Clock) {
    this.#rates = rates;
    this.#clock = clock;
  }

  /** @throws ProtocolError `ThrottlingException`; SDKs wait and try again by themselves. */
  take({ account, region }: Scope, kind: 'read' | 'write'): void {
    const perSecond = this.#rates[kind === 'read' ? 'readsPerSecond' : 'writesPerSecond'];
    const key = `${account} ${region} ${kind}`;
    const bucket = refilled(this.#buckets.get(key), this.#clock.now(), perSecond);
    if (bucket.tokens < 1) {
      this.#buckets.set(key, bucket);
      throw new ProtocolError(
        'ThrottlingException',
        `Account ${account} made more than ${perSecond} ${kind === 'read' ? 'reading' : 'changing'} calls a second in ${region}. Nothing was done; try again in a moment.`,
      );
    }
    this.#buckets.set(key, { ...bucket, tokens: bucket.tokens - 1 });
  }
}

/** A clock that goes backwards takes nothing away and gives nothing. */
function refilled(bucket: Bucket | undefined, now: number, perSecond: number): Bucket {
  const most = perSecond * BURST_SECONDS;
  if (bucket === undefined) return { tokens: most, at: now };
  const gained = (Math.max(0, now - bucket.at) / SECOND_MS) * perSecond;
  return { tokens: Math.min(most, bucket.tokens + gained), at: now };
}
