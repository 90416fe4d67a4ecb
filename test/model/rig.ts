/** A service under the model: one world, its keeper, and time that jumps to whatever is due next. */
import assert from 'node:assert/strict';
import { Keeper } from '../../src/backups/keeper.ts';
import { DEFAULT_SCHEDULE } from '../../src/backups/schedule.ts';
import type { CatalogReader } from '../../src/catalog/catalog.ts';
import type { Cluster, Hsm } from '../../src/clusters/cluster.ts';
import { retryDeletions } from '../../src/clusters/delete-hsm.ts';
import { retryMigrations } from '../../src/clusters/migrate-recover.ts';
import { retryClusters } from '../../src/clusters/recover.ts';
import { retryRestores } from '../../src/clusters/restore-recover.ts';
import { DAY_MS, SECOND_MS } from '../../src/kernel/clock.ts';
import type { ClusterId } from '../../src/kernel/ids.ts';
import type { EpochMs } from '../../src/kernel/types.ts';
import type { Luck } from '../support/luck.ts';
import type { World } from '../support/world.ts';
import { broken, type Snapshot } from './model.ts';
import { allClusters, snapshotOf } from './snapshot.ts';

/** A pause that lets the next backup start and wakes whatever waits some seconds. */
const TICK_MS = 5 * SECOND_MS;
/** Looked at while days pass: between two looks no backup goes all the way from READY to gone. */
const CHECK_EVERY_MS = DAY_MS;
const MOST_ROWS = 1_000;
const FAR = Number.MAX_SAFE_INTEGER as EpochMs;

export class Rig {
  readonly world: World;
  readonly luck: Luck;
  /** What was done, for the report of a failure. */
  readonly log: string[] = [];
  /** Newest change each cluster's officer was told of. */
  readonly acknowledged = new Map<ClusterId, number>();
  clusterDays = 0;
  users = 0;
  #keeper: Keeper;
  #before: Snapshot | undefined;

  constructor(world: World, luck: Luck) {
    this.world = world;
    this.luck = luck;
    this.#keeper = this.#newKeeper();
  }

  /** A new process on what the old one left. @param dieAt the crossing at which it dies as well, unless it rests before. */
  async restart(dieAt?: number): Promise<void> {
    // The dead process's work ends here, while everything still fails.
    await this.world.background.idle();
    await this.world.restart(dieAt);
    this.#keeper = this.#newKeeper();
  }

  /** Lets time pass, from one due time to the next; every step is looked at as the service would. */
  async pass(ms: number): Promise<void> {
    const until = this.world.clock.now() + ms;
    while (this.world.clock.now() < until) {
      if (this.#isDead()) throw new Error('the process has died, and time waits for the next one');
      const now = this.world.clock.now();
      const { live, dues } = this.#ahead();
      const next = Math.min(until, ...dues.map((due) => Math.max(due, now + TICK_MS)));
      this.clusterDays += (live * (next - now)) / DAY_MS;
      this.world.clock.advance(next - now);
      await this.tick();
      const isCheckDue = next - (this.#before?.now ?? 0) >= CHECK_EVERY_MS;
      if (isCheckDue && !this.#isFaulty()) await this.check();
    }
  }

  /** What fails in here is told, and the loop goes on, as the service's does. */
  async tick(): Promise<void> {
    const { background, backups, changes, deps } = this.world;
    for (const { clusterId, generation } of changes.splice(0)) {
      background.run('note', async () => this.#keeper.noteChange(clusterId, generation));
    }
    background.run('tick', async () => this.#keeper.tick());
    retryClusters(deps);
    retryDeletions(deps);
    retryRestores(deps);
    retryMigrations(deps);
    await background.idle();
    background.run('copies', () => backups.copyDue());
    await background.idle();
  }

  /** Until nothing is left to do: faults are over, a few minutes pass. */
  async rest(): Promise<void> {
    for (let i = 0; i < 3; i += 1) await this.pass(60 * SECOND_MS);
  }

  /** @throws AssertionError with every law that is broken. */
  async check(): Promise<void> {
    const snapshot = await snapshotOf(this.world, this.#before);
    const faults = [...broken(snapshot, this.#before), ...(await this.#lostChanges())];
    this.#before = snapshot;
    const told = this.world.events.slice(-8).map((event) => JSON.stringify(event));
    assert.deepEqual(faults, [], ['after:', ...this.log.slice(-12), ...told].join('\n'));
  }

  /** Of every account and region, DELETED ones too. */
  clusters(): readonly Cluster[] {
    return this.world.catalog.read(allClusters);
  }

  writer(clusterId: ClusterId): Hsm | undefined {
    return this.world.catalog.read((reader) => writerIn(reader, clusterId));
  }

  #isFaulty(): boolean {
    const { failAt, dieAt } = this.world.faults;
    return failAt !== undefined || dieAt !== undefined;
  }

  #isDead(): boolean {
    const { dieAt, seen } = this.world.faults;
    return dieAt !== undefined && seen.length > dieAt;
  }

  /** How many clusters live, and what time has to stop for. */
  #ahead(): { readonly live: number; readonly dues: readonly number[] } {
    return this.world.catalog.read((reader) => {
      const clusters = allClusters(reader);
      const live = clusters.filter(
        ({ id, state }) => state === 'ACTIVE' && writerIn(reader, id) !== undefined,
      );
      const backups = live.flatMap((cluster) => [cluster.nextBackupAt, cluster.changeDueAt]);
      // What is overdue and stays so, because something protects it, must not make time stand still.
      const now = this.world.clock.now();
      const ends = [
        ...clusters.map(({ nextReviewAt }) => nextReviewAt),
        ...clusters.map(({ migration }) => migration?.rollbackUntil),
        ...reader.backupsToPurge(FAR, MOST_ROWS).map(({ purgeAt }) => purgeAt),
        ...reader.backupsToExpire(FAR, MOST_ROWS).map((copy) => copy.ownRetention?.expiresAt),
      ].filter((at) => at !== undefined && at > now);
      return { live: live.length, dues: [...backups, ...ends].filter((at) => at !== undefined) };
    });
  }

  /** Changes that an officer was told of and that the cluster's HSM does not have. */
  async #lostChanges(): Promise<readonly string[]> {
    const lost: string[] = [];
    for (const [clusterId, generation] of this.acknowledged) {
      const hsm = this.writer(clusterId);
      if (hsm === undefined) continue;
      const { generation: has } = await this.world.fleet.hsm(hsm.id).hello();
      if (has < generation) lost.push(`${clusterId} has ${has}, acknowledged was ${generation}`);
    }
    return lost;
  }

  #newKeeper(): Keeper {
    const { catalog, backups, clock, background } = this.world;
    const policy = DEFAULT_SCHEDULE;
    const idle = (): void => {};
    return new Keeper({
      catalog,
      backups,
      clock,
      background,
      policy,
      onIdle: idle,
      onMinute: idle,
    });
  }
}

function writerIn(reader: CatalogReader, clusterId: ClusterId): Hsm | undefined {
  return reader.hsmsOf(clusterId).find((hsm) => hsm.takesWrites && hsm.state === 'ACTIVE');
}
