/**
 * The write turn: one HSM of a cluster takes changes until several are synchronised. Whoever has no turn is
 * frozen before that matters, and whoever gets it is opened only after its row says so: a change that was
 * taken by the wrong HSM would be acknowledged and lost.
 */
import { Failed } from '../kernel/errors.ts';
import type { HsmId } from '../kernel/ids.ts';
import type { ClusterDeps } from './deps.ts';

export const FOLLOWER_FROZEN =
  'Another HSM of this cluster takes changes; this one follows and is fed again after each proven backup.';
export const RESTORING_FROZEN =
  'This HSM is being made of a backup; it takes changes as soon as it is ACTIVE.';
export const LEAVING_FROZEN =
  'This HSM is being deleted and its last backup is being taken; it takes no changes any more.';

/**
 * Opens an HSM that is ACTIVE and has the turn, and leads the cluster's doors to it. The caller holds the
 * cluster's turn. When HSM or host die over it, the HSM is told to be up again later, which repeats this.
 */
export async function openWriter(deps: ClusterDeps, hsmId: HsmId): Promise<void> {
  const hsm = deps.catalog.read((reader) => reader.hsm(hsmId));
  if (hsm?.state !== 'ACTIVE' || !hsm.takesWrites) return;
  await unlessGone(async () => {
    await deps.fleet.hsm(hsmId).limit(null);
    await deps.fleet.lead(hsm.clusterId, hsmId);
  });
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
