/**
 * Opens READY backups again, one at a time, when nothing more urgent runs. What came of it goes onto the backup's row;
 * a failure is an event, and where it hits the newest backup of a cluster with a live HSM, a new backup is due at once.
 * Where it hits the last one that opened, a sound one that retention or thinning had marked comes back.
 */
import type { Catalog, CatalogWriter } from '../catalog/catalog.ts';
import type { Fleet } from '../fleet/fleet.ts';
import { type Clock, MINUTE_MS } from '../kernel/clock.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Events } from '../ops/events.ts';
import type { ReadyBackup } from './backup.ts';
import { drillBackup } from './drill.ts';
import { drillHorizons, dueDrill } from './drill-plan.ts';
import { markUndeleted } from './remove.ts';
import { isSound, OF_THE_BACKUP } from './sound.ts';
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
      this.#record(backup, startedAt, await this.#failureOf(backup));
    } catch (cause) {
      // A time plus a duration is a time.
      this.#notBefore = (startedAt + AFTER_TROUBLE_MS) as EpochMs;
      const why = cause instanceof Error ? cause.message : String(cause);
      this.#deps.events.emit({ kind: 'drillNotDone', backupId: backup.id, why });
    }
  }

  /** @returns why the backup does not hold, or undefined. @throws when that cannot be told today. */
  async #failureOf(backup: ReadyBackup): Promise<string | undefined> {
    const { fleet, storageOf } = this.#deps;
    try {
      const outcome = await drillBackup({ fleet, storage: storageOf(backup.region) }, backup, {});
      return outcome.opened ? outcome.difference : outcome.why;
    } catch (cause) {
      const isOfTheBackup = cause instanceof Failed && OF_THE_BACKUP.has(cause.code);
      if (isOfTheBackup || (cause instanceof Refused && cause.code === 'DoesNotOpen')) {
        return cause.message;
      }
      throw cause;
    }
  }

  #record(backup: ReadyBackup, startedAt: EpochMs, failure: string | undefined): void {
    const { catalog, clock, events } = this.#deps;
    const at = clock.now();
    const rescued: ReadyBackup[] = [];
    const isThere = catalog.transact((writer) => {
      const current = writer.backup(backup.id);
      // Deleted meanwhile: then nothing is to be said about it any more.
      if (current?.state !== 'READY') return false;
      const wasNewest = writer.protection.newestSound(current.clusterId) === current.id;
      writer.putBackup({ ...current, drill: { at, ...(failure !== undefined && { failure }) } });
      if (failure !== undefined) rescued.push(...rescue(writer, current, at));
      const cluster = writer.cluster(current.clusterId);
      if (cluster !== undefined) {
        const isDue = failure !== undefined && wasNewest && cluster.nextBackupAt !== undefined;
        // Which backups stand for others, and which is the last that opens, may have changed.
        const nextReviewAt =
          isSound(current) === (failure === undefined) ? {} : { nextReviewAt: at };
        writer.putCluster({ ...cluster, ...nextReviewAt, ...(isDue && { nextBackupAt: at }) });
      }
      return true;
    });
    if (!isThere) return;
    for (const { id, clusterId } of rescued) {
      events.emit({ kind: 'backupUndeleted', backupId: id, clusterId, by: 'keyark' });
    }
    events.emit({
      kind: 'drilled',
      backupId: backup.id,
      clusterId: backup.clusterId,
      outcome: failure === undefined ? 'opened' : 'failed',
      durationMs: at - startedAt,
      ...(failure !== undefined && { why: failure }),
    });
  }
}

/** So many of a cluster's marked backups are looked at, the newest first. */
const MAX_MARKED = 100;

/**
 * When nothing of the cluster that opens is left, the newest sound backup that the service itself had marked comes
 * back; what somebody asked to be deleted stays so. @returns it, or none.
 */
function rescue(writer: CatalogWriter, broken: ReadyBackup, now: EpochMs): readonly ReadyBackup[] {
  if (writer.hasOtherSound(broken)) return [];
  const query = { clusterIds: [broken.clusterId], states: ['PENDING_DELETION'] } as const;
  const { items } = writer.backups(broken, query, { limit: MAX_MARKED });
  const marked = items.find(
    (each) =>
      each.state === 'PENDING_DELETION' &&
      each.removal.kind !== 'asked' &&
      each.removal.purgeBegunAt === undefined &&
      each.purgeAt > now &&
      isSound(each),
  );
  if (marked === undefined) return [];
  // With time to look at what happened, whatever the profile: nobody's rehearsal counts on it.
  const back = markUndeleted(marked, now, 'own');
  writer.putBackup(back);
  return back.state === 'READY' ? [back] : [];
}
