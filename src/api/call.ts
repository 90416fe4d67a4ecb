/**
 * One call, from the bytes that arrived to the bytes of the answer: who signed it, which operation it
 * names, whether it is well-formed, what came of it. Knows nothing of sockets.
 */

import { authorize } from '../access/authorize.ts';
import type { SignedCaller } from '../access/caller.ts';
import type { Trail } from '../audit/trail.ts';
import { type ArrivedRequest, verifySignature } from '../aws/sigv4.ts';
import type { Catalog } from '../catalog/catalog.ts';
import { toUtf8 } from '../kernel/bytes.ts';
import type { Clock } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import type { JsonObject } from '../kernel/types.ts';
import { newUuid } from '../kernel/uuid.ts';
import type { Events } from '../ops/events.ts';
import { type Peer, type Seen, trailCall } from './call-record.ts';
import { ProtocolError, toWireError } from './errors.ts';
import { type Json, parseJson } from './json.ts';
import {
  NATIVE,
  NATIVE_OPERATIONS,
  type NativeFaces,
  type NativeFacts,
  type NativeName,
} from './native.ts';
import type { Once } from './once.ts';
import { type Faces, SERVED, type Serve } from './operations.ts';
import { awsNeeds, type Needs, nativeNeeds, wishesOf } from './permission.ts';
import { OPERATIONS, type OperationName, type OperationShape } from './shapes.ts';
import type { Throttle } from './throttle.ts';
import { parseInput } from './validate.ts';

export const CONTENT_TYPE = 'application/x-amz-json-1.1';
const AWS_PREFIX = 'BaldrApiService.';
const NATIVE_PREFIX = 'KeyarkService.';

export interface CallParts {
  readonly clusters: Faces['clusters'] & NativeFaces['clusters'];
  readonly backups: Faces['backups'] & NativeFaces['backups'];
  readonly restores: NativeFaces['restores'];
  readonly sharing: Faces['sharing'] & NativeFaces['sharing'];
  readonly copyRules: NativeFaces['copyRules'];
  readonly native: NativeFacts;
  readonly iam: NativeFaces['iam'];
  readonly audit: NativeFaces['audit'];
  readonly trail: Pick<Trail, 'begin' | 'end' | 'note' | 'noteUnaccepted'>;
  readonly catalog: Catalog;
  readonly regions: readonly string[];
  readonly once: Pick<Once, 'run'>;
  readonly throttle: Throttle;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: Events;
}

export interface Answer {
  readonly status: number;
  readonly requestId: string;
  /** `x-amzn-errortype`. */
  readonly errorType?: string;
  readonly body: string;
}

interface Operation {
  readonly name: string;
  readonly isNative: boolean;
  readonly shape: OperationShape;
  /** @throws Refused, ProtocolError: then nothing more is asked. */
  readonly parse: (json: Json) => object;
  readonly needs: (request: object, caller: SignedCaller) => Needs;
  readonly run: (
    caller: SignedCaller,
    request: object,
    arrived: ArrivedRequest,
  ) => JsonObject | Promise<JsonObject>;
}

/** Never throws: whatever happened is an answer, an event, and a record of the trail. */
export async function answerCall(
  parts: CallParts,
  arrived: ArrivedRequest,
  peer: Peer,
): Promise<Answer> {
  const startedAt = parts.clock.now();
  const requestId = newRequestId(parts.random);
  const seen: Seen = { at: startedAt, requestId, arrived, peer };
  let operation: Operation | undefined;
  let answer: Answer;
  let response: JsonObject | undefined;
  try {
    const caller = await signedCaller(parts, arrived, peer);
    seen.caller = caller;
    operation = findOperation(parts, targetOf(arrived));
    seen.operation = operation;
    const request = operation.parse(readBody(arrived));
    seen.request = request;
    const needs = operation.needs(request, caller);
    seen.needs = needs;
    parts.throttle.take(caller, needs.isReadOnly ? 'read' : 'write');
    authorize(caller, wishesOf(needs.needs, parts.catalog), groundsOf(parts, caller, needs));
    if (!needs.isReadOnly) {
      await parts.trail.begin(trailCall(parts, seen));
      seen.isBegun = true;
    }
    response = await operation.run(caller, request, arrived);
    answer = { status: 200, requestId, body: JSON.stringify(response) };
  } catch (cause) {
    answer = errorAnswer(parts.events, { cause, requestId, shape: operation?.shape });
  }
  await record(parts, seen, answer, response);
  parts.events.emit({
    kind: 'apiCall',
    operation: operation?.name ?? 'unknown',
    status: answer.status,
    durationMs: parts.clock.now() - startedAt,
    requestId,
    ...(seen.caller && {
      account: seen.caller.account,
      region: seen.caller.region,
      accessKeyId: seen.caller.key.accessKeyId,
    }),
    ...(answer.errorType !== undefined && { error: answer.errorType }),
  });
  return answer;
}

async function signedCaller(
  parts: CallParts,
  arrived: ArrivedRequest,
  { address: sourceAddress, isSecure }: Peer,
): Promise<SignedCaller> {
  const { credentials } = parts.iam;
  const { key, region } = await verifySignature(arrived, {
    findKey: (id, token) => credentials.identify(id, token, parts.clock.now()),
    regions: parts.regions,
    clock: parts.clock,
  });
  credentials.noteUse(key, parts.clock.now());
  const { account, principal } = key;
  const userAgent = headerOf(arrived, 'user-agent') ?? '';
  return { account, region, principal, key, sourceAddress, userAgent, isSecure };
}

function groundsOf({ iam, clock }: CallParts, { key }: SignedCaller, needs: Needs) {
  return {
    policies: iam.credentials.policiesOf(key),
    sessionPolicy: iam.credentials.sessionPolicyOf(key),
    requestTags: needs.requestTags,
    ...(needs.tagKeys !== undefined && { tagKeys: needs.tagKeys }),
    now: clock.now(),
  };
}

/** What changed something is on the disk before it is answered; all else is with the system. */
async function record(
  parts: CallParts,
  seen: Seen,
  answer: Answer,
  response: JsonObject | undefined,
): Promise<void> {
  const call = trailCall(parts, seen);
  const error =
    answer.errorType === undefined
      ? undefined
      : { code: answer.errorType, message: messageOf(answer.body) };
  const outcome = { ...(response && { response }), ...(error && { error }) };
  if (seen.caller === undefined) parts.trail.noteUnaccepted(call, outcome);
  else if (seen.isBegun === true) await parts.trail.end(call, outcome);
  else parts.trail.note(call, outcome);
}

/** Of an answer that `errorAnswer` made. */
function messageOf(body: string): string {
  const { Message } = JSON.parse(body);
  return String(Message);
}

/** Also for what goes wrong before there is a whole request. */
export function errorAnswer(
  events: Events,
  trouble: {
    readonly cause: unknown;
    readonly requestId: string;
    readonly shape?: OperationShape | undefined;
  },
): Answer {
  const { requestId } = trouble;
  const { status, type, message } = toWireError(trouble.cause, trouble.shape, requestId);
  if (status === 500) {
    events.emit({ kind: 'internalError', requestId, message: describe(trouble.cause) });
  }
  return {
    status,
    requestId,
    errorType: type,
    body: JSON.stringify({ __type: type, Message: message }),
  };
}

export const newRequestId = newUuid;

function targetOf(arrived: ArrivedRequest): string {
  const target = headerOf(arrived, 'x-amz-target');
  if (target !== undefined) return target;
  throw new ProtocolError(
    'UnknownOperationException',
    'There is no X-Amz-Target header; it names the operation, as BaldrApiService.DescribeClusters.',
  );
}

function findOperation(parts: CallParts, target: string): Operation {
  if (target.startsWith(AWS_PREFIX)) {
    const name = target.slice(AWS_PREFIX.length);
    if (isName(OPERATIONS, name)) return awsOperation(parts, name);
  }
  if (target.startsWith(NATIVE_PREFIX)) {
    const name = target.slice(NATIVE_PREFIX.length);
    if (isName(NATIVE_OPERATIONS, name)) return nativeOperation(parts, name);
  }
  throw new ProtocolError(
    'UnknownOperationException',
    `${JSON.stringify(target.slice(0, 128))} is no operation of this service. Served: ${Object.keys(SERVED).join(', ')}; ${NATIVE_PREFIX} ${Object.keys(NATIVE).join(', ')}.`,
  );
}

function awsOperation(parts: CallParts, name: OperationName): Operation {
  const shape = OPERATIONS[name];
  // One row of a table whose rows fit their own shape: input and serve belong together by name.
  const serve = SERVED[name] as Serve<OperationName> | undefined;
  return {
    name,
    isNative: false,
    shape,
    parse: (json) => {
      const request = parseInput(shape.input, json);
      if (serve !== undefined) return request;
      throw new ProtocolError(
        'UnknownOperationException',
        `${name} is not served by this Keyark yet; nothing was done. Served: ${Object.keys(SERVED).join(', ')}.`,
      );
    },
    needs: (request, caller) => awsNeeds(name, request, caller),
    run: (caller, request, arrived) => {
      const attempt = {
        caller,
        operation: name,
        invocationId: headerOf(arrived, 'amz-sdk-invocation-id'),
        body: arrived.body,
      };
      return parts.once.run(attempt, (remember) =>
        // What `parse` let through has this operation's shape, and without `serve` it let nothing through.
        (serve as Serve<OperationName>)(
          parts,
          caller,
          request as Parameters<Serve<OperationName>>[2],
          remember,
        ),
      );
    },
  };
}

function nativeOperation(parts: CallParts, name: NativeName): Operation {
  const shape: OperationShape = NATIVE_OPERATIONS[name];
  // As above: the row's shape and the row's function belong together by name.
  const serve = NATIVE[name] as (
    faces: NativeFaces,
    caller: SignedCaller,
    request: unknown,
  ) => Promise<JsonObject>;
  return {
    name,
    isNative: true,
    shape,
    parse: (json) => parseInput(shape.input, json),
    needs: (request, caller) => nativeNeeds(name, request, caller),
    run: (caller, request) => serve(parts, caller, request),
  };
}

function isName<Table extends object>(table: Table, name: string): name is keyof Table & string {
  return Object.hasOwn(table, name);
}

function readBody(arrived: ArrivedRequest): Json {
  const type = headerOf(arrived, 'content-type')?.split(';')[0]?.trim().toLowerCase();
  if (type !== CONTENT_TYPE) {
    throw new ProtocolError(
      'MalformedHttpRequestException',
      `The Content-Type is ${type === undefined ? 'missing' : JSON.stringify(type.slice(0, 64))}; ${CONTENT_TYPE} is expected.`,
    );
  }
  if (headerOf(arrived, 'content-encoding') !== undefined) {
    throw new ProtocolError(
      'MalformedHttpRequestException',
      'The body has a Content-Encoding; send it as it is.',
    );
  }
  let text: string;
  try {
    text = toUtf8(arrived.body);
  } catch (cause) {
    throw new Refused('InvalidRequest', 'The body is not UTF-8.', { cause });
  }
  return parseJson(text);
}

function headerOf({ rawHeaders }: ArrivedRequest, name: string): string | undefined {
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    if (rawHeaders[i]?.toLowerCase() === name) return rawHeaders[i + 1];
  }
  return undefined;
}

/** For the log alone: the chain of causes, where it came from, no request data. */
function describe(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const inner = cause.cause === undefined ? '' : ` ← ${describe(cause.cause)}`;
  return `${cause.stack ?? cause.message}${inner}`;
}
