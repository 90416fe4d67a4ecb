/** When the HSM that takes the changes leaves, a follower is fed its last state and takes them from then on. */
import type { ReadyBackup } from '../backups/backup.ts';
import type { Hsm } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import { feed } from './feed.ts';
import { comesBack, openWriter } from './write-turn.ts';

/** @param backup of the leaving HSM, which is frozen: nothing was acknowledged since. */
export async function handOver(
  deps: ClusterDeps,
  leaving: Hsm,
  backup: ReadyBackup,
): Promise<void> {
  const heir = await heirOf(deps, leaving, backup.archive.seal.statement.generation);
  if (heir === undefined) return;
  await feed(deps, heir, backup);
  // One fact: a cluster never has two that take changes, nor none.
  deps.catalog.transact((writer) => {
    for (const { id } of [leaving, heir]) {
      const row = writer.hsm(id);
      if (row !== undefined) writer.putHsm({ ...row, takesWrites: id === heir.id });
    }
  });
  await openWriter(deps, heir.id);
}

/** A follower, also one that is only being restarted; none that never served or whose changes no backup has. */
async function heirOf(
  deps: ClusterDeps,
  leaving: Hsm,
  provenGeneration: number,
): Promise<Hsm | undefined> {
  const others = deps.catalog
    .read((reader) => reader.hsmsOf(leaving.clusterId))
    .filter(({ id }) => id !== leaving.id);
  const active = others.find(({ state }) => state === 'ACTIVE');
  if (active !== undefined) return active;
  const away = others.filter(({ state, serial }) => state === 'DEGRADED' && serial !== undefined);
  for (const hsm of away) {
    const hello = await comesBack(deps, hsm);
    if (hello !== undefined && hello.generation <= provenGeneration) return hsm;
  }
  return undefined;
}
