/** Signed calls to a running service: the same door that every other client uses. */
import { request as requestHttp } from 'node:http';
import { request as requestHttps } from 'node:https';
import { rootCertificates } from 'node:tls';
import { signRequest } from '../aws/sign.ts';
import type { Clock } from '../kernel/clock.ts';
import { SECOND_MS } from '../kernel/clock.ts';
import type { JsonObject } from '../kernel/types.ts';
import type { Endpoint } from './environment.ts';
import { CommandFailed, EXIT, type ExitCode } from './exit-codes.ts';
import { isObject, optionalText } from './json.ts';

const CALL_TIMEOUT_MS = 60 * SECOND_MS;
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const MAX_PAGES = 10_000;

/** The service said no. `type` is the error's name on the wire. */
export class ServiceRefused extends CommandFailed {
  readonly type: string;
  constructor(exitCode: ExitCode, type: string, message: string) {
    super(exitCode, message);
    this.type = type;
  }
}

export class Client {
  readonly endpoint: Endpoint;
  readonly #clock: Clock;

  constructor(endpoint: Endpoint, clock: Clock) {
    this.endpoint = endpoint;
    this.#clock = clock;
  }

  /** The same service and key, in another region. */
  in(region: string | undefined): Client {
    return region === undefined ? this : new Client({ ...this.endpoint, region }, this.#clock);
  }

  /** One of AWS's operations. @throws ServiceRefused, CommandFailed `NOT_RUNNING`. */
  aws(operation: string, params: JsonObject = {}): Promise<JsonObject> {
    return this.#call(`BaldrApiService.${operation}`, params);
  }

  /** One of our own. @throws as `aws`. */
  own(operation: string, params: JsonObject = {}): Promise<JsonObject> {
    return this.#call(`KeyarkService.${operation}`, params);
  }

  /** All pages of a Describe call, as one list. */
  async all(operation: string, list: string, params: JsonObject = {}): Promise<JsonObject[]> {
    const found: JsonObject[] = [];
    let nextToken: string | undefined;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const answer = await this.aws(operation, { ...params, NextToken: nextToken });
      const items = answer[list];
      if (Array.isArray(items)) found.push(...items.filter(isObject));
      nextToken = optionalText(answer, 'NextToken');
      if (nextToken === undefined) break;
    }
    return found;
  }

  async #call(target: string, params: JsonObject): Promise<JsonObject> {
    const { url, region, accessKeyId, secretAccessKey, sessionToken, ca } = this.endpoint;
    const body = JSON.stringify(params);
    const headers = await signRequest({
      endpoint: url,
      target,
      body,
      region,
      key: { accessKeyId, secretAccessKey, sessionToken },
      clock: this.#clock,
    });
    const { status, text } = await post({ url, ca }, headers, body);
    const answer = parseAnswer(text, url);
    if (status === 200) return answer;
    const type = optionalText(answer, '__type') ?? `status ${status}`;
    const message = optionalText(answer, 'Message') ?? optionalText(answer, 'message') ?? type;
    const exitCode = status >= 500 ? EXIT.FAILED : EXIT.REFUSED;
    throw new ServiceRefused(
      /roots are locked/i.test(message) ? EXIT.ROOTS_LOCKED : exitCode,
      type,
      message,
    );
  }
}

function parseAnswer(text: string, url: URL): JsonObject {
  try {
    const answer: unknown = JSON.parse(text);
    // An object that JSON.parse made has JSON values only.
    if (typeof answer === 'object' && answer !== null) return answer as JsonObject;
  } catch {
    // Said below: what answered is no service of ours.
  }
  throw new CommandFailed(EXIT.FAILED, `What answers at ${url.origin} is no Keyark.`);
}

function post(
  { url, ca }: { readonly url: URL; readonly ca: string | undefined },
  headers: Readonly<Record<string, string>>,
  body: string,
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const request = url.protocol === 'https:' ? requestHttps : requestHttp;
    const outgoing = request(
      url,
      {
        method: 'POST',
        headers,
        agent: false,
        timeout: CALL_TIMEOUT_MS,
        ...(ca === undefined ? {} : { ca: [...rootCertificates, ca] }),
      },
      (answer) => {
        const parts: Buffer[] = [];
        let bytes = 0;
        answer.on('data', (part: Buffer) => {
          bytes += part.length;
          parts.push(part);
          if (bytes > MAX_ANSWER_BYTES) outgoing.destroy(new Error('the answer is too long'));
        });
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(parts).toString('utf8') }),
        );
        answer.on('error', reject);
      },
    );
    outgoing.on('timeout', () => outgoing.destroy(new Error('no answer in time')));
    outgoing.on('error', (cause) => {
      if ('code' in cause && /CERT|SELF_SIGNED|UNABLE_TO/.test(String(cause.code))) {
        const text = `[UNTRUSTED] What answers at ${url.origin} shows a certificate that nothing here vouches for. Give its CA: AWS_CA_BUNDLE=FILE, or --tls-cert in the settings. Nothing was sent.`;
        reject(new CommandFailed(EXIT.REFUSED, text, { cause }));
        return;
      }
      const why = cause.message === '' ? 'no answer' : cause.message;
      reject(
        new CommandFailed(
          EXIT.NOT_RUNNING,
          `[NOT_RUNNING] No Keyark answers at ${url.origin} (${why}). Start it with \`keyark up\`.`,
          { cause },
        ),
      );
    });
    outgoing.end(body);
  });
}
