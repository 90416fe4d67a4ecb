/** How much is inside; never what. */
import { numberOf } from './attributes.ts';
import { CKA, CKO } from './constants.ts';
import type { Counts } from './protocol.ts';
import type { Attributes, SharedState } from './state.ts';

const KEY_CLASSES: ReadonlySet<number> = new Set([CKO.SECRET_KEY, CKO.PRIVATE_KEY]);

export const NO_COUNTS: Counts = { users: 0, keys: 0, objects: 0, tombstones: 0 };

/** A pair is one key, as in the limits: its public half counts among the other objects. */
export function countsOf({ users, objects, tombstones }: SharedState): Counts {
  let keys = 0;
  for (const { attributes } of objects.values()) if (isKey(attributes)) keys += 1;
  return {
    users: users.size,
    keys,
    objects: objects.size - keys,
    tombstones: tombstones.size,
  };
}

/** Keys that no backup of this generation, or of an older one, can hold. */
export function keysNewerThan({ objects }: SharedState, generation: number): number {
  let keys = 0;
  for (const { attributes, createdGeneration } of objects.values()) {
    if (createdGeneration > generation && isKey(attributes)) keys += 1;
  }
  return keys;
}

function isKey(attributes: Attributes): boolean {
  return KEY_CLASSES.has(numberOf(attributes, CKA.CLASS) ?? -1);
}
