/**
 * A cluster's move to another HSM type, as its row has it, and the judgement whether one may begin. Pure.
 *
 * PREPARING: everything the cluster is can still be had on the old type, so every end but the switch is a
 * way back. SWITCHED: the writing HSM is of the new type; what is left is only done. DONE: there, and able to
 * go back until `rollbackUntil`. Going back is such a move itself; when it is over, nothing is left of it.
 */
import type { Backup } from '../backups/backup.ts';
import type { HsmType } from '../hsm/protocol.ts';
import { HOUR_MS, isoTime } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { BackupId, HsmId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Cluster, Hsm } from './cluster.ts';

/** From the start of the move, not from its end. */
export const ROLLBACK_MS = 24 * HOUR_MS;
/** One more stands beside them while its predecessor still serves. */
export const MOST_HSMS = 27;

/** One HSM and its successor; and whom a way back would put in the successor's place. */
export interface Swap {
  readonly oldHsmId: HsmId;
  readonly newHsmId: HsmId;
  readonly backHsmId: HsmId;
}

interface Move {
  readonly from: HsmType;
  readonly to: HsmType;
  readonly startedAt: EpochMs;
  readonly rollbackUntil: EpochMs;
}

export type DoneMigration = Move & {
  readonly state: 'DONE';
  /** The last proven backup of the old type: what going back brings. */
  readonly oldBackupId: BackupId;
};

interface UnderWay extends Move {
  /** Set when this goes back: the move that it takes back. */
  readonly undoes?: DoneMigration;
  readonly writer: Swap;
  readonly followers: readonly Swap[];
}

export type PreparingMigration = UnderWay & {
  readonly state: 'PREPARING';
  /** The newest proven backup of what serves. */
  readonly beforeId?: BackupId;
  /** Backups of the new writing HSM, each from its beginning on. */
  readonly migratedIds: readonly BackupId[];
  /** The old type was asked for: after the step under way there is only the way back. */
  readonly isTakenBack?: true;
};
export type SwitchedMigration = UnderWay & {
  readonly state: 'SWITCHED';
  readonly beforeId: BackupId;
};
export type Migration = PreparingMigration | SwitchedMigration | DoneMigration;

export function isMoving({ migration }: Pick<Cluster, 'migration'>): boolean {
  return migration?.state === 'PREPARING' || migration?.state === 'SWITCHED';
}

/** What changes are refused with meanwhile, at the HSM's door. */
export function frozenWhileMoving({ from, to }: Pick<Move, 'from' | 'to'>): string {
  return `Changes are held back while the cluster moves from ${from} to ${to} (ModifyCluster). Keys can be used as ever; nothing was changed. Try again when the cluster is ACTIVE.`;
}

interface Facts {
  readonly cluster: Cluster;
  readonly hsms: readonly Hsm[];
  readonly to: HsmType;
  /** What going back would bring, if there is something to go back to. */
  readonly oldBackup: Backup | undefined;
  readonly now: number;
}

/**
 * May this cluster move to that type now?
 * @returns the HSM that takes changes, and the move that this one takes back, if it does.
 * @throws Refused: the first thing that stands in the way.
 */
export function judgeMove(facts: Facts): { writer: Hsm; undoes?: DoneMigration } {
  const { cluster, hsms, to } = facts;
  if (cluster.state !== 'ACTIVE') {
    throw refused(`${cluster.id} is ${cluster.state}; its HSM type can be changed while ACTIVE.`);
  }
  const undoes = judgeType(facts);
  if (hsms.length > MOST_HSMS) {
    throw refused(
      `${cluster.id} has ${hsms.length} HSMs; with at most ${MOST_HSMS} it can move to ${to}, because one more stands beside them meanwhile. Delete ${hsms.length - MOST_HSMS} first.`,
    );
  }
  const busy = hsms.find(({ state }) => state !== 'ACTIVE');
  if (busy !== undefined) {
    throw refused(
      `${busy.id} is ${busy.state}; a cluster moves when all of its HSMs are ACTIVE. Wait, or delete it first.`,
    );
  }
  const writer = hsms.find(({ takesWrites }) => takesWrites);
  if (writer === undefined) {
    throw refused(
      `${cluster.id} has no HSM that takes changes; what it holds cannot be backed up and moved. Create an HSM first: the newest backup goes onto it.`,
    );
  }
  return undoes === undefined ? { writer } : { writer, undoes };
}

/** Forward from hsm1.medium, or back while that is open. */
function judgeType({ cluster, to, oldBackup, now }: Facts): DoneMigration | undefined {
  const { id, type, migration } = cluster;
  if (type === to) throw invalid(`${id} is of type ${to} already.`);
  if (type === 'hsm1.medium') return undefined;
  if (migration?.state !== 'DONE' || migration.from !== to) {
    throw invalid(
      `${id} is of type ${type} and cannot become ${to}: a cluster moves from hsm1.medium to hsm2m.medium, and goes back within 24 hours of that move's start only.`,
    );
  }
  if (now >= migration.rollbackUntil) {
    throw refused(
      `${id} could go back to ${to} until ${isoTime(migration.rollbackUntil)}; it stays ${type}.`,
    );
  }
  if (oldBackup?.state !== 'READY') {
    const way =
      oldBackup?.state === 'PENDING_DELETION' ? '; bring it back first (RestoreBackup)' : '';
    throw refused(
      `${id} goes back by ${migration.oldBackupId}, which is ${oldBackup?.state ?? 'gone'}${way}.`,
    );
  }
  return migration;
}

const refused = (text: string): Refused =>
  new Refused('WrongState', `${text} Nothing was changed.`);
const invalid = (text: string): Refused =>
  new Refused('InvalidRequest', `${text} Nothing was changed.`);
