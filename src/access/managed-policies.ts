/**
 * Policies that come with the service, by name. The two that AWS names alike allow the same of AWS's
 * operations; ours beside them add the operations that AWS does not have.
 */
import { type Policy, parsePolicy } from './policy.ts';

interface Row {
  readonly what: string;
  readonly actions: readonly string[];
}

const READS = ['cloudhsm:Describe*', 'cloudhsm:ListTags', 'cloudhsm:GetResourcePolicy'];

const ROWS = {
  AWSCloudHSMFullAccess: {
    what: 'every operation of AWS CloudHSM',
    actions: ['cloudhsm:*'],
  },
  AWSCloudHSMReadOnlyAccess: {
    what: 'every operation of AWS CloudHSM that changes nothing',
    actions: READS,
  },
  KeyarkFullAccess: {
    what: "every operation of AWS CloudHSM, and Keyark's own, users and keys of the account included",
    actions: ['cloudhsm:*', 'keyark:*'],
  },
  KeyarkReadOnlyAccess: {
    what: 'every operation that changes nothing',
    actions: [...READS, 'keyark:Get*', 'keyark:List*', 'keyark:Describe*', 'keyark:LookupEvents'],
  },
} as const satisfies Record<string, Row>;

export type ManagedPolicyName = keyof typeof ROWS;

export const MANAGED_POLICIES: ReadonlyMap<string, { what: string; document: string }> = new Map(
  Object.entries(ROWS).map(([name, { what, actions }]) => [
    name,
    { what, document: documentOf(actions) },
  ]),
);

const PARSED: ReadonlyMap<string, Policy> = new Map(
  [...MANAGED_POLICIES].map(([name, { document }]) => [
    name,
    parsePolicy(document, { kind: 'identity', maxLength: document.length }),
  ]),
);

export const managedPolicy = (name: string): Policy | undefined => PARSED.get(name);

function documentOf(actions: readonly string[]): string {
  const statement = { Effect: 'Allow', Action: actions, Resource: '*' };
  return JSON.stringify({ Version: '2012-10-17', Statement: [statement] });
}
