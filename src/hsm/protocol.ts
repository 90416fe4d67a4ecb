/**
 * Everything that crosses the HSM's wall, and the only file of the boundary that others import.
 *
 * Law: every message is bounded data without clear keys, passwords or shares. Keys travel only in a
 * `SealedBox` (readable by one device) or as a sealed backup. `test/hsm/protocol.test.ts` walks samples.
 * Bulk (a backup's body) moves as chunks beside the message, never inside it.
 *
 * Text fields: PEM is PEM; everything else binary is canonical base64. Times are EpochMs.
 */
import type { BackupId, ClusterId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';

export const PROTOCOL_VERSION = 1;

export type HsmType = 'hsm1.medium' | 'hsm2m.medium';
export type HsmMode = 'FIPS' | 'NON_FIPS';

/** Who can open a backup: HSMs of this maker's product line, enrolled for this owner. Clear text in every header. */
export interface RestoreDomain {
  readonly vendor: string;
  readonly line: string;
  readonly owner: string;
}

/** Which generation of each root a thing was made under; both grow from 1. */
export interface Epochs {
  readonly mkbk: number;
  readonly akbk: number;
}

/**
 * A short secret (a root key or a device's storage key) readable by one device only:
 * ephemeral P-256 ECDH → SP 800-108 KDF → KWP. `crypto/box.ts` makes and opens it.
 */
export interface SealedBox {
  readonly ephemeralPublicKey: string;
  readonly wrapped: string;
}

/**
 * FACTORY: no identity yet. MADE: device key, maker's certificate, MKBK. BLANK: enrolled, AKBK in, no
 * partition. UNINITIALIZED: partition key and CSR made. INITIALIZED: cluster certificate installed, the
 * unactivated admin waits. ACTIVE: an admin password is set (or a backup was opened).
 * ERROR: a self-test failed or the disk is damaged; only status and zeroise are left.
 */
export type Lifecycle =
  | 'FACTORY'
  | 'MADE'
  | 'BLANK'
  | 'UNINITIALIZED'
  | 'INITIALIZED'
  | 'ACTIVE'
  | 'ERROR';

/** How much is inside; never what. */
export interface Counts {
  readonly users: number;
  readonly keys: number;
  /** Other token objects: public halves of pairs, certificates, data. */
  readonly objects: number;
  readonly tombstones: number;
}

export interface Hello {
  readonly protocolVersion: number;
  readonly lifecycle: Lifecycle;
  /** Only when `lifecycle` is ERROR: which test or file failed, in a sentence. */
  readonly errorReason?: string;
  /** SHA-256 of the program the HSM runs, hex. */
  readonly codeSha256: string;
  readonly isDrill: boolean;
  readonly serial?: string;
  readonly domain?: Partial<RestoreDomain>;
  readonly epochs?: Partial<Epochs>;
  readonly clusterId?: string;
  /** Random, made inside; 32 hex digits. A new one for each cluster and each clone. */
  readonly incarnation?: string;
  /** Grows by one with every change of shared state. */
  readonly generation: number;
  readonly type?: HsmType;
  readonly mode?: HsmMode;
  readonly counts: Counts;
  /** PEM. Present once made. */
  readonly certificates?: HsmCertificates;
}

/** PEM each. The same HSM certificate verifies under both hardware certificates (one key, one subject). */
export interface HsmCertificates {
  readonly manufacturerHardwareCertificate?: string;
  readonly ownerHardwareCertificate?: string;
  readonly hsmCertificate?: string;
  readonly clusterCsr?: string;
  readonly clusterCertificate?: string;
  /** The customer's CA. */
  readonly trustAnchor?: string;
}

/** What the sealing HSM says, signed with its device key over the canonical JSON of `statement`. */
export interface SealStatement {
  readonly kind: 'keyark.seal.v1';
  readonly backupId: BackupId;
  readonly clusterId: ClusterId;
  readonly incarnation: string;
  readonly generation: number;
  readonly domain: RestoreDomain;
  readonly epochs: Epochs;
  readonly type: HsmType;
  readonly mode: HsmMode;
  readonly counts: Counts;
  readonly bodyBytes: number;
  /** Hex SHA-256 of the clear header, and of the whole body as it left the HSM (header and segments). */
  readonly headerSha256: string;
  readonly bodySha256: string;
  readonly sealRecordSha256: string;
  /** Hex HMAC over the shared state's attributes; see docs/formats/backup-v1.md. */
  readonly stateDigest: string;
  readonly serial: string;
  readonly codeSha256: string;
  readonly sealedAt: EpochMs;
}

export interface Signed<Statement> {
  readonly statement: Statement;
  /** ECDSA P-256 with SHA-256, DER, base64, by the device key. */
  readonly signature: string;
  /** PEM: the device's hardware certificates, so that the signature chains to maker and owner. */
  readonly manufacturerHardwareCertificate: string;
  readonly ownerHardwareCertificate: string;
}

export interface SealOutcome {
  /** The key record that goes beside the body, base64. */
  readonly sealRecord: string;
  readonly seal: Signed<SealStatement>;
}

export interface OpenOutcome {
  readonly stateDigest: string;
  readonly counts: Counts;
  readonly generation: number;
  /** The incarnation the archive came from, and the one this HSM has now (the same for a sister or a drill). */
  readonly sealedIncarnation: string;
  readonly incarnation: string;
  readonly headerSha256: string;
  readonly bodySha256: string;
  readonly epochs: Epochs;
}

/** What was tried on the restored keys with HSM-made random; takes no input, returns counts only. */
export interface ExerciseOutcome {
  readonly passed: boolean;
  /** Per key kind (`aes`, `generic-secret`, `rsa`, `ec`): how many there are and how many were tried. */
  readonly tried: readonly {
    readonly kind: string;
    readonly present: number;
    readonly tried: number;
    readonly failed: number;
  }[];
}

/** Facts the control plane adds; the drill HSM signs them beside what it saw itself. */
export interface ProofClaims {
  /** As sealed inside: of a copy, the original's. Region and hash say whose bytes these are. */
  readonly backupId: BackupId;
  /** SHA-256 of what rests in the vault (after the second layer), hex. */
  readonly storedBodySha256: string;
  readonly storedBytes: number;
  readonly region: string;
  /** Which profile the control plane runs in; statements from before there were profiles have none. */
  readonly profile?: string;
}

export interface ProofStatement {
  readonly kind: 'keyark.proof.v1';
  /** As told by the control plane. */
  readonly claims: ProofClaims;
  /** As seen by the drill HSM itself. */
  readonly opened: OpenOutcome;
  readonly exercised: ExerciseOutcome;
  readonly sealSignatureVerified: true;
  readonly notExercised: readonly string[];
  readonly drillSerial: string;
  readonly codeSha256: string;
  readonly provenAt: EpochMs;
}

/** How many users a restore would touch, by what would happen to them. One user may count in several. */
export interface UserChanges {
  readonly appear: number;
  readonly vanish: number;
  readonly passwordChanged: number;
  readonly roleChanged: number;
  readonly lock: number;
  readonly unlock: number;
}

/** The same for keys (each half of a pair is one), or for objects that are no keys. */
export interface ObjectChanges {
  readonly appear: number;
  readonly vanish: number;
  readonly attributesChanged: number;
  readonly ownerChanged: number;
  readonly sharingChanged: number;
}

/** Counts only; never what. */
export interface PlanChanges {
  readonly users: UserChanges;
  readonly keys: ObjectChanges;
  readonly objects: ObjectChanges;
  readonly policies: number;
  readonly isCertificateChanged: boolean;
}

/** One of the two states that a plan compares. */
export interface PlanSide {
  readonly clusterId: string;
  readonly incarnation: string;
  readonly generation: number;
  readonly stateDigest: string;
  readonly counts: Counts;
}

export interface PlanOutcome {
  /** What would be replaced, and what would come back. */
  readonly current: PlanSide;
  readonly chosen: PlanSide;
  readonly changes: PlanChanges;
  readonly isSameState: boolean;
  /** Names and labels, base64, sealed for the HSMs of `current` (docs/formats/plan-v1.md). */
  readonly names: string;
}

/** Calls the host makes over fd 3. `body`/`reply` say which side streams chunks beside the JSON. */
export interface HsmCalls {
  /** First call of every start; the box is made to the `bootKey` that the HSM sends in its `booted` event. */
  'power-on': { params: { storageKey: SealedBox | null; isDrill: boolean }; result: Hello };
  hello: { params: Record<string, never>; result: Hello };
  /** FACTORY → (still FACTORY): makes the device key, answers with a CSR for the maker's CA. */
  'device-request': {
    params: { serial: string; vendor: string; line: string };
    result: { csr: string };
  };
  /** FACTORY → MADE. The box is made to the device certificate's key. */
  manufacture: {
    params: {
      makerRoot: string;
      manufacturerHardwareCertificate: string;
      mkbkEpoch: number;
      mkbk: SealedBox;
    };
    result: Hello;
  };
  /** MADE → BLANK; later again with a higher epoch only. Signed by the owner key pinned the first time. */
  enrol: {
    params: {
      owner: string;
      ownerRoot: string;
      ownerHardwareCertificate: string;
      akbkEpoch: number;
      akbk: SealedBox;
      /** Owner root key over canonical JSON of `{ owner, akbkEpoch, akbk, serial }`: ECDSA P-256/SHA-256 DER base64. */
      signature: string;
    };
    result: Hello;
  };
  /** BLANK → UNINITIALIZED: a new partition: key, CSR, HSM certificate, unactivated admin, masking key, incarnation. */
  certify: { params: { clusterId: ClusterId; type: HsmType; mode: HsmMode }; result: Hello };
  /** UNINITIALIZED → INITIALIZED. */
  install: { params: { clusterCertificate: string; trustAnchor: string }; result: Hello };
  /** Streams the body; the trailer is a `SealOutcome`. */
  seal: { params: { backupId: BackupId }; result: Record<string, never>; trailer: SealOutcome };
  /**
   * Reads the body from the upload. BLANK or any later state → ACTIVE (all previous state replaced) or
   * unchanged. `as` says who it becomes: the same cluster (`incarnation` kept) or a clone (new incarnation).
   */
  open: {
    params: {
      sealRecord: string;
      as: {
        clusterId: ClusterId;
        isClone: boolean;
        /** With a new incarnation only: the generation goes on above this one, so that it never falls. */
        afterGeneration?: number | undefined;
      };
      /** What the target cluster is; compared with the values sealed inside. */
      type: HsmType;
      mode: HsmMode;
    };
    result: OpenOutcome;
  };
  /** Drill only. */
  exercise: { params: Record<string, never>; result: ExerciseOutcome };
  /** Drill only, after open and exercise: verifies the seal's signature and certificates itself, then signs. */
  prove: {
    params: { claims: ProofClaims; seal: Signed<SealStatement> };
    result: Signed<ProofStatement>;
  };
  /** Drill only, after an open: remembers that state as the one a restore would bring back. */
  keep: { params: Record<string, never>; result: PlanSide };
  /** Drill only, after keep and another open: what would change if the kept state replaced this one. */
  plan: { params: Record<string, never>; result: PlanOutcome };
  digest: {
    params: Record<string, never>;
    result: { stateDigest: string; generation: number; counts: Counts };
  };
  /** How many keys were made after that generation; never which. */
  'keys-newer-than': {
    params: { generation: number };
    result: { generation: number; keys: number };
  };
  /** Freezes (with a sentence for callers) or thaws changes of shared state. */
  limit: { params: { frozenBecause: string | null }; result: Record<string, never> };
  /**
   * Destroys everything but the device's identity; → BLANK. `isFinal` destroys that too; → FACTORY. With the
   * digest of a state only if it holds just that one: nothing that came in between is lost.
   */
  zeroise: { params: { isFinal: boolean; holding?: string }; result: Hello };
}
export type HsmCall = keyof HsmCalls;

/** Events an HSM sends without being asked. */
export interface HsmEvents {
  /** Once at start. P-256 public key (uncompressed point, base64) made for this boot only. */
  booted: { bootKey: string; codeSha256: string };
  /** Shared state changed, durably. */
  changed: { generation: number };
  /** The first admin password was set. */
  activated: { generation: number };
  /** Sticky error state entered. */
  failed: { reason: string };
}

/** Message beside a socket handed over by IPC. */
export interface AdoptMessage {
  readonly kind: 'adopt';
  readonly door: 'officers' | 'pkcs11';
}

/** The HSM's answer to each: the oldest socket not yet acknowledged is its own now. */
export interface TakenMessage {
  readonly kind: 'taken';
}

/** Rights at the doors; one login per session. */
export type Role = 'unactivated-admin' | 'admin' | 'crypto-user' | 'appliance-user';
