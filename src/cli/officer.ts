/**
 * An officer's line to one HSM: TLS 1.3 that ends inside the HSM, and calls over it.
 *
 * Names mean nothing here, chains do: the HSM must show a certificate issued by the customer's CA or,
 * before a cluster is initialised, one that goes through a hardware certificate to the maker's root. On
 * top, `clusterId` is compared with what the HSM says of itself, because one CA may serve many clusters.
 */

import { X509Certificate } from 'node:crypto';
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls';
import { concat, toUtf8 } from '../kernel/bytes.ts';
import { systemClock } from '../kernel/clock.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import type { JsonObject, JsonValue } from '../kernel/types.ts';
import { WirePeer } from '../kernel/wire.ts';

export type OfficerAddress =
  | { readonly socketPath: string }
  | { readonly host: string; readonly port: number };

/** Whom the chain must lead to; PEM. */
export type OfficerTrust =
  /** The usual one: the trust anchor given to InitializeCluster. */
  | { readonly kind: 'customer-ca'; readonly certificate: string }
  /** Before initialisation only: proves a genuine HSM, not whose. */
  | { readonly kind: 'maker-root'; readonly certificate: string };

export interface OfficerOptions {
  readonly address: OfficerAddress;
  readonly trust: OfficerTrust;
  /** Refuse any other cluster. */
  readonly clusterId?: string;
  readonly timeoutMs?: number;
}

export interface Officer extends AsyncDisposable {
  /** @throws Refused as the HSM says; Failed `CHANNEL` when the line breaks. */
  call(name: string, params?: JsonObject): Promise<JsonObject>;
  /** For calls that answer JSON lines (`compare`). */
  lines(name: string, params?: JsonObject): Promise<readonly JsonObject[]>;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 15_000;
const MAX_LISTING_BYTES = 256 * 1024 * 1024;

/** @throws Failed `CHANNEL` (no answer, no TLS), Refused `NotAuthenticated` (not the HSM that was asked for). */
export async function connectOfficer(options: OfficerOptions): Promise<Officer> {
  const socket = await connectTls(options);
  const peer = new WirePeer(socket, new Map());
  const officer: Officer = {
    call: async (name, params = {}) => (await peer.call(name, params)).result,
    lines: async (name, params = {}) => readLines((await peer.call(name, params)).body),
    close: async () => {
      peer.close();
      await peer.closed;
    },
    [Symbol.asyncDispose]: async () => {
      peer.close();
      await peer.closed;
    },
  };
  if (options.clusterId !== undefined) await checkCluster(officer, options.clusterId);
  return officer;
}

async function checkCluster(officer: Officer, clusterId: string): Promise<void> {
  const info = await officer.call('info');
  if (info['clusterId'] === clusterId) return;
  await officer.close();
  throw new Refused(
    'NotAuthenticated',
    `the HSM that answered belongs to ${String(info['clusterId'])}, not to ${clusterId}; nothing was sent to it.`,
  );
}

function connectTls({ address, trust, timeoutMs }: OfficerOptions): Promise<TLSSocket> {
  const where: ConnectionOptions =
    'socketPath' in address
      ? { path: address.socketPath }
      : { host: address.host, port: address.port };
  const socket = connect({
    ...where,
    minVersion: 'TLSv1.3',
    ca: [trust.certificate],
    rejectUnauthorized: true,
    // The chain says who it is; the certificates of HSMs carry no host names.
    checkServerIdentity: () => undefined,
  });
  return new Promise((resolve, reject) => {
    const settled = new AbortController();
    const fail = (cause: Error): void => {
      settled.abort();
      socket.destroy();
      reject(cause);
    };
    const onError = (cause: Error): void => fail(explain(cause, trust));
    const onClose = (): void => fail(new Failed('CHANNEL', 'the HSM closed the connection'));
    systemClock.sleep(timeoutMs ?? CONNECT_TIMEOUT_MS, settled.signal).then(
      () => fail(new Failed('CHANNEL', 'the HSM did not answer in time')),
      // Aborted: the connection stands or has failed already.
      () => {},
    );
    socket.once('error', onError);
    socket.once('close', onClose);
    socket.once('secureConnect', () => {
      const wrong = judgeChain(socket, trust);
      if (wrong !== null) {
        fail(wrong);
        return;
      }
      settled.abort();
      socket.off('error', onError);
      socket.off('close', onClose);
      resolve(socket);
    });
  });
}

/** TLS has checked the signatures up to the anchor; this pins how long the way there is. */
function judgeChain(socket: TLSSocket, trust: OfficerTrust): Refused | null {
  const shown = socket.getPeerX509Certificate();
  const anchor = new X509Certificate(trust.certificate);
  if (shown === undefined) return notTheHsm(trust);
  const isDirect = shown.checkIssued(anchor) && shown.verify(anchor.publicKey);
  // The customer's CA signs the cluster certificate itself; between root and HSM stands the hardware.
  return isDirect === (trust.kind === 'customer-ca') ? null : notTheHsm(trust);
}

function notTheHsm(trust: OfficerTrust): Refused {
  return new Refused(
    'NotAuthenticated',
    trust.kind === 'customer-ca'
      ? 'the HSM did not show a cluster certificate issued by this CA; use the CA certificate that the ' +
          'cluster was initialised with. Nothing was sent to it.'
      : "the HSM did not show a hardware chain to this maker's root; nothing was sent to it. An initialised " +
          "cluster shows its cluster certificate: use the customer's CA certificate.",
  );
}

const CERTIFICATE_CODES = /CERT|SELF_SIGNED|UNABLE_TO|INVALID_CA|INVALID_PURPOSE|PATH_LENGTH/;

function explain(cause: Error & { code?: string }, trust: OfficerTrust): Error {
  return CERTIFICATE_CODES.test(cause.code ?? '')
    ? notTheHsm(trust)
    : new Failed('CHANNEL', `no TLS connection to the HSM: ${cause.message}`, { cause });
}

async function readLines(body: AsyncIterable<Uint8Array>): Promise<readonly JsonObject[]> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of body) {
    size += part.length;
    if (size > MAX_LISTING_BYTES) {
      throw new Failed('CHANNEL', `the listing is longer than ${MAX_LISTING_BYTES} bytes`);
    }
    parts.push(part);
  }
  return toUtf8(concat(...parts))
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => asObject(JSON.parse(line)));
}

function asObject(value: JsonValue): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Failed('CHANNEL', 'the listing has a line that is no object');
  }
  // Arrays and null are excluded above; what is left of JsonValue is an object.
  return value as JsonObject;
}
