/** How much is inside; never what. */
import { numberOf } from './attributes.ts';
import { CKA, CKO } from './constants.ts';
import type { Counts } from './protocol.ts';
import type { SharedState } from './state.ts';

const KEY_CLASSES: ReadonlySet<number> = new Set([CKO.SECRET_KEY, CKO.PRIVATE_KEY, CKO.PUBLIC_KEY]);

export const NO_COUNTS: Counts = { users: 0, keys: 0, objects: 0, tombstones: 0 };

/** Each half of a pair is a key. */
export function countsOf({ users, objects, tombstones }: SharedState): Counts {
  let keys = 0;
  for (const { attributes } of objects.values()) {
    if (KEY_CLASSES.has(numberOf(attributes, CKA.CLASS) ?? -1)) keys += 1;
  }
  return {
    users: users.size,
    keys,
    objects: objects.size - keys,
    tombstones: tombstones.size,
  };
}
