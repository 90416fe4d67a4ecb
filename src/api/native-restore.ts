/** Restores, beside AWS's operations: a plan before, a start, an undo, and what was done. */
import type { Caller } from '../access/caller.ts';
import type { Backup } from '../backups/backup.ts';
import type { Restore } from '../clusters/restore.ts';
import type { RestorePlan } from '../clusters/restore-plan.ts';
import type { Restores } from '../clusters/restores.ts';
import type { Counts, ObjectChanges, PlanChanges, PlanSide } from '../hsm/protocol.ts';
import { HOUR_MS } from '../kernel/clock.ts';
import { parseBackupId, parseClusterId } from '../kernel/ids.ts';
import type { EpochMs, JsonObject } from '../kernel/types.ts';
import { renderRun } from './render.ts';
import { backupId, clusterId, type OperationShape, type ValueOf } from './shapes.ts';

export interface RestoreFaces {
  readonly restores: Restores;
  readonly native: Parameters<typeof renderRun>[0];
}

export const RESTORE_OPERATIONS = {
  PlanRestore: {
    errors: ['NotFound'],
    input: {
      kind: 'structure',
      members: { ClusterId: { shape: clusterId }, BackupId: { shape: backupId } },
    },
  },
  StartRestore: {
    errors: ['NotFound'],
    input: {
      kind: 'structure',
      members: {
        ClusterId: { shape: clusterId, isRequired: true },
        BackupId: { shape: backupId, isRequired: true },
      },
    },
  },
  UndoRestore: {
    errors: ['NotFound'],
    input: { kind: 'structure', members: { ClusterId: { shape: clusterId, isRequired: true } } },
  },
  ListRestores: {
    errors: ['NotFound'],
    input: { kind: 'structure', members: { ClusterId: { shape: clusterId } } },
  },
} as const satisfies Readonly<Record<string, OperationShape>>;

type RestoreName = keyof typeof RESTORE_OPERATIONS;

export const RESTORE_NATIVE: {
  readonly [Name in RestoreName]: (
    faces: RestoreFaces,
    caller: Caller,
    request: ValueOf<(typeof RESTORE_OPERATIONS)[Name]['input']>,
  ) => Promise<JsonObject>;
} = {
  PlanRestore: async ({ restores, native }, caller, { ClusterId, BackupId }) => {
    const plan = await restores.plan(caller, {
      clusterId: ClusterId === undefined ? undefined : parseClusterId(ClusterId),
      backupId: BackupId === undefined ? undefined : parseBackupId(BackupId),
    });
    return { ...renderRun(native), ...renderPlan(plan) };
  },
  StartRestore: async ({ restores }, caller, { ClusterId, BackupId }) => ({
    Restore: renderRestore(
      await restores.start(caller, {
        clusterId: parseClusterId(ClusterId),
        backupId: parseBackupId(BackupId),
      }),
    ),
  }),
  UndoRestore: async ({ restores }, caller, { ClusterId }) => ({
    Restore: renderRestore(await restores.undo(caller, parseClusterId(ClusterId))),
  }),
  ListRestores: async ({ restores }, caller, { ClusterId }) => {
    const cluster = ClusterId === undefined ? undefined : parseClusterId(ClusterId);
    return { Restores: restores.list(caller, cluster).map(renderRestore) };
  },
};

function renderPlan(plan: RestorePlan): JsonObject {
  const { comparison } = plan;
  return {
    Way: plan.way,
    Now: seconds(plan.at),
    ClusterId: plan.cluster?.id,
    Backup: renderChosen(plan.backup),
    ChangesSince: plan.changesSince,
    ...(comparison === undefined
      ? {}
      : {
          ComparedWith: comparison.with === 'live' ? 'the live HSM' : comparison.with,
          Current: renderSide(comparison.current),
          IsSameState: comparison.isSameState,
          Changes: renderChanges(comparison.changes),
          // Opaque here: `plan-read` at the officers' door opens it.
          Names: comparison.names,
        }),
    Blockers: plan.blockers.map(({ code, text }) => ({ Code: code, Text: text })),
    UndoHours: plan.undoMs / HOUR_MS,
  };
}

function renderChosen(backup: Backup): JsonObject {
  const common = {
    BackupId: backup.id,
    ClusterId: backup.clusterId,
    BackupState: backup.state,
    Cause: backup.cause,
    CreateTimestamp: seconds(backup.createdAt),
  };
  if (!('proof' in backup)) return common;
  const { incarnation, generation, counts } = backup.archive.seal.statement;
  return {
    ...common,
    ProvenAt: seconds(backup.proof.statement.provenAt),
    Incarnation: incarnation,
    Generation: generation,
    Counts: renderCounts(counts),
  };
}

const renderSide = ({ incarnation, generation, counts }: PlanSide): JsonObject => ({
  Incarnation: incarnation,
  Generation: generation,
  Counts: renderCounts(counts),
});

const renderCounts = ({ users, keys, objects, tombstones }: Counts): JsonObject => ({
  Users: users,
  Keys: keys,
  Objects: objects,
  Tombstones: tombstones,
});

const renderChanges = ({ users, keys, objects, ...rest }: PlanChanges): JsonObject => ({
  Users: {
    Appear: users.appear,
    Vanish: users.vanish,
    PasswordChanged: users.passwordChanged,
    RoleChanged: users.roleChanged,
    Lock: users.lock,
    Unlock: users.unlock,
  },
  Keys: renderObjects(keys),
  Objects: renderObjects(objects),
  Policies: rest.policies,
  IsCertificateChanged: rest.isCertificateChanged,
});

const renderObjects = (changes: ObjectChanges): JsonObject => ({
  Appear: changes.appear,
  Vanish: changes.vanish,
  AttributesChanged: changes.attributesChanged,
  OwnerChanged: changes.ownerChanged,
  SharingChanged: changes.sharingChanged,
});

function renderRestore(restore: Restore): JsonObject {
  return {
    RestoreId: restore.id,
    ClusterId: restore.clusterId,
    State: restore.state,
    BackupId: restore.backupId,
    Undoes: restore.undoes,
    OldHsmId: restore.oldHsmId,
    NewHsmId: restore.newHsmId,
    SafetyBackupId: restore.safetyId,
    RestoredBackupId: restore.restoredId,
    StartedAt: seconds(restore.startedAt),
    StartedBy: restore.by,
    FinishedAt: 'finishedAt' in restore ? seconds(restore.finishedAt) : undefined,
    UndoUntil: restore.state === 'DONE' ? seconds(restore.undoUntil) : undefined,
    Why: restore.state === 'FAILED' ? restore.why : undefined,
  };
}

const seconds = (at: EpochMs): number => at / 1_000;
