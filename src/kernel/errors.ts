/**
 * The three kinds of trouble, so that everyone can tell them apart:
 * a caller asked for something we will not do (`Refused`), the world let us down (`Failed`),
 * or we are wrong (`assert`). Codes are contract and tested; messages are for people.
 */

/** Why a request was not done. Mapped to the wire in `api/errors.ts` only. */
export type RefusalCode =
  | 'InvalidRequest'
  | 'NotFound'
  | 'AccessDenied'
  | 'LimitExceeded'
  | 'TagFailure'
  /** The thing exists but is in a state that does not allow this. */
  | 'WrongState'
  /** A name, id or folder is already taken. */
  | 'Conflict'
  /** Another process has the folder. */
  | 'InUse'
  /** Wrong name, password or signature; never says which. */
  | 'NotAuthenticated'
  /** Too many failures; only an admin unlocks. */
  | 'LockedOut'
  /** The roots are sealed; an operator must unlock them at the host. */
  | 'RootsLocked'
  /** The sealed bytes do not open here. One code for every cryptographic cause. */
  | 'DoesNotOpen'
  /** Writes are frozen for a while (limited-write mode, another HSM has the write turn). */
  | 'WritesFrozen'
  /** The trail takes no more records, so nothing that changes anything is done. */
  | 'TrailUnavailable';

export class Refused extends Error {
  override readonly name = 'Refused';
  readonly code: RefusalCode;
  constructor(code: RefusalCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** Which part of the world failed. */
export type FailureCode =
  | 'VAULT_WRITE'
  | 'VAULT_READ'
  | 'VAULT_LOST'
  | 'VAULT_FULL'
  | 'KMS'
  | 'CATALOG'
  | 'DISK'
  | 'DISK_DAMAGED'
  | 'HSM_GONE'
  | 'HSM_ERROR'
  | 'HOST_GONE'
  | 'CHANNEL'
  | 'TIMEOUT'
  | 'NOT_PROVEN'
  | 'START';

export class Failed extends Error {
  override readonly name = 'Failed';
  readonly code: FailureCode;
  constructor(code: FailureCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** We are wrong. Ends the request; inside the boundary it ends the process. */
export class Broken extends Error {
  override readonly name = 'Broken';
}

export function assert(condition: unknown, why: string): asserts condition {
  if (!condition) throw new Broken(why);
}

/** For the default branch of a `switch` over a closed union. */
export function unreachable(value: never, why: string): never {
  throw new Broken(`${why}: ${String(value)}`);
}
