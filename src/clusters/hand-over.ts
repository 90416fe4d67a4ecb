/** When the HSM that takes the changes leaves, a follower is fed its last state and takes them from then on. */
import type { ReadyBackup } from '../backups/backup.ts';
import type { Hsm } from './cluster.ts';
import { FOLLOWER_FROZEN } from './create-hsm.ts';
import type { ClusterDeps } from './deps.ts';
import { feed } from './feed.ts';

/** @param backup of the leaving HSM, which is frozen: nothing was acknowledged since. */
export async function handOver(
  deps: ClusterDeps,
  leaving: Hsm,
  backup: ReadyBackup,
): Promise<void> {
  const heir = deps.catalog
    .read((reader) => reader.hsmsOf(leaving.clusterId))
    .find((hsm) => hsm.id !== leaving.id && hsm.state === 'ACTIVE');
  if (heir === undefined) return;
  await feed(deps, heir, backup);
  const handle = deps.fleet.hsm(heir.id);
  await handle.limit(null);
  try {
    // One fact: a cluster never has two that take changes, nor none.
    deps.catalog.transact((writer) => {
      const rows = [writer.hsm(leaving.id), writer.hsm(heir.id)];
      for (const row of rows) {
        if (row !== undefined) writer.putHsm({ ...row, takesWrites: row.id === heir.id });
      }
    });
  } catch (cause) {
    await handle.limit(FOLLOWER_FROZEN);
    throw cause;
  }
}
