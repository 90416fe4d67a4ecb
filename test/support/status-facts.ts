/** What a status needs besides the world: parts that are well, and places. */
import type { createStatus } from '../../src/ops/status.ts';
import type { World } from './world.ts';

type StatusDeps = Parameters<typeof createStatus>[0];

export function statusFacts(world: World): Omit<StatusDeps, 'plans' | 'protection'> {
  const { catalog, fleet, clock, watch, folder } = world;
  return {
    ...{ catalog, fleet, clock, watch, profile: 'own', probes: [] },
    rehearsal: { isRehearsal: false, aheadMs: 0 },
    holdsBind: () => ['service'],
    places: { vault: folder, hsms: folder },
    officersDoor: () => '',
    trail: () => ({ waiting: 0 }),
  };
}
