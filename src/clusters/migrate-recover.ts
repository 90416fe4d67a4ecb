/** Moves to another HSM type that a dead process, a host that was away or a full disk left on their way. */
import type { Cluster, Hsm } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import { finish, rollBack } from './migrate-end.ts';
import { frozenWhileMoving, isMoving } from './migration.ts';
import { freezeFollower, openWriter } from './write-turn.ts';

const STOPPED =
  'it could not come to its end, because the service or the HSM host stopped meanwhile. The log says more.';

/** After a start: before the switch back, after it onward. */
export function recoverMigrations(deps: ClusterDeps): void {
  for (const cluster of underWay(deps)) {
    const outcome = `was ${cluster.state}`;
    deps.events.emit({ kind: 'recovered', what: cluster.id, outcome });
    settle(deps, cluster);
  }
}

/** Once a minute: a move at work holds the cluster's turn, so one found in its turn is nobody's. */
export function retryMigrations(deps: ClusterDeps): void {
  for (const cluster of underWay(deps)) settle(deps, cluster);
  forgetOld(deps);
}

/** An HSM that comes back may come back thawed; while its cluster moves it is frozen again. */
export function keepFrozenWhileMoving(
  deps: ClusterDeps,
  { id, clusterId, takesWrites, state }: Hsm,
): void {
  const preparing = () => {
    const migration = deps.catalog.read((reader) => reader.cluster(clusterId))?.migration;
    return migration?.state === 'PREPARING' ? migration : undefined;
  };
  const migration = preparing();
  if (migration === undefined || state === 'DELETE_IN_PROGRESS') return;
  deps.background.run(`freeze ${id}`, async () => {
    await deps.fleet.hsm(id).limit(frozenWhileMoving(migration));
    // It came to its end in this very moment.
    if (preparing() === undefined) {
      await (takesWrites ? openWriter(deps, id) : freezeFollower(deps, id));
    }
  });
}

function settle(deps: ClusterDeps, { id }: Cluster): void {
  deps.background.run(`settle ${id}`, () =>
    deps.turns.run(id, async () => {
      await rollBack(deps, id, STOPPED);
      await finish(deps, id);
    }),
  );
}

/** What can go back no more says so no more, and its old backup is an ordinary one. */
function forgetOld({ catalog, clock }: ClusterDeps): void {
  const now = clock.now();
  const isOver = ({ migration }: Cluster): boolean =>
    migration?.state === 'DONE' && migration.rollbackUntil <= now;
  if (!catalog.read((reader) => reader.clustersMigrating()).some(isOver)) return;
  catalog.transact((writer) => {
    for (const cluster of writer.clustersMigrating().filter(isOver)) {
      const { migration: _over, ...rest } = cluster;
      writer.putCluster({ ...rest, nextReviewAt: now });
    }
  });
}

function underWay(deps: ClusterDeps): readonly Cluster[] {
  return deps.catalog.read((reader) => reader.clustersMigrating()).filter(isMoving);
}
