/** The only place where refusals and failures become what a client of the AWS API sees. */
import { type SignatureProblem, SignatureRefused } from '../aws/sigv4.ts';
import { type RefusalCode, Refused } from '../kernel/errors.ts';
import type { OperationShape } from './shapes.ts';

export interface WireError {
  readonly status: number;
  /** `__type` in the body; clients take it for the error's name. */
  readonly type: string;
  readonly message: string;
}

/** Errors of the protocol, before any operation is reached. */
const PROTOCOL_STATUS = {
  MalformedHttpRequestException: 400,
  UnknownOperationException: 404,
  RequestAbortedException: 400,
  ThrottlingException: 400,
  RequestTimeoutException: 408,
  RequestEntityTooLargeException: 413,
  ServiceUnavailable: 503,
} as const;

export class ProtocolError extends Error {
  override readonly name = 'ProtocolError';
  readonly type: keyof typeof PROTOCOL_STATUS;
  constructor(type: keyof typeof PROTOCOL_STATUS, message: string, options?: ErrorOptions) {
    super(message, options);
    this.type = type;
  }
}

const SIGNATURE = {
  MISSING: { status: 403, type: 'MissingAuthenticationTokenException' },
  INCOMPLETE: { status: 403, type: 'IncompleteSignature' },
  UNKNOWN_KEY: { status: 403, type: 'UnrecognizedClientException' },
  BAD_TOKEN: { status: 403, type: 'UnrecognizedClientException' },
  EXPIRED_TOKEN: { status: 403, type: 'ExpiredTokenException' },
  UNKNOWN_REGION: { status: 400, type: 'InvalidSignatureException' },
  CLOCK_SKEW: { status: 400, type: 'InvalidSignatureException' },
  MISMATCH: { status: 400, type: 'InvalidSignatureException' },
} as const satisfies Record<SignatureProblem, Pick<WireError, 'status' | 'type'>>;

const INVALID = 'CloudHsmInvalidRequestException';

/** Every modelled error but the internal one is a 400, access denied included. */
const MODELLED = {
  InvalidRequest: { type: INVALID },
  NotFound: { type: 'CloudHsmResourceNotFoundException', ifListed: 'NotFound' },
  AccessDenied: { type: 'CloudHsmAccessDeniedException' },
  LimitExceeded: { type: 'CloudHsmResourceLimitExceededException', ifListed: 'Limit' },
  TagFailure: { type: 'CloudHsmTagException', ifListed: 'Tag' },
  WrongState: { type: INVALID },
  Conflict: { type: INVALID },
  InUse: { type: INVALID },
  NotAuthenticated: { type: 'CloudHsmAccessDeniedException' },
  LockedOut: { type: 'CloudHsmAccessDeniedException' },
  RootsLocked: { type: 'CloudHsmServiceException' },
  DoesNotOpen: { type: INVALID },
  WritesFrozen: { type: INVALID },
  TrailUnavailable: { type: 'CloudHsmServiceException' },
} as const satisfies Record<
  RefusalCode,
  { type: string; ifListed?: OperationShape['errors'][number] }
>;

/**
 * @param operation whose error list the answer keeps to; undefined when none was reached.
 * @param requestId all that a caller learns about a failure that is not his.
 */
export function toWireError(
  cause: unknown,
  operation: OperationShape | undefined,
  requestId: string,
): WireError {
  if (cause instanceof ProtocolError) {
    return { status: PROTOCOL_STATUS[cause.type], type: cause.type, message: cause.message };
  }
  if (cause instanceof SignatureRefused)
    return { ...SIGNATURE[cause.code], message: cause.message };
  if (cause instanceof Refused) {
    return { status: 400, type: typeOf(cause.code, operation), message: cause.message };
  }
  return {
    status: 500,
    type: 'CloudHsmInternalFailureException',
    message: `Something failed on our side. The service's log says what, under the id ${requestId}. Look at the state of your resources before you repeat the request.`,
  };
}

/** An error that the operation does not list would be unknown to typed clients. */
function typeOf(code: RefusalCode, operation: OperationShape | undefined): string {
  const row: { type: string; ifListed?: OperationShape['errors'][number] } = MODELLED[code];
  const isListed =
    row.ifListed === undefined ||
    operation === undefined ||
    operation.errors.includes(row.ifListed);
  return isListed ? row.type : INVALID;
}
