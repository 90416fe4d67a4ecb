/** Signs a request to a Keyark: what our own command line sends. */
import { SignatureV4 } from '@smithy/signature-v4';
import type { Clock } from '../kernel/clock.ts';
import { Sha256 } from './hash.ts';
import { SIGNING_SERVICE, type SigningKey } from './sigv4.ts';

export const CONTENT_TYPE = 'application/x-amz-json-1.1';

/**
 * @param target `BaldrApiService.DescribeClusters`, `KeyarkService.TakeBackup` …
 * @returns the headers to send with a POST of exactly `body` to `/` of the endpoint.
 */
export async function signRequest(request: {
  readonly endpoint: URL;
  readonly target: string;
  readonly body: string;
  readonly region: string;
  readonly key: SigningKey & { readonly sessionToken?: string | undefined };
  readonly clock: Clock;
}): Promise<Readonly<Record<string, string>>> {
  const { endpoint, key } = request;
  const signer = new SignatureV4({
    service: SIGNING_SERVICE,
    region: request.region,
    sha256: Sha256,
    applyChecksum: false,
    credentials: {
      accessKeyId: key.accessKeyId,
      secretAccessKey: key.secretAccessKey,
      ...(key.sessionToken === undefined ? {} : { sessionToken: key.sessionToken }),
    },
  });
  const signed = await signer.sign(
    {
      method: 'POST',
      protocol: endpoint.protocol,
      hostname: endpoint.hostname,
      path: '/',
      query: {},
      headers: {
        host: endpoint.host,
        'content-type': CONTENT_TYPE,
        'x-amz-target': request.target,
      },
      body: request.body,
    },
    { signingDate: new Date(request.clock.now()) },
  );
  return signed.headers;
}
