/** Tags of clusters and backups: what a change makes of them. Keys and values were checked at the door. */
import { Refused } from './errors.ts';

export type Tags = ReadonlyMap<string, string>;

export type TagChange =
  /** Overwrites values of keys that are there. */
  | { readonly put: Tags }
  /** Keys that are not there are no trouble. */
  | { readonly remove: readonly string[] };

export const MAX_TAGS = 50;

/** @throws Refused `LimitExceeded` when more than 50 would be left; `owner` keeps what it has. */
export function changedTags(owner: string, tags: Tags, change: TagChange): Tags {
  const changed = new Map(tags);
  if ('remove' in change) {
    for (const key of change.remove) changed.delete(key);
    return changed;
  }
  for (const [key, value] of change.put) changed.set(key, value);
  if (changed.size > MAX_TAGS) {
    throw new Refused(
      'LimitExceeded',
      `${owner} has ${tags.size} tags and would have ${changed.size}; ${MAX_TAGS} are possible. Nothing was changed.`,
    );
  }
  return changed;
}
