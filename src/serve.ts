/**
 * `keyark serve`: the control plane as a process, from an empty folder to the first answer and back to
 * nothing.
 */
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { rename, unlink, writeFile } from 'node:fs/promises';
import { flushCompileCache } from 'node:module';
import { join } from 'node:path';
import { createSecureContext } from 'node:tls';
import type { Service, ServiceConfig } from './compose.ts';
import { ConfigProblems } from './config.ts';
import { openDataFolder } from './data-folder.ts';
import { startLocalFleet } from './fleet/local.ts';
import { becomeUser, blockedAt, controlPlaneUser, isRoot, type SystemUser } from './host/users.ts';
import { systemClock } from './kernel/clock.ts';
import { MovableClock } from './kernel/movable-clock.ts';
import { systemRandom } from './kernel/random.ts';
import { createLog, type LogFormat, type LogLevel } from './ops/log.ts';
import { machineUptime } from './uptime.ts';

/** `EX_TEMPFAIL`: the host is gone for good; whoever supervises this process starts it again. */
const HOST_GONE_CODE = 75;
const ONE_USER = '0:0';

export interface ServeConfig extends ServiceConfig {
  readonly data: string;
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** PEM files. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  readonly log: { readonly format: LogFormat; readonly level: LogLevel };
  /** Marks a new data folder for ever; refused for one that exists and is none. */
  readonly isRehearsal?: boolean;
}

/**
 * Runs until SIGTERM or SIGINT. As root it opens what only root may, starts the host, and then becomes
 * the control plane's user for good, before it reads a single row.
 * @returns the process's exit code.
 */
export async function runServe(config: ServeConfig): Promise<number> {
  const random = systemRandom;
  const stopped = stopSignal();
  const controlPlane = separateUser(config.data);
  process.umask(0o077);
  // Read before this process may have become a user who cannot.
  const tls = config.tls === undefined ? undefined : readTls(config.tls);
  using data = openDataFolder(config.data, {
    clock: systemClock,
    pid: process.pid,
    isRehearsal: config.isRehearsal === true,
    ...(controlPlane === undefined ? {} : { controlPlane }),
  });
  const clock = data.isRehearsal ? new MovableClock(systemClock) : systemClock;
  const log = createLog({ clock, ...config.log, write: (line) => void process.stderr.write(line) });
  await forgetEnvironment(data.path);
  for (const name of ['catalog', 'access', 'audit', 'vault', 'kms']) data.folder(name);
  const starting = startLocalFleet({
    data: data.path,
    clock: systemClock,
    ...(isRoot() && controlPlane === undefined ? { user: ONE_USER } : {}),
  });
  // Most of the program, loaded while the host starts.
  const loading = import('./compose.ts');
  await using fleet = await starting;
  const { composeService } = await loading;
  // All that it needs is loaded; the user it becomes may not write what the next start reads.
  flushCompileCache();
  if (controlPlane !== undefined) becomeUser(controlPlane);

  await using service = await composeService(config, {
    data: data.path,
    folder: (name) => data.folder(name),
    fleet,
    clock,
    machine: { clock: systemClock, uptime: machineUptime(random) },
    random,
    events: log,
  });
  const { port, url } = await service.api.listen({
    host: config.host,
    port: config.port,
    ...(tls === undefined ? {} : { tls }),
  });
  const caBundle = tls !== undefined && vouchesForItself(tls) ? config.tls?.certFile : undefined;
  const variables = environmentOf(config, { url, caBundle }, service);
  if (data.isRehearsal) variables.set('KEYARK_REHEARSAL', 'true');
  await writeEnvironment(data.path, variables);
  log.emit({ kind: 'serviceStarted', port });

  const end = await Promise.race([stopped, fleet.gone.then(() => 'host gone' as const)]);
  await forgetEnvironment(data.path);
  return end === 'stopped' ? 0 : HOST_GONE_CODE;
}

/**
 * Whom the control plane becomes. As root in a folder that only root may reach there is nobody to become:
 * everything then stays one user, which is said, because the walls are then worth less (SECURITY.md).
 */
function separateUser(data: string): SystemUser | undefined {
  if (!isRoot()) return undefined;
  const user = controlPlaneUser();
  const blocked = blockedAt(data, user);
  if (blocked === undefined) return user;
  process.stderr.write(
    `[ONE_USER] ${blocked} is closed to other users, so HSM host and control plane both run as root: the walls between them then hold against mistakes only. Use a data folder outside it, such as /var/lib/keyark, for separate users.\n`,
  );
  return undefined;
}

interface Tls {
  readonly cert: string;
  readonly key: string;
}

/** @throws ConfigProblems for files that are swapped, damaged or of different pairs. */
function readTls({ certFile, keyFile }: NonNullable<ServeConfig['tls']>): Tls {
  const tls = { cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
  try {
    createSecureContext(tls);
    return tls;
  } catch (cause) {
    const areSwapped =
      tls.cert.includes('PRIVATE KEY-----') && tls.key.includes('CERTIFICATE-----');
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigProblems([
      areSwapped
        ? `api.tls_cert (${certFile}) holds a private key and api.tls_key (${keyFile}) a certificate: they are swapped.`
        : `api.tls_cert (${certFile}) and api.tls_key (${keyFile}) are no certificate and its key: ${why}.`,
    ]);
  }
}

/** A certificate that nobody else vouches for must be told to clients; a public CA's they know. */
function vouchesForItself({ cert }: Tls): boolean {
  const chain = cert.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return chain.some((pem) => {
    const { subject, issuer } = new X509Certificate(pem);
    return subject === issuer;
  });
}

/** What a client needs, by the names AWS's own clients read. */
function environmentOf(
  config: ServeConfig,
  { url, caBundle }: { url: string; caBundle: string | undefined },
  service: Service,
): Map<string, string> {
  const [region = ''] = config.regions;
  const key = service.credentials.default();
  return new Map([
    ['AWS_ENDPOINT_URL_CLOUDHSM_V2', url],
    ['AWS_ENDPOINT_URL', url],
    ['AWS_REGION', region],
    ['AWS_DEFAULT_REGION', region],
    ['AWS_ACCESS_KEY_ID', key.accessKeyId],
    ['AWS_SECRET_ACCESS_KEY', key.secretAccessKey],
    ...(caBundle === undefined ? [] : ([['AWS_CA_BUNDLE', caBundle]] as const)),
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

/** Nobody shall find an endpoint that does not answer. */
async function forgetEnvironment(folder: string): Promise<void> {
  try {
    await unlink(join(folder, 'env'));
  } catch (cause) {
    const code = cause instanceof Error && 'code' in cause ? cause.code : undefined;
    // Gone already; or `keyark up` run by root has made it root's, for the password in it, and takes it away.
    if (code !== 'ENOENT' && code !== 'EPERM') throw cause;
  }
}

/** Every further signal is heard and changes nothing: an orderly end is not cut short by impatience. */
function stopSignal(): Promise<'stopped'> {
  return new Promise((resolve) => {
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => resolve('stopped'));
    }
  });
}
