/**
 * A restore into a live cluster, as a row: the intent first, then what came of it. PREPARING ends in
 * SWITCHED or FAILED: until the switch nothing the cluster serves is touched. SWITCHED ends in DONE.
 */
import type { BackupId, ClusterId, HsmId, RestoreId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';

interface RestoreBase {
  readonly id: RestoreId;
  readonly account: string;
  readonly region: string;
  readonly clusterId: ClusterId;
  /** What comes back. */
  readonly backupId: BackupId;
  /** Set when this brings back what that other restore replaced. */
  readonly undoes?: RestoreId;
  /** The writing HSM that leaves, and the one that is built aside to take its place. */
  readonly oldHsmId: HsmId;
  readonly newHsmId: HsmId;
  readonly startedAt: EpochMs;
  /** Who asked, as an ARN. */
  readonly by: string;
  /** How long it can be undone, once done. */
  readonly undoMs: number;
}

/** The backup of what was replaced, and the one of what took its place. */
interface Backed {
  readonly safetyId: BackupId;
  readonly restoredId: BackupId;
}

export type Restore = RestoreBase &
  (
    | ({ readonly state: 'PREPARING' } & Partial<Backed>)
    | ({ readonly state: 'SWITCHED' } & Backed)
    | ({ readonly state: 'DONE' } & Backed & {
          readonly finishedAt: EpochMs;
          readonly undoUntil: EpochMs;
        })
    | ({ readonly state: 'FAILED' } & Partial<Backed> & {
          readonly finishedAt: EpochMs;
          readonly why: string;
        })
  );

export type RestoreState = Restore['state'];
export type RestoreIn<State extends RestoreState> = Extract<Restore, { readonly state: State }>;
