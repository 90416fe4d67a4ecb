/**
 * Try a stored backup on a throw-away HSM, also on one of another maker or owner, to see it refused.
 * Nothing is recorded and nothing serves; it answers what happened.
 */
import type { Fleet } from '../fleet/fleet.ts';
import type { Counts } from '../hsm/protocol.ts';
import { Refused } from '../kernel/errors.ts';
import type { ReadyBackup } from './backup.ts';
import { differenceToSeal, openStored } from './restore.ts';
import type { RegionStorage } from './storage.ts';

export type DrillOutcome =
  | { readonly opened: true; readonly counts: Counts; readonly difference?: string }
  | { readonly opened: false; readonly why: string };

/** @throws Failed when vault, KMS or host let us down: that is no refusal. */
export async function drillBackup(
  deps: { fleet: Fleet; storage: RegionStorage },
  backup: ReadyBackup,
  roots: { maker?: string; owner?: string },
): Promise<DrillOutcome> {
  await using drill = await deps.fleet.drill(roots);
  try {
    const opened = await openStored(deps.storage, backup, {
      opener: drill,
      as: { clusterId: backup.clusterId, isClone: false },
    });
    const difference = differenceToSeal(backup.archive.seal.statement, opened);
    return difference === undefined
      ? { opened: true, counts: opened.counts }
      : { opened: true, counts: opened.counts, difference };
  } catch (cause) {
    if (cause instanceof Refused) return { opened: false, why: cause.message };
    throw cause;
  }
}
