/**
 * What a backup's resource policy lets other accounts do. It is one half of the answer: the other account's
 * own policies must allow the action as well, which `authorize` asks when the call comes in.
 */
import type { ConditionContext } from './context.ts';
import { type Asker, judgeResource } from './evaluate.ts';
import { type Policy, PolicyProblems, parsePolicy } from './policy.ts';

/** AWS's bound for a resource policy. */
const MAX_LENGTH = 20_000;
/** What can be shared at all. */
const SHARED_ACTIONS = ['cloudhsm:CreateCluster', 'cloudhsm:DescribeBackups'] as const;
export type SharedAction = (typeof SHARED_ACTIONS)[number];

/**
 * For PutResourcePolicy: the document as statements.
 * @param backupArn the backup it is put on; statements about another one are refused.
 * @throws PolicyProblems with everything that is wrong.
 */
export function parseResourcePolicy(text: string, backupArn: string): Policy {
  const policy = parsePolicy(text, { kind: 'resource', maxLength: MAX_LENGTH });
  const problems: string[] = [];
  for (const [i, { actions, resources }] of policy.statements.entries()) {
    const strange = actions.patterns.filter(
      (pattern) => !SHARED_ACTIONS.some((a) => a === pattern),
    );
    if (actions.isInverse || strange.length > 0) {
      problems.push(`Statement[${i}].Action: only ${SHARED_ACTIONS.join(' and ')} can be shared.`);
    }
    const others = resources.patterns.filter((pattern) => pattern !== backupArn && pattern !== '*');
    if (resources.isInverse || others.length > 0) {
      problems.push(`Statement[${i}].Resource: only ${backupArn} can stand in its own policy.`);
    }
  }
  if (problems.length > 0) throw new PolicyProblems(problems);
  return policy;
}

/**
 * May an account that does not own the backup do that with it, as far as the backup's policy goes?
 * @param policyText the backup's `policy`; without one, and with one that cannot be read, the answer is no.
 * @param backupArn of the backup, in its owner's account.
 */
export function mayUseShared(
  policyText: string | undefined,
  asker: Asker,
  action: SharedAction,
  backupArn: string,
  context: ConditionContext = new Map(),
): boolean {
  const policy = readResourcePolicy(policyText);
  if (policy === undefined) return false;
  return judgeResource(policy, { action, resource: backupArn, context }, asker) === 'allow';
}

/** @returns undefined for no policy, and for one that cannot be read any more: that one shares nothing. */
export function readResourcePolicy(text: string | undefined): Policy | undefined {
  if (text === undefined) return undefined;
  try {
    return parsePolicy(text, { kind: 'resource', maxLength: MAX_LENGTH });
  } catch (cause) {
    // A policy is checked when it is put; only a newer or older Keyark could have let this one through.
    if (cause instanceof PolicyProblems) return undefined;
    throw cause;
  }
}
