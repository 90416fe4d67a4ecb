/**
 * HSMs as the control plane sees them: things to ask for, never processes, paths or keys. One face over
 * the local host and, later, remote ones.
 */
import type {
  Counts,
  ExerciseOutcome,
  Hello,
  HsmMode,
  HsmType,
  OpenOutcome,
  PlanOutcome,
  PlanSide,
  ProofClaims,
  ProofStatement,
  SealOutcome,
  SealStatement,
  Signed,
} from '../hsm/protocol.ts';
import type { BackupId, ClusterId, HsmId } from '../kernel/ids.ts';

export interface OpenRequest {
  /** Base64, as the seal gave it. */
  readonly sealRecord: string;
  readonly body: AsyncIterable<Uint8Array>;
  readonly as: {
    readonly clusterId: ClusterId;
    readonly isClone: boolean;
    /** For a new incarnation of a cluster that goes on: its generation never falls. */
    readonly afterGeneration?: number;
  };
  readonly type: HsmType;
  readonly mode: HsmMode;
}

export interface Sealing {
  /** Must be consumed; the outcome resolves after its end. */
  readonly body: AsyncIterable<Uint8Array>;
  readonly outcome: Promise<SealOutcome>;
}

/** What an HSM's shared state is, without telling what is in it. */
export interface Digest {
  readonly stateDigest: string;
  readonly generation: number;
  readonly counts: Counts;
}

/** Every method throws Failed `HSM_GONE`, `HOST_GONE`, `CHANNEL`, and Refused as the HSM said. */
export interface HsmHandle {
  hello(): Promise<Hello>;
  certify(as: { clusterId: ClusterId; type: HsmType; mode: HsmMode }): Promise<Hello>;
  install(certificates: { clusterCertificate: string; trustAnchor: string }): Promise<Hello>;
  seal(backupId: BackupId, signal?: AbortSignal): Promise<Sealing>;
  open(request: OpenRequest): Promise<OpenOutcome>;
  /** How many keys were made after that generation, and which one it is now. */
  keysNewerThan(generation: number): Promise<{ generation: number; keys: number }>;
  digest(): Promise<Digest>;
  /** Changes are refused with this sentence, or taken (null); it outlives the HSM's process and its host. */
  limit(frozenBecause: string | null): Promise<void>;
}

/** A throw-away HSM: no doors, no disk. Dispose it when done, whatever happened. */
export interface DrillHsm extends AsyncDisposable {
  readonly serial: string;
  open(request: OpenRequest): Promise<OpenOutcome>;
  exercise(): Promise<ExerciseOutcome>;
  /** Remembers what is open now as what a restore would bring back. */
  keep(): Promise<PlanSide>;
  /** What would change if the kept state replaced what is open now. */
  plan(): Promise<PlanOutcome>;
  prove(claims: ProofClaims, seal: Signed<SealStatement>): Promise<Signed<ProofStatement>>;
}

export type FleetEvent =
  | { readonly kind: 'changed'; readonly hsmId: HsmId; readonly generation: number }
  | { readonly kind: 'activated'; readonly hsmId: HsmId; readonly generation: number }
  | { readonly kind: 'failed'; readonly hsmId: HsmId; readonly reason: string }
  /** The process died; the host is restarting it. */
  | { readonly kind: 'down'; readonly hsmId: HsmId; readonly reason: string }
  /** Serving again, with its durable state. */
  | { readonly kind: 'up'; readonly hsmId: HsmId; readonly hello: Hello };

export interface FleetStatus {
  readonly areRootsLocked: boolean;
  readonly isEvaluation: boolean;
  readonly maker: string;
  readonly owner: string;
  /** PEM: what clients check hardware certificates against. */
  readonly makerRoot: string;
  readonly ownerRoot: string;
  readonly codeSha256: string;
}

export interface Fleet {
  status(): Promise<FleetStatus>;
  /** Makes, enrols and starts an HSM under this id; asking again for the same id finds the one there is. */
  obtain(hsmId: HsmId, clusterId: ClusterId): Promise<HsmHandle>;
  /** The HSM the host runs under this id. @throws Failed `HSM_GONE`. */
  hsm(hsmId: HsmId): HsmHandle;
  /** Which HSMs the host knows. */
  list(): Promise<readonly { hsmId: HsmId; isRunning: boolean }[]>;
  /**
   * Zeroises and removes for good; what is not there is done already.
   * @param holding digest of the state that may go, which the HSM itself compares.
   * @throws Refused `WrongState` when it holds another one by now: then it goes on as it was.
   */
  discard(hsmId: HsmId, holding?: string): Promise<void>;
  /** `maker` and `owner` name other sets of roots than the default, for rehearsing refusals. */
  drill(roots?: { maker?: string; owner?: string }): Promise<DrillHsm>;
  /** Leads the cluster's doors to this HSM, until the host starts anew. */
  prefer(clusterId: ClusterId, hsmId: HsmId): Promise<void>;
  /** The listener is told at once of every HSM that is up already. */
  onEvent(listener: (event: FleetEvent) => void): void;
}
