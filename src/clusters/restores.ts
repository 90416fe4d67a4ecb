/** The face of restores into live clusters: plan, start, undo, list. */
import type { Scope } from '../catalog/catalog.ts';
import type { BackupId, ClusterId } from '../kernel/ids.ts';
import { Serial } from '../kernel/serial.ts';
import { requireFeature, whyNotOffered } from '../profile.ts';
import type { Restore } from './restore.ts';
import { type PlanRequest, planRestore, type RestorePlan } from './restore-plan.ts';
import { type Asker, type RestoreDeps, startRestore, whatToUndo } from './restore-start.ts';
import { ownCluster } from './rows.ts';

export interface Restores {
  /** Changes nothing. @throws Refused `NotFound`, `InvalidRequest`, `WrongState`. */
  plan(scope: Scope, request: PlanRequest): Promise<RestorePlan>;
  /** Answers with the intent; its end shows in `list`. @throws Refused, and nothing was changed. */
  start(asker: Asker, wanted: { clusterId: ClusterId; backupId: BackupId }): Promise<Restore>;
  /** Brings back what the newest restore replaced. @throws Refused, and nothing was changed. */
  undo(asker: Asker, clusterId: ClusterId): Promise<Restore>;
  /** Newest first. */
  list(scope: Scope, clusterId?: ClusterId): readonly Restore[];
}

const MAX_LISTED = 100;

export function createRestores(deps: RestoreDeps): Restores {
  /** A plan holds a sealed state in memory and a throw-away HSM: one at a time. */
  const plans = new Serial();
  return {
    async plan(scope, request) {
      const plan = await plans.run('plan', () => planRestore(deps, scope, request));
      const why = whyNotOffered(deps.profile, 'liveRestores');
      if (plan.way !== 'StartRestore' || why === undefined) return plan;
      // First of all: whatever else stands in the way, this is what a start is refused with.
      return { ...plan, blockers: [{ code: 'PROFILE', text: why }, ...plan.blockers] };
    },
    async start(asker, wanted) {
      requireFeature(deps.profile, 'liveRestores');
      return await startRestore(deps, asker, () => wanted);
    },
    async undo(asker, clusterId) {
      requireFeature(deps.profile, 'liveRestores');
      return await startRestore(deps, asker, (reader) =>
        whatToUndo(reader, asker, { clusterId, now: deps.clock.now() }),
      );
    },
    list: (scope, clusterId) =>
      deps.catalog.read((reader) => {
        if (clusterId !== undefined) ownCluster(reader, scope, clusterId);
        return reader.restores(scope, MAX_LISTED, clusterId);
      }),
  };
}
