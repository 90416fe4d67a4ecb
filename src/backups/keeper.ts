/**
 * The loop that keeps backups: looks at what is due, does it, remembers failures. It decides nothing
 * itself: `schedule.ts` does, from rows and a clock, so a restart forgets nothing.
 */
import type { Catalog } from '../catalog/catalog.ts';
import type { Cluster } from '../clusters/cluster.ts';
import type { Background } from '../kernel/background.ts';
import { type Clock, SECOND_MS } from '../kernel/clock.ts';
import type { ClusterId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { ReadyBackup } from './backup.ts';
import type { Backups } from './backups.ts';
import {
  type ClusterFacts,
  type DueBackup,
  dueBackups,
  nextAfterFailure,
  type SchedulePolicy,
  type Unproven,
} from './schedule.ts';

const TICK_MS = SECOND_MS;
const TICKS_A_MINUTE = 60;

export interface KeeperDeps {
  readonly catalog: Catalog;
  readonly backups: Backups;
  readonly clock: Clock;
  readonly background: Background;
  readonly policy: SchedulePolicy;
  /** Whatever else wants to be looked at now and then. */
  readonly onMinute: () => void;
}

export class Keeper {
  readonly #deps: KeeperDeps;
  /** First change that no proven backup has, by cluster. After a restart `newestChange` stands in. */
  readonly #firstChange = new Map<ClusterId, EpochMs>();
  readonly #busy = new Set<ClusterId>();
  #ticks = 0;

  constructor(deps: KeeperDeps) {
    this.#deps = deps;
  }

  /** An HSM reported a durable change of shared state. */
  noteChange(clusterId: ClusterId, generation: number): void {
    const at = this.#deps.clock.now();
    this.#deps.catalog.transact((writer) => {
      const cluster = writer.cluster(clusterId);
      if (cluster === undefined) return;
      if (generation <= (cluster.newestChange?.generation ?? -1)) return;
      writer.putCluster({ ...cluster, newestChange: { generation, at } });
    });
    if (!this.#firstChange.has(clusterId)) this.#firstChange.set(clusterId, at);
  }

  /** Ticks until the signal aborts. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.tick();
      try {
        await this.#deps.clock.sleep(TICK_MS, signal);
      } catch {
        // Aborted while waiting: the loop's condition ends it.
      }
    }
  }

  /** Starts everything that is due now; what runs already is left alone. */
  tick(): void {
    const due = dueBackups(this.#facts(), this.#deps.clock.now(), this.#deps.policy);
    for (const backup of due) this.#start(backup);
    if (this.#ticks % TICKS_A_MINUTE === 0) {
      this.#deps.background.run('purge', () => this.#deps.backups.purgeDue());
      this.#deps.onMinute();
    }
    this.#ticks += 1;
  }

  #start({ clusterId, cause }: DueBackup): void {
    this.#busy.add(clusterId);
    this.#deps.background.run(`${cause} backup of ${clusterId}`, async () => {
      try {
        await this.#deps.backups.take(clusterId, cause);
      } catch {
        // `take` has told why, in the row and as an event; here it only moves the next try.
        this.#noteFailure(clusterId);
      } finally {
        this.#busy.delete(clusterId);
      }
    });
  }

  #noteFailure(clusterId: ClusterId): void {
    const now = this.#deps.clock.now();
    this.#deps.catalog.transact((writer) => {
      const cluster = writer.cluster(clusterId);
      if (cluster === undefined) return;
      const backupFailures = cluster.backupFailures + 1;
      const nextBackupAt = nextAfterFailure(now, backupFailures);
      writer.putCluster({ ...cluster, backupFailures, nextBackupAt });
    });
  }

  #facts(): readonly ClusterFacts[] {
    return this.#deps.catalog.read((reader) =>
      reader
        .clustersIn(['ACTIVE'])
        .filter(({ id }) => !this.#busy.has(id))
        .map((cluster) => ({
          clusterId: cluster.id,
          hasLiveHsm: reader
            .hsmsOf(cluster.id)
            .some((hsm) => hsm.state === 'ACTIVE' && hsm.takesWrites),
          nextBackupAt: cluster.nextBackupAt,
          failures: cluster.backupFailures,
          unproven: this.#unproven(cluster, reader.newestReady(cluster.id)),
        })),
    );
  }

  #unproven(cluster: Cluster, newest: ReadyBackup | undefined): Unproven | undefined {
    const change = cluster.newestChange;
    const provenGeneration = newest?.archive.seal.statement.generation ?? -1;
    if (change === undefined || change.generation <= provenGeneration) {
      this.#firstChange.delete(cluster.id);
      return undefined;
    }
    return { firstAt: this.#firstChange.get(cluster.id) ?? change.at, lastAt: change.at };
  }
}
