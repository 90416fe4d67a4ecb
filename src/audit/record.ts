/**
 * One record of the trail, with CloudTrail's names for its members. Pure. Nothing secret is in it: members
 * whose name speaks of a secret are hidden by name, whatever operation they belong to, and long texts are
 * cut to their beginning and their hash.
 */
import { createHash } from 'node:crypto';
import { isoTime } from '../kernel/clock.ts';
import type { EpochMs, JsonObject, JsonValue } from '../kernel/types.ts';

/** CloudTrail's format of records. */
const EVENT_VERSION = '1.11';
const API_VERSION = '2017-04-28';
const HIDDEN = 'HIDDEN_DUE_TO_SECURITY_REASONS';
const SECRET_NAME = /secret|password|passphrase|sessiontoken|securitytoken|privatekey|^pin$/i;
const MAX_TEXT = 1_024;
const MAX_AGENT = 256;

/** Who did it. `unknown`: a request whose signature was not accepted names somebody, no more. */
export type Actor =
  | { readonly kind: 'root'; readonly account: string; readonly keyId: string }
  | {
      readonly kind: 'user';
      readonly account: string;
      readonly name: string;
      readonly arn: string;
      readonly keyId: string;
    }
  | { readonly kind: 'unknown'; readonly keyId?: string }
  | { readonly kind: 'service' };

export interface Call {
  readonly at: EpochMs;
  readonly actor: Actor;
  /** Set for temporary credentials. */
  readonly sessionFrom?: EpochMs;
  readonly name: string;
  readonly isNative: boolean;
  readonly isReadOnly: boolean;
  readonly region: string;
  /** Whose trail it is in. */
  readonly account: string;
  readonly sourceAddress: string;
  readonly userAgent: string;
  readonly requestId: string;
  readonly request?: JsonObject;
  readonly resources: readonly string[];
}

export interface Outcome {
  readonly response?: JsonObject;
  readonly error?: { readonly code: string; readonly message: string };
}

/** Before anything is done: the call that is about to change something. */
export function startedRecord(call: Call, eventId: string): JsonObject {
  return { ...callMembers(call, eventId), additionalEventData: { phase: 'started' } };
}

export function callRecord(call: Call, outcome: Outcome, eventId: string): JsonObject {
  const { response, error } = outcome;
  return {
    ...callMembers(call, eventId),
    ...(error === undefined ? {} : { errorCode: error.code, errorMessage: cut(error.message) }),
    // As CloudTrail: what a read answers with is not repeated here.
    responseElements: response === undefined || call.isReadOnly ? null : clean(response),
    ...(call.isReadOnly ? {} : { additionalEventData: { phase: 'ended' } }),
  };
}

/** What the service did by itself. */
export function serviceRecord(
  act: {
    readonly at: EpochMs;
    readonly name: string;
    readonly region: string;
    readonly account: string;
    readonly resources: readonly string[];
    readonly details: JsonObject;
  },
  eventId: string,
): JsonObject {
  return {
    eventVersion: EVENT_VERSION,
    userIdentity: identityOf({ kind: 'service' }, undefined),
    eventTime: isoTime(act.at),
    eventSource: 'cloudhsm.amazonaws.com',
    eventName: act.name,
    awsRegion: act.region,
    sourceIPAddress: 'keyark',
    userAgent: 'keyark',
    requestParameters: null,
    responseElements: null,
    eventID: eventId,
    readOnly: false,
    resources: act.resources.map(resourceOf),
    eventType: 'AwsServiceEvent',
    managementEvent: true,
    recipientAccountId: act.account,
    serviceEventDetails: clean(act.details),
    eventCategory: 'Management',
  };
}

function callMembers(call: Call, eventId: string): JsonObject {
  return {
    eventVersion: EVENT_VERSION,
    userIdentity: identityOf(call.actor, call.sessionFrom),
    eventTime: isoTime(call.at),
    eventSource: call.isNative ? 'keyark' : 'cloudhsm.amazonaws.com',
    eventName: call.name,
    awsRegion: call.region,
    sourceIPAddress: call.sourceAddress,
    userAgent: call.userAgent.slice(0, MAX_AGENT),
    requestParameters: call.request === undefined ? null : clean(call.request),
    requestID: call.requestId,
    eventID: eventId,
    readOnly: call.isReadOnly,
    resources: call.resources.map(resourceOf),
    eventType: 'AwsApiCall',
    apiVersion: API_VERSION,
    managementEvent: true,
    recipientAccountId: call.account,
    eventCategory: 'Management',
  };
}

function identityOf(actor: Actor, sessionFrom: EpochMs | undefined): JsonObject {
  const sessionContext =
    sessionFrom === undefined
      ? {}
      : {
          sessionContext: {
            attributes: { creationDate: isoTime(sessionFrom), mfaAuthenticated: 'false' },
          },
        };
  switch (actor.kind) {
    case 'root':
      return {
        type: 'Root',
        principalId: actor.account,
        arn: `arn:aws:iam::${actor.account}:root`,
        accountId: actor.account,
        accessKeyId: actor.keyId,
        ...sessionContext,
      };
    case 'user':
      return {
        type: 'IAMUser',
        principalId: actor.name,
        arn: actor.arn,
        accountId: actor.account,
        accessKeyId: actor.keyId,
        userName: actor.name,
        ...sessionContext,
      };
    case 'unknown':
      return {
        type: 'Unknown',
        ...(actor.keyId === undefined ? {} : { accessKeyId: actor.keyId }),
      };
    case 'service':
      return { type: 'AWSService', invokedBy: 'keyark' };
  }
}

const TYPES: Readonly<Record<string, string>> = {
  cluster: 'AWS::CloudHSM::Cluster',
  backup: 'AWS::CloudHSM::Backup',
  user: 'AWS::IAM::User',
};

function resourceOf(arn: string): JsonObject {
  const parts = arn.split(':');
  const type = TYPES[parts[5]?.split('/')[0] ?? ''];
  return { ARN: arn, accountId: parts[4], ...(type === undefined ? {} : { type }) };
}

/** Members in lowerCamelCase, secrets hidden, long texts cut. */
function clean(value: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, member]) =>
      member === undefined
        ? []
        : [[lowerFirst(name), SECRET_NAME.test(name) ? HIDDEN : cleanValue(member)]],
    ),
  );
}

function cleanValue(value: JsonValue): JsonValue {
  if (typeof value === 'string') return cut(value);
  if (typeof value !== 'object' || value === null) return value;
  if (isList(value)) return value.map(cleanValue);
  return clean(value);
}

function cut(text: string): string {
  if (text.length <= MAX_TEXT) return text;
  const hash = createHash('sha256').update(text).digest('hex');
  return `${text.slice(0, 256)}… (${text.length} characters, SHA-256 ${hash})`;
}

const lowerFirst = (name: string): string => name.slice(0, 1).toLowerCase() + name.slice(1);
const isList = (value: JsonValue): value is readonly JsonValue[] => Array.isArray(value);
