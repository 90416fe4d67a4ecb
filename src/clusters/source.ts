/** Who feeds a new HSM? Pure: the cluster's facts in, one of four answers out. */
import type { Backup, ReadyBackup } from '../backups/backup.ts';
import type { Cluster, Hsm } from './cluster.ts';

export type Source =
  /** A live sister: back her up first, then restore that. */
  | { readonly kind: 'sister'; readonly sister: Hsm }
  /** The cluster's newest READY backup. */
  | { readonly kind: 'newest'; readonly backup: ReadyBackup }
  /** The backup the cluster was made from: the HSM becomes a clone. */
  | { readonly kind: 'origin'; readonly backup: ReadyBackup }
  /** Nobody: the first HSM of a new cluster makes its own keys. */
  | { readonly kind: 'nobody' }
  /** There was something, and it cannot be had: never start empty instead. */
  | { readonly kind: 'blocked'; readonly why: string };

export function sourceFor(
  cluster: Cluster,
  facts: {
    liveSisters: readonly Hsm[];
    newestReady: ReadyBackup | undefined;
    origin: Backup | undefined;
  },
): Source {
  const sister = facts.liveSisters.find((hsm) => hsm.takesWrites && hsm.state === 'ACTIVE');
  if (cluster.state === 'ACTIVE' && sister !== undefined) return { kind: 'sister', sister };
  if (facts.newestReady !== undefined) return { kind: 'newest', backup: facts.newestReady };
  if (cluster.sourceBackup !== undefined) {
    if (facts.origin?.state === 'READY') return { kind: 'origin', backup: facts.origin };
    return {
      kind: 'blocked',
      why: `${cluster.sourceBackup.id}, which this cluster was made from, is ${facts.origin?.state ?? 'gone'}.`,
    };
  }
  if (cluster.state === 'UNINITIALIZED') return { kind: 'nobody' };
  return { kind: 'blocked', why: `${cluster.id} has no live HSM and no READY backup.` };
}
