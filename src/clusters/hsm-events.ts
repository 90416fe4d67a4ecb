/** What an HSM's coming and going means for its cluster. */
import type { FleetEvent } from '../fleet/fleet.ts';
import type { Hello } from '../hsm/protocol.ts';
import type { ClusterId, HsmId } from '../kernel/ids.ts';
import { activated } from './activation.ts';
import type { Cluster, Hsm } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import { feedFollowers } from './feed.ts';
import { keepFrozenWhileMoving } from './migrate-recover.ts';
import { frozenState, holdsUnproven } from './proven.ts';
import { keepFrozen } from './restore-recover.ts';
import { moveCluster, moveHsm } from './rows.ts';
import { FOLLOWER_FROZEN, LEAVING_FROZEN, openWriter } from './write-turn.ts';

/** @param noteChange what the keeper wants to hear about. */
export function handleFleetEvent(
  deps: ClusterDeps,
  event: FleetEvent,
  noteChange: (clusterId: ClusterId, generation: number) => void,
): void {
  const found = rowsOf(deps, event.hsmId);
  if (found === undefined) return;
  const { hsm, cluster } = found;
  switch (event.kind) {
    case 'changed':
      if (hsm.takesWrites) noteChange(cluster.id, event.generation);
      return;
    case 'activated':
      activated(deps, event.hsmId, event.generation);
      return;
    case 'failed':
      moveHsm(deps, hsm.id, 'DEGRADED', { why: `The HSM is in its error state: ${event.reason}` });
      return;
    case 'down':
      if (hsm.state === 'ACTIVE') {
        moveHsm(deps, hsm.id, 'DEGRADED', {
          why: `The HSM stopped: ${event.reason} It is being restarted.`,
        });
      }
      return;
    case 'up':
      isBack(deps, { hsm, cluster }, event.hello, noteChange);
      return;
  }
}

function rowsOf(deps: ClusterDeps, hsmId: HsmId): { hsm: Hsm; cluster: Cluster } | undefined {
  return deps.catalog.read((reader) => {
    const hsm = reader.hsm(hsmId);
    const cluster = hsm === undefined ? undefined : reader.cluster(hsm.clusterId);
    return hsm === undefined || cluster === undefined ? undefined : { hsm, cluster };
  });
}

/** It serves again, with its durable state: catch up with what was missed while one side was away. */
function isBack(
  deps: ClusterDeps,
  { hsm, cluster }: { hsm: Hsm; cluster: Cluster },
  hello: Hello,
  noteChange: (clusterId: ClusterId, generation: number) => void,
): void {
  if (hello.lifecycle === 'ERROR') {
    moveHsm(deps, hsm.id, 'DEGRADED', {
      why: `The HSM is in its error state: ${hello.errorReason}`,
    });
    return;
  }
  if (hsm.serial === undefined) return;
  keepFrozen(deps, hsm);
  keepFrozenWhileMoving(deps, hsm);
  if (hsm.state === 'DELETE_IN_PROGRESS') {
    // Whatever it was told before: what is leaving takes no change.
    deps.background.run(`freeze ${hsm.id}`, () => deps.fleet.hsm(hsm.id).limit(LEAVING_FROZEN));
  } else if (!hsm.takesWrites) {
    deps.background.run(`look at ${hsm.id}`, () => followerIsBack(deps, hsm));
  }
  if (!hsm.takesWrites) return;
  if (hsm.state === 'DEGRADED') moveHsm(deps, hsm.id, 'ACTIVE');
  const { clusterCertificate, trustAnchor } = hello.certificates ?? {};
  if (
    cluster.state === 'UNINITIALIZED' &&
    clusterCertificate !== undefined &&
    trustAnchor !== undefined
  ) {
    moveCluster(deps, cluster.id, 'INITIALIZE_IN_PROGRESS');
    moveCluster(deps, cluster.id, 'INITIALIZED', (row) => ({
      ...row,
      certificates: { ...row.certificates, clusterCertificate, trustAnchor },
    }));
  }
  if (hello.lifecycle === 'ACTIVE') activated(deps, hsm.id, hello.generation);
  deps.background.run(`open ${hsm.id}`, () =>
    deps.turns.run(cluster.id, () => openWriter(deps, hsm.id)),
  );
  noteChange(cluster.id, hello.generation);
}

/** Others have moved on: it is fed again, unless it holds changes that no proven backup has. */
async function followerIsBack(deps: ClusterDeps, hsm: Hsm): Promise<void> {
  const held = await frozenState(deps, hsm, FOLLOWER_FROZEN);
  if (held.kind === 'state' && !held.isProven) {
    moveHsm(deps, hsm.id, 'DEGRADED', {
      why: `It was replaced while it was away. ${holdsUnproven(hsm, held.digest)}`,
    });
    return;
  }
  if (deps.catalog.read((reader) => reader.hsm(hsm.id))?.state === 'DEGRADED') {
    moveHsm(deps, hsm.id, 'ACTIVE');
  }
  await feedFollowers(deps, hsm.clusterId);
}
