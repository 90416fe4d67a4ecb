/** One call to the HSM host by the operator's socket, which only the host's user and root can reach. */
import { connect } from 'node:net';
import { join } from 'node:path';
import { Refused } from '../kernel/errors.ts';
import type { JsonObject } from '../kernel/types.ts';
import { WirePeer } from '../kernel/wire.ts';
import { CommandFailed, EXIT } from './exit-codes.ts';

export async function askOperator(
  data: string,
  method: string,
  params: JsonObject,
): Promise<JsonObject> {
  const path = join(data, 'host', 'operator.sock');
  const socket = connect(path);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (cause: Error & { code?: string }) => reject(notReached(path, cause)));
  });
  const peer = new WirePeer(socket, new Map());
  try {
    return (await peer.call(method, params)).result;
  } catch (cause) {
    // Every Refused here is a sentence for the operator; a wrong passphrase is one of them.
    if (cause instanceof Refused) throw new CommandFailed(EXIT.REFUSED, cause.message, { cause });
    throw cause;
  } finally {
    peer.close();
  }
}

function notReached(path: string, cause: Error & { code?: string }): CommandFailed {
  const isForbidden = cause.code === 'EACCES' || cause.code === 'EPERM';
  return isForbidden
    ? new CommandFailed(EXIT.REFUSED, `${path} is for the host's user and root only.`, { cause })
    : new CommandFailed(
        EXIT.NOT_RUNNING,
        `[NOT_RUNNING] No HSM host answers at ${path}. Start it with \`keyark up\`.`,
        { cause },
      );
}
