/** Which backup restores where, by HSM type and mode. AWS CloudHSM's table, as data. */
import { Refused } from '../../kernel/errors.ts';
import type { HsmMode, HsmType } from '../protocol.ts';

type Kind = `${HsmType} ${HsmMode}`;
export interface TypeAndMode {
  readonly type: HsmType;
  readonly mode: HsmMode;
}

/** hsm1.medium has FIPS mode only. */
const RESTORES_ON = {
  'hsm1.medium FIPS': ['hsm1.medium FIPS', 'hsm2m.medium FIPS'],
  'hsm1.medium NON_FIPS': [],
  'hsm2m.medium FIPS': ['hsm2m.medium FIPS'],
  'hsm2m.medium NON_FIPS': ['hsm2m.medium NON_FIPS'],
} as const satisfies Record<Kind, readonly Kind[]>;

/**
 * @param sealed the values from inside the backup; the clear world cannot vouch for them.
 * @throws Refused `WrongState`.
 */
export function checkRestores(sealed: TypeAndMode, target: TypeAndMode): void {
  const from: Kind = `${sealed.type} ${sealed.mode}`;
  const onto: Kind = `${target.type} ${target.mode}`;
  const allowed: readonly Kind[] = RESTORES_ON[from];
  if (allowed.includes(onto)) return;
  throw new Refused(
    'WrongState',
    `This backup was taken from an ${from} cluster and cannot be restored to an ${onto} cluster; ` +
      (allowed.length === 0 ? 'no cluster takes it.' : `it restores to ${allowed.join(' or ')}.`),
  );
}
