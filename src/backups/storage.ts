/** Where one region's backups rest: its vault and its key service. */
import type { Kms } from '../kms/kms.ts';
import type { Vault } from '../vault/vault.ts';

export interface RegionStorage {
  readonly vault: Vault;
  readonly kms: Kms;
}

/** @throws Refused `NotFound` for a region that is not served. */
export type StorageOf = (region: string) => RegionStorage;
