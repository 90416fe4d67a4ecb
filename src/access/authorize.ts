/**
 * May this caller do that? Deny by default, an explicit Deny outweighs everything, an account's root may do
 * everything in its account. Temporary credentials may do what both their parent and their own policy allow.
 *
 * Pure: what policies, tags and time say is given; nothing has happened yet when this throws.
 */
import { isoTime } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { SignedCaller } from './caller.ts';
import { type ConditionContext, type ConditionValue, tagEntries } from './context.ts';
import { judgeIdentity, judgeResource, type Verdict } from './evaluate.ts';
import type { Policy } from './policy.ts';

/** One action on one resource; a request may need several. */
export interface Wish {
  /** `cloudhsm:CreateCluster`, `keyark:TakeBackup` … */
  readonly action: string;
  /** An ARN, or `*` for actions that act on none. */
  readonly resource: string;
  /** Of the resource, when it exists. */
  readonly resourceTags?: ReadonlyMap<string, string>;
  /** The resource's own policy, if it has one that counts for this action. */
  readonly resourcePolicy?: Policy;
}

export interface Grounds {
  /** Undefined: the account's root. */
  readonly policies: readonly Policy[] | undefined;
  readonly sessionPolicy: Policy | undefined;
  /** Tags that the request would set. */
  readonly requestTags?: ReadonlyMap<string, string>;
  /** Keys of tags that the request would set or remove. */
  readonly tagKeys?: readonly string[];
  readonly now: EpochMs;
}

/** @throws Refused `AccessDenied` for the first wish that is not granted. */
export function authorize(caller: SignedCaller, wishes: readonly Wish[], grounds: Grounds): void {
  for (const wish of wishes) {
    const why = refusalOf(caller, wish, grounds);
    if (why === undefined) continue;
    throw new Refused(
      'AccessDenied',
      `User: ${caller.principal} is not authorized to perform: ${wish.action} on resource: ${wish.resource} ${why}`,
    );
  }
}

/** In IAM's words; undefined when it is granted. */
function refusalOf(caller: SignedCaller, wish: Wish, grounds: Grounds): string | undefined {
  const { action, resource } = wish;
  let context: ConditionContext | undefined;
  const question = {
    action,
    resource,
    /** Made when a policy is judged: an account's root in its own account needs none. */
    get context(): ConditionContext {
      context ??= contextOf(caller, wish, grounds);
      return context;
    },
  };
  const isOwn = resource === '*' || accountIn(resource) === caller.account;
  const isRoot = grounds.policies === undefined;

  const identity: Verdict = isRoot ? 'allow' : judgeIdentity(grounds.policies, question);
  if (identity === 'deny') return 'with an explicit deny in an identity-based policy';

  if (grounds.sessionPolicy !== undefined) {
    const session = judgeIdentity([grounds.sessionPolicy], question);
    if (session === 'deny') return 'with an explicit deny in a session policy';
    if (session === 'none') return `because no session policy allows the ${action} action`;
  }

  const shared: Verdict =
    wish.resourcePolicy === undefined
      ? 'none'
      : judgeResource(wish.resourcePolicy, question, caller);
  // Nobody locks an owner's root out of what is his.
  if (shared === 'deny' && !(isOwn && isRoot)) {
    return 'with an explicit deny in a resource-based policy';
  }
  if (!isOwn && shared !== 'allow') {
    return `because no resource-based policy allows the ${action} action`;
  }
  // Within one account either policy is enough; between two both are needed.
  if (identity === 'allow' || (isOwn && shared === 'allow')) return undefined;
  return `because no identity-based policy allows the ${action} action`;
}

/** By names in small letters, as conditions look them up. */
function contextOf(caller: SignedCaller, wish: Wish, grounds: Grounds): ConditionContext {
  const { key } = caller;
  const isRoot = key.user === undefined;
  const entries: readonly (readonly [string, ConditionValue | undefined])[] = [
    ['aws:principalaccount', caller.account],
    ['aws:principalarn', caller.principal],
    ['aws:principaltype', isRoot ? 'Account' : 'User'],
    ['aws:userid', isRoot ? caller.account : key.user],
    ['aws:username', key.user],
    ['aws:requestedregion', caller.region],
    ['aws:resourceaccount', wish.resource === '*' ? undefined : accountIn(wish.resource)],
    ['aws:sourceip', caller.sourceAddress],
    ['aws:useragent', caller.userAgent],
    ['aws:securetransport', String(caller.isSecure)],
    ['aws:currenttime', isoTime(grounds.now)],
    ['aws:epochtime', String(Math.floor(grounds.now / 1000))],
    ['aws:tokenissuetime', key.session && isoTime(key.session.issuedAt)],
    ['aws:tagkeys', grounds.tagKeys],
    ...tagEntries('aws:RequestTag/', grounds.requestTags ?? new Map()),
    ...tagEntries('aws:ResourceTag/', wish.resourceTags ?? new Map()),
  ];
  const context = new Map<string, ConditionValue>();
  for (const [name, value] of entries) if (value !== undefined) context.set(name, value);
  return context;
}

/** `arn:aws:cloudhsm:REGION:ACCOUNT:…`. */
const accountIn = (arn: string): string | undefined => arn.split(':')[4];
