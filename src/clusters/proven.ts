/**
 * Is what an HSM holds in a proven backup? Asked before its state is replaced or destroyed, and answered by
 * digests, never by counting generations: a replaced HSM may have gone another way up to the same number.
 */
import type { Digest } from '../fleet/fleet.ts';
import { Refused } from '../kernel/errors.ts';
import type { ClusterId } from '../kernel/ids.ts';
import type { Hsm } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';

const PAGE = 100;

export type Held =
  /** No customer's state: blank, or made for a cluster that was never initialised. */
  | { readonly kind: 'nothing' }
  | { readonly kind: 'state'; readonly digest: Digest; readonly isProven: boolean };

/**
 * Freezes the HSM and looks inside, in this order: what it answers stays true until it is thawed or
 * started again.
 * @throws Failed `HSM_GONE`, `HOST_GONE`; Refused `WrongState` in its error state: nobody can tell then.
 */
export async function frozenState(
  deps: Pick<ClusterDeps, 'catalog' | 'fleet'>,
  hsm: Hsm,
  frozenBecause: string,
): Promise<Held> {
  const handle = deps.fleet.hsm(hsm.id);
  const { lifecycle, errorReason } = await handle.hello();
  switch (lifecycle) {
    case 'FACTORY':
    case 'MADE':
    case 'BLANK':
    case 'UNINITIALIZED':
      return { kind: 'nothing' };
    case 'ERROR':
      throw new Refused('WrongState', `it is in its error state (${errorReason}).`);
    case 'INITIALIZED':
    case 'ACTIVE': {
      await handle.limit(frozenBecause);
      const digest = await handle.digest();
      return { kind: 'state', digest, isProven: isInProvenBackup(deps, hsm.clusterId, digest) };
    }
  }
}

/** PENDING_DELETION counts: it was proven, and who asked for its deletion knew of it. */
function isInProvenBackup(
  { catalog }: Pick<ClusterDeps, 'catalog'>,
  clusterId: ClusterId,
  { stateDigest, generation }: Digest,
): boolean {
  return catalog.read((reader) => {
    const cluster = reader.cluster(clusterId);
    if (cluster === undefined) return false;
    const query = { clusterIds: [clusterId], states: ['READY', 'PENDING_DELETION'] } as const;
    let nextToken: string | undefined;
    do {
      const page = reader.backups(cluster, query, {
        limit: PAGE,
        ...(nextToken === undefined ? {} : { nextToken }),
      });
      for (const backup of page.items) {
        if (backup.state !== 'READY' && backup.state !== 'PENDING_DELETION') continue;
        const { opened } = backup.proof.statement;
        if (opened.stateDigest === stateDigest && opened.generation === generation) return true;
      }
      nextToken = page.nextToken;
    } while (nextToken !== undefined);
    return false;
  });
}

export function holdsUnproven({ id }: Pick<Hsm, 'id'>, { generation }: Digest): string {
  return `It holds changes up to generation ${generation} that are in no proven backup. To give them up for good: keyark cluster give-up ${id}`;
}
