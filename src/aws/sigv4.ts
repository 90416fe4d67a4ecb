/**
 * Checks AWS Signature Version 4 on a request that arrived. `@smithy/signature-v4` does the arithmetic:
 * the request is rebuilt from what was signed, signed again with the stored secret, and the two
 * signatures are compared in constant time.
 *
 * The hash of the body is always computed here, never taken from `x-amz-content-sha256`.
 */
import { createHash } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import { equalBytes, fromHex } from '../kernel/bytes.ts';
import { type Clock, isoTime, MINUTE_MS } from '../kernel/clock.ts';
import type { EpochMs } from '../kernel/types.ts';
import { Sha256 } from './hash.ts';

/** The service name that clients sign for; the host prefix `cloudhsmv2` is another word. */
export const SIGNING_SERVICE = 'cloudhsm';
const LARGEST_SKEW_MS = 5 * MINUTE_MS;
const ALGORITHM = 'AWS4-HMAC-SHA256';
const MAX_SIGNED_HEADERS = 64;
/** Without their signature a request could be replayed as another one. */
const MUST_BE_SIGNED = ['host', 'x-amz-date', 'x-amz-target', 'x-amz-security-token'] as const;
/** The signing arithmetic drops these two, so a signature over them could never be rebuilt. */
const CANNOT_BE_SIGNED = new Set(['authorization', 'date']);

export type SignatureProblem =
  | 'MISSING'
  | 'INCOMPLETE'
  | 'UNKNOWN_KEY'
  /** Of temporary credentials: missing, of another key, changed, or void. */
  | 'BAD_TOKEN'
  | 'EXPIRED_TOKEN'
  | 'UNKNOWN_REGION'
  | 'CLOCK_SKEW'
  | 'MISMATCH';

export class SignatureRefused extends Error {
  override readonly name = 'SignatureRefused';
  readonly code: SignatureProblem;
  constructor(code: SignatureProblem, message: string) {
    super(message);
    this.code = code;
  }
}

/** A request to `/` without a query, as it came in. */
export interface ArrivedRequest {
  readonly method: string;
  /** Name, value, name, value … in order of arrival. */
  readonly rawHeaders: readonly string[];
  readonly body: Uint8Array;
  /** Where it came in, for people: `127.0.0.1:8228`. */
  readonly landedAt: string;
}

export interface SigningKey {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface Signer<Key extends SigningKey> {
  readonly key: Key;
  /** From the credential scope. */
  readonly region: string;
}

/** Why there is no key to check a signature with. */
export type KeyProblem =
  | 'UNKNOWN_KEY'
  | 'DISABLED_KEY'
  | 'MISSING_TOKEN'
  | 'WRONG_TOKEN'
  | 'EXPIRED_TOKEN';

interface Authorization {
  readonly accessKeyId: string;
  readonly scopeDate: string;
  readonly region: string;
  readonly service: string;
  readonly signedHeaders: readonly string[];
  readonly signature: Uint8Array;
}

/** @throws SignatureRefused. */
export async function verifySignature<Key extends SigningKey>(
  request: ArrivedRequest,
  against: {
    readonly findKey: (accessKeyId: string, sessionToken: string | undefined) => Key | KeyProblem;
    readonly regions: readonly string[];
    readonly clock: Clock;
  },
): Promise<Signer<Key>> {
  const headers = collectHeaders(request.rawHeaders);
  const claim = parseAuthorization(headers);
  const signedAt = parseAmzDate(headers, claim.scopeDate);

  const token = headers.get('x-amz-security-token')?.[0];
  const key = against.findKey(claim.accessKeyId, token);
  if (typeof key === 'string') throw noKey(key, claim.accessKeyId, request.landedAt);
  checkScope(claim, against.regions);
  checkSkew(signedAt, against.clock.now());

  const bodySha256 = createHash('sha256').update(request.body).digest('hex');
  const statedSha256 = headers.get('x-amz-content-sha256');
  const expected = await signAgain(request, { claim, headers, signedAt, key });
  const isBodyAsStated = statedSha256 === undefined || statedSha256.join() === bodySha256;
  if (!equalBytes(expected, claim.signature) || !isBodyAsStated) {
    throw new SignatureRefused(
      'MISMATCH',
      `The signature does not match this request. Either the secret of access key ${shorten(claim.accessKeyId)} is another one, or something between client and server changed headers or body.`,
    );
  }
  return { key, region: claim.region };
}

async function signAgain(
  request: ArrivedRequest,
  known: {
    readonly claim: Authorization;
    readonly headers: ReadonlyMap<string, readonly string[]>;
    readonly signedAt: EpochMs;
    readonly key: SigningKey;
  },
): Promise<Uint8Array> {
  const { claim, headers, key } = known;
  const signed: Record<string, string> = {};
  // Present and single: parseAuthorization saw to it.
  for (const name of claim.signedHeaders) signed[name] = headers.get(name)?.[0] ?? '';
  const arithmetic = new SignatureV4({
    service: SIGNING_SERVICE,
    region: claim.region,
    sha256: Sha256,
    applyChecksum: false,
    credentials: { accessKeyId: key.accessKeyId, secretAccessKey: key.secretAccessKey },
  });
  const again = await arithmetic.sign(
    {
      method: request.method,
      protocol: 'http:',
      hostname: signed['host'] ?? '',
      path: '/',
      query: {},
      headers: signed,
      body: request.body,
    },
    { signingDate: new Date(known.signedAt), signableHeaders: new Set(claim.signedHeaders) },
  );
  const signature = /Signature=([0-9a-f]{64})$/.exec(again.headers['authorization'] ?? '')?.[1];
  return signature === undefined ? new Uint8Array() : fromHex(signature);
}

function collectHeaders(raw: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const headers = new Map<string, string[]>();
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = (raw[i] ?? '').toLowerCase();
    const values = headers.get(name);
    if (values === undefined) headers.set(name, [raw[i + 1] ?? '']);
    else values.push(raw[i + 1] ?? '');
  }
  return headers;
}

function parseAuthorization(headers: ReadonlyMap<string, readonly string[]>): Authorization {
  const values = headers.get('authorization');
  if (values === undefined) {
    throw new SignatureRefused(
      'MISSING',
      'The request is not signed. Give your client an access key of this Keyark (`keyark env` prints one).',
    );
  }
  const [text, ...more] = values;
  if (text === undefined || more.length > 0) throw incomplete('more than one Authorization header');
  const [algorithm, ...rest] = text.trim().split(' ');
  if (algorithm !== ALGORITHM) throw incomplete(`only ${ALGORITHM} in the Authorization header`);

  const fields = new Map<string, string>();
  for (const part of rest.join(' ').split(',')) {
    const [, name, value] = /^\s*([A-Za-z]+)=(\S+)\s*$/.exec(part) ?? [];
    if (name === undefined || value === undefined || fields.has(name)) {
      throw incomplete('Credential=…, SignedHeaders=…, Signature=… once each');
    }
    fields.set(name, value);
  }
  const credential =
    /^([\w]{1,128})\/(\d{8})\/([a-z0-9-]{1,64})\/([a-z0-9-]{1,64})\/aws4_request$/.exec(
      fields.get('Credential') ?? '',
    );
  const [, accessKeyId, scopeDate, region, service] = credential ?? [];
  if (
    accessKeyId === undefined ||
    scopeDate === undefined ||
    region === undefined ||
    service === undefined
  ) {
    throw incomplete('Credential=ACCESS_KEY/YYYYMMDD/REGION/cloudhsm/aws4_request');
  }
  const signature = fields.get('Signature') ?? '';
  if (!/^[0-9a-f]{64}$/.test(signature)) throw incomplete('Signature= with 64 hex digits');
  const signedHeaders = (fields.get('SignedHeaders') ?? '').split(';');
  checkSignedHeaders(signedHeaders, headers);
  return { accessKeyId, scopeDate, region, service, signedHeaders, signature: fromHex(signature) };
}

function checkSignedHeaders(
  names: readonly string[],
  headers: ReadonlyMap<string, readonly string[]>,
): void {
  if (names.length > MAX_SIGNED_HEADERS) {
    throw incomplete(`at most ${MAX_SIGNED_HEADERS} signed headers`);
  }
  for (const name of names) {
    if (!/^[a-z0-9-]+$/.test(name)) throw incomplete('SignedHeaders= with lower-case names');
    if (CANNOT_BE_SIGNED.has(name)) throw incomplete(`no ${name} header among the signed ones`);
    // Two values under one name could be read differently by different programs.
    if (headers.get(name)?.length !== 1) throw incomplete(`the signed header ${name} exactly once`);
  }
  for (const name of MUST_BE_SIGNED) {
    const mustBeThere = name === 'host' || name === 'x-amz-date' || headers.has(name);
    if (mustBeThere && !names.includes(name)) throw incomplete(`${name} among the signed headers`);
  }
}

function parseAmzDate(headers: ReadonlyMap<string, readonly string[]>, scopeDate: string): EpochMs {
  const text = headers.get('x-amz-date')?.[0] ?? '';
  const parts = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(text);
  const at = parts === null ? Number.NaN : Date.parse(isoFrom(parts));
  if (Number.isNaN(at)) throw incomplete('X-Amz-Date like 20261123T091410Z');
  if (!text.startsWith(scopeDate)) throw incomplete('one day in X-Amz-Date and in the Credential');
  // Parsed from UTC text with milliseconds since 1970.
  return at as EpochMs;
}

const isoFrom = ([, y, mo, d, h, mi, s]: RegExpExecArray): string =>
  `${y}-${mo}-${d}T${h}:${mi}:${s}Z`;

function checkScope(claim: Authorization, regions: readonly string[]): void {
  if (claim.service !== SIGNING_SERVICE) {
    throw new SignatureRefused(
      'MISMATCH',
      `The request is signed for the service "${claim.service}"; this one is signed for as "${SIGNING_SERVICE}".`,
    );
  }
  if (!regions.includes(claim.region)) {
    const served = regions.join(', ');
    throw new SignatureRefused(
      'UNKNOWN_REGION',
      `[REGION_NOT_SERVED] Your request is signed for ${claim.region}; this Keyark serves ${served}. Set AWS_REGION=${regions[0]}.`,
    );
  }
}

function checkSkew(signedAt: EpochMs, now: EpochMs): void {
  if (Math.abs(now - signedAt) <= LARGEST_SKEW_MS) return;
  throw new SignatureRefused(
    'CLOCK_SKEW',
    `[CLOCK_SKEW] Your request is dated ${isoTime(signedAt)}, this server says ${isoTime(now)}: more than 5 minutes apart. Check which of the two clocks is right (\`timedatectl\`).`,
  );
}

function noKey(problem: KeyProblem, accessKeyId: string, landedAt: string): SignatureRefused {
  const name = `"${shorten(accessKeyId)}"`;
  switch (problem) {
    case 'UNKNOWN_KEY':
      return unknownKey(accessKeyId, landedAt);
    case 'DISABLED_KEY':
      return new SignatureRefused(
        'UNKNOWN_KEY',
        `[DISABLED_ACCESS_KEY] Access key ${name}, or the key it was made from, is switched off. Nothing was done. Use another one, or switch it on: keyark credential enable.`,
      );
    case 'MISSING_TOKEN':
      return new SignatureRefused(
        'BAD_TOKEN',
        `[SESSION_TOKEN] Access key ${name} is one of temporary credentials and needs its session token: set AWS_SESSION_TOKEN. Nothing was done.`,
      );
    case 'WRONG_TOKEN':
      return new SignatureRefused(
        'BAD_TOKEN',
        `[SESSION_TOKEN] The security token included in the request is invalid: it is not the one of access key ${name}. Nothing was done. Unset AWS_SESSION_TOKEN, or set all three of key id, secret and token.`,
      );
    case 'EXPIRED_TOKEN':
      return new SignatureRefused(
        'EXPIRED_TOKEN',
        'The security token included in the request is expired. Nothing was done. Make new credentials: keyark credential session.',
      );
  }
}

function unknownKey(accessKeyId: string, landedAt: string): SignatureRefused {
  const name = `"${shorten(accessKeyId)}"`;
  const isLikeAws = /^A(KIA|SIA)/.test(accessKeyId);
  return new SignatureRefused(
    'UNKNOWN_KEY',
    `[UNKNOWN_ACCESS_KEY] This is Keyark at ${landedAt} and it does not know access key ${name}${isLikeAws ? ', which looks like a real AWS key' : ''}. Nothing was done. Run \`eval "$(keyark env)"\` in this shell.`,
  );
}

const incomplete = (wanted: string): SignatureRefused =>
  new SignatureRefused(
    'INCOMPLETE',
    `The request's signature is not complete: it needs ${wanted}.`,
  );

/** Enough to recognise a key id by, too little to be worth copying. */
const shorten = (id: string): string => (id.length <= 8 ? id : `${id.slice(0, 4)}…${id.slice(-4)}`);
