/**
 * The loop that keeps backups: looks at what is due, starts it, remembers failures. It decides nothing itself
 * (`schedule.ts`, `due.ts` and `drill-plan.ts` do) and knows nothing that a restart would lose: what is due stands in
 * rows, and what an HSM said in the last second it says again when it is met again.
 */
import type { Catalog, CatalogReader } from '../catalog/catalog.ts';
import type { Cluster } from '../clusters/cluster.ts';
import type { Background } from '../kernel/background.ts';
import { type Clock, SECOND_MS } from '../kernel/clock.ts';
import type { ClusterId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Backups } from './backups.ts';
import { type Lane, placesFor, startsAllowed } from './due.ts';
import { recentOf } from './recent.ts';
import {
  afterChange,
  afterFailure,
  causeOf,
  changeBackupAt,
  type DueCause,
  type SchedulePolicy,
  unprovenOf,
} from './schedule.ts';

const TICK_MS = SECOND_MS;
const TICKS_A_MINUTE = 60;
/** How many rows of a lane one look reads beyond those that run. */
const LOOK = 64;
/** More than this many waiting need no exact number: the pause between starts is a tick's part anyway. */
const MAX_COUNTED = 10_000;

interface Change {
  readonly generation: number;
  readonly at: EpochMs;
}

interface Start {
  readonly cluster: Cluster;
  readonly lane: Lane;
  readonly cause: DueCause;
}

export interface KeeperDeps {
  readonly catalog: Catalog;
  readonly backups: Backups;
  readonly clock: Clock;
  readonly background: Background;
  readonly policy: SchedulePolicy;
  /** Whatever wants to be looked at when no backup waits: it may take its time. */
  readonly onIdle: () => void;
  /** Whatever else wants to be looked at now and then. */
  readonly onMinute: () => void;
}

export class Keeper {
  readonly #deps: KeeperDeps;
  /** What HSMs said since the last tick: the first word is written at once, later ones with the next tick. */
  readonly #said = new Map<ClusterId, Change | undefined>();
  readonly #running = new Map<ClusterId, Lane>();
  #lastStartAt: EpochMs | undefined;
  #ticks = 0;

  constructor(deps: KeeperDeps) {
    this.#deps = deps;
  }

  /** An HSM reported a durable change of shared state. Never throws: who reports can do nothing about it. */
  noteChange(clusterId: ClusterId, generation: number): void {
    const change = { generation, at: this.#deps.clock.now() };
    if (this.#said.has(clusterId)) {
      this.#said.set(clusterId, change);
      return;
    }
    try {
      const isNews = this.#write(new Map([[clusterId, change]]));
      if (isNews) this.#said.set(clusterId, undefined);
    } catch {
      // The next tick writes it, and tells when it cannot.
      this.#said.set(clusterId, change);
    }
  }

  /** Ticks until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      // What fails is told; the next look is a second away, and its rows say the same.
      this.#deps.background.run('what is due', async () => this.tick());
      try {
        await this.#deps.clock.sleep(TICK_MS, signal);
      } catch {
        // Aborted while waiting: the loop's condition ends it.
      }
    }
  }

  /** Starts what is due now and has a place; what runs already is left alone. */
  tick(): void {
    this.#writeSaid();
    for (const start of this.#due()) this.#start(start);
    if (this.#running.size === 0) this.#deps.onIdle();
    this.#deps.background.run('what is due by age', () => this.#deps.backups.purgeDue());
    if (this.#ticks % TICKS_A_MINUTE === 0) this.#deps.onMinute();
    this.#ticks += 1;
  }

  #writeSaid(): void {
    const waiting = new Map<ClusterId, Change>();
    for (const [clusterId, change] of this.#said) {
      if (change !== undefined) waiting.set(clusterId, change);
    }
    if (waiting.size > 0) this.#write(waiting);
    this.#said.clear();
  }

  /** @returns whether anything was new. */
  #write(changes: ReadonlyMap<ClusterId, Change>): boolean {
    const { catalog, policy } = this.#deps;
    return catalog.transact((writer) => {
      let isNews = false;
      for (const [clusterId, change] of changes) {
        const cluster = writer.cluster(clusterId);
        if (cluster === undefined) continue;
        const changed = afterChange(cluster, change, {
          provenGeneration: writer.protection.proven(clusterId)?.generation ?? -1,
          recent: recentOf(writer, clusterId, change.at),
          policy,
        });
        if (changed === undefined) continue;
        writer.putCluster(changed);
        isNews = true;
      }
      return isNews;
    });
  }

  /** What starts now, decided from one consistent view; rows that were due too early are put right. */
  #due(): readonly Start[] {
    const { catalog, clock, policy } = this.#deps;
    if (this.#running.size >= policy.atOnce) return [];
    const now = clock.now();
    const { scheduled, changed, early, waiting } = catalog.read((reader) => {
      const limit = this.#running.size + LOOK;
      const isFree = ({ id }: Cluster): boolean => !this.#running.has(id);
      const due = reader.clustersDue(now, limit).filter(isFree);
      const dueIds = new Set(due.map(({ id }) => id));
      const looked = policy.isChangeDriven
        ? reader.protection
            .changed(now, limit)
            .filter((cluster) => isFree(cluster) && !dueIds.has(cluster.id))
            .map((cluster) => ({ cluster, at: changeDueAt(reader, cluster, now, policy) }))
        : [];
      return {
        scheduled: due.map((cluster) => startOf(reader, cluster, now)),
        changed: looked
          .filter(({ at }) => at !== undefined && at <= now)
          .map(({ cluster }): Start => ({ cluster, lane: 'changed', cause: 'changed' })),
        early: looked.filter(({ at }) => at === undefined || at > now),
        waiting: due.length === 0 ? 0 : reader.protection.dueCount(now, MAX_COUNTED),
      };
    });
    this.#putRight(early);
    const running = { scheduled: 0, changed: 0 };
    for (const lane of this.#running.values()) running[lane] += 1;
    const places = placesFor({
      waiting: { scheduled: scheduled.length, changed: changed.length },
      running,
      atOnce: policy.atOnce,
    });
    const allowed = Math.min(places.scheduled, startsAllowed(now, this.#lastStartAt, waiting));
    return [...scheduled.slice(0, allowed), ...changed.slice(0, places.changed)];
  }

  /** The exact time of a change-driven backup, or none when its change is proven meanwhile. */
  #putRight(rows: readonly { cluster: Cluster; at: EpochMs | undefined }[]): void {
    if (rows.length === 0) return;
    this.#deps.catalog.transact((writer) => {
      for (const { cluster, at } of rows) {
        const current = writer.cluster(cluster.id);
        if (current === undefined) continue;
        const { changeDueAt: _early, ...rest } = current;
        if (at !== undefined) writer.putCluster({ ...rest, changeDueAt: at });
        else writer.putCluster(rest);
      }
    });
  }

  #start({ cluster: { id }, lane, cause }: Start): void {
    this.#running.set(id, lane);
    if (lane === 'scheduled') this.#lastStartAt = this.#deps.clock.now();
    this.#deps.background.run(`${cause} backup of ${id}`, async () => {
      try {
        await this.#take(id, cause);
      } finally {
        this.#running.delete(id);
      }
    });
  }

  async #take(clusterId: ClusterId, cause: DueCause): Promise<void> {
    try {
      await this.#deps.backups.takeDue(clusterId, cause);
    } catch {
      // `take` has told why, in the row and as an event; here it only moves the next try.
      this.#noteFailure(clusterId);
    }
  }

  #noteFailure(clusterId: ClusterId): void {
    this.#deps.catalog.transact((writer) => {
      const cluster = writer.cluster(clusterId);
      if (cluster !== undefined) writer.putCluster(afterFailure(cluster, this.#deps.clock.now()));
    });
  }
}

function startOf(reader: CatalogReader, cluster: Cluster, now: EpochMs): Start {
  const proven = reader.protection.proven(cluster.id);
  const unproven = unprovenOf(cluster, proven?.generation ?? -1);
  return { cluster, lane: 'scheduled', cause: causeOf({ unproven, provenAt: proven?.at }, now) };
}

function changeDueAt(
  reader: CatalogReader,
  cluster: Cluster,
  now: EpochMs,
  policy: SchedulePolicy,
): EpochMs | undefined {
  const proven = reader.protection.proven(cluster.id);
  const unproven = unprovenOf(cluster, proven?.generation ?? -1);
  if (unproven === undefined || cluster.backupFailures > 0) return undefined;
  return changeBackupAt(unproven, recentOf(reader, cluster.id, now), policy).at;
}
