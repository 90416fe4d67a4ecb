/**
 * One HSM takes another's place: built aside from a backup, put into its row's place, and the old one
 * removed once all that it holds is proven. Who decides why and when is `migrate.ts`.
 */
import type { ReadyBackup } from '../backups/backup.ts';
import type { CatalogWriter } from '../catalog/catalog.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import type { HsmId } from '../kernel/ids.ts';
import type { Cluster, Hsm } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import { frozenState, holdsUnproven } from './proven.ts';
import { messageOf, moveHsm } from './rows.ts';
import { LEAVING_FROZEN } from './write-turn.ts';

export interface Successor {
  readonly id: HsmId;
  /** As the HSM will see it: its type decides. */
  readonly cluster: Cluster;
  readonly old: Hsm;
  readonly backup: ReadyBackup;
  readonly frozenBecause: string;
  /** Set for another line of the cluster, whose generations go on above this one. */
  readonly afterGeneration?: number;
}

/**
 * An HSM with the old one's place in the network and an identity of its own, holding exactly the backup; no
 * row yet. Safe to repeat.
 * @throws Failed `NOT_PROVEN`, Refused `WrongState`, and whatever a restore throws.
 */
export async function buildSuccessor(
  deps: ClusterDeps,
  { id, cluster, old, backup, frozenBecause, afterGeneration }: Successor,
): Promise<{ hsm: Hsm; generation: number }> {
  const handle = await deps.fleet.obtain(id, cluster.id);
  // Before it holds anything: nobody at the door may change it, should the door lead to it early.
  await handle.limit(frozenBecause);
  const { stateMessage: _, serial: __, ...place } = old;
  const blank: Hsm = {
    ...place,
    id,
    type: cluster.type,
    state: 'CREATE_IN_PROGRESS',
    createdAt: deps.clock.now(),
    takesWrites: false,
  };
  const opened = await deps.backups.restore(backup, {
    cluster,
    hsm: blank,
    handle,
    isClone: afterGeneration !== undefined,
    ...(afterGeneration === undefined ? {} : { afterGeneration }),
  });
  if (opened.stateDigest !== backup.proof.statement.opened.stateDigest) {
    throw new Failed(
      'NOT_PROVEN',
      `${id} restored ${backup.id}, but its state digest is not the proven one.`,
    );
  }
  const { lifecycle, serial } = await handle.hello();
  if (lifecycle !== 'ACTIVE') {
    throw new Refused('WrongState', `${id} is ${lifecycle} after ${backup.id} was restored on it.`);
  }
  return {
    hsm: serial === undefined ? blank : { ...blank, serial },
    generation: opened.generation,
  };
}

/** Within the transaction that makes it a fact. @throws Refused `WrongState` when the old one left meanwhile. */
export function takePlace(writer: CatalogWriter, oldId: HsmId, successor: Hsm): void {
  const old = writer.hsm(oldId);
  if (old?.state !== 'ACTIVE' && old?.state !== 'DEGRADED') {
    throw new Refused('WrongState', `${oldId} is ${old?.state ?? 'gone'}.`);
  }
  const { stateMessage: _, ...rest } = old;
  writer.putHsm({ ...rest, state: 'DELETE_IN_PROGRESS', takesWrites: false });
  writer.createHsm({ ...successor, state: 'ACTIVE', takesWrites: old.takesWrites });
}

export function tellReplaced(deps: ClusterDeps, oldId: HsmId, { id, clusterId }: Hsm): void {
  deps.events.emit({ kind: 'hsmState', hsmId: id, clusterId, state: 'ACTIVE' });
  deps.events.emit({ kind: 'hsmState', hsmId: oldId, clusterId, state: 'DELETE_IN_PROGRESS' });
}

/**
 * Removes a replaced HSM. One that was started again in the very moment may have taken a change that no
 * proven backup has: it stays to be looked at. What fails goes on in `retryDeletions`.
 */
export async function retire(deps: ClusterDeps, id: HsmId): Promise<void> {
  const hsm = deps.catalog.read((reader) => reader.hsm(id));
  if (hsm?.state !== 'DELETE_IN_PROGRESS') return;
  try {
    const known = await deps.fleet.list();
    if (known.some(({ hsmId }) => hsmId === id)) {
      const held = await frozenState(deps, hsm, LEAVING_FROZEN);
      if (held.kind === 'state' && !held.isProven) {
        moveHsm(deps, id, 'DEGRADED', {
          why: `It was replaced. ${holdsUnproven(hsm, held.digest)}`,
          takesWrites: false,
        });
        return;
      }
      await deps.fleet.discard(id, held.kind === 'state' ? held.digest.stateDigest : undefined);
    }
    moveHsm(deps, id, 'DELETED', { takesWrites: false });
  } catch (cause) {
    moveHsm(deps, id, 'DELETE_IN_PROGRESS', {
      why: `It was replaced; not removed yet: ${messageOf(cause)}`,
    });
  }
}
