/**
 * What would a restore do, said before anything is done: into a live cluster, onto the first HSM of an
 * empty one (CreateHsm), or into a new cluster (CreateCluster). Which backup, how old, how proven; what
 * was made since; what stands in the way; and, by a throw-away HSM, what appears, vanishes and changes.
 */
import type { Backup, ReadyBackup } from '../backups/backup.ts';
import type { CurrentState } from '../backups/backups.ts';
import type { CatalogReader, Scope } from '../catalog/catalog.ts';
import type { FleetStatus } from '../fleet/fleet.ts';
import type { PlanOutcome } from '../hsm/protocol.ts';
import { Refused } from '../kernel/errors.ts';
import type { BackupId, ClusterId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Cluster } from './cluster.ts';
import {
  type Blocker,
  createClusterBlockers,
  createHsmBlockers,
  liveBlockers,
  writerOf,
} from './restore-blockers.ts';
import { backupIn, type RestoreDeps } from './restore-start.ts';
import { ownCluster } from './rows.ts';
import { sourceFor } from './source.ts';

/** What would do it. */
export type RestoreWay = 'StartRestore' | 'CreateHsm' | 'CreateCluster';

export interface RestorePlan {
  readonly way: RestoreWay;
  readonly at: EpochMs;
  readonly cluster: Cluster | undefined;
  readonly backup: Backup;
  /** Changes that were made after the backup and would be gone; undefined when they can't be counted. */
  readonly changesSince: number | undefined;
  /** Found inside a throw-away HSM; absent when something stands in the way of that, or nothing to compare. */
  readonly comparison?: PlanOutcome & { readonly with: 'live' | BackupId };
  readonly blockers: readonly Blocker[];
  readonly undoMs: number;
}

export interface PlanRequest {
  readonly clusterId?: ClusterId | undefined;
  /** The newest READY one if absent. */
  readonly backupId?: BackupId | undefined;
}

/** @throws Refused `NotFound`; `InvalidRequest` without cluster and backup; `WrongState`: there is no backup. */
export async function planRestore(
  deps: RestoreDeps,
  scope: Scope,
  request: PlanRequest,
): Promise<RestorePlan> {
  const host = await deps.fleet.status();
  const found = deps.catalog.read((reader) => lookUp(reader, scope, request, host));
  const facts = {
    way: found.way,
    at: deps.clock.now(),
    cluster: found.cluster,
    backup: found.backup,
    undoMs: deps.undoMs,
  };
  const canCompare = !host.areRootsLocked && found.backup.state === 'READY';
  const current = canCompare ? await currentState(deps, found) : undefined;
  const generation = found.newestGeneration;
  if (current === undefined || found.backup.state !== 'READY') {
    const changesSince = changesBetween(found.backup, { ...found.line, generation });
    return { ...facts, changesSince, blockers: found.blockers };
  }
  try {
    const outcome = await deps.backups.plan(found.backup, current);
    const comparison = {
      ...outcome,
      with: current.from === 'live' ? ('live' as const) : current.backup.id,
    };
    const changesSince = changesBetween(found.backup, outcome.current);
    return { ...facts, changesSince, comparison, blockers: found.blockers };
  } catch (cause) {
    if (!(cause instanceof Refused)) throw cause;
    const blocker: Blocker = { code: 'DOES_NOT_OPEN', text: cause.message };
    return { ...facts, changesSince: undefined, blockers: [...found.blockers, blocker] };
  }
}

interface Found {
  readonly way: RestoreWay;
  readonly cluster: Cluster | undefined;
  readonly backup: Backup;
  readonly blockers: readonly Blocker[];
  /** The newest proven backup of the state that would be replaced or left behind. */
  readonly newest: ReadyBackup | undefined;
  readonly newestGeneration: number | undefined;
  /** The incarnation that is current, as far as rows know. */
  readonly line: { readonly incarnation: string | undefined };
}

function lookUp(
  reader: CatalogReader,
  scope: Scope,
  { clusterId, backupId }: PlanRequest,
  host: FleetStatus,
): Found {
  if (clusterId !== undefined) {
    const cluster = ownCluster(reader, scope, clusterId);
    return reader.hsmsOf(clusterId).length > 0
      ? intoLive(reader, scope, { cluster, backupId, host })
      : ontoFirst(reader, scope, { cluster, backupId, host });
  }
  if (backupId === undefined) {
    throw new Refused('InvalidRequest', 'Say what to plan for: a ClusterId, a BackupId, or both.');
  }
  const backup = backupIn(reader, scope, backupId);
  return {
    way: 'CreateCluster',
    cluster: undefined,
    backup,
    blockers: createClusterBlockers(backup, host),
    ...lineOf(reader, scope, backup.clusterId),
  };
}

interface Place {
  readonly cluster: Cluster;
  readonly backupId: BackupId | undefined;
  readonly host: FleetStatus;
}

function intoLive(reader: CatalogReader, scope: Scope, { cluster, backupId, host }: Place): Found {
  const line = lineOf(reader, scope, cluster.id);
  const id = backupId ?? line.newest?.id;
  if (id === undefined) throw noBackup(cluster);
  const backup = backupIn(reader, scope, id);
  const hsms = reader.hsmsOf(cluster.id);
  const [underWay] = reader.restoresUnderWay(cluster.id);
  const blockers = liveBlockers({ cluster, hsms, underWay, backup, host });
  return { way: 'StartRestore', cluster, backup, blockers, ...line };
}

function ontoFirst(reader: CatalogReader, scope: Scope, { cluster, backupId, host }: Place): Found {
  const line = lineOf(reader, scope, cluster.id);
  const origin =
    cluster.sourceBackup === undefined ? undefined : reader.backup(cluster.sourceBackup.id);
  const source = sourceFor(cluster, { liveSisters: [], newestReady: line.newest, origin });
  const used = 'backup' in source ? source.backup : undefined;
  const id = backupId ?? used?.id ?? cluster.sourceBackup?.id;
  if (id === undefined) throw noBackup(cluster);
  const why = source.kind === 'blocked' ? source.why : noBackup(cluster).message;
  const backup = backupIn(reader, scope, id);
  const blockers = createHsmBlockers({ cluster, backup, used, why, host });
  return { way: 'CreateHsm', cluster, backup, blockers, ...line };
}

function lineOf(
  reader: CatalogReader,
  scope: Scope,
  clusterId: ClusterId,
): Pick<Found, 'newest' | 'newestGeneration' | 'line'> {
  const newest = reader.newestReady(clusterId);
  const isHere = newest?.account === scope.account && newest.region === scope.region;
  const own = isHere ? newest : undefined;
  const statement = own?.archive.seal.statement;
  const changed = reader.cluster(clusterId)?.newestChange?.generation;
  const generations = [changed, statement?.generation].filter((each) => each !== undefined);
  return {
    newest: own,
    newestGeneration: generations.length === 0 ? undefined : Math.max(...generations),
    line: { incarnation: statement?.incarnation },
  };
}

function noBackup({ id, state }: Cluster): Refused {
  return new Refused(
    'WrongState',
    `${id} is ${state} and has no READY backup, so there is nothing to restore; its first HSM makes keys of its own.`,
  );
}

/** The live HSM's own state, or the newest proven backup when that is it, or all there is. */
async function currentState(deps: RestoreDeps, found: Found): Promise<CurrentState | undefined> {
  const { newest, cluster, backup } = found;
  const proven = newest === undefined ? undefined : ({ from: 'backup', backup: newest } as const);
  if (found.way !== 'StartRestore' || cluster === undefined) {
    return newest?.id === backup.id ? undefined : proven;
  }
  const writer = deps.catalog.read((reader) => writerOf(reader.hsmsOf(cluster.id)));
  if (writer === undefined) return proven;
  const handle = deps.fleet.hsm(writer.id);
  const { stateDigest } = await handle.digest();
  const isProven = newest?.archive.seal.statement.stateDigest === stateDigest;
  return isProven ? proven : { from: 'live', clusterId: cluster.id, handle };
}

/** Generations count changes, within one incarnation. */
function changesBetween(
  backup: Backup,
  current: { readonly incarnation: string | undefined; readonly generation: number | undefined },
): number | undefined {
  if (!('archive' in backup)) return undefined;
  const { incarnation, generation } = backup.archive.seal.statement;
  if (incarnation !== current.incarnation || current.generation === undefined) return undefined;
  return Math.max(0, current.generation - generation);
}
