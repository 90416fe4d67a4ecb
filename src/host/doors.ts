/**
 * The doors through which officers reach a cluster: a Unix socket, and a TCP port on loopback if asked
 * for. The host accepts and hands the socket over unread; TLS begins inside the HSM.
 *
 * A door proves no identity by itself: the client checks the certificate that the HSM shows.
 */
import { chmod, rm } from 'node:fs/promises';
import { createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { Failed } from '../kernel/errors.ts';
import type { ClusterId } from '../kernel/ids.ts';
import { makeFolder } from './files.ts';
import type { HsmProcess } from './spawn.ts';

/** What fits `sockaddr_un`; the kernel would cut a longer path silently. */
const MAX_SOCKET_PATH_BYTES = 107;
const LOOPBACK = '127.0.0.1';
const BACKLOG = 128;
/** As long as any cluster id. */
const SAMPLE_CLUSTER_ID = `cluster-${'a'.repeat(16)}`;

export class Doors {
  readonly #folder: string;
  readonly #open = new Map<ClusterId, { unix: Server; tcp?: { server: Server; port: number } }>();
  /** Which HSM serves a cluster's doors now; undefined closes the connection at once. */
  readonly #serving: (clusterId: ClusterId) => HsmProcess | undefined;

  constructor(folder: string, serving: (clusterId: ClusterId) => HsmProcess | undefined) {
    this.#folder = folder;
    this.#serving = serving;
  }

  async open(clusterId: ClusterId): Promise<void> {
    if (this.#open.has(clusterId)) return;
    const home = join(this.#folder, clusterId);
    const path = join(home, 'officers.sock');
    checkSocketPath(path);
    await makeFolder(home, 0o750);
    // Left by a host that was killed; a live one would have kept this host from starting.
    await rm(path, { force: true });
    const unix = await this.#listen(clusterId, { path });
    await chmod(path, 0o660);
    this.#open.set(clusterId, { unix });
  }

  /** Opens the TCP door of a cluster too. @returns the port, for `port` 0 the one that was free. */
  async openTcp(clusterId: ClusterId, port: number): Promise<number> {
    const door = this.#open.get(clusterId);
    if (door === undefined) throw new Failed('HSM_GONE', `${clusterId} has no HSM here`);
    if (door.tcp !== undefined) return door.tcp.port;
    const server = await this.#listen(clusterId, { host: LOOPBACK, port });
    const address = server.address();
    const bound = typeof address === 'object' && address !== null ? address.port : port;
    this.#open.set(clusterId, { ...door, tcp: { server, port: bound } });
    return bound;
  }

  async close(clusterId: ClusterId): Promise<void> {
    const door = this.#open.get(clusterId);
    if (door === undefined) return;
    this.#open.delete(clusterId);
    // Listening ends at once. Not awaited: node would wait for connections that left with the HSM.
    door.unix.close();
    door.tcp?.server.close();
    await rm(join(this.#folder, clusterId), { recursive: true, force: true });
  }

  #listen(clusterId: ClusterId, where: ListenOptions): Promise<Server> {
    // Paused: bytes of an early writer must arrive inside, not here.
    const server = createServer({ pauseOnConnect: true }, (socket: Socket) => {
      socket.on('error', () => socket.destroy());
      const hsm = this.#serving(clusterId);
      if (hsm === undefined) socket.destroy();
      else hsm.adopt(socket, 'officers');
    });
    return listen(server, { ...where, backlog: BACKLOG });
  }
}

export function checkSocketPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH_BYTES) {
    throw new Failed(
      'START',
      `The socket path ${path} has ${bytes} bytes; the system allows ${MAX_SOCKET_PATH_BYTES}. Use a data folder with a shorter path.`,
    );
  }
}

/** Said at the start, before there is a cluster. */
export function checkClustersFolder(folder: string): void {
  checkSocketPath(join(folder, SAMPLE_CLUSTER_ID, 'officers.sock'));
}

export function listen(server: Server, where: ListenOptions): Promise<Server> {
  return new Promise((resolve, reject) => {
    const fail = (cause: Error) =>
      reject(new Failed('START', `cannot listen at ${where.path ?? where.port}`, { cause }));
    server.once('error', fail);
    server.listen(where, () => {
      server.off('error', fail);
      resolve(server);
    });
  });
}
