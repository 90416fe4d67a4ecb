/** Every setting: its names in the file, on the command line and in the environment, what it may be, its default. */
import { join } from 'node:path';
import { PROFILES } from './profile.ts';

/** What differs from machine to machine and from user to user. */
export interface Surroundings {
  readonly isRoot: boolean;
  readonly home: string;
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** People read stderr here, so the log speaks to people. */
  readonly isTerminal: boolean;
}

/** Where a setting comes from and what it may be. */
export interface Row {
  /** Table and key in the file. */
  readonly name: string;
  readonly help: string;
  readonly flag: string;
  readonly variable: string;
  /** A value in the file that is no text is turned into text first. */
  readonly read: (text: string) => unknown;
  readonly expected: string;
  readonly fallback: (around: Surroundings) => string;
}

export const ROWS = {
  data: {
    name: 'data',
    help: 'folder for everything Keyark keeps',
    flag: '--data',
    variable: 'KEYARK_DATA',
    read: (text) => (text === '' ? undefined : text),
    expected: 'a folder',
    fallback: ({ isRoot, home }) =>
      isRoot ? '/var/lib/keyark' : join(home, '.local', 'share', 'keyark'),
  },
  host: {
    name: 'api.host',
    help: 'address the API listens on',
    flag: '--host',
    variable: 'KEYARK_HOST',
    read: matching(/^[0-9A-Za-z.:-]{1,253}$/),
    expected: 'an address or a host name, such as 127.0.0.1',
    fallback: () => '127.0.0.1',
  },
  port: {
    name: 'api.port',
    help: 'port of the API; 0 lets the system choose',
    flag: '--port',
    variable: 'KEYARK_PORT',
    read: wholeNumber(0, 65_535),
    expected: 'a port from 0 to 65535',
    fallback: () => '8228',
  },
  tlsCert: {
    name: 'api.tls_cert',
    help: 'PEM file with the certificate chain: HTTPS',
    flag: '--tls-cert',
    variable: 'KEYARK_TLS_CERT',
    read: pathOrNone,
    expected: 'a path of a PEM file (not the PEM itself)',
    fallback: () => '',
  },
  tlsKey: {
    name: 'api.tls_key',
    help: 'PEM file with the private key of that certificate',
    flag: '--tls-key',
    variable: 'KEYARK_TLS_KEY',
    read: pathOrNone,
    expected: 'a path of a PEM file (not the PEM itself)',
    fallback: () => '',
  },
  regions: {
    name: 'regions',
    help: 'regions served, separated by commas; the first is the default',
    flag: '--region',
    variable: 'KEYARK_REGION',
    read: (text) => {
      const names = text.split(',').map((name) => name.trim());
      const areNames = names.every((name) => /^[a-z]{2}(-[a-z]+)+-\d{1,2}$/.test(name));
      return areNames && new Set(names).size === names.length ? names : undefined;
    },
    expected: 'region names separated by commas, such as us-east-1,eu-west-1',
    fallback: () => 'us-east-1',
  },
  account: {
    name: 'account',
    help: 'account that owns what is made here',
    flag: '--account',
    variable: 'KEYARK_ACCOUNT',
    read: matching(/^0000\d{8}$/),
    expected: '12 digits that begin with 0000, so that it is visibly no real account',
    fallback: () => '000000008228',
  },
  organization: {
    name: 'sharing.organization',
    help: "accounts, separated by commas, that see each other's promoted shares without being asked",
    flag: '--organization',
    variable: 'KEYARK_ORGANIZATION',
    read: (text) => {
      const accounts = text.split(',').flatMap((account) => account.trim() || []);
      return accounts.every((account) => /^0000\d{8}$/.test(account)) ? accounts : undefined;
    },
    expected: 'accounts separated by commas: 12 digits each, beginning with 0000',
    fallback: () => '',
  },
  profile: {
    name: 'profile',
    help: 'own, or aws-exact: nothing that AWS does not do',
    flag: '--profile',
    variable: 'KEYARK_PROFILE',
    read: oneOf(...PROFILES),
    expected: 'own or aws-exact',
    fallback: () => 'own',
  },
  isChangeDriven: {
    name: 'backups.on_change',
    help: 'back up soon after users, keys or policies change',
    flag: '--backup-on-change',
    variable: 'KEYARK_BACKUP_ON_CHANGE',
    read: (text) => ({ true: true, false: false })[text],
    expected: 'true or false',
    fallback: () => 'true',
  },
  quietSeconds: {
    name: 'backups.quiet_seconds',
    help: 'a change is backed up when none followed for this long',
    flag: '--backup-quiet',
    variable: 'KEYARK_BACKUP_QUIET',
    read: wholeNumber(1, 3_600),
    expected: 'seconds from 1 to 3600',
    fallback: () => '5',
  },
  latestSeconds: {
    name: 'backups.latest_seconds',
    help: 'and at the latest this long after it',
    flag: '--backup-latest',
    variable: 'KEYARK_BACKUP_LATEST',
    read: wholeNumber(1, 86_400),
    expected: 'seconds from 1 to 86400',
    fallback: () => '60',
  },
  clusterQuota: {
    name: 'quotas.clusters',
    help: 'clusters an account may have in a region',
    flag: '--quota-clusters',
    variable: 'KEYARK_QUOTA_CLUSTERS',
    read: wholeNumber(1, 1_000_000),
    expected: 'a number from 1 to 1000000',
    fallback: () => '4',
  },
  hsmQuota: {
    name: 'quotas.hsms',
    help: 'HSMs an account may have in a region',
    flag: '--quota-hsms',
    variable: 'KEYARK_QUOTA_HSMS',
    read: wholeNumber(1, 1_000_000),
    expected: 'a number from 1 to 1000000',
    fallback: () => '6',
  },
  allowsHsm1: {
    name: 'legacy.hsm1',
    help: 'make clusters of type hsm1.medium, to rehearse moving them to hsm2m.medium',
    flag: '--allow-hsm1',
    variable: 'KEYARK_ALLOW_HSM1',
    read: (text) => ({ true: true, false: false })[text],
    expected: 'true or false',
    fallback: () => 'false',
  },
  readRate: {
    name: 'api.reads_per_second',
    help: 'reading calls an account may make in a region',
    flag: '--reads-per-second',
    variable: 'KEYARK_READS_PER_SECOND',
    read: wholeNumber(1, 1_000_000),
    expected: 'a number from 1 to 1000000',
    fallback: () => '5000',
  },
  writeRate: {
    name: 'api.writes_per_second',
    help: 'changing calls an account may make in a region',
    flag: '--writes-per-second',
    variable: 'KEYARK_WRITES_PER_SECOND',
    read: wholeNumber(1, 1_000_000),
    expected: 'a number from 1 to 1000000',
    fallback: () => '50',
  },
  undoHours: {
    name: 'restores.undo_hours',
    help: 'how long a restore into a live cluster can be undone',
    flag: '--restore-undo',
    variable: 'KEYARK_RESTORE_UNDO',
    read: wholeNumber(1, 720),
    expected: 'hours from 1 to 720',
    fallback: () => '24',
  },
  backupsAtOnce: {
    name: 'backups.at_once',
    help: 'how many backups that are due run at the same time',
    flag: '--backups-at-once',
    variable: 'KEYARK_BACKUPS_AT_ONCE',
    read: wholeNumber(2, 64),
    expected: 'a number from 2 to 64',
    fallback: () => '2',
  },
  heartbeatUrl: {
    name: 'heartbeat.url',
    help: 'asked with GET while everything is proven and in time; its silence is the alarm',
    flag: '--heartbeat-url',
    variable: 'KEYARK_HEARTBEAT_URL',
    read: urlOrNone,
    expected: 'an http or https URL without user name and password',
    fallback: () => '',
  },
  heartbeatSeconds: {
    name: 'heartbeat.every_seconds',
    help: 'how often',
    flag: '--heartbeat-every',
    variable: 'KEYARK_HEARTBEAT_EVERY',
    read: wholeNumber(10, 3_600),
    expected: 'seconds from 10 to 3600',
    fallback: () => '60',
  },
  areMetricsRemote: {
    name: 'metrics.remote',
    help: 'answer GET /metrics to other machines too, not to this one alone',
    flag: '--metrics-remote',
    variable: 'KEYARK_METRICS_REMOTE',
    read: (text) => ({ true: true, false: false })[text],
    expected: 'true or false',
    fallback: () => 'false',
  },
  auditDays: {
    name: 'audit.keep_days',
    help: 'how long the trail of calls is kept',
    flag: '--audit-days',
    variable: 'KEYARK_AUDIT_DAYS',
    read: wholeNumber(1, 36_500),
    expected: 'days from 1 to 36500',
    fallback: () => '400',
  },
  auditFileMb: {
    name: 'audit.file_mb',
    help: 'size of a file of the trail before the next one is begun',
    flag: '--audit-file-mb',
    variable: 'KEYARK_AUDIT_FILE_MB',
    read: wholeNumber(1, 2_000),
    expected: 'megabytes from 1 to 2000',
    fallback: () => '100',
  },
  logLevel: {
    name: 'log.level',
    help: 'error, info or debug',
    flag: '--log-level',
    variable: 'KEYARK_LOG_LEVEL',
    read: oneOf('error', 'info', 'debug'),
    expected: 'error, info or debug',
    fallback: () => 'info',
  },
  logFormat: {
    name: 'log.format',
    help: 'people or json (default: people on a terminal)',
    flag: '--log-format',
    variable: 'KEYARK_LOG_FORMAT',
    read: oneOf('people', 'json'),
    expected: 'people or json',
    fallback: ({ isTerminal }) => (isTerminal ? 'people' : 'json'),
  },
  homeName: {
    name: 'home.name',
    help: 'name of the cluster that `up` makes',
    flag: '--name',
    variable: 'KEYARK_NAME',
    read: matching(/^[a-z][a-z0-9-]{0,30}$/),
    expected: 'a name of small letters, digits and hyphens, at most 31 characters',
    fallback: () => 'home',
  },
  homeMode: {
    name: 'home.mode',
    help: 'its rules: NON_FIPS, or FIPS (the mode; nothing here is FIPS-validated)',
    flag: '--mode',
    variable: 'KEYARK_MODE',
    read: oneOf('NON_FIPS', 'FIPS'),
    expected: 'NON_FIPS or FIPS',
    fallback: () => 'NON_FIPS',
  },
} as const satisfies Record<string, Row>;

export type SettingName = keyof typeof ROWS;
type Read<Name extends SettingName> = Exclude<ReturnType<(typeof ROWS)[Name]['read']>, undefined>;
/** Every setting, read. */
export type Values = { readonly [Name in SettingName]: Read<Name> };

/** For the command line: which flags there are, in order. */
export const SETTINGS: Readonly<
  Record<SettingName, Pick<Row, 'name' | 'help' | 'flag' | 'variable'>>
> = ROWS;

export function settingNames(): readonly SettingName[] {
  // Object.keys forgets the type of the keys of our own constant table.
  return Object.keys(ROWS) as SettingName[];
}

function matching(pattern: RegExp) {
  return (text: string): string | undefined => (pattern.test(text) ? text : undefined);
}

function wholeNumber(least: number, most: number) {
  return (text: string): number | undefined => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
    return value >= least && value <= most ? value : undefined;
  };
}

function oneOf<const Word extends string>(...words: readonly Word[]) {
  return (text: string): Word | undefined => words.find((word) => word === text);
}

/** Credentials have no place in the file; a secret path of the monitor's own is between the two of you. */
function urlOrNone(text: string): string | undefined {
  if (text === '') return '';
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isWeb = url?.protocol === 'https:' || url?.protocol === 'http:';
  return isWeb && url.username === '' && url.password === '' ? url.href : undefined;
}

function pathOrNone(text: string): string | undefined {
  return text.includes('-----BEGIN') || text.includes('\n') ? undefined : text;
}
