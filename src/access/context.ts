/**
 * What is known of a request when it is judged, by the names of IAM's condition keys in small letters.
 * A key that is not in `CONDITION_KEYS` is refused when a policy is set: a condition on it would never, or
 * always, hold.
 */

/** null: two tags whose keys differ in case only, so that no condition on them can be answered. */
export type ConditionValue = string | readonly string[] | null;
export type ConditionContext = ReadonlyMap<string, ConditionValue>;

/** `isMany`: such a key holds several values at once and needs ForAllValues: or ForAnyValue:. */
interface KeyRow {
  readonly kind: 'text' | 'arn' | 'bool' | 'date' | 'number' | 'address';
  readonly isMany?: true;
}

export const CONDITION_KEYS: ReadonlyMap<string, KeyRow> = new Map(
  Object.entries({
    'aws:CurrentTime': { kind: 'date' },
    'aws:EpochTime': { kind: 'date' },
    'aws:PrincipalAccount': { kind: 'text' },
    'aws:PrincipalArn': { kind: 'arn' },
    'aws:PrincipalType': { kind: 'text' },
    'aws:RequestedRegion': { kind: 'text' },
    'aws:ResourceAccount': { kind: 'text' },
    'aws:SecureTransport': { kind: 'bool' },
    'aws:SourceIp': { kind: 'address' },
    'aws:TagKeys': { kind: 'text', isMany: true },
    'aws:TokenIssueTime': { kind: 'date' },
    'aws:UserAgent': { kind: 'text' },
    'aws:userid': { kind: 'text' },
    'aws:username': { kind: 'text' },
  } as const satisfies Record<string, KeyRow>).map(([name, row]) => [name.toLowerCase(), row]),
);
/** These two go on with a tag's key. */
const TAG_PREFIXES = ['aws:requesttag/', 'aws:resourcetag/'] as const;

export function conditionKey(name: string): KeyRow | undefined {
  const known = CONDITION_KEYS.get(name.toLowerCase());
  if (known !== undefined) return known;
  const isTag = TAG_PREFIXES.some((prefix) => {
    return name.toLowerCase().startsWith(prefix) && name.length > prefix.length;
  });
  return isTag ? { kind: 'text' } : undefined;
}

/** `aws:RequestTag/…`, `aws:ResourceTag/…`: condition keys have no case, tags have. */
export function tagEntries(
  prefix: 'aws:RequestTag/' | 'aws:ResourceTag/',
  tags: ReadonlyMap<string, string>,
): readonly (readonly [string, ConditionValue])[] {
  const found = new Map<string, ConditionValue>();
  for (const [key, value] of tags) {
    const name = `${prefix}${key}`.toLowerCase();
    found.set(name, found.has(name) ? null : value);
  }
  return [...found];
}
