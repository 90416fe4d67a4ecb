/**
 * What AWS's API has no words for, under our own target prefix and the same signatures: a backup now,
 * its proof, the way to an HSM's door. The eighteen operations stay exact.
 */
import type { Backups } from '../backups/backups.ts';
import type { Scope } from '../catalog/catalog.ts';
import { Refused } from '../kernel/errors.ts';
import { type ClusterId, parseBackupId, parseClusterId } from '../kernel/ids.ts';
import type { JsonObject } from '../kernel/types.ts';
import { renderBackup } from './render.ts';
import { backupId, clusterId, type OperationShape, type ValueOf } from './shapes.ts';

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
export interface NativeFacts {
  status(scope: Scope): Promise<JsonObject>;
  /** @throws Refused `NotFound`. */
  clusterDoor(scope: Scope, clusterId: ClusterId): Promise<ClusterDoor>;
}

export interface NativeFaces {
  readonly backups: Backups;
  readonly native: NativeFacts;
}

export const NATIVE_OPERATIONS = {
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
} as const satisfies Readonly<Record<string, OperationShape>>;

export type NativeName = keyof typeof NATIVE_OPERATIONS;
type NativeRequest<Name extends NativeName> = ValueOf<(typeof NATIVE_OPERATIONS)[Name]['input']>;

export const NATIVE: {
  readonly [Name in NativeName]: (
    faces: NativeFaces,
    scope: Scope,
    request: NativeRequest<Name>,
  ) => Promise<JsonObject>;
} = {
  TakeBackup: async ({ backups }, scope, request) => ({
    Backup: renderBackup(await backups.takeManual(scope, parseClusterId(request.ClusterId))),
  }),

  GetStatus: ({ native }, scope) => native.status(scope),

  GetClusterDoor: async ({ native }, scope, request) => {
    const door = await native.clusterDoor(scope, parseClusterId(request.ClusterId));
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

  GetBackupProof: async ({ backups }, scope, request) => {
    const id = parseBackupId(request.BackupId);
    const [backup] = backups.describe(scope, { ids: [id] }, { limit: 1 }).items;
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
      StoredBytes: backup.archive.storedBytes,
      StoredBodySha256: backup.archive.storedBodySha256,
      Seal: asJson(backup.archive.seal),
      Proof: asJson(backup.proof),
    };
  },
};

const renderAddress = (address: DoorAddress): JsonObject =>
  'path' in address ? { Path: address.path } : { Host: address.host, Port: address.port };

function asJson(signed: object): JsonObject {
  // Statements are JSON by their own contract (canonical JSON is what was signed).
  return signed as JsonObject;
}
