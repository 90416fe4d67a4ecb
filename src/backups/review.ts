/**
 * Marks what retention and thinning end. One transaction for each cluster: what is READY is read, judged
 * (`retention.ts`) and marked in it, so nothing that changes meanwhile can make it the wrong decision.
 * Nothing is destroyed here; seven days of undo follow.
 */
import type { Catalog, CatalogReader, CatalogWriter } from '../catalog/catalog.ts';
import type { Cluster } from '../clusters/cluster.ts';
import { DAY_MS, isoTime } from '../kernel/clock.ts';
import type { BackupId, ClusterId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Events } from '../ops/events.ts';
import type { PendingBackup } from './backup.ts';
import { markDeleted } from './remove.ts';
import {
  type ClusterBackups,
  type Ending,
  type Fate,
  fateOfCopy,
  fatesOf,
  type RetentionPolicy,
} from './retention.ts';

/** One look takes on so many clusters, each a short transaction, so that requests get their turns. */
const CLUSTERS_A_TURN = 5;
const COPIES_A_TURN = 50;

export interface ReviewDeps {
  readonly catalog: Catalog;
  readonly events: Events;
  readonly policy: RetentionPolicy;
}

/** Clusters whose time for a look has come. Safe to repeat: the second look finds nothing to do. */
export function reviewClusters(deps: ReviewDeps, now: EpochMs): void {
  const due = deps.catalog.read((reader) => reader.clustersToReview(now, CLUSTERS_A_TURN));
  for (const { id } of due) {
    const marked = deps.catalog.transact((writer) => reviewCluster(writer, id, now, deps.policy));
    for (const backup of marked) tellMarked(deps.events, backup);
  }
}

/** Copies that have outlived a retention of their own. */
export function expireCopies(deps: Pick<ReviewDeps, 'catalog' | 'events'>, now: EpochMs): void {
  const due = deps.catalog.read((reader) => reader.backupsToExpire(now, COPIES_A_TURN));
  for (const { id } of due) {
    const marked = deps.catalog.transact((writer) => expireCopy(writer, id, now));
    if (marked !== undefined) tellMarked(deps.events, marked);
  }
}

/** What a cluster's backups are up to, for a decision or a forecast. Undefined without such a cluster. */
export function clusterFates(
  reader: CatalogReader,
  id: ClusterId,
  now: EpochMs,
  policy: RetentionPolicy,
): readonly Fate[] | undefined {
  const cluster = reader.cluster(id);
  if (cluster === undefined) return undefined;
  const copying = new Set(
    reader.backupsIn(['CREATE_IN_PROGRESS']).flatMap(({ copy }) => copy?.sourceBackup ?? []),
  );
  const facts: ClusterBackups = {
    retentionDays: cluster.retentionDays,
    ready: reader.retentionFactsOf(cluster),
    newest: reader.newestReady(id)?.id,
    ...wayBackOf(cluster),
    neededFor: (backup) =>
      copying.has(backup) ? 'a copy of it is under way' : neededByClone(reader, backup),
  };
  return fatesOf(facts, now, policy);
}

/** When the move is no longer to be gone back on, the cluster is reviewed again. */
function wayBackOf({ migration }: Cluster): Pick<ClusterBackups, 'wayBack'> {
  if (migration === undefined) return {};
  const id =
    migration.state === 'DONE'
      ? migration.oldBackupId
      : (migration.undoes?.oldBackupId ?? migration.beforeId);
  return id === undefined ? {} : { wayBack: { id, until: migration.rollbackUntil } };
}

function reviewCluster(
  writer: CatalogWriter,
  id: ClusterId,
  now: EpochMs,
  policy: RetentionPolicy,
): readonly PendingBackup[] {
  const cluster = writer.cluster(id);
  const endings = (clusterFates(writer, id, now, policy) ?? []).filter(isEnding);
  const marked = endings
    .filter(({ at }) => at <= now)
    .map((ending) => mark(writer, ending, now))
    .filter((backup) => backup !== undefined);
  if (cluster !== undefined) {
    const { nextReviewAt: _done, ...rest } = cluster;
    const later = endings.map(({ at }) => at).filter((at) => at > now);
    // The least of several times is a time.
    const next = Math.min(...later) as EpochMs;
    writer.putCluster(later.length === 0 ? rest : { ...rest, nextReviewAt: next });
  }
  return marked;
}

/** A cluster made from it that has no backup of its own yet would lose its first HSM's state. */
function neededByClone(reader: CatalogReader, backup: BackupId): string | undefined {
  const clone = reader
    .clustersMadeFrom(backup)
    .find(({ id }) => reader.protection.newestSound(id) === undefined);
  return clone === undefined ? undefined : `${clone.id}, made from it, has no backup of its own`;
}

/** Judged again in the transaction: what was due may have been held, shared or deleted meanwhile. */
function expireCopy(writer: CatalogWriter, id: BackupId, now: EpochMs): PendingBackup | undefined {
  const copy = writer.backup(id);
  if (copy?.state !== 'READY' || copy.ownRetention === undefined) return undefined;
  const fate = fateOfCopy(copy);
  if (fate.what === 'kept' || fate.at > now) return undefined;
  if (writer.hasOtherSound(copy)) return mark(writer, fate, now);
  // The last backup of its cluster that opens, anywhere: looked at again tomorrow.
  const expiresAt = (now + DAY_MS) as EpochMs;
  writer.putBackup({ ...copy, ownRetention: { ...copy.ownRetention, expiresAt } });
  return undefined;
}

function mark(writer: CatalogWriter, ending: Ending, now: EpochMs): PendingBackup | undefined {
  const backup = writer.backup(ending.id);
  if (backup?.state !== 'READY') return undefined;
  const { what: kind, why } = ending;
  const marked = markDeleted(backup, now, { kind, why, by: 'keyark' });
  writer.putBackup(marked);
  return marked;
}

export function tellMarked(
  events: Events,
  { id, clusterId, removal, purgeAt }: PendingBackup,
): void {
  events.emit({
    kind: 'backupMarked',
    backupId: id,
    clusterId,
    removal: removal.kind,
    why: removal.why,
    by: removal.by,
    purgeAt: isoTime(purgeAt),
  });
}

const isEnding = (fate: Fate): fate is Ending => fate.what !== 'kept';
