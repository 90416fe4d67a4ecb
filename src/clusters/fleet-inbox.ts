/**
 * What the fleet tells, taken in order. A line that cannot be recorded now, because the catalog's disk is full
 * for example, must not break the channel it came by: it waits, those behind it too, and is tried again.
 */
import type { FleetEvent } from '../fleet/fleet.ts';
import type { Events } from '../ops/events.ts';

/** Then it is our mistake and not the disk's; what it said shows again when the HSM next comes up. */
const MAX_TRIES = 60;

export class FleetInbox {
  readonly #handle: (event: FleetEvent) => void;
  readonly #events: Events;
  readonly #waiting: FleetEvent[] = [];
  #tries = 0;

  constructor(handle: (event: FleetEvent) => void, events: Events) {
    this.#handle = handle;
    this.#events = events;
  }

  /** Never throws. */
  take(event: FleetEvent): void {
    this.#waiting.push(event);
    // Behind one that failed, it has its turn with the next try.
    if (this.#waiting.length === 1) this.retry();
  }

  /** Called once a minute. */
  retry(): void {
    for (let event = this.#waiting[0]; event !== undefined; event = this.#waiting[0]) {
      try {
        this.#handle(event);
      } catch (cause) {
        this.#tries += 1;
        const message = `${event.kind} of ${event.hsmId}, try ${this.#tries}: ${String(cause)}`;
        this.#events.emit({ kind: 'internalError', requestId: 'fleet', message });
        if (this.#tries < MAX_TRIES) return;
      }
      this.#tries = 0;
      this.#waiting.shift();
    }
  }
}
