/**
 * Ids that AWS clients accept and that can never be taken for AWS's own:
 * 16-character tails over `[2-7a-z]` that begin `keyark` (fits `[2-7a-zA-Z]{11,16}`).
 */
import { Refused } from './errors.ts';
import type { Random } from './random.ts';
import type { Branded } from './types.ts';

export type ClusterId = Branded<string, 'ClusterId'>;
export type HsmId = Branded<string, 'HsmId'>;
export type BackupId = Branded<string, 'BackupId'>;
export type RestoreId = Branded<string, 'RestoreId'>;
export type CopyRuleId = Branded<string, 'CopyRuleId'>;

const TAIL_PREFIX = 'keyark';
const RANDOM_LENGTH = 10;
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

/** 10 base32 characters: 50 random bits behind the fixed prefix. */
function tail(random: Random): string {
  return TAIL_PREFIX + [...random.bytes(RANDOM_LENGTH)].map((byte) => ALPHABET[byte & 31]).join('');
}

// The casts below are the only makers of fresh ids; the text has the right form by construction.
export const newClusterId = (random: Random): ClusterId => `cluster-${tail(random)}` as ClusterId;
export const newHsmId = (random: Random): HsmId => `hsm-${tail(random)}` as HsmId;
export const newBackupId = (random: Random): BackupId => `backup-${tail(random)}` as BackupId;
export const newRestoreId = (random: Random): RestoreId => `restore-${tail(random)}` as RestoreId;
export const newCopyRuleId = (random: Random): CopyRuleId =>
  `copy-rule-${tail(random)}` as CopyRuleId;

function parser<Id>(kind: string): (text: string) => Id {
  const pattern = new RegExp(`^${kind}-[2-7a-zA-Z]{11,16}$`);
  return (text) => {
    if (!pattern.test(text)) {
      throw new Refused(
        'InvalidRequest',
        `"${text.slice(0, 64)}" is not a ${kind} id; one looks like ${kind}-keyark2ab3cd4ef5.`,
      );
    }
    // The pattern above is what the brand stands for.
    return text as Id;
  };
}

/** @throws Refused `InvalidRequest`. */
export const parseClusterId = parser<ClusterId>('cluster');
/** @throws Refused `InvalidRequest`. */
export const parseHsmId = parser<HsmId>('hsm');
/** @throws Refused `InvalidRequest`. */
export const parseBackupId = parser<BackupId>('backup');
/** @throws Refused `InvalidRequest`. */
export const parseCopyRuleId = parser<CopyRuleId>('copy-rule');
