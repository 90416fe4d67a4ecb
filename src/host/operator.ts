/**
 * The operator's socket: the only way to the roots' passphrase besides a systemd credential. It lies in
 * a folder that only the host's user (and root) can enter, so whoever can connect is an operator.
 */
import { chmod, rm } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { fromUtf8 } from '../kernel/bytes.ts';
import type { Clock } from '../kernel/clock.ts';
import { Failed } from '../kernel/errors.ts';
import type { JsonObject } from '../kernel/types.ts';
import { type WireHandler, WirePeer } from '../kernel/wire.ts';
import { text } from './channel.ts';
import { checkSocketPath, listen } from './doors.ts';
import { errorCode } from './files.ts';
import type { Host } from './host.ts';

export const OPERATOR_SOCKET = 'operator.sock';

export const operatorSocket = (data: string): string => join(data, 'host', OPERATOR_SOCKET);

/** A predecessor whose control plane was killed needs a moment to notice. */
const PREDECESSOR_TRIES = 60;
const PREDECESSOR_WAIT_MS = 50;

/** @throws Failed `START` when another host answers there, and goes on answering. */
export async function claimOperatorSocket(data: string, clock: Clock): Promise<string> {
  const path = operatorSocket(data);
  checkSocketPath(path);
  for (let tries = 0; await isAnswered(path); tries += 1) {
    if (tries < PREDECESSOR_TRIES) {
      await clock.sleep(PREDECESSOR_WAIT_MS);
      continue;
    }
    throw new Failed('START', `[DATA_IN_USE] Another Keyark host serves ${data}. Stop it first.`);
  }
  await rm(path, { force: true });
  return path;
}

export async function serveOperator(host: Host, path: string): Promise<Server> {
  const handlers = operatorHandlers(host);
  const server = createServer((socket) => {
    new WirePeer(socket, handlers);
  });
  await listen(server, { path });
  await chmod(path, 0o600);
  return server;
}

function operatorHandlers(host: Host): ReadonlyMap<string, WireHandler> {
  const status = async (): Promise<JsonObject> => ({
    areRootsLocked: host.roots.areLocked,
    isEvaluation: host.roots.isEvaluation,
    ...(await host.roots.names()),
    hsms: host.list(),
    codeSha256: host.code.sha256,
  });
  const passphrase = (params: JsonObject) => fromUtf8(text(params, 'passphrase'));
  return new Map<string, WireHandler>([
    ['status', async () => ({ result: await status() })],
    ['list', async () => ({ result: await status() })],
    [
      'unlock',
      async ({ params }) => {
        await host.unlock(passphrase(params));
        return { result: await status() };
      },
    ],
    [
      'seal',
      async ({ params }) => {
        await host.seal(passphrase(params));
        return { result: await status() };
      },
    ],
    [
      'maker-create',
      async ({ params }) => {
        const { certificate } = await host.roots.createMaker(text(params, 'name'));
        return { result: { certificate } };
      },
    ],
    [
      'owner-create',
      async ({ params }) => {
        const { certificate } = await host.roots.createOwner(text(params, 'name'));
        return { result: { certificate } };
      },
    ],
  ]);
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (cause) => {
      const code = errorCode(cause);
      if (code === 'ENOENT' || code === 'ECONNREFUSED') resolve(false);
      else reject(new Failed('START', `asking at ${path}`, { cause }));
    });
  });
}
