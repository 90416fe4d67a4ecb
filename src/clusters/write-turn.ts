/**
 * The write turn: one HSM of a cluster takes changes until several are synchronised. Whoever has no turn is
 * frozen before that matters, and whoever gets it is opened only after its row says so: a change that was
 * taken by the wrong HSM would be acknowledged and lost.
 */
import type { Hello } from '../hsm/protocol.ts';
import { Failed } from '../kernel/errors.ts';
import type { ClusterId, HsmId } from '../kernel/ids.ts';
import type { Hsm } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';

export const FOLLOWER_FROZEN =
  'Another HSM of this cluster takes changes; this one follows and is fed again after each proven backup.';
export const RESTORING_FROZEN =
  'This HSM is being made of a backup; it takes changes as soon as it is ACTIVE.';
export const LEAVING_FROZEN =
  'This HSM is being deleted and takes no change any more: what it had acknowledged before is in the backup that is taken now. Nothing was changed; repeat it at another HSM of the cluster.';

/**
 * Opens an HSM that is ACTIVE and has the turn, and leads the cluster's doors to it. The caller holds the
 * cluster's turn. When HSM or host die over it, the HSM is told to be up again later, which repeats this.
 */
export async function openWriter(deps: ClusterDeps, hsmId: HsmId): Promise<void> {
  const hsm = deps.catalog.read((reader) => reader.hsm(hsmId));
  if (hsm?.state !== 'ACTIVE' || !hsm.takesWrites) return;
  await unlessGone(async () => {
    await deps.fleet.hsm(hsmId).limit(null);
    await deps.fleet.prefer(hsm.clusterId, hsmId);
  });
}

/**
 * A writer that is only being restarted: it is waited for, because whoever took its place would not have the
 * changes that no backup has yet.
 * @returns it as the ACTIVE HSM it is again; undefined when there is none, or it does not come back.
 */
export async function returningWriter(
  deps: ClusterDeps,
  clusterId: ClusterId,
): Promise<Hsm | undefined> {
  const away = deps.catalog
    .read((reader) => reader.hsmsOf(clusterId))
    .find((hsm) => hsm.takesWrites && hsm.state === 'DEGRADED');
  if (away === undefined || (await comesBack(deps, away)) === undefined) return undefined;
  return { ...away, state: 'ACTIVE' };
}

/** Waits a bounded while for an HSM that is being restarted. @returns undefined when it is of no use. */
export async function comesBack(deps: ClusterDeps, hsm: Hsm): Promise<Hello | undefined> {
  try {
    const hello = await deps.fleet.hsm(hsm.id).hello();
    return hello.lifecycle === 'ERROR' ? undefined : hello;
  } catch (cause) {
    // Gone, as far as anybody knows: the cluster goes on without it.
    if (cause instanceof Failed) return undefined;
    throw cause;
  }
}

/** One that is away now is frozen when it comes back: the host remembers. */
export function freezeFollower(deps: ClusterDeps, hsmId: HsmId): Promise<void> {
  return unlessGone(() => deps.fleet.hsm(hsmId).limit(FOLLOWER_FROZEN));
}

async function unlessGone(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (cause) {
    // Its next `up` does the same again.
    if (!(cause instanceof Failed && /^(HSM_GONE|HOST_GONE)$/.test(cause.code))) throw cause;
  }
}
