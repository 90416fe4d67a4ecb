/**
 * The officers' door: a plain socket that the host accepted becomes TLS 1.3 here, inside the boundary, so
 * that passwords and data are in clear nowhere else.
 *
 * Who knocks sees the cluster certificate once there is one (checked against the customer's CA), before
 * that the HSM certificate and the maker's hardware certificate (checked against the maker's root). It
 * must never keep a half-open handshake, nor more connections than it has room for.
 */
import { constants, createPrivateKey } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import type { Clock } from '../kernel/clock.ts';
import { assert } from '../kernel/errors.ts';
import type { Officers } from './officers.ts';
import type { HsmCertificates } from './protocol.ts';
import type { Store } from './store.ts';

export interface DoorNeeds {
  readonly store: Store;
  readonly officers: Officers;
  readonly clock: Clock;
  /** As in `hello`. */
  certificates(): HsmCertificates | undefined;
}

/** As CloudHSM: connections and encrypted channels per HSM. */
export const MAX_CONNECTIONS = 2_048;
const HANDSHAKE_TIMEOUT_MS = 10_000;

export class OfficersDoor {
  readonly #needs: DoorNeeds;
  readonly #sockets = new Set<TLSSocket>();
  #context: { readonly chain: string; readonly secure: SecureContext } | null = null;

  constructor(needs: DoorNeeds) {
    this.#needs = needs;
  }

  get connectionCount(): number {
    return this.#sockets.size;
  }

  /** Takes over a connected socket; whatever happens to it is this door's business alone. */
  adopt(socket: Duplex): void {
    const secureContext = this.#secureContext();
    if (secureContext === null || this.#sockets.size >= MAX_CONNECTIONS) {
      // Nothing to show, or no room: without TLS there is no way to say which.
      socket.destroy();
      return;
    }
    const tls = new TLSSocket(socket, { isServer: true, secureContext });
    this.#sockets.add(tls);
    const late = new AbortController();
    tls.once('secure', () => {
      late.abort();
      if (!tls.destroyed) this.#needs.officers.serve(tls);
    });
    tls.on('error', () => tls.destroy());
    tls.once('close', () => {
      late.abort();
      this.#sockets.delete(tls);
      socket.destroy();
    });
    this.#needs.clock.sleep(HANDSHAKE_TIMEOUT_MS, late.signal).then(
      () => tls.destroy(),
      // Aborted: the handshake is done, or the socket is gone.
      () => {},
    );
    // Sockets handed over by another process arrive paused.
    socket.resume();
  }

  /** Ends every connection. */
  close(): void {
    for (const tls of [...this.#sockets]) tls.destroy();
  }

  /** Made anew whenever the certificate or the partition behind it is another one. */
  #secureContext(): SecureContext | null {
    const { store } = this.#needs;
    if (!store.hasPartition) {
      this.#context = null;
      return null;
    }
    const { partition } = store.shared;
    const hardware = this.#needs.certificates()?.manufacturerHardwareCertificate;
    const chain = partition.clusterCertificate ?? joinPem(partition.hsmCertificate, hardware);
    if (this.#context?.chain !== chain) {
      this.#context = { chain, secure: makeContext(chain, partition.partitionKey) };
    }
    return this.#context.secure;
  }
}

function makeContext(chain: string, partitionKey: Uint8Array): SecureContext {
  const key = createPrivateKey({
    key: Buffer.from(partitionKey.buffer, partitionKey.byteOffset, partitionKey.byteLength),
    format: 'der',
    type: 'pkcs8',
  }).export({ format: 'pem', type: 'pkcs8' });
  const pem = Buffer.from(key);
  try {
    return createSecureContext({
      cert: chain,
      key: pem,
      minVersion: 'TLSv1.3',
      maxVersion: 'TLSv1.3',
      // No tickets: a session begins with a full handshake or not at all.
      secureOptions: constants.SSL_OP_NO_TICKET,
    });
  } finally {
    pem.fill(0);
  }
}

function joinPem(...parts: readonly (string | undefined)[]): string {
  const joined = parts.flatMap((part) => (part === undefined ? [] : [part.trimEnd()])).join('\n');
  assert(joined.includes('-----BEGIN CERTIFICATE-----'), 'a partition has an HSM certificate');
  return `${joined}\n`;
}
