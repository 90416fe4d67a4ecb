/**
 * Settings: flag > variable > file > default, each with its origin, all problems reported at once.
 *
 * One TOML file (/etc/keyark/keyark.toml, else ~/.config/keyark/keyark.toml; none is needed). Secrets have
 * no place in it: it is read by people, copied to tickets and kept in repositories.
 */
import { existsSync, readFileSync } from 'node:fs';
import { isAbsolute, join, resolve } from 'node:path';
import { parse, TomlError } from 'smol-toml';
import { DAY_MS, HOUR_MS, SECOND_MS } from './kernel/clock.ts';
import { isOffered, type Profile } from './profile.ts';
import {
  ROWS,
  type Row,
  type SettingName,
  type Surroundings,
  settingNames,
  type Values,
} from './settings.ts';

/** What the service and the commands run with. */
export interface Config {
  readonly data: string;
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** PEM files. */
  readonly tls?: { readonly certFile: string; readonly keyFile: string };
  /** The first is the default region. */
  readonly regions: readonly string[];
  readonly account: string;
  /** Accounts that see each other's promoted shares without being asked. */
  readonly organization: readonly string[];
  readonly schedule: {
    readonly isChangeDriven: boolean;
    readonly quietMs: number;
    readonly latestMs: number;
    readonly atOnce: number;
  };
  /** Of an account in a region. */
  readonly quotas: { readonly clusters: number; readonly hsms: number };
  readonly rates: { readonly readsPerSecond: number; readonly writesPerSecond: number };
  /** What AWS does not make any more, and a rehearsal may want. */
  readonly legacy: { readonly hsm1: boolean };
  /** How long a restore into a live cluster can be undone. */
  readonly restoreUndoMs: number;
  readonly profile: Profile;
  readonly metrics: { readonly isRemote: boolean };
  readonly heartbeat?: { readonly url: string; readonly everyMs: number };
  readonly audit: { readonly fileBytes: number; readonly keepMs: number };
  readonly log: {
    readonly level: 'error' | 'info' | 'debug';
    readonly format: 'people' | 'json';
  };
  /** The ready-made cluster of `keyark up`. */
  readonly home: {
    readonly name: string;
    readonly mode: 'FIPS' | 'NON_FIPS';
  };
}

export type Origin = 'flag' | 'variable' | 'file' | 'default';

/** One setting as `keyark config show` prints it. */
export interface Setting {
  readonly name: SettingName;
  readonly value: string;
  readonly origin: Origin;
  /** `--port`, `KEYARK_PORT`, the file's path, or empty. */
  readonly where: string;
}

export interface LoadedConfig {
  readonly config: Config;
  readonly settings: readonly Setting[];
  /** The file that was read. */
  readonly file?: string;
}

/** Every problem there is, each a sentence that says what would work. */
export class ConfigProblems extends Error {
  override readonly name = 'ConfigProblems';
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}

const FILE_NAMES = Object.values(ROWS).map((row) => row.name);
const SECRET_NAME = /pass(word|phrase)|secret|\bpin\b|private|token|credential|access_?key/i;

/**
 * @param flags what the command line gave, as text; names that are absent were not given.
 * @throws ConfigProblems with everything that is wrong.
 */
export function loadConfig(
  flags: { readonly [Name in SettingName]?: string },
  around: Surroundings,
  explicitFile?: string,
): LoadedConfig {
  const problems: string[] = [];
  const file = findFile(around, explicitFile, problems);
  const fromFile = file === undefined ? new Map<string, string>() : readFile(file, problems);

  // Filled for every row below; `problems` is thrown before anybody reads a hole.
  const values: Partial<Record<SettingName, unknown>> = {};
  const settings: Setting[] = [];
  for (const name of settingNames()) {
    const row: Row = ROWS[name];
    const [text, origin, where] = pick(row, flags[name], fromFile, around, file);
    const value = row.read(text);
    if (value === undefined) {
      problems.push(`${where === '' ? row.name : where}: "${text}" is not ${row.expected}.`);
    }
    values[name] = value;
    settings.push({ name, value: text, origin, where });
  }
  if (problems.length > 0) throw new ConfigProblems(problems);
  // Every row has a value of its own read(): the loop visited all names and threw on undefined.
  const config = assemble(values as Values, around, problems);
  if (problems.length > 0) throw new ConfigProblems(problems);
  return { config, settings, ...(file === undefined ? {} : { file }) };
}

/** Rules that look at more than one setting. */
function assemble(values: Values, around: Surroundings, problems: string[]): Config {
  const { tlsCert, tlsKey, quietSeconds, latestSeconds } = values;
  const absolute = (path: string): string => (isAbsolute(path) ? path : resolve(around.cwd, path));
  if ((tlsCert === '') !== (tlsKey === '')) {
    problems.push('api.tls_cert and api.tls_key go together: give both or none.');
  }
  for (const path of [tlsCert, tlsKey]) {
    if (path !== '' && !existsSync(absolute(path))) problems.push(`${path} does not exist.`);
  }
  if (tlsCert === '' && !isLoopback(values.host)) {
    problems.push(
      `Refusing ${values.host}:${values.port} without TLS: give --tls-cert and --tls-key, or keep 127.0.0.1.`,
    );
  }
  if (latestSeconds < quietSeconds) {
    problems.push('backups.latest_seconds must not be smaller than backups.quiet_seconds.');
  }
  return {
    data: absolute(values.data),
    host: values.host,
    port: values.port,
    ...(tlsCert === '' ? {} : { tls: { certFile: absolute(tlsCert), keyFile: absolute(tlsKey) } }),
    regions: values.regions,
    account: values.account,
    organization: values.organization,
    schedule: {
      isChangeDriven: values.isChangeDriven && isOffered(values.profile, 'changeBackups'),
      quietMs: quietSeconds * SECOND_MS,
      latestMs: latestSeconds * SECOND_MS,
      atOnce: values.backupsAtOnce,
    },
    quotas: { clusters: values.clusterQuota, hsms: values.hsmQuota },
    rates: { readsPerSecond: values.readRate, writesPerSecond: values.writeRate },
    legacy: { hsm1: values.allowsHsm1 },
    restoreUndoMs: values.undoHours * HOUR_MS,
    profile: values.profile,
    metrics: { isRemote: values.areMetricsRemote },
    ...(values.heartbeatUrl === ''
      ? {}
      : { heartbeat: { url: values.heartbeatUrl, everyMs: values.heartbeatSeconds * SECOND_MS } }),
    audit: { fileBytes: values.auditFileMb * 1_000_000, keepMs: values.auditDays * DAY_MS },
    log: { level: values.logLevel, format: values.logFormat },
    home: { name: values.homeName, mode: values.homeMode },
  };
}

/** `localhost` is left out: what it means is somebody's file. */
export function isLoopback(host: string): boolean {
  return host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

function pick(
  row: Row,
  flag: string | undefined,
  fromFile: ReadonlyMap<string, string>,
  around: Surroundings,
  file: string | undefined,
): [text: string, origin: Origin, where: string] {
  if (flag !== undefined) return [flag, 'flag', row.flag];
  const variable = around.env[row.variable];
  if (variable !== undefined && variable !== '') return [variable, 'variable', row.variable];
  const inFile = fromFile.get(row.name);
  if (inFile !== undefined) return [inFile, 'file', `${file}: ${row.name}`];
  return [row.fallback(around), 'default', ''];
}

function findFile(
  around: Surroundings,
  explicitFile: string | undefined,
  problems: string[],
): string | undefined {
  const named = explicitFile ?? around.env['KEYARK_CONFIG'];
  if (named !== undefined) {
    const path = resolve(around.cwd, named);
    if (!existsSync(path)) problems.push(`The configuration file ${path} does not exist.`);
    return existsSync(path) ? path : undefined;
  }
  const personal = join(around.home, '.config', 'keyark', 'keyark.toml');
  return ['/etc/keyark/keyark.toml', personal].find((path) => existsSync(path));
}

/** `table.key` → value as text. */
function readFile(file: string, problems: string[]): Map<string, string> {
  const found = new Map<string, string>();
  let root: Record<string, unknown>;
  try {
    root = parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    const where = cause instanceof TomlError ? `, line ${cause.line}` : '';
    const why = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    problems.push(`${file}${where} cannot be read: ${why}.`);
    return found;
  }
  for (const [name, value] of flatten(root, '')) {
    if (SECRET_NAME.test(name) || /-----BEGIN/.test(String(value))) {
      problems.push(
        `${file}: ${name} looks like a secret. Secrets are refused here; remove it and treat it as known to others.`,
      );
    } else if (!FILE_NAMES.some((known) => known === name)) {
      problems.push(`${file}: there is no setting ${name}. There are ${FILE_NAMES.join(', ')}.`);
    } else {
      found.set(name, Array.isArray(value) ? value.join(',') : String(value));
    }
  }
  return found;
}

function flatten(table: Record<string, unknown>, prefix: string): [string, unknown][] {
  return Object.entries(table).flatMap(([key, value]): [string, unknown][] => {
    const isTable = typeof value === 'object' && value !== null && !Array.isArray(value);
    // An object of the parser that is no array is a table (or a date, which has no members of its own).
    if (isTable) return flatten(value as Record<string, unknown>, `${prefix}${key}.`);
    return [[`${prefix}${key}`, value]];
  });
}
