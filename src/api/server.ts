/**
 * The socket side of the API: HTTP and HTTPS, bounded in every direction (size, time, connections),
 * and an orderly end. Plain `node:http`: one POST route and two probes need no router.
 */
import {
  createServer as createHttp,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createHttps } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { TLSSocket } from 'node:tls';
import { concat } from '../kernel/bytes.ts';
import { SECOND_MS } from '../kernel/clock.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import {
  type Answer,
  answerCall,
  type CallParts,
  CONTENT_TYPE,
  errorAnswer,
  newRequestId,
} from './call.ts';
import { ProtocolError } from './errors.ts';

/** Largest legal request: two certificates or a policy, every character escaped. */
const MAX_BODY_BYTES = 512 * 1024;
const MAX_DISCARDED_BYTES = 4 * 1024 * 1024;
const MAX_HEADER_BYTES = 16 * 1024;
const MAX_CONNECTIONS = 1_024;
const KEEP_ALIVE_MS = 65 * SECOND_MS;

export interface Patience {
  /** For the head of a request. */
  readonly headersMs: number;
  /** For a whole request. */
  readonly requestMs: number;
  /** For calls under way when the service ends. */
  readonly endMs: number;
}
const DEFAULT_PATIENCE: Patience = {
  headersMs: 10 * SECOND_MS,
  requestMs: 30 * SECOND_MS,
  endMs: 10 * SECOND_MS,
};

/** One part of the service, and what is wrong with it if anything is. */
export interface PartReadiness {
  readonly part: string;
  readonly problem?: string;
}

export interface ApiParts extends CallParts {
  readonly readiness: () => Promise<readonly PartReadiness[]>;
  readonly patience?: Patience;
  /** What `GET /metrics` answers, and whether to other machines too. */
  readonly metrics?: { readonly text: () => Promise<string>; readonly isRemote: boolean };
}

export interface ListenOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** PEM. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

export interface Api {
  /** Once for each address. @throws Refused `InvalidRequest` (no TLS where it is needed), Failed `START`. */
  listen(options: ListenOptions): Promise<{ readonly port: number; readonly url: string }>;
  /** No new calls; those under way are answered first. Safe to call twice. */
  close(): Promise<void>;
}

export function createApi(parts: ApiParts): Api {
  const servers: Server[] = [];
  const ending = new AbortController();
  return {
    listen: async (options) => {
      refuseBareNetwork(options);
      const server = makeServer(parts, options.tls, ending.signal);
      const { port } = await bind(server, options);
      servers.push(server);
      return { port, url: urlOf(options, port) };
    },
    close: async () => {
      ending.abort();
      await Promise.all(servers.splice(0).map((server) => end(parts, server)));
    },
  };
}

/** Signatures protect requests, not answers: off this machine nothing goes out unencrypted. */
function refuseBareNetwork({ host, port, tls }: ListenOptions): void {
  if (tls !== undefined || isLoopback(host)) return;
  throw new Refused(
    'InvalidRequest',
    `Refusing ${hostInUrl(host)}:${port} without TLS: give --tls-cert and --tls-key, or keep 127.0.0.1.`,
  );
}

/** `localhost` is left out: what it means is somebody's file. */
const isLoopback = (host: string): boolean => host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host);

/** @param address as a socket has it: IPv4 may come wrapped into IPv6. */
export function isThisMachine(address: string | undefined): boolean {
  return address !== undefined && isLoopback(address.replace(/^::ffff:/, ''));
}

const hostInUrl = (host: string): string => (host.includes(':') ? `[${host}]` : host);

/** What this machine's own clients call: listening everywhere is no address, the loopback one is. */
export function urlOf({ host, tls }: ListenOptions, port: number): string {
  const reachable = { '0.0.0.0': '127.0.0.1', '::': '::1' }[host] ?? host;
  return `${tls === undefined ? 'http' : 'https'}://${hostInUrl(reachable)}:${port}`;
}

function makeServer(parts: ApiParts, tls: ListenOptions['tls'], ending: AbortSignal): Server {
  const patience = parts.patience ?? DEFAULT_PATIENCE;
  const limits = {
    headersTimeout: patience.headersMs,
    requestTimeout: patience.requestMs,
    connectionsCheckingInterval: Math.min(SECOND_MS, patience.headersMs),
    keepAliveTimeout: KEEP_ALIVE_MS,
    maxHeaderSize: MAX_HEADER_BYTES,
  };
  const handle = (request: IncomingMessage, response: ServerResponse): void => {
    // Nobody waits for this promise: serve() turns whatever happens into an answer.
    void serve(parts, ending, { request, response });
  };
  const httpsOptions = {
    ...limits,
    ...tls,
    minVersion: 'TLSv1.2',
    handshakeTimeout: patience.headersMs,
  } as const;
  const server = tls === undefined ? createHttp(limits, handle) : createHttps(httpsOptions, handle);
  server.maxConnections = MAX_CONNECTIONS;
  server.on('clientError', (cause: NodeJS.ErrnoException, socket) =>
    answerBroken(parts, cause, socket),
  );
  return server;
}

async function serve(
  parts: ApiParts,
  ending: AbortSignal,
  { request, response }: { request: IncomingMessage; response: ServerResponse },
): Promise<void> {
  /** A body that was not read to its end cannot be followed by another request; an end by none. */
  const mayGoOn = (): boolean => request.complete && !ending.aborted;
  try {
    if (request.method === 'GET' && request.url === '/livez') {
      return send(parts, response, { status: 200, type: 'text/plain', body: 'ok\n' });
    }
    if (request.method === 'GET' && request.url === '/readyz') {
      return send(parts, response, await readiness(parts));
    }
    if (request.method === 'GET' && request.url === '/metrics' && parts.metrics !== undefined) {
      return send(parts, response, await metrics(parts.metrics, request));
    }
    const answer = await answerPost(parts, request);
    sendAnswer(parts, response, answer, mayGoOn());
  } catch (cause) {
    // Nobody is there any more, or the answer has begun: what is left is to let go.
    if (response.headersSent || !request.socket.writable) return void response.destroy();
    const requestId = newRequestId(parts.random);
    sendAnswer(parts, response, errorAnswer(parts.events, { cause, requestId }), mayGoOn());
  }
}

async function answerPost(parts: ApiParts, request: IncomingMessage): Promise<Answer> {
  if (request.method !== 'POST' || request.url !== '/') {
    throw new ProtocolError(
      'UnknownOperationException',
      'Operations are sent as POST to / with an X-Amz-Target header; there are also GET /livez, GET /readyz and GET /metrics.',
    );
  }
  const body = await readBody(request);
  const { localAddress, localPort, remoteAddress = '' } = request.socket;
  const arrived = {
    method: request.method,
    rawHeaders: request.rawHeaders,
    body,
    landedAt: `${hostInUrl(localAddress ?? '')}:${localPort}`,
  };
  // A dual-stack socket writes IPv4 addresses in IPv6 form.
  const address = remoteAddress.replace(/^::ffff:(?=\d+\.)/, '');
  return answerCall(parts, arrived, { address, isSecure: request.socket instanceof TLSSocket });
}

/** By events: walking the stream with `for await` costs as much as checking a signature. */
function readBody(request: IncomingMessage): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  return new Promise((resolve, reject) => {
    request.on('data', (chunk: Uint8Array) => {
      size += chunk.length;
      if (size <= MAX_BODY_BYTES) {
        chunks.push(chunk);
        return;
      }
      chunks.length = 0;
      // A little more is read and thrown away, so that a client that is still sending reads our answer.
      if (size <= MAX_BODY_BYTES + MAX_DISCARDED_BYTES) return;
      // The socket stays: the answer still has to go out on it.
      request.pause();
      reject(tooLarge());
    });
    request.once('end', () => {
      if (size > MAX_BODY_BYTES) reject(tooLarge());
      else resolve(concat(...chunks));
    });
    request.once('close', () => {
      if (!request.complete) reject(aborted());
    });
    request.once('error', (cause) => reject(aborted(cause)));
  });
}

const aborted = (cause?: Error): ProtocolError =>
  new ProtocolError(
    'RequestAbortedException',
    'The connection ended before the request did.',
    cause === undefined ? {} : { cause },
  );

const tooLarge = (): ProtocolError =>
  new ProtocolError(
    'RequestEntityTooLargeException',
    `The body is larger than ${MAX_BODY_BYTES / 1024} KiB, which no request of this API needs.`,
  );

async function readiness(parts: ApiParts): Promise<Plain> {
  const states = await parts.readiness();
  const failing = states.filter(({ problem }) => problem !== undefined);
  return {
    status: failing.length === 0 ? 200 : 503,
    type: 'application/json',
    body: `${JSON.stringify({
      ready: failing.length === 0,
      parts: states.map(({ part, problem }) => ({ part, ready: problem === undefined, problem })),
    })}\n`,
  };
}

/** Counts and ages without ids; still nobody's business but this machine's, unless that was set. */
async function metrics(
  { text, isRemote }: NonNullable<ApiParts['metrics']>,
  request: IncomingMessage,
): Promise<Plain> {
  if (!isRemote && !isThisMachine(request.socket.remoteAddress)) {
    const body = 'Metrics are answered on this machine only; metrics.remote = true opens them.\n';
    return { status: 403, type: 'text/plain', body };
  }
  return { status: 200, type: 'text/plain; version=0.0.4; charset=utf-8', body: await text() };
}

interface Plain {
  readonly status: number;
  readonly type: string;
  readonly body: string;
}

function send(parts: ApiParts, response: ServerResponse, plain: Plain): void {
  response.writeHead(plain.status, {
    date: httpDate(parts),
    'content-type': plain.type,
    'content-length': Buffer.byteLength(plain.body),
    'cache-control': 'no-store',
    connection: 'close',
  });
  response.end(plain.body);
}

function sendAnswer(
  parts: ApiParts,
  response: ServerResponse,
  answer: Answer,
  mayGoOn: boolean,
): void {
  response.writeHead(answer.status, headersOf(parts, answer, mayGoOn));
  response.end(answer.body);
}

function headersOf(parts: ApiParts, answer: Answer, mayGoOn: boolean): Record<string, string> {
  return {
    // Our clock, not the machine's: clients measure their skew against it.
    date: httpDate(parts),
    'content-type': CONTENT_TYPE,
    'content-length': String(Buffer.byteLength(answer.body)),
    'x-amzn-requestid': answer.requestId,
    ...(answer.errorType !== undefined && { 'x-amzn-errortype': answer.errorType }),
    ...(!mayGoOn && { connection: 'close' }),
  };
}

const httpDate = ({ clock }: ApiParts): string => new Date(clock.now()).toUTCString();

/** What node's parser or its timers gave up on: still an answer in the API's form, then the end. */
function answerBroken(parts: ApiParts, cause: NodeJS.ErrnoException, socket: Duplex): void {
  if (cause.code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  const requestId = newRequestId(parts.random);
  const error =
    cause.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? new ProtocolError('RequestTimeoutException', 'The request did not arrive in time.')
      : cause.code === 'HPE_HEADER_OVERFLOW'
        ? new ProtocolError(
            'RequestEntityTooLargeException',
            `The headers are larger than ${MAX_HEADER_BYTES / 1024} KiB.`,
          )
        : new ProtocolError('MalformedHttpRequestException', 'This is not an HTTP/1.1 request.');
  const answer = errorAnswer(parts.events, { cause: error, requestId });
  const head = Object.entries(headersOf(parts, answer, false))
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('');
  socket.end(`HTTP/1.1 ${answer.status} ${answer.errorType}\r\n${head}\r\n${answer.body}`);
}

async function bind(server: Server, { host, port }: ListenOptions): Promise<AddressInfo> {
  await new Promise<void>((resolve, reject) => {
    const onError = (cause: NodeJS.ErrnoException): void => {
      const where = `${hostInUrl(host)}:${port}`;
      reject(
        cause.code === 'EADDRINUSE'
          ? new Refused(
              'InUse',
              `[PORT_IN_USE] ${where} is taken by another program. Choose another port with --port, or --port 0 for any free one.`,
              { cause },
            )
          : new Failed('START', `listening on ${where}`, { cause }),
      );
    };
    server.once('error', onError);
    server.listen({ host, port }, () => {
      server.off('error', onError);
      resolve();
    });
  });
  // A server that listens on host and port has an AddressInfo, never a pipe's name.
  return server.address() as AddressInfo;
}

async function end(
  { clock, patience = DEFAULT_PATIENCE }: ApiParts,
  server: Server,
): Promise<void> {
  const closed = new AbortController();
  const isClosed = new Promise<void>((resolve) => {
    server.close(() => {
      closed.abort();
      resolve();
    });
  });
  server.closeIdleConnections();
  try {
    await clock.sleep(patience.endMs, closed.signal);
    server.closeAllConnections();
  } catch (cause) {
    // The sleep was cut short because everything has ended: that is what was waited for.
    if (!closed.signal.aborted) throw cause;
  }
  await isClosed;
}
