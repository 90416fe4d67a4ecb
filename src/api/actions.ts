/** Every action that a policy may speak of: one an operation. */
import { NATIVE_OPERATIONS } from './native.ts';
import { OPERATIONS } from './shapes.ts';

export function knownActions(): ReadonlySet<string> {
  return new Set([
    ...Object.keys(OPERATIONS).map((name) => `cloudhsm:${name}`),
    ...Object.keys(NATIVE_OPERATIONS).map((name) => `keyark:${name}`),
  ]);
}
