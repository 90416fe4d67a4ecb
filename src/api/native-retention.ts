/** Native operations about how long backups stay: holds, copies' retention, what a purge left, the clock. */
import type { Caller } from '../access/caller.ts';
import type { Backup, Hold } from '../backups/backup.ts';
import type { HeldBackup } from '../backups/hold.ts';
import type { HoldTerms } from '../backups/holds.ts';
import { Refused } from '../kernel/errors.ts';
import { parseBackupId } from '../kernel/ids.ts';
import type { EpochMs, JsonObject } from '../kernel/types.ts';
import type { NativeFaces } from './native.ts';
import { renderBackup, renderRun, seconds } from './render.ts';
import { backupId, type OperationShape, type Shape, type ValueOf } from './shapes.ts';

/** The service's time: shown, believed again, and on a rehearsal moved. */
export interface TimeFacts {
  readonly isRehearsal: boolean;
  clock(): JsonObject;
  confirm(by: string): JsonObject;
  /** @throws Refused `WrongState` `[NOT_A_REHEARSAL]`, `InvalidRequest`. */
  advance(ms: number, by: string): JsonObject;
}

const END_OF_9999_S = 253_402_300_799;
const TEN_YEARS_S = 3_652 * 86_400;

const onBackup = { BackupId: { shape: backupId, isRequired: true } } as const;
const why = {
  kind: 'text',
  what: 'a reason',
  example: 'audit 2027, file 17',
  min: 1,
  max: 256,
  pattern: /^[^\p{C}\p{Zl}\p{Zp}]+$/u,
} as const satisfies Shape;

export const RETENTION_OPERATIONS = {
  /** Either Until, in seconds since 1970, or Legal. */
  SetHold: {
    errors: ['NotFound'],
    input: {
      kind: 'structure',
      members: {
        ...onBackup,
        Until: { shape: { kind: 'integer', min: 0, max: END_OF_9999_S } },
        Legal: { shape: { kind: 'boolean' } },
        Why: { shape: why, isRequired: true },
      },
    },
  },
  LiftHold: { errors: ['NotFound'], input: { kind: 'structure', members: onBackup } },
  ListHolds: { errors: [], input: { kind: 'structure', members: {} } },
  /** Copies only; without Days the copy has no retention again. */
  ModifyBackupRetention: {
    errors: ['NotFound'],
    input: {
      kind: 'structure',
      members: { ...onBackup, Days: { shape: { kind: 'integer', min: 0, max: 1_000_000 } } },
    },
  },
  GetDeletionRecord: { errors: ['NotFound'], input: { kind: 'structure', members: onBackup } },
  GetClock: { errors: [], input: { kind: 'structure', members: {} } },
  ConfirmClock: { errors: [], input: { kind: 'structure', members: {} } },
  AdvanceClock: {
    errors: [],
    input: {
      kind: 'structure',
      members: {
        Seconds: { shape: { kind: 'integer', min: 1, max: TEN_YEARS_S }, isRequired: true },
      },
    },
  },
} as const satisfies Readonly<Record<string, OperationShape>>;

type Name = keyof typeof RETENTION_OPERATIONS;

export const RETENTION: {
  readonly [Each in Name]: (
    faces: NativeFaces,
    caller: Caller,
    request: ValueOf<(typeof RETENTION_OPERATIONS)[Each]['input']>,
  ) => Promise<JsonObject>;
} = {
  SetHold: async ({ backups }, caller, request) => {
    const backup = await backups.hold(
      caller,
      parseBackupId(request.BackupId),
      termsOf(request),
      request.Why,
    );
    return { BackupId: backup.id, Holds: backup.holds.map(renderHold) };
  },

  LiftHold: async ({ backups }, caller, request) => {
    const backup = await backups.liftHold(caller, parseBackupId(request.BackupId));
    return { BackupId: backup.id, Holds: backup.holds.map(renderHold) };
  },

  ListHolds: async ({ backups }, caller) => {
    const held = await backups.held(caller);
    return { Backups: held.map(renderHeld) };
  },

  ModifyBackupRetention: async ({ backups }, caller, request) => {
    const id = parseBackupId(request.BackupId);
    const backup = await backups.modifyRetention(caller, id, request.Days);
    return { Backup: renderBackup(backup), RetentionDays: backup.ownRetention?.days };
  },

  GetDeletionRecord: async ({ backups, native }, caller, request) => {
    const id = parseBackupId(request.BackupId);
    const [backup] = backups.describe(caller, { ids: [id] }, { limit: 1 }).items;
    if (backup === undefined) throw new Refused('NotFound', `${id} does not exist here.`);
    const { Profile, IsRehearsal } = renderRun(native);
    return { ...deletionRecord(backup), AnsweredBy: { Profile }, IsRehearsal };
  },

  GetClock: async ({ native }) => native.time.clock(),
  ConfirmClock: async ({ native }, caller) => native.time.confirm(caller.principal),
  AdvanceClock: async ({ native }, caller, request) =>
    native.time.advance(request.Seconds * 1000, caller.principal),
};

function termsOf(request: { readonly Until?: number; readonly Legal?: boolean }): HoldTerms {
  const { Until: until, Legal: isLegal = false } = request;
  if (isLegal === (until !== undefined)) {
    throw new Refused(
      'InvalidRequest',
      'A hold is either compliance, with Until (seconds since 1970), or Legal: true; give exactly one. Nothing was held.',
    );
  }
  // Seconds times a thousand are what EpochMs brands.
  return until === undefined
    ? { kind: 'legal' }
    : { kind: 'compliance', until: (until * 1000) as EpochMs };
}

function deletionRecord(backup: Backup): JsonObject {
  if (backup.state !== 'DELETED') {
    throw new Refused(
      'WrongState',
      `${backup.id} is ${backup.state}; a deletion record exists once a backup is DELETED, which is when its parts were removed and found absent.`,
    );
  }
  return {
    BackupId: backup.id,
    ClusterId: backup.clusterId,
    // As it was when the parts went; records from before this was kept have none, and who answers is not who purged.
    Profile: backup.record?.profile,
    DeletedAt: seconds(backup.deletedAt),
    Why: backup.why,
    Parts: (backup.record?.parts ?? []).map(({ name, removedAt, absentAt }) => ({
      Name: name,
      RemovedAt: seconds(removedAt),
      AbsentAt: seconds(absentAt),
    })),
  };
}

const renderHold = (hold: Hold): JsonObject => ({
  Kind: hold.kind,
  Until: hold.until && seconds(hold.until),
  Why: hold.why,
  By: hold.by,
  SetAt: seconds(hold.at),
});

const renderHeld = ({ backup, isInVault, binds }: HeldBackup): JsonObject => ({
  BackupId: backup.id,
  ClusterId: backup.clusterId,
  Holds: backup.holds.map(renderHold),
  IsInVault: isInVault,
  Binds: binds,
});
