/** The face of `backups/`: what the API, clusters and the keeper may ask. One verb a file behind it. */
import type { Caller } from '../access/caller.ts';
import type { BackupQuery, Catalog, Page, PageRequest, Scope } from '../catalog/catalog.ts';
import type { Cluster, Hsm } from '../clusters/cluster.ts';
import type { Fleet, HsmHandle } from '../fleet/fleet.ts';
import type { OpenOutcome } from '../hsm/protocol.ts';
import type { Background } from '../kernel/background.ts';
import type { Clock } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { BackupId, ClusterId } from '../kernel/ids.ts';
import type { Random } from '../kernel/random.ts';
import { rootsLocked } from '../kernel/roots-locked.ts';
import { Serial } from '../kernel/serial.ts';
import { changedTags, type TagChange, type Tags } from '../kernel/tags.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Events } from '../ops/events.ts';
import type { Backup, BackupCause, ReadyBackup, Removal } from './backup.ts';
import { type DrillOutcome, drillBackup } from './drill.ts';
import { duePurges, purgeBackup } from './purge.ts';
import { recoverBackups } from './recover.ts';
import { markDeleted, markUndeleted } from './remove.ts';
import { restoreBackup } from './restore.ts';
import type { StorageOf } from './storage.ts';
import { takeBackup } from './take.ts';

export interface Backups {
  describe(scope: Scope, query: BackupQuery, page: PageRequest): Page<Backup>;
  /**
   * Takes a backup of `source` (by default the cluster's writing HSM), proves it, and resolves when it is
   * READY. One at a time for each cluster. `onStarted` is told as soon as the intent is durable.
   * @throws Refused `WrongState` without a live HSM; Failed `NOT_PROVEN`, `VAULT_…`, `KMS`, `HSM_GONE`.
   */
  take(
    clusterId: ClusterId,
    cause: BackupCause,
    options?: { source?: Hsm; onStarted?: (backup: Backup) => void },
  ): Promise<ReadyBackup>;
  /**
   * Told of every backup that was just proven, whatever it was taken for. `take` does not wait for listeners:
   * whoever takes may hold a turn that they want.
   */
  onProven(listener: (backup: ReadyBackup) => Promise<void>): void;
  /** For the native API: starts a manual backup of the caller's cluster and answers with its first row. */
  takeManual(scope: Scope, clusterId: ClusterId): Promise<Backup>;
  /** Opens a READY backup on an HSM and checks the digest against the proof. */
  restore(
    backup: ReadyBackup,
    target: { cluster: Cluster; hsm: Hsm; handle: HsmHandle; isClone: boolean },
  ): Promise<OpenOutcome>;
  remove(caller: Caller, id: BackupId): Promise<Backup>;
  undelete(scope: Scope, id: BackupId): Promise<Backup>;
  /** @throws Refused `NotFound`, `WrongState` for what is deleted, `LimitExceeded`. */
  retag(scope: Scope, id: BackupId, change: TagChange): Promise<Tags>;
  tagsOf(scope: Scope, id: BackupId): Tags;
  modifyNeverExpires(scope: Scope, id: BackupId, neverExpires: boolean): Promise<Backup>;
  /** Tries a READY backup on a throw-away HSM, by default one of the same maker and owner. */
  drill(
    scope: Scope,
    id: BackupId,
    roots?: { maker?: string; owner?: string },
  ): Promise<DrillOutcome>;
  /** Destroys what has been PENDING_DELETION for seven days. */
  purgeDue(): Promise<void>;
  /** Once, at start, before anything else. */
  recover(): Promise<void>;
}

/** What one look takes on; the rest waits for the next. */
const PURGES_A_TURN = 100;

export interface BackupsDeps {
  readonly catalog: Catalog;
  readonly fleet: Fleet;
  readonly storageOf: StorageOf;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: Events;
  readonly background: Background;
}

export function createBackups(deps: BackupsDeps): Backups {
  const { catalog, clock } = deps;
  /** One turn per cluster for taking, one per backup for deletion, undo and purge. */
  const turns = new Serial();
  const listeners: ((backup: ReadyBackup) => Promise<void>)[] = [];

  const take: Backups['take'] = (clusterId, cause, options = {}) =>
    turns.run(clusterId, async () => {
      const { cluster, source } = catalog.read((reader) => ({
        cluster: reader.cluster(clusterId),
        source: options.source ?? reader.hsmsOf(clusterId).find(isSealable),
      }));
      if (cluster === undefined || source === undefined) {
        throw new Refused(
          'WrongState',
          `${clusterId} has no live HSM to back up; add one first: its newest backup goes onto it.`,
        );
      }
      const handle = deps.fleet.hsm(source.id);
      const backup = await takeBackup(deps, cluster, handle, cause, options.onStarted);
      for (const listener of listeners) {
        deps.background.run(`after ${backup.id}`, () => listener(backup));
      }
      return backup;
    });

  const change = (
    scope: Scope,
    id: BackupId,
    decide: (backup: Backup, now: EpochMs) => Backup,
  ): Promise<Backup> =>
    turns.run(id, async () =>
      catalog.transact((writer) => {
        const changed = decide(ownBackup(writer.backup(id), scope, id), clock.now());
        writer.putBackup(changed);
        return changed;
      }),
    );

  return {
    describe: (scope, query, page) => catalog.read((reader) => reader.backups(scope, query, page)),
    take,
    onProven: (listener) => {
      listeners.push(listener);
    },
    async takeManual(scope, clusterId) {
      const cluster = catalog.read((reader) => reader.cluster(clusterId));
      if (cluster === undefined || !isIn(cluster, scope)) {
        throw new Refused('NotFound', `There is no cluster ${clusterId} in ${scope.region}.`);
      }
      if ((await deps.fleet.status()).areRootsLocked) throw rootsLocked();
      if (cluster.state !== 'ACTIVE') {
        throw new Refused(
          'WrongState',
          `${clusterId} is ${cluster.state}; only an ACTIVE cluster can be backed up.`,
        );
      }
      return await new Promise<Backup>((resolve, reject) => {
        deps.background.run(`manual backup of ${clusterId}`, async () => {
          try {
            await take(clusterId, 'manual', { onStarted: resolve });
          } catch (cause) {
            // Before the start the caller hears it; after it, the row and the event tell.
            reject(cause);
          }
        });
      });
    },
    restore: (backup, target) => restoreBackup(deps, backup, target),
    remove: (caller, id) =>
      change(caller, id, (backup, now) => markDeleted(backup, now, askedBy(caller))),
    undelete: (scope, id) => change(scope, id, markUndeleted),
    async retag(scope, id, tagChange) {
      const changed = await change(scope, id, (backup) => {
        if (backup.state === 'DELETED') {
          throw new Refused('WrongState', `${id} is DELETED; its tags stay as they were.`);
        }
        return { ...backup, tags: changedTags(id, backup.tags, tagChange) };
      });
      return changed.tags;
    },
    tagsOf: (scope, id) =>
      ownBackup(
        catalog.read((reader) => reader.backup(id)),
        scope,
        id,
      ).tags,
    modifyNeverExpires: (scope, id, neverExpires) =>
      change(scope, id, (backup) => {
        if (backup.state !== 'READY') {
          throw new Refused(
            'WrongState',
            `${id} is ${backup.state}; only a READY backup can be set to never expire.`,
          );
        }
        return { ...backup, neverExpires };
      }),
    async drill(scope, id, roots = {}) {
      const backup = ownBackup(
        catalog.read((reader) => reader.backup(id)),
        scope,
        id,
      );
      if (backup.state !== 'READY') {
        throw new Refused('WrongState', `${id} is ${backup.state}; only a READY backup is tried.`);
      }
      const storage = deps.storageOf(backup.region);
      return await drillBackup({ fleet: deps.fleet, storage }, backup, roots);
    },
    async purgeDue() {
      const pending = catalog.read((reader) => reader.backupsToPurge(clock.now(), PURGES_A_TURN));
      for (const due of pending) {
        await turns.run(due.id, async () => {
          const [current] = duePurges(
            catalog.read((reader) => [reader.backup(due.id)].filter((row) => row !== undefined)),
            clock.now(),
          );
          if (current !== undefined) await purgeBackup(deps, current);
        });
      }
    },
    recover: () => recoverBackups(deps),
  };
}

const askedBy = ({ principal }: Caller): Removal => ({
  kind: 'asked',
  why: 'asked for',
  by: principal,
});

/** The writing HSM is the one whose state is the cluster's; it can be sealed while it is being deleted. */
function isSealable(hsm: Hsm): boolean {
  return hsm.takesWrites && (hsm.state === 'ACTIVE' || hsm.state === 'DELETE_IN_PROGRESS');
}

function isIn(thing: Scope, scope: Scope): boolean {
  return thing.account === scope.account && thing.region === scope.region;
}

function ownBackup(backup: Backup | undefined, scope: Scope, id: BackupId): Backup {
  if (backup === undefined || !isIn(backup, scope)) {
    throw new Refused('NotFound', `There is no backup ${id} in ${scope.region}.`);
  }
  return backup;
}
