/**
 * Setting and lifting holds, in the catalog and in the vault below it.
 *
 * The row is written first when a hold is set and last when one is lifted, so that whatever happens in
 * between the catalog refuses at least what the vault refuses; `settleHolds` then brings the vault up to
 * the row at the next start.
 */
import type { Catalog } from '../catalog/catalog.ts';
import { type Clock, isoTime } from '../kernel/clock.ts';
import type { BackupId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Events } from '../ops/events.ts';
import { objectName } from '../vault/names.ts';
import type { Vault } from '../vault/vault.ts';
import type { Backup, ReadyBackup } from './backup.ts';
import {
  complianceHoldOn,
  type HoldTerms,
  legalHoldOn,
  standingHold,
  withHold,
  withoutLegalHold,
} from './holds.ts';
import { PURGE_ORDER } from './parts.ts';
import { withExpiry } from './retention.ts';
import type { StorageOf } from './storage.ts';

export interface HoldDeps {
  readonly catalog: Catalog;
  readonly storageOf: StorageOf;
  readonly clock: Clock;
  readonly events: Events;
}

/** A backup that is held, and whether the vault itself keeps every part of it. */
export interface HeldBackup {
  readonly backup: ReadyBackup;
  readonly isInVault: boolean;
  readonly binds: Vault['holdsBind'];
}

type Find = (reader: { backup(id: BackupId): Backup | undefined }) => Backup;

/** The caller holds the backup's turn. `find` reads the row and refuses what is not the caller's. */
export async function setHold(
  deps: HoldDeps,
  find: Find,
  given: { readonly terms: HoldTerms; readonly why: string; readonly by: string },
): Promise<Backup> {
  const { terms, why, by } = given;
  const held = deps.catalog.transact((writer) => {
    const at = deps.clock.now();
    const changed = withExpiry(withHold(find(writer), terms, { why, by, at }));
    writer.putBackup(changed);
    return changed;
  });
  await holdInVault(deps, held);
  deps.events.emit({
    kind: 'holdSet',
    backupId: held.id,
    hold: terms.kind,
    ...(terms.kind === 'compliance' ? { until: isoTime(terms.until) } : {}),
    why,
    by,
  });
  return held;
}

/** The caller holds the backup's turn. */
export async function liftHold(deps: HoldDeps, find: Find, by: string): Promise<Backup> {
  const backup = deps.catalog.read(find);
  // Refuses before the vault is touched.
  withoutLegalHold(backup, deps.clock.now());
  const { vault } = deps.storageOf(backup.region);
  for (const part of PURGE_ORDER) await vault.lift(objectName(backup.id, part));
  const free = deps.catalog.transact((writer) => {
    const changed = withExpiry(withoutLegalHold(find(writer), deps.clock.now()));
    writer.putBackup(changed);
    return changed;
  });
  deps.events.emit({ kind: 'holdLifted', backupId: backup.id, by });
  return free;
}

/** Oldest first; holds that have ended are not among them. */
export async function heldNow(
  deps: Pick<HoldDeps, 'catalog' | 'storageOf' | 'clock'>,
): Promise<readonly HeldBackup[]> {
  const found: HeldBackup[] = [];
  for (const backup of deps.catalog.read((reader) => reader.heldBackups())) {
    if (backup.state !== 'READY' || standingHold(backup, deps.clock.now()) === undefined) continue;
    const { vault } = deps.storageOf(backup.region);
    found.push({
      backup,
      isInVault: await isHeldInVault(vault, backup, deps.clock.now()),
      binds: vault.holdsBind,
    });
  }
  return found;
}

/** After a start: what a dead process had only written into a row then stands in the vault too. */
export async function settleHolds(deps: HoldDeps): Promise<void> {
  for (const { backup, isInVault } of await heldNow(deps)) {
    if (isInVault) continue;
    let outcome = 'its hold now stands in the vault too';
    try {
      await holdInVault(deps, backup);
    } catch (cause) {
      // A vault that lost a part must not keep the service from its other work; the row refuses as before.
      outcome = `its hold does NOT stand in the vault: ${cause instanceof Error ? cause.message : cause}`;
    }
    deps.events.emit({ kind: 'recovered', what: backup.id, outcome });
  }
}

/** In the order of a purge, so that what is held first is what would go first. */
async function holdInVault(deps: HoldDeps, backup: Backup): Promise<void> {
  const { vault } = deps.storageOf(backup.region);
  const compliance = complianceHoldOn(backup);
  for (const part of PURGE_ORDER) {
    const name = objectName(backup.id, part);
    if (compliance !== undefined) await vault.hold(name, { until: compliance.until });
    if (legalHoldOn(backup) !== undefined) await vault.hold(name, 'legal');
  }
}

async function isHeldInVault(vault: Vault, backup: Backup, now: EpochMs): Promise<boolean> {
  const until = complianceHoldOn(backup)?.until ?? now;
  const isLegal = legalHoldOn(backup) !== undefined;
  for (const part of PURGE_ORDER) {
    const held = await vault.heldBy(objectName(backup.id, part));
    if (isLegal && held?.isLegal !== true) return false;
    if (until > now && (held?.until ?? now) < until) return false;
  }
  return true;
}
