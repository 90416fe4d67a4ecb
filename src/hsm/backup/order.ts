/** The order in which archives and digests say things: an order that only the state decides. */

/** Sorts in place unless there is nothing to do, which is most of the time. */
export function ascending<Key>(keys: Key[], compare: (a: Key, b: Key) => number): Key[] {
  return isAscending(keys, compare) ? keys : keys.sort(compare);
}

export function isAscending<Key>(
  keys: readonly Key[],
  compare: (a: Key, b: Key) => number,
): boolean {
  let previous: Key | undefined;
  for (const key of keys) {
    if (previous !== undefined && compare(previous, key) >= 0) return false;
    previous = key;
  }
  return true;
}

/** The order of the texts' UTF-8 octets, without making them: surrogates stand for the highest code points. */
export function compareText(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const left = a.charCodeAt(i);
    const right = b.charCodeAt(i);
    if (left === right) continue;
    const leftIsHigh = (left & 0xf800) === 0xd800;
    const rightIsHigh = (right & 0xf800) === 0xd800;
    if (leftIsHigh !== rightIsHigh) return leftIsHigh ? 1 : -1;
    return left - right;
  }
  return a.length - b.length;
}
