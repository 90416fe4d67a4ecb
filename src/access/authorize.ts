/**
 * May this principal do that? Deny by default. Today an account has one principal, who may do
 * everything in that account; principals with narrower rights take their place here.
 */
import { Refused } from '../kernel/errors.ts';

export interface Principal {
  readonly account: string;
}

export interface Wish {
  /** `cloudhsm:CreateCluster`, `keyark:TakeBackup` … */
  readonly action: string;
  /** Whose resources would be touched. */
  readonly account: string;
}

/** @throws Refused `AccessDenied`. */
export function authorize(principal: Principal, wish: Wish): void {
  if (principal.account === wish.account) return;
  throw new Refused(
    'AccessDenied',
    `Account ${principal.account} may not do ${wish.action} in account ${wish.account}.`,
  );
}
