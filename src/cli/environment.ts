/**
 * `DATA/env`: how clients find a running service and sign for it. The service writes it when it answers;
 * `keyark up` adds what it made, among it a password. 0600 and replaced whole; as root the file is root's from
 * then on, because the service's user may not read a password.
 */
import { open, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Config } from '../config.ts';
import { CommandFailed, EXIT } from './exit-codes.ts';

/** Where a service answers, and as whom we ask. */
export interface Endpoint {
  readonly url: URL;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary credentials. */
  readonly sessionToken?: string;
  /** PEM: what the service's certificate may chain to, besides what Node trusts. */
  readonly ca?: string;
}

type Variables = ReadonlyMap<string, string>;

export const environmentFile = (data: string): string => join(data, 'env');

/** Undefined when there is none. */
export async function readEnvironment(data: string): Promise<Variables | undefined> {
  let text: string;
  try {
    text = await readFile(environmentFile(data), 'utf8');
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw new CommandFailed(
      EXIT.FAILED,
      `${environmentFile(data)} cannot be read: it belongs to the user who runs Keyark.`,
      { cause },
    );
  }
  const lines = text.split('\n').map((line) => /^(?:export )?([A-Z0-9_]+)=(.*)$/.exec(line.trim()));
  return new Map(
    lines.flatMap((match): [string, string][] =>
      match === null ? [] : [[match[1] ?? '', match[2] ?? '']],
    ),
  );
}

/** A mark that changes whenever the file is written anew. */
export async function environmentMark(data: string): Promise<string | undefined> {
  try {
    const { ino, mtimeMs } = await stat(environmentFile(data));
    return `${ino} ${mtimeMs}`;
  } catch (cause) {
    if (isMissing(cause)) return undefined;
    throw cause;
  }
}

/**
 * Adds variables, whole or not at all, in a file of this process's user. Values are words of letters, digits
 * and `:._/-` only.
 * @returns the mark of the new file.
 */
export async function addToEnvironment(
  data: string,
  added: Variables,
): Promise<string | undefined> {
  const merged = new Map([...((await readEnvironment(data)) ?? []), ...added]);
  const next = `${environmentFile(data)}.up`;
  // Others may make files in this folder: a draft that is there already is not ours to write a secret into.
  await rm(next, { force: true });
  const handle = await open(next, 'wx', 0o600);
  try {
    await handle.writeFile([...merged].map(([name, value]) => `${name}=${value}\n`).join(''));
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(next, environmentFile(data));
  return await environmentMark(data);
}

/** Takes away the file with this mark: the service that it led to has ended, and may not do it itself. */
export async function removeEnvironment(data: string, mark: string | undefined): Promise<void> {
  if (mark !== undefined && (await environmentMark(data)) === mark) {
    await rm(environmentFile(data), { force: true });
  }
}

/** @throws CommandFailed `NOT_RUNNING` when there is nothing to ask. */
export async function findEndpoint(
  { data, tls }: Pick<Config, 'data' | 'tls'>,
  env: Readonly<Record<string, string | undefined>>,
): Promise<Endpoint> {
  const fromFile = await readEnvironment(data);
  const variables = fromFile ?? new Map(Object.entries(env));
  const url = variables.get('AWS_ENDPOINT_URL_CLOUDHSM_V2');
  const accessKeyId = variables.get('AWS_ACCESS_KEY_ID');
  const secretAccessKey = variables.get('AWS_SECRET_ACCESS_KEY');
  if (url === undefined || accessKeyId === undefined || secretAccessKey === undefined) {
    throw new CommandFailed(
      EXIT.NOT_RUNNING,
      `[NOT_RUNNING] No Keyark runs on ${data}. Start one with \`keyark up\`, or say where it is with --data.`,
    );
  }
  // The variable that AWS's own tools read; on the service's machine its certificate is known anyway.
  const caFiles = [variables.get('AWS_CA_BUNDLE'), tls?.certFile, env['AWS_CA_BUNDLE']];
  const cas = await Promise.all(
    [...new Set(caFiles)]
      .filter((file) => file !== undefined)
      .map((file) => readFile(file, 'utf8')),
  );
  return {
    url: new URL(url),
    region: variables.get('AWS_REGION') ?? 'us-east-1',
    accessKeyId,
    secretAccessKey,
    ...(fromFile === undefined && env['AWS_SESSION_TOKEN']
      ? { sessionToken: env['AWS_SESSION_TOKEN'] }
      : {}),
    ...(cas.length === 0 ? {} : { ca: cas.join('\n') }),
  };
}

/**
 * The same service, asked as whom the shell's variables name: a key of a Keyark that is not said to be
 * another one's. AWS's own keys, and keys for other endpoints, are left alone.
 */
export function asInShell(
  endpoint: Endpoint,
  env: Readonly<Record<string, string | undefined>>,
): Endpoint {
  const url = env['AWS_ENDPOINT_URL_CLOUDHSM_V2'] ?? env['AWS_ENDPOINT_URL'];
  const isElsewhere = url !== undefined && url !== '' && new URL(url).host !== endpoint.url.host;
  const { AWS_ACCESS_KEY_ID: id, AWS_SECRET_ACCESS_KEY: secret, AWS_SESSION_TOKEN: token } = env;
  if (isElsewhere || id?.startsWith('KEYARK') !== true || secret === undefined) return endpoint;
  const { sessionToken: _, ...rest } = endpoint;
  return {
    ...rest,
    accessKeyId: id,
    secretAccessKey: secret,
    ...(token === undefined || token === '' ? {} : { sessionToken: token }),
  };
}

function isMissing(cause: unknown): boolean {
  return cause instanceof Error && 'code' in cause && cause.code === 'ENOENT';
}
