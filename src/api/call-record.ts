/** What the trail says of a call, from what was learnt of it until it was answered. Pure. */
import type { SignedCaller } from '../access/caller.ts';
import type { Actor, Call } from '../audit/record.ts';
import type { ArrivedRequest } from '../aws/sigv4.ts';
import type { EpochMs, JsonObject } from '../kernel/types.ts';
import type { AccessFaces } from './native-access.ts';
import type { Needs } from './permission.ts';

/** The other end of the connection. */
export interface Peer {
  readonly address: string;
  readonly isSecure: boolean;
}

/** Filled as far as the call got. */
export interface Seen {
  readonly at: EpochMs;
  readonly requestId: string;
  readonly arrived: ArrivedRequest;
  readonly peer: Peer;
  caller?: SignedCaller;
  operation?: { readonly name: string; readonly isNative: boolean };
  request?: object;
  needs?: Needs;
  isBegun?: boolean;
}

export function trailCall(
  { iam, regions }: { readonly iam: AccessFaces; readonly regions: readonly string[] },
  seen: Seen,
): Call {
  const { caller, operation, request, needs, peer, arrived } = seen;
  const claimed = claimOf(arrived);
  const claimedKey = iam.credentials.find(claimed.keyId ?? '');
  const account = caller?.account ?? claimedKey?.account ?? iam.credentials.accounts.owner;
  return {
    at: seen.at,
    actor: caller === undefined ? unknownActor(claimed.keyId) : actorOf(caller),
    ...(caller?.key.session && { sessionFrom: caller.key.session.issuedAt }),
    name: operation?.name ?? claimed.operation,
    isNative: operation?.isNative ?? claimed.isNative,
    // What could not even be read changed nothing.
    isReadOnly: needs?.isReadOnly ?? true,
    region: caller?.region ?? regions[0] ?? '',
    account,
    sourceAddress: peer.address,
    userAgent: caller?.userAgent ?? claimed.userAgent,
    requestId: seen.requestId,
    // A request that passed its shape is JSON: texts, numbers, booleans, lists and structures.
    ...(request && { request: request as JsonObject }),
    resources: [
      ...new Set((needs?.needs ?? []).map(([, arn]) => arn).filter((arn) => !/\*$/.test(arn))),
    ],
  };
}

function actorOf({ key, account, principal }: SignedCaller): Actor {
  const keyId = key.accessKeyId;
  return key.user === undefined
    ? { kind: 'root', account, keyId }
    : { kind: 'user', account, name: key.user, arn: principal, keyId };
}

const unknownActor = (keyId: string | undefined): Actor => ({
  kind: 'unknown',
  ...(keyId !== undefined && { keyId }),
});

/** What an unsigned or wrongly signed request says of itself: cut to what such things look like. */
function claimOf({ rawHeaders }: ArrivedRequest) {
  let [keyId, target, userAgent] = [undefined as string | undefined, '', ''];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const [name, value] = [rawHeaders[i]?.toLowerCase(), rawHeaders[i + 1] ?? ''];
    if (name === 'authorization') keyId = /Credential=(\w{1,128})\//.exec(value)?.[1];
    if (name === 'x-amz-target') target = value;
    if (name === 'user-agent') userAgent = value;
  }
  const [, prefix, operation] = /^(\w{1,32})\.(\w{1,64})$/.exec(target) ?? [];
  const isNative = prefix === 'KeyarkService';
  return { keyId, operation: operation ?? 'Unknown', isNative, userAgent };
}
