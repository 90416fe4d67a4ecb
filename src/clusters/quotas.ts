/** How many clusters and HSMs an account may have in a region. The configuration says. */
import type { CatalogReader, Scope } from '../catalog/catalog.ts';
import { Refused } from '../kernel/errors.ts';

export interface Quotas {
  readonly clusters: number;
  readonly hsms: number;
}

/** Of one cluster; nobody can raise it. */
export const MAX_HSMS_OF_CLUSTER = 28;

/** Within the transaction that creates, so that two callers cannot both get the last place. @throws Refused `LimitExceeded`. */
export function checkQuota(
  reader: CatalogReader,
  scope: Scope,
  { what, quotas }: { what: keyof Quotas; quotas: Quotas },
): void {
  const used = reader.inUse(scope)[what];
  if (used < quotas[what]) return;
  const { name, remedy } = WORDS[what];
  throw new Refused(
    'LimitExceeded',
    `Account ${scope.account} has ${used} ${name} in ${scope.region}; its quota is ${quotas[what]}. Nothing was created: ${remedy}, or raise quotas.${what} in the service's configuration.`,
  );
}

const WORDS = {
  clusters: { name: 'clusters', remedy: 'delete one (its backups stay)' },
  hsms: { name: 'HSMs', remedy: 'delete one (it is backed up first)' },
} as const satisfies Record<keyof Quotas, { name: string; remedy: string }>;
