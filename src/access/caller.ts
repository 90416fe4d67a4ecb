/** Who asks: whose account, in which region, and under which name. Faces that need less take a `Scope`. */
import type { Scope } from '../catalog/catalog.ts';

export interface Caller extends Scope {
  /** An ARN: `arn:aws:iam::000012345678:root`, a user or an assumed session. */
  readonly principal: string;
}
