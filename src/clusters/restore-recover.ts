/** Restores that a dead process, a host that was away or a full disk left between their two ends. */

import type { Hsm } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import type { RestoreIn } from './restore.ts';
import { finish, rollBack } from './restore-end.ts';
import { RESTORE_FROZEN } from './restore-into.ts';

const STOPPED =
  'It could not come to its end: the service or the HSM host stopped meanwhile. The log says more.';

/** After a start: before the switch back, after it onward. */
export function recoverRestores(deps: ClusterDeps): void {
  for (const restore of deps.catalog.read((reader) => reader.restoresUnderWay())) {
    deps.events.emit({ kind: 'recovered', what: restore.id, outcome: `was ${restore.state}` });
    settle(deps, restore);
  }
}

/** Once a minute: a restore at work holds the cluster's turn, so one found in its turn is nobody's. */
export function retryRestores(deps: ClusterDeps): void {
  for (const restore of deps.catalog.read((reader) => reader.restoresUnderWay())) {
    settle(deps, restore);
  }
}

function settle(deps: ClusterDeps, { id, clusterId }: RestoreIn<'PREPARING' | 'SWITCHED'>): void {
  deps.background.run(`settle ${id}`, () =>
    deps.turns.run(clusterId, async () => {
      const restore = deps.catalog.read((reader) => reader.restore(id));
      if (restore?.state === 'PREPARING') await rollBack(deps, id, STOPPED);
      if (restore?.state === 'SWITCHED') await finish(deps, restore);
    }),
  );
}

/** An HSM that comes back comes back thawed; while its cluster is being restored it is frozen again. */
export function keepFrozen(deps: ClusterDeps, { id, clusterId }: Hsm): void {
  const isUnderWay = (): boolean =>
    deps.catalog.read((reader) => reader.restoresUnderWay(clusterId)).length > 0;
  if (!isUnderWay()) return;
  deps.background.run(`freeze ${id}`, async () => {
    const handle = deps.fleet.hsm(id);
    await handle.limit(RESTORE_FROZEN);
    if (!isUnderWay()) await handle.limit(null);
  });
}
