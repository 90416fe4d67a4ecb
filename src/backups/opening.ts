/**
 * What came of opening a READY backup again, by a drill or by a restore, goes onto its row. Where a failure
 * hits the newest backup of a cluster with a live HSM, a new backup is due at once. Where it hits the last
 * one that opened, a sound one that retention or thinning had marked comes back.
 */
import type { Catalog, CatalogWriter } from '../catalog/catalog.ts';
import type { Clock } from '../kernel/clock.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Events } from '../ops/events.ts';
import type { ReadyBackup } from './backup.ts';
import { markUndeleted } from './remove.ts';
import { isSound } from './sound.ts';

/**
 * @param failure why it does not hold; undefined when it opened and was the same.
 * @returns false when it is not READY any more: then nothing is to be said about it.
 */
export function noteOpening(
  { catalog, clock, events }: { catalog: Catalog; clock: Clock; events: Events },
  backup: ReadyBackup,
  failure: string | undefined,
): boolean {
  const at = clock.now();
  const rescued: ReadyBackup[] = [];
  const isThere = catalog.transact((writer) => {
    const current = writer.backup(backup.id);
    // Deleted meanwhile: then nothing is to be said about it any more.
    if (current?.state !== 'READY') return false;
    const wasNewest = writer.protection.newestSound(current.clusterId) === current.id;
    writer.putBackup({ ...current, drill: { at, ...(failure !== undefined && { failure }) } });
    if (failure !== undefined) rescued.push(...rescue(writer, current, at));
    const cluster = writer.cluster(current.clusterId);
    if (cluster !== undefined) {
      const isDue = failure !== undefined && wasNewest && cluster.nextBackupAt !== undefined;
      // Which backups stand for others, and which is the last that opens, may have changed.
      const nextReviewAt = isSound(current) === (failure === undefined) ? {} : { nextReviewAt: at };
      writer.putCluster({ ...cluster, ...nextReviewAt, ...(isDue && { nextBackupAt: at }) });
    }
    return true;
  });
  for (const { id, clusterId } of rescued) {
    events.emit({ kind: 'backupUndeleted', backupId: id, clusterId, by: 'keyark' });
  }
  return isThere;
}

/** So many of a cluster's marked backups are looked at, the newest first. */
const MAX_MARKED = 100;

/**
 * When nothing of the cluster that opens is left, the newest sound backup that the service itself had marked comes
 * back; what somebody asked to be deleted stays so. @returns it, or none.
 */
function rescue(writer: CatalogWriter, broken: ReadyBackup, now: EpochMs): readonly ReadyBackup[] {
  if (writer.hasOtherSound(broken)) return [];
  const query = { clusterIds: [broken.clusterId], states: ['PENDING_DELETION'] } as const;
  const { items } = writer.backups(broken, query, { limit: MAX_MARKED });
  const marked = items.find(
    (each) =>
      each.state === 'PENDING_DELETION' &&
      each.removal.kind !== 'asked' &&
      each.removal.purgeBegunAt === undefined &&
      each.purgeAt > now &&
      isSound(each),
  );
  if (marked === undefined) return [];
  // With time to look at what happened, whatever the profile: nobody's rehearsal counts on it.
  const back = markUndeleted(marked, now, 'own');
  writer.putBackup(back);
  return back.state === 'READY' ? [back] : [];
}
