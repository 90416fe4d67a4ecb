/** What callers of `clusters/` hand in and get back. */
import type { CatalogWriter } from '../catalog/catalog.ts';
import type { HsmMode, HsmType } from '../hsm/protocol.ts';
import type { ClusterId, HsmId } from '../kernel/ids.ts';
import type { Cluster, Hsm } from './cluster.ts';

export interface CreateClusterRequest {
  readonly hsmType: HsmType;
  readonly subnetIds: readonly string[];
  /** Backup id or ARN, as the caller wrote it. */
  readonly sourceBackup?: string;
  readonly retentionDays?: number;
  readonly mode?: HsmMode;
  readonly networkType?: 'IPV4' | 'DUALSTACK';
  readonly tags: ReadonlyMap<string, string>;
}

export interface CreateHsmRequest {
  readonly clusterId: ClusterId;
  readonly availabilityZone: string;
  readonly ipAddress?: string;
}

/** Told within the transaction that creates, so that what it writes is as true as the new row. */
export type OnCreated<Made> = (writer: CatalogWriter, made: Made) => void;

/** Exactly one of the three. */
export type HsmSelector =
  | { readonly hsmId: HsmId }
  | { readonly eniId: string }
  | { readonly eniIp: string };

/** A cluster with its live HSMs: what DescribeClusters shows. */
export interface ClusterView {
  readonly cluster: Cluster;
  readonly hsms: readonly Hsm[];
}

export interface InitializeRequest {
  readonly clusterId: ClusterId;
  readonly signedCert: string;
  readonly trustAnchor: string;
}
