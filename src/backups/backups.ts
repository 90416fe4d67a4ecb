/** The face of `backups/`: what the API, clusters and the keeper may ask. One verb a file behind it. */
import type { Caller } from '../access/caller.ts';
import type {
  BackupQuery,
  Catalog,
  CatalogReader,
  CatalogWriter,
  Page,
  PageRequest,
  Scope,
} from '../catalog/catalog.ts';
import type { Hsm } from '../clusters/cluster.ts';
import type { Fleet } from '../fleet/fleet.ts';
import type { OpenOutcome, PlanOutcome } from '../hsm/protocol.ts';
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
import { type Profile, requireFeature } from '../profile.ts';
import type { Backup, BackupCause, BackupSummary, ReadyBackup, Removal } from './backup.ts';
import { Copier } from './copier.ts';
import { type CopyRequest, sourceOfCopy } from './copy.ts';
import { checkCopyRetention } from './copy-rules.ts';
import { type DrillOutcome, drillBackup } from './drill.ts';
import { type HeldBackup, heldNow, liftHold, setHold, settleHolds } from './hold.ts';
import { type HoldTerms, refuseHeld } from './holds.ts';
import { Housekeeping } from './housekeeping.ts';
import { type CurrentState, planAgainst } from './plan.ts';
import { recoverBackups } from './recover.ts';
import { markDeleted, markUndeleted } from './remove.ts';
import { type RestoreTarget, restoreBackup } from './restore.ts';
import { type Fate, type RetentionPolicy, withExpiry, withOwnRetention } from './retention.ts';
import { clusterFates, tellMarked } from './review.ts';
import type { DueCause } from './schedule.ts';
import { backupToRestore } from './sharing.ts';
import type { StorageOf } from './storage.ts';
import { takeBackup } from './take.ts';

export type { CurrentState };

export interface Backups {
  describe(scope: Scope, query: BackupQuery, page: PageRequest): Page<Backup>;
  /** The same pages, of what a list shows. */
  list(scope: Scope, query: BackupQuery, page: PageRequest): Page<BackupSummary>;
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
   * The same for the schedule: takes none when another backup was proven while this one waited for its
   * turn, so that unchanged state is not backed up twice.
   */
  takeDue(clusterId: ClusterId, cause: DueCause): Promise<ReadyBackup | undefined>;
  /**
   * Told of every backup that was just proven, whatever it was taken for. `take` does not wait for listeners:
   * whoever takes may hold a turn that they want.
   */
  onProven(listener: (backup: ReadyBackup) => Promise<void>): void;
  /** For the native API: starts a manual backup of the caller's cluster and answers with its first row. */
  takeManual(scope: Scope, clusterId: ClusterId): Promise<Backup>;
  /** Opens a READY backup on an HSM and checks the digest against the proof. */
  restore(backup: ReadyBackup, target: RestoreTarget): Promise<OpenOutcome>;
  /** What would change if the backup's state replaced the current one, found out on a throw-away HSM. */
  plan(chosen: ReadyBackup, current: CurrentState): Promise<PlanOutcome>;
  /** The service itself gives up a backup whose reason did not come about; seven days of undo, as ever. */
  withdraw(id: BackupId, why: string): Promise<void>;
  remove(caller: Caller, id: BackupId): Promise<Backup>;
  undelete(caller: Caller, id: BackupId): Promise<Backup>;
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
  /** Gives a copy a retention of its own, counted from the copying; undefined takes it away. */
  modifyRetention(scope: Scope, id: BackupId, days: number | undefined): Promise<Backup>;
  /** Enforced in the vault too. @throws Refused `WrongState` `[HELD]`, `InvalidRequest`. */
  hold(caller: Caller, id: BackupId, terms: HoldTerms, why: string): Promise<Backup>;
  /** Ends a legal hold; one with a date ends by its date only. */
  liftHold(caller: Caller, id: BackupId): Promise<Backup>;
  held(scope: Scope): Promise<readonly HeldBackup[]>;
  /** When each of a cluster's READY backups would go by itself, and why; copies elsewhere are not among them. */
  fates(scope: Scope, clusterId: ClusterId): readonly Fate[];
  /**
   * Begins a copy of the caller's backup in another region and answers with the copy's first row.
   * @throws Refused `NotFound`, `InvalidRequest`, `WrongState`, `LimitExceeded`.
   */
  copy(
    caller: Scope,
    id: BackupId,
    request: CopyRequest,
    onCreated?: (writer: CatalogWriter, copy: Backup) => void,
  ): Promise<Backup>;
  /** Goes on with copies that were interrupted and begins those that rules want. */
  copyDue(): Promise<void>;
  /**
   * The backup a cluster of the caller's is to be made from: his own by id or ARN, or by its full ARN one
   * that another account shares with him. @throws Refused `NotFound`, `AccessDenied`.
   */
  toRestore(reader: CatalogReader, caller: Caller, asRequested: string): Backup;
  /** Does what age makes due: retention, thinning, the end of the seven days. Bounded; one at a time. */
  purgeDue(): Promise<void>;
  /** Once, at start, before anything else. */
  recover(): Promise<void>;
}

export interface BackupsDeps {
  readonly catalog: Catalog;
  readonly fleet: Fleet;
  readonly storageOf: StorageOf;
  /** Those that `storageOf` knows. */
  readonly regions: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly events: Events;
  readonly background: Background;
  /** The time by which something may go for good; undefined while there is none. */
  readonly watch: { trustedNow(): EpochMs | undefined };
  readonly retention: RetentionPolicy;
  readonly profile: Profile;
}

export function createBackups(deps: BackupsDeps): Backups {
  const { catalog, clock, events } = deps;
  /** One turn per cluster for taking, one per backup for deletion, undo, holds and purge. */
  const turns = new Serial();
  const listeners: ((backup: ReadyBackup) => Promise<void>)[] = [];
  const copier = new Copier({ ...deps, turns });
  const housekeeping = new Housekeeping({ ...deps, turns, policy: deps.retention });

  const take: Backups['take'] = (clusterId, cause, options) =>
    turns.run(clusterId, () => takeNow(clusterId, cause, options));

  const takeNow: Backups['take'] = async (clusterId, cause, options = {}) => {
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
    // While a cluster moves to another type, its HSMs are of both.
    const sealed = { ...cluster, type: source.type };
    const backup = await takeBackup(deps, sealed, handle, cause, options.onStarted);
    for (const listener of listeners) {
      deps.background.run(`after ${backup.id}`, () => listener(backup));
    }
    return backup;
  };

  const change = (
    scope: Scope,
    id: BackupId,
    decide: (backup: Backup, now: EpochMs) => Backup,
  ): Promise<Backup> =>
    turns.run(id, async () =>
      catalog.transact((writer) => {
        const changed = withExpiry(decide(ownBackup(writer.backup(id), scope, id), clock.now()));
        writer.putBackup(changed);
        lookSoon(writer, changed, clock.now());
        return changed;
      }),
    );
  const findOwn =
    (scope: Scope, id: BackupId) =>
    (reader: { backup(id: BackupId): Backup | undefined }): Backup =>
      ownBackup(reader.backup(id), scope, id);

  return {
    describe: (scope, query, page) => catalog.read((reader) => reader.backups(scope, query, page)),
    list: (scope, query, page) =>
      catalog.read((reader) => reader.backupSummaries(scope, query, page)),
    take,
    onProven: (listener) => {
      listeners.push(listener);
    },
    takeDue: async (clusterId, cause) => {
      const newestOf = () => catalog.read(({ protection }) => protection.newestSound(clusterId));
      const before = newestOf();
      return await turns.run(clusterId, async () => {
        // Somebody else's was proven while this one waited: what is still due, the next look finds.
        if (newestOf() !== before) return undefined;
        return await takeNow(clusterId, cause);
      });
    },
    async takeManual(scope, clusterId) {
      requireFeature(deps.profile, 'takeBackup');
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
    plan: (chosen, current) => planAgainst(deps, chosen, current),
    withdraw: (id, why) =>
      turns.run(id, async () =>
        catalog.transact((writer) => {
          const backup = writer.backup(id);
          if (backup?.state !== 'READY') return;
          const removal: Removal = { kind: 'asked', why, by: 'keyark' };
          writer.putBackup(markDeleted(backup, clock.now(), removal));
        }),
      ),
    async remove(caller, id) {
      const isClockTrusted = deps.watch.trustedNow() !== undefined;
      const deleted = await change(caller, id, (backup, now) => {
        // By a clock that stepped no hold has ended.
        if (!isClockTrusted) refuseHeld(backup, BEFORE_ALL_TIME);
        return markDeleted(backup, now, askedBy(caller));
      });
      if (deleted.state === 'PENDING_DELETION') tellMarked(events, deleted);
      return deleted;
    },
    async undelete(caller, id) {
      const ready = await change(caller, id, (backup, now) =>
        markUndeleted(backup, now, deps.profile),
      );
      const { clusterId } = ready;
      events.emit({ kind: 'backupUndeleted', backupId: id, clusterId, by: caller.principal });
      return ready;
    },
    async modifyRetention(scope, id, days) {
      // Taking one away is always possible: AWS has none either.
      if (days !== undefined) requireFeature(deps.profile, 'copyRetention');
      return await change(scope, id, (backup) => withOwnRetention(backup, days));
    },
    async hold(caller, id, terms, why) {
      requireFeature(deps.profile, 'holds');
      const given = { terms, why, by: caller.principal };
      return await turns.run(id, () => setHold(deps, findOwn(caller, id), given));
    },
    async liftHold(caller, id) {
      const free = await turns.run(id, () => liftHold(deps, findOwn(caller, id), caller.principal));
      catalog.transact((writer) => lookSoon(writer, free, clock.now()));
      return free;
    },
    held: async (scope) => (await heldNow(deps)).filter(({ backup }) => isIn(backup, scope)),
    fates: (scope, clusterId) =>
      catalog.read((reader) => {
        const cluster = reader.cluster(clusterId);
        if (cluster === undefined || !isIn(cluster, scope)) {
          throw new Refused('NotFound', `There is no cluster ${clusterId} in ${scope.region}.`);
        }
        return clusterFates(reader, clusterId, clock.now(), deps.retention) ?? [];
      }),
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
        // Both are changes of its policy, which end what protected it from the last one.
        const { sparedUntil: _spared, ...rest } = backup;
        return { ...rest, neverExpires };
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
    async copy(caller, id, request, onCreated) {
      if (request.retentionDays !== undefined) {
        requireFeature(deps.profile, 'copyRetention');
        checkCopyRetention(request.retentionDays);
      }
      const find = (found: Backup | undefined) => sourceOfCopy(found, caller, id);
      return await copier.begin(id, find, request, onCreated);
    },
    async copyDue() {
      copier.resume();
      await copier.makeWanted();
    },
    toRestore: backupToRestore,
    purgeDue: () => housekeeping.run(),
    async recover() {
      await recoverBackups({ ...deps, resumeCopies: () => copier.resume() });
      await settleHolds(deps);
    },
  };
}

/** A time by which every hold stands. */
const BEFORE_ALL_TIME = 0 as EpochMs;

/** What becomes of a backup depends on it and on its neighbours: the cluster is looked at next. */
function lookSoon(writer: CatalogWriter, { clusterId }: Backup, now: EpochMs): void {
  const cluster = writer.cluster(clusterId);
  if (cluster !== undefined) writer.putCluster({ ...cluster, nextReviewAt: now });
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
