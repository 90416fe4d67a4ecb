/**
 * Brings attributes that came one object at a time together in one piece of memory. A piece of its own
 * costs an object as much as a small key's attributes do, twice over, and leaves holes between the others.
 *
 * Done after every snapshot. The memory that this holds is at most twice what lives in it: when more has
 * died, everything moves.
 */
import { PackedAttributes } from './packed-attributes.ts';
import type { ObjectRecord } from './state.ts';

const MAX_HOLLOWNESS = 2;

export function gatherAttributes(objects: Iterable<ObjectRecord>): void {
  const all: PackedAttributes[] = [];
  for (const { attributes } of objects) {
    if (attributes instanceof PackedAttributes) all.push(attributes);
  }
  const memories = new Set(all.map(({ memory }) => memory));
  const heldBytes = [...memories].reduce((sum, { byteLength }) => sum + byteLength, 0);
  const isHollow = heldBytes > MAX_HOLLOWNESS * bytesOf(all);
  const moving = isHollow ? all : all.filter(({ isAlone }) => isAlone);
  const together = Buffer.alloc(bytesOf(moving));
  let at = 0;
  for (const attributes of moving) {
    attributes.moveTo(together, at);
    at += attributes.byteLength;
  }
}

const bytesOf = (some: readonly PackedAttributes[]): number =>
  some.reduce((sum, { byteLength }) => sum + byteLength, 0);
