/**
 * What the control plane may ask of the host, and nothing else: for HSMs, drills and their sealed bytes;
 * never for a path, a command line, code, a passphrase or a root.
 */
import type { HsmCall } from '../hsm/protocol.ts';
import { Refused } from '../kernel/errors.ts';
import { parseClusterId, parseHsmId } from '../kernel/ids.ts';
import type { JsonObject, JsonValue } from '../kernel/types.ts';
import type { WireAnswer, WireHandler, WireReply, WireRequest } from '../kernel/wire.ts';
import type { Host } from './host.ts';
import { DEFAULT_MAKER, DEFAULT_OWNER } from './roots.ts';
import type { HsmProcess } from './spawn.ts';

/**
 * Who may make which call of the protocol. `host` calls give an HSM its identity or take it away, or have
 * to outlive its process: only the host itself makes them. `body` and `reply` say which side streams.
 */
const PASSED = {
  'power-on': 'host',
  'device-request': 'host',
  manufacture: 'host',
  enrol: 'host',
  zeroise: 'host',
  hello: 'control-plane',
  certify: 'control-plane',
  install: 'control-plane',
  seal: 'control-plane, reply',
  open: 'control-plane, body',
  exercise: 'control-plane',
  prove: 'control-plane',
  keep: 'control-plane',
  plan: 'control-plane',
  digest: 'control-plane',
  'keys-newer-than': 'control-plane',
  limit: 'host',
} as const satisfies Record<
  HsmCall,
  'host' | 'control-plane' | 'control-plane, body' | 'control-plane, reply'
>;
const PASSED_BY_NAME: ReadonlyMap<string, string> = new Map(Object.entries(PASSED));

export function channelHandlers(host: Host): ReadonlyMap<string, WireHandler> {
  return new Map<string, WireHandler>([
    [
      'attach',
      async () => {
        host.attach();
        return { result: await status(host) };
      },
    ],
    ['status', async () => ({ result: await status(host) })],
    [
      'obtain',
      async ({ params }) => {
        const hello = await host.obtain(hsmIdIn(params), clusterIdIn(params));
        // Hello is JSON by the protocol's law; an interface cannot say so.
        return { result: { hello: hello as unknown as JsonObject } };
      },
    ],
    ['list', async () => ({ result: { hsms: host.list() } })],
    ['discard', async ({ params }) => done(host.discard(hsmIdIn(params), holding(params)))],
    ['drill', async ({ params }) => ({ result: await host.drill(drillRoots(params)) })],
    ['drill-end', async ({ params }) => done(host.endDrill(text(params, 'drillId')))],
    ['limit', async ({ params }) => done(limit(host, params))],
    ['door', async ({ params }) => ({ result: await door(host, params) })],
    ['hsm', async (request) => await pass(host, request)],
  ]);
}

async function status(host: Host): Promise<JsonObject> {
  return {
    areRootsLocked: host.roots.areLocked,
    isEvaluation: host.roots.isEvaluation,
    maker: DEFAULT_MAKER,
    owner: DEFAULT_OWNER,
    ...(await host.roots.certificates()),
    codeSha256: host.code.sha256,
  };
}

/** The host makes this call itself, because it has to make it again whenever it starts the HSM anew. */
function limit(host: Host, params: JsonObject): Promise<void> {
  const { frozenBecause } = params;
  return host.limit(hsmIdIn(params), frozenBecause === null ? null : text(params, 'frozenBecause'));
}

/** `hsmId` leads a cluster's doors to that HSM, `port` opens one on loopback too. */
async function door(host: Host, params: JsonObject): Promise<JsonObject> {
  const clusterId = clusterIdIn(params);
  if (params['hsmId'] !== undefined) host.prefer(clusterId, hsmIdIn(params));
  const { port } = params;
  if (port === undefined) return {};
  if (typeof port !== 'number' || !Number.isInteger(port) || port < 0 || port > 65_535) {
    throw new Refused('InvalidRequest', 'a port is a whole number up to 65535');
  }
  return { port: await host.openTcpDoor(clusterId, port) };
}

/** One call, carried to an HSM and back; bodies flow through with back-pressure on both sides. */
async function pass(host: Host, { params, body, signal }: WireRequest): Promise<WireAnswer> {
  const call = text(params, 'call');
  const passed = PASSED_BY_NAME.get(call);
  if (passed === undefined || passed === 'host') {
    throw new Refused('AccessDenied', `the control plane may not call "${call.slice(0, 40)}"`);
  }
  // In the table above, so it is a call of the protocol.
  const name = call as HsmCall;
  const { line } = await target(host, params);
  const reply = await line.relay(name, object(params['params']), {
    signal,
    ...(passed.endsWith('body') ? { body } : {}),
  });
  if (!passed.endsWith('reply')) return { result: reply.result };
  return {
    result: reply.result,
    body: carried(reply, line),
    trailer: () => carriedTrailer(reply, line),
  };
}

async function* carried(reply: WireReply, line: HsmProcess['line']): AsyncGenerator<Uint8Array> {
  try {
    yield* reply.body;
  } catch (cause) {
    throw line.translate(cause);
  }
}

async function carriedTrailer(reply: WireReply, line: HsmProcess['line']): Promise<JsonObject> {
  try {
    return await reply.trailer;
  } catch (cause) {
    throw line.translate(cause);
  }
}

async function target(host: Host, params: JsonObject): Promise<HsmProcess> {
  return params['drillId'] === undefined
    ? await host.hsm(hsmIdIn(params))
    : host.drillHsm(text(params, 'drillId'));
}

function drillRoots(params: JsonObject): { maker?: string; owner?: string } {
  return {
    ...(params['maker'] === undefined ? {} : { maker: text(params, 'maker') }),
    ...(params['owner'] === undefined ? {} : { owner: text(params, 'owner') }),
  };
}

async function done(work: Promise<void>): Promise<WireAnswer> {
  await work;
  return { result: {} };
}

const hsmIdIn = (params: JsonObject) => parseHsmId(text(params, 'hsmId'));
const clusterIdIn = (params: JsonObject) => parseClusterId(text(params, 'clusterId'));

export function text(params: JsonObject, name: string): string {
  const value = params[name];
  if (typeof value !== 'string') throw new Refused('InvalidRequest', `"${name}" must be a text`);
  return value;
}

const holding = (params: JsonObject): string | undefined =>
  params['holding'] === undefined ? undefined : text(params, 'holding');

function object(value: JsonValue | undefined): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refused('InvalidRequest', '"params" must be an object');
  }
  // Arrays and null are excluded above; what is left of JsonValue is an object.
  return value as JsonObject;
}
