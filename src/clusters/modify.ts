/** ModifyCluster, the retention part. */
import type { CatalogWriter, Scope } from '../catalog/catalog.ts';
import { Refused } from '../kernel/errors.ts';
import type { ClusterId } from '../kernel/ids.ts';
import type { Cluster } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import type { ClusterView } from './requests.ts';
import { ownCluster, viewOf } from './rows.ts';

export const DEFAULT_RETENTION_DAYS = 90;
const MIN_RETENTION_DAYS = 7;
const MAX_RETENTION_DAYS = 379;

/** @throws Refused `InvalidRequest` outside 7 to 379. */
export function checkRetention(days: number): number {
  if (!Number.isInteger(days) || days < MIN_RETENTION_DAYS || days > MAX_RETENTION_DAYS) {
    throw new Refused(
      'InvalidRequest',
      `A retention of ${days} days is not possible; choose ${MIN_RETENTION_DAYS} to ${MAX_RETENTION_DAYS}.`,
    );
  }
  return days;
}

export function modifyRetention(
  deps: ClusterDeps,
  scope: Scope,
  id: ClusterId,
  retentionDays: number,
): ClusterView {
  const days = checkRetention(retentionDays);
  return deps.catalog.transact((writer) => {
    const cluster = ownCluster(writer, scope, id);
    if (cluster.state === 'DELETED' || cluster.state === 'DELETE_IN_PROGRESS') {
      throw new Refused('WrongState', `${id} is ${cluster.state}; its retention stays as it is.`);
    }
    const changed = { ...cluster, retentionDays: days, nextReviewAt: deps.clock.now() };
    writer.putCluster(changed);
    endGrace(writer, changed);
    return viewOf(writer, changed);
  });
}

/** A backup that was brought back is spared until somebody has had a say about the policy: now. */
function endGrace(writer: CatalogWriter, cluster: Cluster): void {
  for (const { id, sparedUntil } of writer.retentionFactsOf(cluster)) {
    const backup = sparedUntil === undefined ? undefined : writer.backup(id);
    if (backup?.state !== 'READY') continue;
    const { sparedUntil: _ended, ...rest } = backup;
    writer.putBackup(rest);
  }
}
