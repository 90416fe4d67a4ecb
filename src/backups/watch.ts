/**
 * Looks once a minute whether promises are kept, says so when one is broken and when it holds again, and puts plans
 * right that no rule of ours makes: none at all, or one far ahead because a clock was wrong.
 */
import type { Catalog } from '../catalog/catalog.ts';
import type { Cluster } from '../clusters/cluster.ts';
import { type Clock, HOUR_MS, isoTime, MINUTE_MS } from '../kernel/clock.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Events } from '../ops/events.ts';
import {
  CONSTANT_CHANGE_EVERY_MS,
  FIRST_TRY_AFTER_MS,
  FLOOR_MS,
  LONGEST_WAIT_MS,
  type SchedulePolicy,
  unprovenOf,
} from './schedule.ts';

/** What one look takes on; the rest waits for the next. */
const A_LOOK = 200;
/** A change shall be proven within this: the wait under constant change, and time for the backup itself. */
export const CHANGE_DEADLINE_MS = CONSTANT_CHANGE_EVERY_MS + 5 * MINUTE_MS;

export interface WatchDeps {
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly events: Events;
  readonly policy: SchedulePolicy;
}

interface Missed {
  readonly cluster: Cluster;
  readonly deadline: 'floor' | 'change';
  readonly why: string;
}

export class Watch {
  readonly #deps: WatchDeps;
  /** What was told: not twice in one run. After a restart what is still missed is told again. */
  readonly #told = new Map<string, Missed>();

  constructor(deps: WatchDeps) {
    this.#deps = deps;
  }

  look(): void {
    const now = this.#deps.clock.now();
    this.#putPlansRight(now);
    const missed = new Map(this.#missed(now).map((each) => [keyOf(each), each]));
    for (const [key, each] of missed) {
      if (this.#told.has(key)) continue;
      this.#told.set(key, each);
      this.#tell('deadlineMissed', each, each.why);
    }
    for (const [key, each] of this.#told) {
      if (missed.has(key)) continue;
      this.#told.delete(key);
      this.#tell('deadlineMetAgain', each, 'a newer backup is proven, or no HSM is left');
    }
  }

  #tell(kind: 'deadlineMissed' | 'deadlineMetAgain', each: Missed, why: string): void {
    const { cluster, deadline } = each;
    this.#deps.events.emit({ kind, clusterId: cluster.id, deadline, why });
  }

  #missed(now: EpochMs): readonly Missed[] {
    const { catalog, policy } = this.#deps;
    return catalog.read(({ protection }) => {
      const changes = protection.withUnprovenChanges(A_LOOK).flatMap((cluster): Missed[] => {
        const proven = protection.proven(cluster.id);
        const since = unprovenOf(cluster, proven?.generation ?? -1)?.firstAt;
        const isPromised = policy.isChangeDriven || proven === undefined;
        if (since === undefined || !isPromised || now - since <= CHANGE_DEADLINE_MS) return [];
        const why = `changes since ${isoTime(since)} are in no proven backup`;
        return [{ cluster, deadline: 'change', why }];
      });
      // A time minus a duration is a time.
      const floor = (now - FLOOR_MS) as EpochMs;
      const late = protection.withoutProofSince(floor, A_LOOK).flatMap((cluster): Missed[] => {
        const proven = protection.proven(cluster.id);
        // Without any proof its first change waits, which is the other deadline.
        if (proven === undefined) return [];
        const why = `its newest proven backup is of ${isoTime(proven.at)}`;
        return [{ cluster, deadline: 'floor', why }];
      });
      return [...changes, ...late];
    });
  }

  #putPlansRight(now: EpochMs): void {
    // Times and durations make times.
    const furthest = (now + FIRST_TRY_AFTER_MS) as EpochMs;
    const floor = (now - FLOOR_MS) as EpochMs;
    const wrong = this.#deps.catalog.read(({ protection }) => [
      ...protection.unplanned(A_LOOK),
      ...protection.plannedBeyond(furthest, A_LOOK),
      // Its newest backup was deleted: the retries of failures are never this far away.
      ...protection
        .withoutProofSince(floor, A_LOOK)
        .filter(({ nextBackupAt }) => (nextBackupAt ?? 0) > now + LONGEST_WAIT_MS),
    ]);
    const orphaned = this.#changesWithoutPlan();
    if (wrong.length + orphaned.length === 0) return;
    this.#deps.catalog.transact((writer) => {
      for (const { id } of [...wrong, ...orphaned]) {
        const cluster = writer.cluster(id);
        if (cluster !== undefined) writer.putCluster({ ...cluster, nextBackupAt: now });
      }
    });
  }

  /** Changes that were proven, until the backup that held them was deleted: backed up anew. */
  #changesWithoutPlan(): readonly Cluster[] {
    const { catalog, policy, clock } = this.#deps;
    if (!policy.isChangeDriven) return [];
    const soon = clock.now() + HOUR_MS;
    return catalog.read(({ protection }) =>
      protection
        .withUnprovenChanges(A_LOOK)
        .filter(
          ({ changeDueAt, backupFailures, nextBackupAt }) =>
            changeDueAt === undefined && backupFailures === 0 && (nextBackupAt ?? 0) > soon,
        ),
    );
  }
}

const keyOf = ({ cluster, deadline }: Missed): string => `${deadline} ${cluster.id}`;
