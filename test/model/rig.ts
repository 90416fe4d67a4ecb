/** A service under the model: one world, its keeper, and time that jumps to whatever is due next. */
import assert from 'node:assert/strict';
import { Keeper } from '../../src/backups/keeper.ts';
import { DEFAULT_SCHEDULE } from '../../src/backups/schedule.ts';
import type { Cluster, Hsm } from '../../src/clusters/cluster.ts';
import { retryDeletions } from '../../src/clusters/delete-hsm.ts';
import { retryRestores } from '../../src/clusters/restore-recover.ts';
import { DAY_MS, SECOND_MS } from '../../src/kernel/clock.ts';
import type { ClusterId } from '../../src/kernel/ids.ts';
import type { Luck } from '../support/luck.ts';
import { callerOf, REGIONS, SCOPE, type World } from '../support/world.ts';
import { broken, type Snapshot } from './model.ts';

export const CONSUMER = callerOf('000000000002', SCOPE.region);
const SCOPES = [SCOPE, CONSUMER, callerOf(SCOPE.account, REGIONS[1])];
/** A pause that lets the next backup start and wakes whatever waits some seconds. */
const TICK_MS = 5 * SECOND_MS;

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

  /** A new process on what the old one left. */
  async restart(): Promise<void> {
    // The dead process's work ends here, while everything still fails.
    await this.world.background.idle();
    await this.world.restart();
    this.#keeper = this.#newKeeper();
  }

  /** Lets time pass, from one due time to the next; every step is looked at as the service would. */
  async pass(ms: number): Promise<void> {
    const until = this.world.clock.now() + ms;
    while (this.world.clock.now() < until) {
      if (this.#isDead()) throw new Error('the process has died, and time waits for the next one');
      const now = this.world.clock.now();
      const next = Math.min(until, ...this.#dues().map((due) => Math.max(due, now + TICK_MS)));
      this.clusterDays += (this.#live().length * (next - now)) / DAY_MS;
      this.world.clock.advance(next - now);
      await this.tick();
    }
  }

  async tick(): Promise<void> {
    for (const { clusterId, generation } of this.world.changes.splice(0)) {
      this.#keeper.noteChange(clusterId, generation);
    }
    this.#keeper.tick();
    retryDeletions(this.world.deps);
    retryRestores(this.world.deps);
    await this.world.background.idle();
    await this.world.backups.copyDue();
    await this.world.background.idle();
  }

  /** Until nothing is left to do: faults are over, a few minutes pass. */
  async rest(): Promise<void> {
    for (let i = 0; i < 3; i += 1) await this.pass(60 * SECOND_MS);
  }

  /** @throws AssertionError with every law that is broken. */
  async check(): Promise<void> {
    const snapshot = await this.snapshot();
    const faults = [...broken(snapshot, this.#before), ...(await this.#lostChanges())];
    this.#before = snapshot;
    const told = this.world.events.slice(-8).map((event) => JSON.stringify(event));
    assert.deepEqual(faults, [], ['after:', ...this.log.slice(-12), ...told].join('\n'));
  }

  async snapshot(): Promise<Snapshot> {
    const { catalog, clock } = this.world;
    const clusters = this.clusters();
    const names = await Promise.all(REGIONS.map((region) => this.world.stored(region)));
    return {
      now: clock.now(),
      clusters,
      ...catalog.read((reader) => ({
        hsms: clusters.flatMap(({ id }) => reader.hsmsOf(id)),
        restoresUnderWay: reader.restoresUnderWay(),
      })),
      backups: this.world.allBackups(),
      stored: new Set(names.flat()),
    };
  }

  /** Of every account and region, DELETED ones too. */
  clusters(): readonly Cluster[] {
    return this.world.catalog.read((reader) =>
      SCOPES.flatMap((scope) => reader.clusters(scope, {}, { limit: 100 }).items),
    );
  }

  writer(clusterId: ClusterId): Hsm | undefined {
    return this.world.catalog
      .read((reader) => reader.hsmsOf(clusterId))
      .find((hsm) => hsm.takesWrites && hsm.state === 'ACTIVE');
  }

  #isDead(): boolean {
    const { dieAt, seen } = this.world.faults;
    return dieAt !== undefined && seen.length > dieAt;
  }

  #live(): readonly Cluster[] {
    return this.clusters().filter(
      ({ id, state }) => state === 'ACTIVE' && this.writer(id) !== undefined,
    );
  }

  #dues(): readonly number[] {
    const live = this.#live().flatMap((c) => [c.nextBackupAt, c.changeDueAt]);
    const reviews = this.clusters().map((cluster) => cluster.nextReviewAt);
    const purges = this.world.allBackups().map((backup) => {
      if (backup.state === 'PENDING_DELETION') return backup.purgeAt;
      return backup.state === 'READY' ? backup.ownRetention?.expiresAt : undefined;
    });
    // What is overdue and stays so, because something protects it, must not make time stand still.
    const now = this.world.clock.now();
    return [
      ...live.filter((at) => at !== undefined),
      ...[...reviews, ...purges].filter((at) => at !== undefined && at > now),
    ].filter((at) => at !== undefined);
  }

  /** Changes that an officer was told of and that the cluster's HSM does not have. */
  async #lostChanges(): Promise<readonly string[]> {
    const lost: string[] = [];
    for (const [clusterId, generation] of this.acknowledged) {
      const hsm = this.writer(clusterId);
      if (hsm === undefined) continue;
      const { generation: has } = await this.world.fleet.hsm(hsm.id).digest();
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
