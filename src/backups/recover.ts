/**
 * After a start: backups that were being taken when the process died. The row came before everything
 * else, so looking at rows finds every leftover; each becomes DELETED with its reason and leaves nothing
 * in the vault. The schedule then takes a new one. Copies go on instead.
 */
import type { Catalog } from '../catalog/catalog.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Events } from '../ops/events.ts';
import { isCopyUnderWay } from './copy.ts';
import { removeStored } from './purge.ts';
import type { StorageOf } from './storage.ts';
import { failedTry } from './take.ts';

export async function recoverBackups(deps: {
  catalog: Catalog;
  storageOf: StorageOf;
  clock: Clock;
  events: Events;
  /** Copies under way begin again: unlike the HSM that sealed, their source is still there. */
  resumeCopies: () => void;
}): Promise<void> {
  const interrupted = deps.catalog.read((reader) => reader.backupsIn(['CREATE_IN_PROGRESS']));
  for (const backup of interrupted) {
    if (isCopyUnderWay(backup)) {
      deps.events.emit({ kind: 'recovered', what: backup.id, outcome: 'a copy, begun again' });
      continue;
    }
    await removeStored(deps.storageOf(backup.region), backup.id);
    deps.catalog.transact((writer) => {
      writer.putBackup(
        failedTry(backup, deps.clock.now(), 'the service stopped while it was being taken'),
      );
    });
    deps.events.emit({ kind: 'recovered', what: backup.id, outcome: 'unfinished, removed' });
  }
  deps.resumeCopies();
}
