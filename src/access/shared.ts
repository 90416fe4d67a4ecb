/**
 * What a backup's resource policy says, for `authorize`. It is one half of the answer: the other account's own
 * policies must allow the action as well. What may be put is stricter, and judged in `backups/share-policy.ts`.
 */
import { type Policy, PolicyProblems, parsePolicy } from './policy.ts';

/** AWS's bound for a resource policy. */
const MAX_LENGTH = 20_000;

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
