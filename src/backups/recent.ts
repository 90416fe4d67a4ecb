/** When change-driven backups of a cluster were begun lately: what the rule about constant change looks at. */
import type { CatalogReader } from '../catalog/catalog.ts';
import type { ClusterId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import { CONSTANT_CHANGE_COUNT, CONSTANT_CHANGE_WINDOW_MS } from './schedule.ts';

/** More than make constant change change nothing. */
const MAX_RECENT = 2 * CONSTANT_CHANGE_COUNT;

/** Newest first. */
export function recentOf(
  reader: CatalogReader,
  clusterId: ClusterId,
  now: EpochMs,
): readonly EpochMs[] {
  // A time minus a duration is a time.
  const since = (now - CONSTANT_CHANGE_WINDOW_MS) as EpochMs;
  return reader.protection.changeBackups(clusterId, since, MAX_RECENT);
}
