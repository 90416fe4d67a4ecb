/**
 * Backups whose seven days are over go for good: first the fact that it begins, then key records, then
 * the body, then each part is looked for, and only what is found absent is DELETED. Dying after any step
 * leaves a PENDING_DELETION row that is due: the next look goes on, because removing what is gone succeeds.
 */
import type { Catalog } from '../catalog/catalog.ts';
import type { Clock } from '../kernel/clock.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import type { BackupId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Profile } from '../profile.ts';
import { objectName, splitObjectName } from '../vault/names.ts';
import type { ObjectName } from '../vault/vault.ts';
import type { Backup, DeletionRecord, PendingBackup } from './backup.ts';
import { PURGE_ORDER } from './parts.ts';
import type { RegionStorage, StorageOf } from './storage.ts';

type Deleted = Extract<Backup, { state: 'DELETED' }>;

/** Safe to repeat at any point: removing what is gone succeeds. */
export async function removeStored(storage: RegionStorage, id: BackupId): Promise<void> {
  for (const part of PURGE_ORDER) await storage.vault.remove(objectName(id, part));
}

/**
 * The caller holds the backup's turn, so nobody undeletes it meanwhile.
 * @throws Refused `WrongState` while the vault holds any part, before anything is removed; Failed
 *   `VAULT_…` when removal or absence cannot be confirmed. The row stays PENDING_DELETION then.
 */
export async function purgeBackup(
  deps: { catalog: Catalog; storageOf: StorageOf; clock: Clock; profile: Profile },
  backup: PendingBackup,
): Promise<Deleted> {
  const { vault } = deps.storageOf(backup.region);
  await refuseHeldParts(vault, backup.id);
  recordBeginning(deps, backup);
  const record = await destroy(vault, backup.id, deps.clock);
  const { archive: _archive, proof: _proof, purgeAt: _purgeAt, removal, ...rest } = backup;
  const deleted: Deleted = {
    ...rest,
    state: 'DELETED',
    deletedAt: deps.clock.now(),
    why: `purged seven days after its deletion (${removal.why})`,
    record: { profile: deps.profile, ...record },
  };
  deps.catalog.transact((writer) => writer.putBackup(deleted));
  return deleted;
}

/** One held part saves all of them: a body without its key records is nothing. */
async function refuseHeldParts(vault: RegionStorage['vault'], id: BackupId): Promise<void> {
  for (const part of PURGE_ORDER) {
    if ((await vault.heldBy(objectName(id, part))) === undefined) continue;
    throw new Refused(
      'WrongState',
      `[HELD] ${part} of ${id} is held in the vault; nothing of it was removed.`,
    );
  }
}

function recordBeginning(
  { catalog, clock }: { catalog: Catalog; clock: Clock },
  { id }: PendingBackup,
): void {
  catalog.transact((writer) => {
    const backup = writer.backup(id);
    if (backup?.state !== 'PENDING_DELETION') return;
    const purgeBegunAt = backup.removal.purgeBegunAt ?? clock.now();
    writer.putBackup({ ...backup, removal: { ...backup.removal, purgeBegunAt } });
  });
}

/** Parts that this version does not know go too: whatever lies under the backup's name. */
async function destroy(
  vault: RegionStorage['vault'],
  id: BackupId,
  clock: Clock,
): Promise<DeletionRecord> {
  const removed = new Map<ObjectName, EpochMs>();
  const remove = async (name: ObjectName): Promise<void> => {
    await vault.remove(name);
    removed.set(name, clock.now());
  };
  for (const part of PURGE_ORDER) await remove(objectName(id, part));
  for (const { name } of await Array.fromAsync(vault.list(id))) await remove(name);

  const [left] = await Array.fromAsync(vault.list(id));
  if (left !== undefined) throw stillThere(left.name);
  const parts: DeletionRecord['parts'][number][] = [];
  for (const [name, removedAt] of removed) {
    if ((await vault.stat(name)) !== undefined) throw stillThere(name);
    parts.push({ name: splitObjectName(name).part, removedAt, absentAt: clock.now() });
  }
  return { parts };
}

const stillThere = (name: ObjectName): Failed =>
  new Failed('VAULT_WRITE', `${name} was removed, but the vault still finds it`);
