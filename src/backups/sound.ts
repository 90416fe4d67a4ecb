/** Whether a READY backup opens, as far as anybody knows. */
import type { FailureCode } from '../kernel/errors.ts';
import type { Backup } from './backup.ts';

/** What is wrong with the stored bytes themselves. Everything else says nothing about the backup. */
export const OF_THE_BACKUP: ReadonlySet<FailureCode> = new Set([
  'VAULT_LOST',
  'VAULT_READ',
  'NOT_PROVEN',
]);

/** It opened when it was last looked at: at its proof, or at a later drill. */
export function isSound({ drill }: Pick<Backup, 'drill'>): boolean {
  return drill?.failure === undefined;
}
