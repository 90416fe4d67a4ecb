/**
 * What an HSM is, as data. `SharedState` is the same on every HSM of a cluster and is what backups are
 * for; `LocalState` belongs to one HSM and travels in backups without being compared.
 *
 * Law: records are immutable values, replaced as a whole. A frozen view of the state is therefore a
 * shallow copy of its maps, and sealing never races with changes.
 */
import type { HsmMode, HsmType, Role } from './protocol.ts';

/** One PKCS#11 attribute's value, typed so that the codec and the digest agree on what it is. */
export type AttributeValue =
  | { readonly type: 'bool'; readonly value: boolean }
  | { readonly type: 'ulong'; readonly value: number }
  | { readonly type: 'bytes'; readonly value: Uint8Array };

/** CKA_… → value. Key material (CKA_VALUE, private exponents) is an attribute like any other, and secret. */
export type Attributes = ReadonlyMap<number, AttributeValue>;

export interface UserRecord {
  /** Lower-case; users compare case-insensitively. The record's key. */
  readonly name: string;
  readonly role: Role;
  /** Argon2id parameters and result; absent for the unactivated admin and the appliance user. */
  readonly verifier: PasswordVerifier | null;
  readonly createdGeneration: number;
  /** Generation of the last password change. */
  readonly passwordGeneration: number;
}

export interface PasswordVerifier {
  readonly salt: Uint8Array;
  readonly memoryKiB: number;
  readonly passes: number;
  readonly hash: Uint8Array;
}

export interface ObjectRecord {
  /** 16 random bytes, hex. The record's key; never reused. */
  readonly id: string;
  /** 63-bit handle as shown to clients, unique in the cluster, never reused. */
  readonly handle: number;
  /** User name. */
  readonly owner: string;
  readonly sharedWith: readonly string[];
  readonly attributes: Attributes;
  readonly createdGeneration: number;
}

/** A deleted object's id, so that nothing brings it back. */
export interface TombstoneRecord {
  readonly id: string;
  readonly generation: number;
}

/** Named settings; `hsm/policies.ts` has the table with defaults and bounds. */
export interface PolicyRecord {
  readonly name: string;
  readonly value: number;
}

export interface Partition {
  readonly clusterId: string;
  readonly incarnation: string;
  readonly type: HsmType;
  readonly mode: HsmMode;
  /** PKCS#8 DER of the partition key pair: the key of the CSR and of the cluster certificate. Secret. */
  readonly partitionKey: Uint8Array;
  readonly clusterCsr: string;
  readonly hsmCertificate: string;
  readonly clusterCertificate: string | null;
  readonly trustAnchor: string | null;
  /** 32 bytes, made inside; sync keys and the digest key derive from it. Secret. */
  readonly maskingKey: Uint8Array;
}

export interface SharedState {
  readonly partition: Partition;
  readonly generation: number;
  readonly nextHandle: number;
  readonly users: ReadonlyMap<string, UserRecord>;
  readonly objects: ReadonlyMap<string, ObjectRecord>;
  readonly tombstones: ReadonlyMap<string, TombstoneRecord>;
  readonly policies: ReadonlyMap<string, PolicyRecord>;
}

export interface LocalState {
  /** User name → wrong passwords since the last right one. Durable before each answer. */
  readonly failures: ReadonlyMap<string, number>;
  /** Next audit sequence number; gapless. */
  readonly auditSequence: number;
}
