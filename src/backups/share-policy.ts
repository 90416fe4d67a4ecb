/**
 * The resource policy of a backup: who else may restore it, and who may see it listed. Pure.
 *
 * Only what can be kept is accepted: Allow, two actions, named accounts, users and roles of other
 * accounts, this very backup. A condition, a wildcard or a Deny that was taken and then ignored would
 * give more than its author wrote. Every problem is told at once.
 */
import type { Caller } from '../access/caller.ts';

export type SharedAction = 'CreateCluster' | 'DescribeBackups';

interface Grant {
  readonly actions: ReadonlySet<SharedAction>;
  readonly principals: readonly Principal[];
}

interface Principal {
  readonly account: string;
  /** Absent: the whole account. */
  readonly entity?: { readonly kind: 'user' | 'role'; readonly path: string };
}

export interface SharePolicy {
  readonly grants: readonly Grant[];
  /** Sentences; none in a policy that was accepted. */
  readonly problems: readonly string[];
}

const ACTIONS = ['CreateCluster', 'DescribeBackups'] as const satisfies readonly SharedAction[];
const VERSIONS = ['2012-10-17', '2008-10-17'];
const POLICY_MEMBERS = ['Version', 'Id', 'Statement'];
const STATEMENT_MEMBERS = ['Sid', 'Effect', 'Principal', 'Action', 'Resource'];
const PRINCIPAL = /^arn:aws(?:-us-gov)?:iam::(\d{12}):(?:root|(user|role)\/([\w+=,.@/-]{1,512}))$/;
const SESSION = /^arn:aws(?:-us-gov)?:sts::\d{12}:assumed-role\/([\w+=,.@-]+)\//;

/** @param backup which the policy is for: its ARN, and the account that owns it. */
export function readSharePolicy(
  text: string,
  backup: { readonly arn: string; readonly account: string },
): SharePolicy {
  const problems: string[] = [];
  const policy = asRecord(parse(text));
  if (policy === undefined) return { grants: [], problems: ['The policy is no JSON object.'] };
  refuseOthers(policy, POLICY_MEMBERS, 'The policy', problems);
  const version = policy['Version'];
  if (typeof version !== 'string' || !VERSIONS.includes(version)) {
    problems.push(`Version has to be ${VERSIONS[0]}.`);
  }
  const statements = listOf(policy['Statement']);
  if (statements.length === 0) problems.push('There is no Statement: nothing would be granted.');
  const grants = statements.map((statement, i) =>
    readStatement(statement, `Statement ${i + 1}`, backup, problems),
  );
  return { grants, problems };
}

/** Accounts that may see the backup listed: that right is a whole account's, whomever a statement names. */
export function accountsThatDescribe({ grants }: SharePolicy): readonly string[] {
  const accounts = grants
    .filter(({ actions }) => actions.has('DescribeBackups'))
    .flatMap(({ principals }) => principals.map(({ account }) => account));
  return [...new Set(accounts)].sort();
}

/** Deny by default: also under a policy that could not have been accepted. */
export function isGranted(policy: SharePolicy, caller: Caller, action: SharedAction): boolean {
  return (
    policy.problems.length === 0 &&
    policy.grants.some(
      ({ actions, principals }) =>
        actions.has(action) && principals.some((principal) => isMeant(principal, caller)),
    )
  );
}

function isMeant({ account, entity }: Principal, caller: Caller): boolean {
  if (account !== caller.account) return false;
  if (entity === undefined) return true;
  const { kind, path } = entity;
  if (caller.principal.endsWith(`:iam::${account}:${kind}/${path}`)) return true;
  // A session names its role without the role's path.
  const role = SESSION.exec(caller.principal)?.[1];
  return kind === 'role' && role !== undefined && role === path.slice(path.lastIndexOf('/') + 1);
}

function readStatement(
  given: unknown,
  where: string,
  backup: { arn: string; account: string },
  problems: string[],
): Grant {
  const statement = asRecord(given);
  if (statement === undefined) {
    problems.push(`${where} is no object.`);
    return { actions: new Set(), principals: [] };
  }
  refuseOthers(statement, STATEMENT_MEMBERS, where, problems);
  if (statement['Effect'] !== 'Allow') {
    problems.push(`${where}: Effect has to be Allow; what nothing allows is denied anyway.`);
  }
  const resources = listOf(statement['Resource']);
  if (resources.length === 0 || resources.some((resource) => resource !== backup.arn)) {
    problems.push(`${where}: Resource has to be ${backup.arn}.`);
  }
  return {
    actions: readActions(statement['Action'], where, problems),
    principals: readPrincipals(statement['Principal'], where, backup.account, problems),
  };
}

function readActions(given: unknown, where: string, problems: string[]): Set<SharedAction> {
  const names = listOf(given);
  const known = names.map((name) =>
    ACTIONS.find((action) => String(name).toLowerCase() === `cloudhsm:${action}`.toLowerCase()),
  );
  if (names.length === 0 || known.includes(undefined)) {
    const all = ACTIONS.map((action) => `cloudhsm:${action}`).join(' and ');
    problems.push(`${where}: Action can be ${all}, nothing else.`);
  }
  return new Set(known.filter((action) => action !== undefined));
}

function readPrincipals(
  given: unknown,
  where: string,
  owner: string,
  problems: string[],
): readonly Principal[] {
  const record = asRecord(given);
  const names = listOf(record?.['AWS']);
  if (record === undefined || Object.keys(record).length !== 1 || names.length === 0) {
    problems.push(
      `${where}: Principal has to be {"AWS": …} with accounts, users or roles. A backup is shared with named accounts, never with everybody.`,
    );
    return [];
  }
  return names.flatMap((name): Principal[] => {
    const principal = typeof name === 'string' ? readPrincipal(name) : undefined;
    if (principal === undefined) {
      const isOrganisation = String(name).includes(':organizations:');
      problems.push(
        isOrganisation
          ? `${where}: an organisation or organisational unit cannot be named here; name its accounts.`
          : `${where}: ${JSON.stringify(String(name).slice(0, 128))} is no principal; one looks like 000012345678, arn:aws:iam::000012345678:root or arn:aws:iam::000012345678:role/restore.`,
      );
      return [];
    }
    if (principal.account === owner) {
      problems.push(`${where}: ${owner} owns the backup; it needs no share.`);
    }
    return [principal];
  });
}

function readPrincipal(text: string): Principal | undefined {
  if (/^\d{12}$/.test(text)) return { account: text };
  const [, account, kind, path] = PRINCIPAL.exec(text) ?? [];
  if (account === undefined) return undefined;
  if (kind === undefined || path === undefined) return { account };
  return { account, entity: { kind: kind === 'user' ? 'user' : 'role', path } };
}

function refuseOthers(
  record: Readonly<Record<string, unknown>>,
  known: readonly string[],
  where: string,
  problems: string[],
): void {
  for (const name of Object.keys(record)) {
    if (known.includes(name)) continue;
    problems.push(
      `${where}: ${JSON.stringify(name.slice(0, 64))} is not served; there are ${known.join(', ')}.`,
    );
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // Told by the caller as what it is: no JSON object.
    return undefined;
  }
}

/** IAM writes one of something without brackets. */
function listOf(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

function asRecord(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  // An object's members are unknown, which is all this type says.
  return value as Readonly<Record<string, unknown>>;
}
