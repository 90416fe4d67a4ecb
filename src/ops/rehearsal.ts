/**
 * A rehearsal's time: a data folder that was made with `--rehearsal` may have its service's time moved
 * forward, so that weeks of retention pass in seconds. How far is a fact in the catalog, so that a restart
 * does not bring the old time back. Every other service refuses.
 *
 * What moves: whatever the control plane decides and records. What does not: the clocks of HSMs and host
 * (what they sign says when it really happened, and their certificates stay valid), the check of request
 * signatures and TLS (clients have real clocks), and the watch for clock steps.
 */
import type { Catalog } from '../catalog/catalog.ts';
import { DAY_MS, isoTime } from '../kernel/clock.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import type { MovableClock } from '../kernel/movable-clock.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Events } from './events.ts';

/** Ten years in all: as long as the certificates that `keyark` makes for a cluster. */
const FARTHEST_MS = 3_652 * DAY_MS;
const MARK = 'rehearsal';
const AHEAD = 'rehearsal.ahead-ms';

export interface RehearsalDeps {
  readonly catalog: Catalog;
  /** Undefined: this is no rehearsal. */
  readonly clock: MovableClock | undefined;
  readonly events: Events;
}

export class Rehearsal {
  readonly #deps: RehearsalDeps;

  /**
   * The mark stands in the folder and in the catalog: neither can lose it alone.
   * @throws Failed `START` when they disagree.
   */
  constructor(deps: RehearsalDeps) {
    this.#deps = deps;
    const { catalog, clock } = deps;
    const isMarked = catalog.read((reader) => reader.setting(MARK)) !== undefined;
    if (isMarked && clock === undefined) {
      throw new Failed(
        'START',
        "this catalog is a rehearsal's, but keyark.json in the data folder does not say so any more; a rehearsal stays one for ever",
      );
    }
    if (clock === undefined) return;
    if (!isMarked) catalog.transact((writer) => writer.putSetting(MARK, 'true'));
    clock.moveAhead(Number(catalog.read((reader) => reader.setting(AHEAD)) ?? 0));
  }

  get isRehearsal(): boolean {
    return this.#deps.clock !== undefined;
  }

  get aheadMs(): number {
    return this.#deps.clock?.aheadMs ?? 0;
  }

  /** Durable before it is in force. @throws Refused `WrongState` `[NOT_A_REHEARSAL]`, `InvalidRequest`. */
  advance(ms: number, by: string): EpochMs {
    const { clock, catalog, events } = this.#deps;
    if (clock === undefined) {
      throw new Refused(
        'WrongState',
        "[NOT_A_REHEARSAL] The time of this service is the machine's and was not moved. A rehearsal has a data folder of its own: `keyark up --rehearsal --data FOLDER`.",
      );
    }
    const aheadMs = clock.aheadMs + ms;
    if (aheadMs > FARTHEST_MS) {
      throw new Refused(
        'InvalidRequest',
        `A rehearsal goes at most ten years ahead; this one is ${Math.floor(clock.aheadMs / DAY_MS)} days ahead, and its time was not moved.`,
      );
    }
    catalog.transact((writer) => writer.putSetting(AHEAD, String(aheadMs)));
    clock.moveAhead(aheadMs);
    const now = clock.now();
    events.emit({ kind: 'clockAdvanced', byMs: ms, to: isoTime(now), by });
    return now;
  }
}
