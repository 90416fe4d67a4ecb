/**
 * What AWS's API has no words for, under our own target prefix and the same signatures: a backup now,
 * its proof, the way to an HSM's door. The eighteen operations stay exact.
 */
import type { SignedCaller } from '../access/caller.ts';
import type { Backups } from '../backups/backups.ts';
import type { Scope } from '../catalog/catalog.ts';
import type { Clusters } from '../clusters/clusters.ts';
import { Refused } from '../kernel/errors.ts';
import { type ClusterId, parseBackupId, parseClusterId, parseHsmId } from '../kernel/ids.ts';
import type { JsonObject } from '../kernel/types.ts';
import { ACCESS, ACCESS_OPERATIONS, type AccessFaces } from './native-access.ts';
import { AUDIT, AUDIT_OPERATIONS, type AuditFaces } from './native-audit.ts';
import { RESTORE_NATIVE, RESTORE_OPERATIONS, type RestoreFaces } from './native-restore.ts';
import { RETENTION, RETENTION_OPERATIONS, type TimeFacts } from './native-retention.ts';
import { SCHEDULE, SCHEDULE_OPERATIONS, type ScheduleFacts } from './native-schedule.ts';
import { SHARING, SHARING_OPERATIONS, type SharingFaces } from './native-sharing.ts';
import { renderBackup, renderRun } from './render.ts';
import {
  backupId,
  clusterId,
  hsmId,
  type OperationShape,
  type Shape,
  type ValueOf,
} from './shapes.ts';

export type DoorAddress =
  | { readonly path: string }
  | { readonly host: string; readonly port: number };

/** Where clients of one HSM knock. No secrets: who enters is asked behind the door. */
export interface HsmDoor {
  readonly hsmId: string;
  readonly state: string;
  readonly takesWrites: boolean;
  readonly officers?: DoorAddress;
  readonly pkcs11?: DoorAddress;
}

export interface ClusterDoor {
  readonly clusterId: string;
  readonly state: string;
  /** PEM: what the HSM's certificate chains to before initialisation. */
  readonly makerRoot: string;
  /** PEM: the customer's CA, which the cluster certificate chains to afterwards. */
  readonly trustAnchor?: string;
  readonly hsms: readonly HsmDoor[];
}

/** What only the composed service knows. */
export interface NativeFacts extends ScheduleFacts {
  /** Which profile the service runs in. */
  readonly profile: string;
  status(scope: Scope): Promise<JsonObject>;
  /** @throws Refused `NotFound`. */
  clusterDoor(scope: Scope, clusterId: ClusterId): Promise<ClusterDoor>;
  readonly time: TimeFacts;
}

export interface NativeFaces extends RestoreFaces, SharingFaces {
  readonly clusters: Pick<Clusters, 'giveUpHsm'>;
  readonly backups: Pick<
    Backups,
    'describe' | 'takeManual' | 'drill' | 'copy' | 'hold' | 'liftHold' | 'held' | 'modifyRetention'
  >;
  readonly native: NativeFacts;
  readonly iam: AccessFaces;
  readonly audit: AuditFaces;
}

const rootsName = {
  kind: 'text',
  what: "a maker's or owner's name",
  example: 'home',
  min: 1,
  max: 64,
  pattern: /^[A-Za-z0-9][A-Za-z0-9._-]*$/,
} as const satisfies Shape;

export const NATIVE_OPERATIONS = {
  ...SCHEDULE_OPERATIONS,
  ...ACCESS_OPERATIONS,
  ...AUDIT_OPERATIONS,
  TakeBackup: {
    errors: ['NotFound'],
    input: {
      kind: 'structure',
      members: { ClusterId: { shape: clusterId, isRequired: true } },
    },
  },
  GetStatus: { errors: [], input: { kind: 'structure', members: {} } },
  GetClusterDoor: {
    errors: ['NotFound'],
    input: {
      kind: 'structure',
      members: { ClusterId: { shape: clusterId, isRequired: true } },
    },
  },
  GetBackupProof: {
    errors: ['NotFound'],
    input: {
      kind: 'structure',
      members: { BackupId: { shape: backupId, isRequired: true } },
    },
  },
  /** Tries a backup on a throw-away HSM, by default one of this maker and owner. */
  DrillBackup: {
    errors: ['NotFound'],
    input: {
      kind: 'structure',
      members: {
        BackupId: { shape: backupId, isRequired: true },
        Maker: { shape: rootsName },
        Owner: { shape: rootsName },
      },
    },
  },
  ...RESTORE_OPERATIONS,
  ...SHARING_OPERATIONS,
  ...RETENTION_OPERATIONS,
  /** Removes a DEGRADED HSM without a backup of what it holds: what DeleteHsm refuses. */
  GiveUpHsm: {
    errors: ['NotFound'],
    input: {
      kind: 'structure',
      members: {
        ClusterId: { shape: clusterId, isRequired: true },
        HsmId: { shape: hsmId, isRequired: true },
      },
    },
  },
} as const satisfies Readonly<Record<string, OperationShape>>;

export type NativeName = keyof typeof NATIVE_OPERATIONS;
type NativeRequest<Name extends NativeName> = ValueOf<(typeof NATIVE_OPERATIONS)[Name]['input']>;

export const NATIVE: {
  readonly [Name in NativeName]: (
    faces: NativeFaces,
    caller: SignedCaller,
    request: NativeRequest<Name>,
  ) => Promise<JsonObject>;
} = {
  ...SCHEDULE,
  ...ACCESS,
  ...AUDIT,
  TakeBackup: async ({ backups }, caller, request) => ({
    Backup: renderBackup(await backups.takeManual(caller, parseClusterId(request.ClusterId))),
  }),

  GetStatus: ({ native }, caller) => native.status(caller),

  GetClusterDoor: async ({ native }, caller, request) => {
    const door = await native.clusterDoor(caller, parseClusterId(request.ClusterId));
    return {
      ClusterId: door.clusterId,
      State: door.state,
      MakerRoot: door.makerRoot,
      TrustAnchor: door.trustAnchor,
      Hsms: door.hsms.map((hsm) => ({
        HsmId: hsm.hsmId,
        State: hsm.state,
        TakesWrites: hsm.takesWrites,
        Officers: hsm.officers && renderAddress(hsm.officers),
        Pkcs11: hsm.pkcs11 && renderAddress(hsm.pkcs11),
      })),
    };
  },

  ...RETENTION,

  GetBackupProof: async ({ backups, native }, caller, request) => {
    const id = parseBackupId(request.BackupId);
    const [backup] = backups.describe(caller, { ids: [id] }, { limit: 1 }).items;
    if (backup === undefined) throw new Refused('NotFound', `${id} does not exist here.`);
    if (backup.state !== 'READY' && backup.state !== 'PENDING_DELETION') {
      throw new Refused(
        'WrongState',
        `${id} is ${backup.state}; only a backup that was proven has a proof.`,
      );
    }
    // Signed texts leave unchanged: their signatures are over exactly these members.
    return {
      BackupId: id,
      // What was proven on a rehearsal is no evidence of anything else.
      IsRehearsal: native.time.isRehearsal ? true : undefined,
      // As signed; a proof from before there were profiles names none, and who answers now is not who proved.
      Profile: backup.proof.statement.claims.profile,
      AnsweredBy: { Profile: native.profile },
      LastDrill: backup.drill && {
        At: backup.drill.at / 1000,
        Outcome: backup.drill.failure === undefined ? 'opened' : 'failed',
        Why: backup.drill.failure,
      },
      StoredBytes: backup.archive.storedBytes,
      StoredBodySha256: backup.archive.storedBodySha256,
      Seal: asJson(backup.archive.seal),
      Proof: asJson(backup.proof),
    };
  },

  DrillBackup: async ({ backups, native }, caller, request) => {
    const outcome = await backups.drill(caller, parseBackupId(request.BackupId), {
      ...(request.Maker !== undefined && { maker: request.Maker }),
      ...(request.Owner !== undefined && { owner: request.Owner }),
    });
    if (!outcome.opened) return { ...renderRun(native), Opened: false, Why: outcome.why };
    const { users, keys, objects, tombstones } = outcome.counts;
    return {
      ...renderRun(native),
      Opened: true,
      Counts: { Users: users, Keys: keys, Objects: objects, Tombstones: tombstones },
      Difference: outcome.difference,
    };
  },

  ...RESTORE_NATIVE,
  ...SHARING,
  GiveUpHsm: async ({ clusters }, caller, request) => ({
    HsmId: await clusters.giveUpHsm(caller, {
      clusterId: parseClusterId(request.ClusterId),
      hsmId: parseHsmId(request.HsmId),
    }),
  }),
};

const renderAddress = (address: DoorAddress): JsonObject =>
  'path' in address ? { Path: address.path } : { Host: address.host, Port: address.port };

function asJson(signed: object): JsonObject {
  // Statements are JSON by their own contract (canonical JSON is what was signed).
  return signed as JsonObject;
}
