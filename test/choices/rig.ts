/** The eighteen operations as they are served, on a whole control plane: what a caller gets for a request. */

import { toWireError } from '../../src/api/errors.ts';
import { SERVED, type Serve } from '../../src/api/operations.ts';
import { OPERATIONS, type OperationName, type RequestOf } from '../../src/api/shapes.ts';
import { createSharing } from '../../src/backups/sharing.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { CALLER, type World } from '../support/world.ts';

export const INVALID = 'CloudHsmInvalidRequestException';
export const NOT_FOUND = 'CloudHsmResourceNotFoundException';
export const NEW = { HsmType: 'hsm2m.medium', SubnetIds: ['subnet-00000001'] } as const;

export type Ask = <Name extends OperationName>(
  name: Name,
  request: RequestOf<Name>,
) => Promise<JsonObject>;

/** @returns a way to ask; what is refused comes back as `{ __type }`, as it does on the wire. */
export function asking(world: World): Ask {
  return async (name, request) => {
    const { clusters, backups, catalog } = world;
    const sharing = createSharing({ catalog, organization: [] });
    // The row of that name serves requests of that name.
    const serve = SERVED[name] as Serve<typeof name>;
    try {
      return await serve({ clusters, backups, sharing }, CALLER, request, () => {});
    } catch (cause) {
      return { __type: toWireError(cause, OPERATIONS[name], 'id').type };
    }
  };
}
