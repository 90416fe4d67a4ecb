/** Who asks: whose account, in which region, and under which name. Faces that need less take a `Scope`. */
import type { Scope } from '../catalog/catalog.ts';
import type { AccessKey } from './accounts.ts';

export interface Caller extends Scope {
  /** An ARN: `arn:aws:iam::000012345678:root`, or a user's, also when he comes with temporary credentials. */
  readonly principal: string;
}

/** A caller as the signature showed him: with what he signed, and from where. */
export interface SignedCaller extends Caller {
  /** Long-term or temporary; a root's key has no `user`. Its secret shows nowhere. */
  readonly key: AccessKey;
  /** Of the other end of the connection, as the socket tells it. */
  readonly sourceAddress: string;
  readonly userAgent: string;
  readonly isSecure: boolean;
}
