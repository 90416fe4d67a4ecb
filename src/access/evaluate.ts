/**
 * What policies say about one action on one resource. Pure: nothing but the arguments decides. A Deny that
 * matches outweighs every Allow; without either the answer is `none`.
 */
import { holds } from './conditions.ts';
import type { ConditionContext } from './context.ts';
import { compileGlob, matchesAction, matchesArn } from './glob.ts';
import type { Policy, Selection, Statement } from './policy.ts';

export interface Question {
  /** `cloudhsm:CreateCluster`. */
  readonly action: string;
  /** An ARN, or `*` for actions that act on none. */
  readonly resource: string;
  readonly context: ConditionContext;
}

export type Verdict = 'allow' | 'deny' | 'none';

/** Who asks, where a policy names principals. */
export interface Asker {
  readonly account: string;
  /** An ARN. */
  readonly principal: string;
}

export function judgeIdentity(policies: readonly Policy[], question: Question): Verdict {
  return judge(policies, question, () => true);
}

export function judgeResource(policy: Policy, question: Question, asker: Asker): Verdict {
  return judge([policy], question, ({ principals }) =>
    principals.some((named) => isNamed(named, asker)),
  );
}

function judge(
  policies: readonly Policy[],
  question: Question,
  isFor: (statement: Statement) => boolean,
): Verdict {
  let verdict: Verdict = 'none';
  for (const { statements, hasVariables } of policies) {
    const variables = hasVariables ? question.context : undefined;
    for (const statement of statements) {
      if (!isFor(statement) || !applies(statement, question, variables)) continue;
      if (statement.effect === 'Deny') return 'deny';
      verdict = 'allow';
    }
  }
  return verdict;
}

function applies(
  { actions, resources, conditions, effect }: Statement,
  { action, resource, context }: Question,
  variables: ConditionContext | undefined,
): boolean {
  // A NotResource whose variable has no value names nothing that could be left out: no Allow follows from it.
  const isVague =
    resources.isInverse &&
    resources.patterns.some((pattern) => compileGlob(pattern, variables) === undefined);
  if (isVague && effect === 'Allow') return false;
  return (
    selects(actions, (pattern) => matchesAction(pattern, action)) &&
    selects(resources, (pattern) => matchesArn(pattern, resource, variables)) &&
    conditions.every((condition) => holds(condition, { context, variables, effect }))
  );
}

function selects(
  { isInverse, patterns }: Selection,
  matches: (pattern: string) => boolean,
): boolean {
  return patterns.some(matches) !== isInverse;
}

/** An account stands for everybody in it; an ARN for exactly one. */
function isNamed(named: string, { account, principal }: Asker): boolean {
  if (named === '*' || named === account || named === principal) return true;
  return /^arn:[^:]+:iam::(\d{12}):root$/.exec(named)?.[1] === account;
}
