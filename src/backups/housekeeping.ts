/**
 * What is due by age: clusters to review, copies to expire, deletions to make final. One look at a time,
 * bounded, and none of it while the clock cannot be trusted.
 */
import type { Catalog } from '../catalog/catalog.ts';
import { type Clock, HOUR_MS, MINUTE_MS } from '../kernel/clock.ts';
import type { BackupId } from '../kernel/ids.ts';
import type { Serial } from '../kernel/serial.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Events } from '../ops/events.ts';
import { isOffered, type Profile } from '../profile.ts';
import type { PendingBackup } from './backup.ts';
import { purgeBackup } from './purge.ts';
import type { RetentionPolicy } from './retention.ts';
import { expireCopies, reviewClusters } from './review.ts';
import type { StorageOf } from './storage.ts';

/** What one look takes on; the rest waits for the next. */
const PURGES_A_TURN = 20;
const LONGEST_WAIT_MS = HOUR_MS;

export interface HousekeepingDeps {
  readonly catalog: Catalog;
  readonly storageOf: StorageOf;
  readonly clock: Clock;
  /** Undefined while nothing may go for good (ops/clock-watch.ts). */
  readonly watch: { trustedNow(): EpochMs | undefined };
  readonly events: Events;
  readonly policy: RetentionPolicy;
  readonly profile: Profile;
  /** One for each backup: deletion, undo and purge never overlap. */
  readonly turns: Serial;
}

interface Wait {
  readonly failures: number;
  readonly until: number;
}

export class Housekeeping {
  readonly #deps: HousekeepingDeps;
  /** Purges that failed, until their next try. After a restart everything is tried at once. */
  readonly #waiting = new Map<BackupId, Wait>();
  #look: Promise<void> | undefined;

  constructor(deps: HousekeepingDeps) {
    this.#deps = deps;
  }

  /** Who comes while a look is under way joins it. */
  run(): Promise<void> {
    this.#look ??= this.#lookOnce().finally(() => {
      this.#look = undefined;
    });
    return this.#look;
  }

  async #lookOnce(): Promise<void> {
    const now = this.#deps.watch.trustedNow();
    if (now === undefined) return;
    reviewClusters(this.#deps, now);
    // What was given under the other profile rests until that is back.
    if (isOffered(this.#deps.profile, 'copyRetention')) expireCopies(this.#deps, now);
    await this.#purge(now);
  }

  async #purge(now: EpochMs): Promise<void> {
    const { catalog, turns } = this.#deps;
    // Those that wait must not stand before those that could go.
    const limit = PURGES_A_TURN + this.#waiting.size;
    const due = catalog
      .read((reader) => reader.backupsToPurge(now, limit))
      .filter(({ id }) => (this.#waiting.get(id)?.until ?? 0) <= now)
      .slice(0, PURGES_A_TURN);
    for (const { id } of due) await turns.run(id, () => this.#purgeOne(id));
  }

  /** Looked at again in its turn: somebody may have brought it back, or the clock have stepped. */
  async #purgeOne(id: BackupId): Promise<void> {
    const { catalog, watch } = this.#deps;
    const now = watch.trustedNow();
    const backup = catalog.read((reader) => reader.backup(id));
    if (now === undefined || backup?.state !== 'PENDING_DELETION' || backup.purgeAt > now) return;
    // What is being copied is read to the end first.
    if (catalog.read((reader) => reader.isBeingCopied(id))) return;
    try {
      const deleted = await purgeBackup(this.#deps, backup);
      this.#waiting.delete(id);
      this.#deps.events.emit({
        kind: 'backupPurged',
        backupId: id,
        clusterId: backup.clusterId,
        parts: deleted.record?.parts.length ?? 0,
        why: backup.removal.why,
      });
    } catch (cause) {
      // The row still says PENDING_DELETION, which is true; the next try goes on where this one stopped.
      this.#noteFailure(backup, now, cause);
    }
  }

  #noteFailure({ id, clusterId }: PendingBackup, now: EpochMs, cause: unknown): void {
    const failures = (this.#waiting.get(id)?.failures ?? 0) + 1;
    const waitMs = Math.min(MINUTE_MS * 2 ** Math.min(failures - 1, 10), LONGEST_WAIT_MS);
    this.#waiting.set(id, { failures, until: now + waitMs });
    const why = cause instanceof Error ? cause.message : String(cause);
    this.#deps.events.emit({ kind: 'purgeFailed', backupId: id, clusterId, why });
  }
}
