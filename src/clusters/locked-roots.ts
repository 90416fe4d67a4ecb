/**
 * While the roots are locked no HSM can start: none of them may be called ACTIVE, nor be said to be
 * restarting. Once they are unlocked, `hsm-events.ts` hears each HSM come up and makes it ACTIVE again, and those
 * that were being made are made.
 */
import { WAITS_FOR_ROOTS } from '../kernel/roots-locked.ts';
import { finishCreateHsm } from './create-hsm.ts';
import type { ClusterDeps } from './deps.ts';
import { moveHsm } from './rows.ts';

/** At start, and now and then: a host that died comes back locked. */
export async function noteLockedRoots(deps: ClusterDeps): Promise<void> {
  const { areRootsLocked } = await deps.fleet.status();
  if (!areRootsLocked) {
    const unmade = deps.catalog
      .read((reader) => reader.hsmsIn(['CREATE_IN_PROGRESS']))
      .filter(({ stateMessage }) => stateMessage === WAITS_FOR_ROOTS);
    for (const hsm of unmade) {
      deps.background.run(`create ${hsm.id}`, () => finishCreateHsm(deps, hsm));
    }
    return;
  }
  // One that never served keeps the message that says why.
  const waiting = deps.catalog
    .read((reader) => reader.hsmsIn(['ACTIVE', 'DEGRADED']))
    .filter(({ serial, stateMessage }) => serial !== undefined && stateMessage !== WAITS_FOR_ROOTS);
  for (const { id } of waiting) moveHsm(deps, id, 'DEGRADED', { why: WAITS_FOR_ROOTS });
}
