/**
 * GiveUpHsm: removes an HSM without asking what it holds. The only way to destroy state that is in no proven
 * backup, for what DeleteHsm refuses: a replaced HSM that went its own way, or one that does not answer.
 */
import type { Scope } from '../catalog/catalog.ts';
import { Refused } from '../kernel/errors.ts';
import type { ClusterId, HsmId } from '../kernel/ids.ts';
import { discardHsm } from './delete-hsm.ts';
import type { ClusterDeps } from './deps.ts';
import { moveHsm, ownCluster } from './rows.ts';

/**
 * Only a DEGRADED one: what serves is deleted with a backup. Should this process die half-way, the deletion
 * goes on as an ordinary one, which refuses again.
 * @throws Refused `NotFound`, `WrongState`; nothing is changed then.
 */
export async function giveUpHsm(
  deps: ClusterDeps,
  scope: Scope,
  { clusterId, hsmId }: { readonly clusterId: ClusterId; readonly hsmId: HsmId },
): Promise<HsmId> {
  const hsm = deps.catalog.read((reader) => {
    const cluster = ownCluster(reader, scope, clusterId);
    const found = reader.hsmsOf(cluster.id).find(({ id }) => id === hsmId);
    if (found === undefined) throw new Refused('NotFound', `${clusterId} has no HSM ${hsmId}.`);
    if (cluster.state === 'MODIFY_IN_PROGRESS' || cluster.state === 'ROLLBACK_IN_PROGRESS') {
      throw new Refused(
        'WrongState',
        `${clusterId} is ${cluster.state}; wait until that is done. Nothing was changed.`,
      );
    }
    if (found.state !== 'DEGRADED') {
      throw new Refused(
        'WrongState',
        `${hsmId} is ${found.state}; only a DEGRADED HSM can be given up. DeleteHsm backs it up first. Nothing was changed.`,
      );
    }
    return found;
  });
  moveHsm(deps, hsmId, 'DELETE_IN_PROGRESS', { why: 'Given up: what it holds is not backed up.' });
  deps.background.run(`give up ${hsmId}`, () =>
    deps.turns.run(clusterId, () => discardHsm(deps, hsm)),
  );
  return hsmId;
}
