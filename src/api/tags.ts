/** A TagList, checked for what its shape cannot say. */
import { Refused } from '../kernel/errors.ts';

/** @throws Refused `InvalidRequest` for a key twice, `TagFailure` for a reserved one. */
export function parseTags(
  list: readonly { readonly Key: string; readonly Value: string }[],
): ReadonlyMap<string, string> {
  const tags = new Map<string, string>();
  for (const { Key, Value } of list) {
    if (tags.has(Key)) {
      throw new Refused('InvalidRequest', `TagList has the key "${Key}" twice; name it once.`);
    }
    if (/^aws:/i.test(Key)) {
      throw new Refused('TagFailure', `The tag key "${Key}" begins aws:, which is reserved.`);
    }
    tags.set(Key, Value);
  }
  return tags;
}
