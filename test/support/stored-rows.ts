/** Backups that are rows and three small objects: enough for whatever never opens one. */
import { PURGE_ORDER } from '../../src/backups/parts.ts';
import type { Cluster } from '../../src/clusters/cluster.ts';
import { objectName } from '../../src/vault/names.ts';
import { backupId, readyBackup, sampleCluster } from './catalog-samples.ts';
import { SCOPE, type World } from './world.ts';

export function addCluster(world: World, n: number, changes: Partial<Cluster> = {}): void {
  const row = sampleCluster(n, { ...SCOPE, nextReviewAt: world.clock.now(), ...changes });
  world.catalog.transact((writer) => writer.createCluster(row));
}

/** A READY backup of now. */
export async function addStored(
  world: World,
  n: number,
  changes: Parameters<typeof readyBackup>[1] = {},
): Promise<void> {
  for (const part of PURGE_ORDER) {
    await world.storage.vault.put(objectName(backupId(n), part), bytes());
  }
  const backup = readyBackup(n, { ...SCOPE, createdAt: world.clock.now(), ...changes });
  world.catalog.transact((writer) => writer.createBackup(backup));
}

async function* bytes(): AsyncIterable<Uint8Array> {
  yield new Uint8Array(100);
}
