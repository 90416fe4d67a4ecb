/** Tags as the API writes them: lists of pairs, in pages by key. */
import { createHash } from 'node:crypto';
import type { PageRequest } from '../catalog/catalog.ts';
import { Refused } from '../kernel/errors.ts';
import type { Tags } from '../kernel/tags.ts';
import type { JsonObject } from '../kernel/types.ts';

export interface WireTag {
  readonly Key: string;
  readonly Value: string;
}

/** @throws Refused `InvalidRequest` for a key twice, `TagFailure` for a reserved one. */
export function parseTags(list: readonly WireTag[]): Tags {
  const tags = new Map<string, string>();
  for (const { Key, Value } of list) {
    if (tags.has(Key)) {
      throw new Refused('InvalidRequest', `TagList has the key "${Key}" twice; name it once.`);
    }
    tags.set(checkTagKey(Key), Value);
  }
  return tags;
}

/** @throws Refused `TagFailure`. */
export function checkTagKey(key: string): string {
  if (!/^aws:/i.test(key)) return key;
  throw new Refused('TagFailure', `The tag key "${key}" begins aws:, which is reserved.`);
}

export function renderTags(tags: Tags): readonly JsonObject[] {
  return [...tags].map(([Key, Value]) => ({ Key, Value }));
}

/** @throws Refused `InvalidRequest` for a token of other tags than these. */
export function pageOfTags(tags: Tags, { limit, nextToken }: PageRequest): JsonObject {
  const sorted = [...tags].sort(([a], [b]) => (a < b ? -1 : 1));
  const start = nextToken === undefined ? 0 : placeAfter(sorted, nextToken);
  const page = sorted.slice(start, start + limit);
  const last = page.at(-1);
  return {
    TagList: renderTags(new Map(page)),
    NextToken: last === undefined || start + limit >= sorted.length ? undefined : tokenOf(last[0]),
  };
}

function placeAfter(sorted: readonly (readonly [string, string])[], token: string): number {
  const place = sorted.findIndex(([key]) => tokenOf(key) === token);
  if (place >= 0) return place + 1;
  throw new Refused(
    'InvalidRequest',
    'The NextToken does not continue a list of these tags, or they have changed since; repeat the request without it.',
  );
}

/** A key itself can be longer than a token may be. */
const tokenOf = (key: string): string => createHash('sha256').update(key).digest('base64url');
