/** A cluster's tags. */
import type { Scope } from '../catalog/catalog.ts';
import { Refused } from '../kernel/errors.ts';
import type { ClusterId } from '../kernel/ids.ts';
import { changedTags, type TagChange, type Tags } from '../kernel/tags.ts';
import type { ClusterDeps } from './deps.ts';
import { ownCluster } from './rows.ts';

/** @throws Refused `NotFound`, `WrongState` for what is deleted, `LimitExceeded`. */
export function retagCluster(
  { catalog }: Pick<ClusterDeps, 'catalog'>,
  scope: Scope,
  id: ClusterId,
  change: TagChange,
): Tags {
  return catalog.transact((writer) => {
    const cluster = ownCluster(writer, scope, id);
    if (cluster.state === 'DELETED') {
      throw new Refused('WrongState', `${id} is DELETED; its tags stay as they were.`);
    }
    const tags = changedTags(id, cluster.tags, change);
    writer.putCluster({ ...cluster, tags });
    return tags;
  });
}
