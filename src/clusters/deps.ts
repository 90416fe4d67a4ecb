/** What the verbs of this folder work with. */
import type { Backups } from '../backups/backups.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Fleet } from '../fleet/fleet.ts';
import type { Background } from '../kernel/background.ts';
import type { Clock } from '../kernel/clock.ts';
import type { Random } from '../kernel/random.ts';
import type { Serial } from '../kernel/serial.ts';
import type { Events } from '../ops/events.ts';
import type { Quotas } from './quotas.ts';

export interface ClusterDeps {
  readonly quotas: Quotas;
  /** What AWS does not make any more, and a rehearsal may want. */
  readonly legacy: { readonly hsm1: boolean };
  readonly catalog: Catalog;
  readonly fleet: Fleet;
  readonly backups: Backups;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: Events;
  readonly background: Background;
  /** One turn for each cluster: what adds, feeds and removes its HSMs never overlaps. */
  readonly turns: Serial;
}
