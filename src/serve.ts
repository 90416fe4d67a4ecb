/**
 * `keyark serve`: the control plane as a process, from an empty folder to the first answer and back to
 * nothing. Started by root it splits: this process supervises, the child becomes an ordinary user.
 */
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { composeService, type Service, type ServiceConfig } from './compose.ts';
import { openDataFolder } from './data-folder.ts';
import { startLocalFleet } from './fleet/local.ts';
import { becomeUser, controlPlaneUser, isRoot } from './host/users.ts';
import { systemClock } from './kernel/clock.ts';
import { Failed } from './kernel/errors.ts';
import { systemRandom } from './kernel/random.ts';
import { createLog, type LogFormat, type LogLevel } from './ops/log.ts';

export interface ServeConfig extends ServiceConfig {
  readonly data: string;
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** PEM files. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  readonly log: { readonly format: LogFormat; readonly level: LogLevel };
}

const RESTART_CODE = 75;
const MAX_RESTARTS = 10;
const RESTART_WAIT_MS = 500;

/** Runs until SIGTERM or SIGINT. @returns the process's exit code. */
export async function runServe(config: ServeConfig): Promise<number> {
  return isRoot() ? await supervise(config) : await serveUntilStopped(config);
}

/**
 * The process of the control plane itself. As root it opens what only root may, starts the host, and
 * then becomes the control plane's user for good, before it reads a single row.
 */
export async function serveUntilStopped(config: ServeConfig): Promise<number> {
  const clock = systemClock;
  const random = systemRandom;
  const stop = stopSignal();
  const events = createLog({
    clock,
    ...config.log,
    write: (line) => void process.stderr.write(line),
  });
  const controlPlane = isRoot() ? controlPlaneUser() : undefined;
  process.umask(0o077);
  // Read before this process may have become a user who cannot.
  const tls = config.tls === undefined ? undefined : readTls(config.tls);
  using data = openDataFolder(config.data, {
    clock,
    pid: process.pid,
    ...(controlPlane === undefined ? {} : { controlPlane }),
  });
  for (const name of ['catalog', 'access', 'vault', 'kms']) data.folder(name);
  await using fleet = await startLocalFleet({ data: data.path, clock });
  if (controlPlane !== undefined) becomeUser(controlPlane);

  await using service = await composeService(config, {
    data: data.path,
    folder: (name) => data.folder(name),
    fleet,
    clock,
    random,
    events,
  });
  const { port, url } = await service.api.listen({
    host: config.host,
    port: config.port,
    ...(tls === undefined ? {} : { tls }),
  });
  await writeEnvironment(data.path, environmentOf(config, url, service));
  events.emit({ kind: 'serviceStarted', port });

  const end = await Promise.race([
    stop.then(() => 'stopped' as const),
    fleet.gone.then(() => 'host gone' as const),
  ]);
  return end === 'stopped' ? 0 : RESTART_CODE;
}

/**
 * Root's part: nothing but starting the control plane's process again when its host died, which that
 * process, no longer root, could not.
 */
async function supervise(config: ServeConfig): Promise<number> {
  const program = join(import.meta.dirname, '..', 'bin', 'control-plane.ts');
  for (let restarts = 0; restarts <= MAX_RESTARTS; restarts += 1) {
    const child = spawn(process.execPath, [program, JSON.stringify(config)], { stdio: 'inherit' });
    const forward = (signal: NodeJS.Signals) => child.kill(signal);
    process.on('SIGTERM', forward).on('SIGINT', forward);
    const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve) => {
      child.once('exit', (...how) => resolve(how));
    });
    process.off('SIGTERM', forward).off('SIGINT', forward);
    if (code !== RESTART_CODE && signal === null) return code ?? 1;
    await systemClock.sleep(RESTART_WAIT_MS);
  }
  throw new Failed('START', `the control plane stopped ${MAX_RESTARTS} times; giving up`);
}

function readTls({ certFile, keyFile }: NonNullable<ServeConfig['tls']>): {
  cert: string;
  key: string;
} {
  return { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
}

/** What a client needs, by the names AWS's own clients read. */
function environmentOf(
  config: ServeConfig,
  url: string,
  service: Service,
): ReadonlyMap<string, string> {
  const [region = ''] = config.regions;
  const key = service.credentials.default();
  return new Map([
    ['AWS_ENDPOINT_URL_CLOUDHSM_V2', url],
    ['AWS_ENDPOINT_URL', url],
    ['AWS_REGION', region],
    ['AWS_DEFAULT_REGION', region],
    ['AWS_ACCESS_KEY_ID', key.accessKeyId],
    ['AWS_SECRET_ACCESS_KEY', key.secretAccessKey],
  ]);
}

/** `NAME=value` lines, 0600, whole or not at all: whoever finds the file finds a service that answers. */
async function writeEnvironment(
  folder: string,
  variables: ReadonlyMap<string, string>,
): Promise<void> {
  const text = [...variables].map(([name, value]) => `${name}=${value}\n`).join('');
  const file = join(folder, 'env');
  await writeFile(`${file}.new`, text, { mode: 0o600, flush: true });
  await rename(`${file}.new`, file);
}

function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    process.once('SIGTERM', () => resolve()).once('SIGINT', () => resolve());
  });
}
