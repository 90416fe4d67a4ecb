/** Whether a READY backup opens, as far as anybody knows. */
import { Failed, type FailureCode, Refused } from '../kernel/errors.ts';
import type { Backup } from './backup.ts';

const OF_THE_BACKUP: ReadonlySet<FailureCode> = new Set(['VAULT_LOST', 'VAULT_READ', 'NOT_PROVEN']);

/**
 * Whether it failed by the stored bytes themselves, so that trying again would end the same way. Everything else says
 * nothing about the backup.
 */
export function isOfTheBackup(cause: unknown): cause is Failed | Refused {
  if (cause instanceof Refused) return cause.code === 'DoesNotOpen';
  return cause instanceof Failed && OF_THE_BACKUP.has(cause.code);
}

/** It opened when it was last looked at: at its proof, or at a later drill. */
export function isSound({ drill }: Pick<Backup, 'drill'>): boolean {
  return drill?.failure === undefined;
}
