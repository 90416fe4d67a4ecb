/** What the laws are held against: a world's rows, the HSMs of its host, and what is on its disk. */
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { CatalogReader } from '../../src/catalog/catalog.ts';
import type { Cluster } from '../../src/clusters/cluster.ts';
import { callerOf, REGIONS, SCOPE, type World } from '../support/world.ts';
import type { Snapshot } from './model.ts';

export const CONSUMER = callerOf('000000000002', SCOPE.region);
const SCOPES = [SCOPE, CONSUMER, callerOf(SCOPE.account, REGIONS[1])];
const MOST_CLUSTERS = 1_000;

export async function snapshotOf(world: World, before?: Snapshot): Promise<Snapshot> {
  const hosted = (await world.fleet.list()).map(({ hsmId }) => hsmId);
  return world.catalog.read((reader) => {
    const clusters = allClusters(reader);
    const kept = reader.backupsIn(['CREATE_IN_PROGRESS', 'READY', 'PENDING_DELETION']);
    const ids = new Set(kept.map(({ id }) => id));
    // DELETED is for good: each is looked at once, when it became so.
    const gone = (before?.backups ?? [])
      .filter(({ id, state }) => state !== 'DELETED' && !ids.has(id))
      .map(({ id }) => reader.backup(id) ?? assert.fail(`the row of ${id} is gone`));
    return {
      now: world.clock.now(),
      clusters,
      hsms: clusters.flatMap(({ id }) => reader.hsmsOf(id)),
      hosted: new Set(hosted),
      backups: [...kept, ...gone],
      restoresUnderWay: reader.restoresUnderWay(),
      stored: new Set(storedIn(world)),
    };
  });
}

/** Of every account and region, DELETED ones too. */
export function allClusters(reader: CatalogReader): readonly Cluster[] {
  return SCOPES.flatMap((scope) => reader.clusters(scope, {}, { limit: MOST_CLUSTERS }).items);
}

/** As the disk has it, whatever the vaults say. */
function storedIn(world: World): readonly string[] {
  const vaults = join(world.folder, 'vault');
  return readdirSync(vaults).flatMap((region) => {
    const objects = join(vaults, region, 'objects');
    return readdirSync(objects).flatMap((id) =>
      readdirSync(join(objects, id)).map((part) => `${id}/${part}`),
    );
  });
}
