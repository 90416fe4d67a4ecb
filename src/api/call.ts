/**
 * One call, from the bytes that arrived to the bytes of the answer: who signed it, which operation it
 * names, whether it is well-formed, what came of it. Knows nothing of sockets.
 */

import { authorize } from '../access/authorize.ts';
import type { Caller } from '../access/caller.ts';
import type { AccessKey } from '../access/credentials.ts';
import { type ArrivedRequest, verifySignature } from '../aws/sigv4.ts';
import { toUtf8 } from '../kernel/bytes.ts';
import type { Clock } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import type { JsonObject } from '../kernel/types.ts';
import type { Events } from '../ops/events.ts';
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
  readonly access: { find(accessKeyId: string): AccessKey | undefined };
  readonly regions: readonly string[];
  readonly once: Once;
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
  /** `cloudhsm:CreateCluster`. */
  readonly action: string;
  readonly shape: OperationShape;
  /** @throws Refused before the face is called. */
  readonly run: (caller: Caller, arrived: ArrivedRequest) => JsonObject | Promise<JsonObject>;
}

/** Never throws: whatever happened is an answer, and an event. */
export async function answerCall(parts: CallParts, arrived: ArrivedRequest): Promise<Answer> {
  const startedAt = parts.clock.now();
  const requestId = newRequestId(parts.random);
  let operation: Operation | undefined;
  let answer: Answer;
  try {
    const { key, region } = await verifySignature(arrived, {
      findKey: (id) => parts.access.find(id),
      regions: parts.regions,
      clock: parts.clock,
    });
    operation = findOperation(parts, targetOf(arrived));
    const principal = `arn:aws:iam::${key.account}:root`;
    const caller: Caller = { account: key.account, region, principal };
    authorize({ account: key.account }, { action: operation.action, account: caller.account });
    parts.throttle.take(caller, operation.shape.isRead ? 'read' : 'write');
    const result = await operation.run(caller, arrived);
    answer = { status: 200, requestId, body: JSON.stringify(result) };
  } catch (cause) {
    answer = errorAnswer(parts.events, { cause, requestId, shape: operation?.shape });
  }
  parts.events.emit({
    kind: 'apiCall',
    operation: operation?.name ?? 'unknown',
    status: answer.status,
    durationMs: parts.clock.now() - startedAt,
    requestId,
    ...(answer.errorType !== undefined && { error: answer.errorType }),
  });
  return answer;
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

/** A version 4 UUID. */
export function newRequestId(random: Random): string {
  const bytes = random.bytes(16);
  const hex = [...bytes].map((byte, i) => {
    const fixed = i === 6 ? (byte & 0x0f) | 0x40 : i === 8 ? (byte & 0x3f) | 0x80 : byte;
    return fixed.toString(16).padStart(2, '0');
  });
  return hex.join('').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

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
    action: `cloudhsm:${name}`,
    shape,
    run: (caller, arrived) => {
      // The request has this operation's shape; the union is narrowed by the row above.
      const request = parseInput(shape.input, readBody(arrived)) as Parameters<
        Serve<OperationName>
      >[2];
      if (serve === undefined) {
        throw new ProtocolError(
          'UnknownOperationException',
          `${name} is not served by this Keyark yet; nothing was done. Served: ${Object.keys(SERVED).join(', ')}.`,
        );
      }
      const attempt = {
        caller,
        operation: name,
        invocationId: headerOf(arrived, 'amz-sdk-invocation-id'),
        body: arrived.body,
      };
      return parts.once.run(attempt, (remember) => serve(parts, caller, request, remember));
    },
  };
}

function nativeOperation(parts: CallParts, name: NativeName): Operation {
  const shape = NATIVE_OPERATIONS[name];
  // As above: the row's shape and the row's function belong together by name.
  const serve = NATIVE[name] as (
    faces: NativeFaces,
    caller: Caller,
    request: unknown,
  ) => Promise<JsonObject>;
  return {
    name,
    action: `keyark:${name}`,
    shape,
    run: (caller, arrived) => serve(parts, caller, parseInput(shape.input, readBody(arrived))),
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
