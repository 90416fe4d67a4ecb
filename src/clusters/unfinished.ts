/** HSMs on their way somewhere that nothing else looks after. */
import type { CatalogReader } from '../catalog/catalog.ts';
import type { Hsm, HsmState } from './cluster.ts';
import { isMoving } from './migration.ts';

/** What a restore or a move to another type replaces, its own recovery looks after. */
export function unfinishedHsms(reader: CatalogReader, states: readonly HsmState[]): readonly Hsm[] {
  return reader.hsmsIn(states).filter(({ clusterId }) => {
    const cluster = reader.cluster(clusterId);
    if (cluster !== undefined && isMoving(cluster)) return false;
    return reader.restoresUnderWay(clusterId).length === 0;
  });
}
