/** Opens READY backups again, one at a time, when nothing more urgent runs; `opening.ts` notes what came of it. */
import type { Catalog } from '../catalog/catalog.ts';
import type { Fleet } from '../fleet/fleet.ts';
import { type Clock, MINUTE_MS } from '../kernel/clock.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Events } from '../ops/events.ts';
import type { ReadyBackup } from './backup.ts';
import { drillBackup } from './drill.ts';
import { drillHorizons, dueDrill } from './drill-plan.ts';
import { noteOpening } from './opening.ts';
import { isOfTheBackup } from './sound.ts';
import type { StorageOf } from './storage.ts';

export interface DrillDeps {
  readonly catalog: Catalog;
  readonly fleet: Fleet;
  readonly storageOf: StorageOf;
  readonly clock: Clock;
  readonly events: Events;
}

/** When the host or a key service is away: how long until somebody is bothered again. */
const AFTER_TROUBLE_MS = 10 * MINUTE_MS;

export class DueDrills {
  readonly #deps: DrillDeps;
  #isRunning = false;
  /** Only a pause: a restart asks at once, which costs one refusal. */
  #notBefore = 0;

  constructor(deps: DrillDeps) {
    this.#deps = deps;
  }

  /** The drill that is due and may start now. @returns undefined when there is none. */
  next(): (() => Promise<void>) | undefined {
    const now = this.#deps.clock.now();
    if (this.#isRunning || now < this.#notBefore) return undefined;
    const before = drillHorizons(now);
    const due = this.#deps.catalog.read(({ protection }) =>
      dueDrill(
        {
          failed: protection.failedDrills(before.failed, 1)[0],
          newest: protection.newestToDrill(before.newest),
          any: protection.anyToDrill(before.any),
        },
        now,
      ),
    );
    if (due === undefined) return undefined;
    this.#isRunning = true;
    return async () => {
      try {
        await this.#run(due.backup);
      } finally {
        this.#isRunning = false;
      }
    };
  }

  async #run(backup: ReadyBackup): Promise<void> {
    const startedAt = this.#deps.clock.now();
    try {
      const failure = await this.#failureOf(backup);
      if (noteOpening(this.#deps, backup, failure)) this.#tell(backup, startedAt, failure);
    } catch (cause) {
      // A time plus a duration is a time.
      this.#notBefore = (startedAt + AFTER_TROUBLE_MS) as EpochMs;
      const why = cause instanceof Error ? cause.message : String(cause);
      this.#deps.events.emit({ kind: 'drillNotDone', backupId: backup.id, why });
    }
  }

  #tell({ id, clusterId }: ReadyBackup, startedAt: EpochMs, failure: string | undefined): void {
    const { clock, events } = this.#deps;
    events.emit({
      kind: 'drilled',
      backupId: id,
      clusterId,
      outcome: failure === undefined ? 'opened' : 'failed',
      durationMs: clock.now() - startedAt,
      ...(failure !== undefined && { why: failure }),
    });
  }

  /** @returns why the backup does not hold, or undefined. @throws when that cannot be told today. */
  async #failureOf(backup: ReadyBackup): Promise<string | undefined> {
    const { fleet, storageOf } = this.#deps;
    try {
      const outcome = await drillBackup({ fleet, storage: storageOf(backup.region) }, backup, {});
      return outcome.opened ? outcome.difference : outcome.why;
    } catch (cause) {
      if (isOfTheBackup(cause)) return cause.message;
      throw cause;
    }
  }
}
