/** Backups whose seven days are over go for good: key records first, the body next, then the fact. */
import type { Catalog } from '../catalog/catalog.ts';
import type { Clock } from '../kernel/clock.ts';
import type { BackupId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import { objectName } from '../vault/names.ts';
import type { Backup, PendingBackup } from './backup.ts';
import { PURGE_ORDER } from './parts.ts';
import type { RegionStorage, StorageOf } from './storage.ts';

/** Safe to repeat at any point: removing what is gone succeeds. */
export async function removeStored(storage: RegionStorage, id: BackupId): Promise<void> {
  for (const part of PURGE_ORDER) await storage.vault.remove(objectName(id, part));
}

/** Which deletions have become final. */
export function duePurges(backups: readonly Backup[], now: EpochMs): readonly PendingBackup[] {
  return backups.flatMap((backup) =>
    backup.state === 'PENDING_DELETION' && backup.purgeAt <= now ? [backup] : [],
  );
}

/** The caller holds the backup's turn, so nobody undeletes it meanwhile. */
export async function purgeBackup(
  deps: { catalog: Catalog; storageOf: StorageOf; clock: Clock },
  backup: PendingBackup,
): Promise<void> {
  await removeStored(deps.storageOf(backup.region), backup.id);
  const { archive: _archive, proof: _proof, purgeAt: _purgeAt, removal, ...rest } = backup;
  deps.catalog.transact((writer) => {
    writer.putBackup({
      ...rest,
      state: 'DELETED',
      deletedAt: deps.clock.now(),
      why: `purged seven days after its deletion (${removal.why})`,
    });
  });
}
