/** The AWS CLI on this machine, and whether it listens to endpoint variables. */
import { execFile } from 'node:child_process';
import { SECOND_MS } from '../kernel/clock.ts';

export interface AwsTool {
  readonly version: string;
  readonly obeysEndpointVariables: boolean;
}

const VERSION_TIMEOUT_MS = 20 * SECOND_MS;
/** Service-specific endpoint variables came with these releases of the two lines. */
const OBEYS_FROM: Readonly<Record<number, number>> = { 1: 29, 2: 13 };

/** Undefined when there is none in the path. */
export function installedAws(
  env: Readonly<Record<string, string | undefined>>,
): Promise<AwsTool | undefined> {
  return new Promise((resolve) => {
    execFile(
      'aws',
      ['--version'],
      { env: { ...env }, timeout: VERSION_TIMEOUT_MS },
      (failure, stdout, stderr) => {
        // Old versions print it on stderr.
        const version = /aws-cli\/(\d+\.\d+\.\d+)/.exec(`${stdout}${stderr}`)?.[1];
        resolve(failure !== null || version === undefined ? undefined : judge(version));
      },
    );
  });
}

export function judge(version: string): AwsTool {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const from = OBEYS_FROM[major];
  return { version, obeysEndpointVariables: from === undefined ? major > 2 : minor >= from };
}

export function tooOld({ version }: AwsTool, endpoint: URL): string {
  return `[OLD_AWS_CLIENT] aws ${version} ignores AWS_ENDPOINT_URL and would have called Amazon. Use \`keyark aws …\`, add --endpoint-url ${endpoint.origin}, or install 2.13 or newer.`;
}
