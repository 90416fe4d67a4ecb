/**
 * The API on a loopback port over two recording faces. The faces hold fixed answers: these tests are
 * about shapes, signatures and HTTP; the services behind have tests of their own.
 */
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { AccessKey } from '../../src/access/accounts.ts';
import type { Credentials } from '../../src/access/credentials.ts';
import { type Api, type ApiParts, createApi } from '../../src/api/server.ts';
import type { Rates } from '../../src/api/throttle.ts';
import { signRequest } from '../../src/aws/sign.ts';
import type { Backup } from '../../src/backups/backup.ts';
import type { CopyRule } from '../../src/backups/copy-rule.ts';
import type { Share } from '../../src/backups/share.ts';
import type { Catalog } from '../../src/catalog/catalog.ts';
import { openCatalog } from '../../src/catalog/sqlite.ts';
import type { Cluster, Hsm } from '../../src/clusters/cluster.ts';
import type { Clusters } from '../../src/clusters/clusters.ts';
import type { ClusterView } from '../../src/clusters/requests.ts';
import type { Restore } from '../../src/clusters/restore.ts';
import type { RestorePlan } from '../../src/clusters/restore-plan.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import { HOUR_MS, systemClock } from '../../src/kernel/clock.ts';
import {
  parseBackupId,
  parseClusterId,
  parseCopyRuleId,
  parseHsmId,
  type RestoreId,
} from '../../src/kernel/ids.ts';
import type { Tags } from '../../src/kernel/tags.ts';
import type { EpochMs } from '../../src/kernel/types.ts';
import type { ServiceEvent } from '../../src/ops/events.ts';
import { checkAnswer, MODELLED_OPERATIONS } from '../support/api-model.ts';
import { entrance } from '../support/entrance.ts';
import { tempFolder } from '../support/temp-folder.ts';

export const ACCOUNT = '000012345678';
export const REGION = 'us-east-1';
export const KEY = new AccessKey({
  accessKeyId: 'KEYARKABCDEFGHIJKLMN',
  account: ACCOUNT,
  secretAccessKey: 'wJalrXUtnFEMIK7MDENGbPxRfiCYexamplekey00',
});
// A plain number of milliseconds is what EpochMs brands.
const at = (ms: number): EpochMs => ms as EpochMs;

export const CLUSTER: Cluster = {
  id: parseClusterId('cluster-keyark2ab3cd4ef5'),
  account: ACCOUNT,
  region: REGION,
  state: 'UNINITIALIZED',
  type: 'hsm2m.medium',
  mode: 'FIPS',
  networkType: 'IPV4',
  createdAt: at(1_504_903_546_035),
  retentionDays: 90,
  vpcId: 'vpc-0123456789abcdef0',
  securityGroup: 'sg-0123456789abcdef0',
  subnets: new Map([['us-east-1a', 'subnet-0123456789abcdef0']]),
  certificates: {
    clusterCsr: 'CSR',
    hsmCertificate: 'HSM',
    ownerHardwareCertificate: 'OWNER',
    manufacturerHardwareCertificate: 'MAKER',
  },
  tags: new Map([['team', 'payments']]),
  backupFailures: 0,
};
export const HSM: Hsm = {
  id: parseHsmId('hsm-keyark2ab3cd4ef5'),
  clusterId: CLUSTER.id,
  state: 'ACTIVE',
  type: 'hsm2m.medium',
  availabilityZone: 'us-east-1a',
  subnetId: 'subnet-0123456789abcdef0',
  eniId: 'eni-0123456789abcdef0',
  eniIp: '10.0.1.17',
  createdAt: at(1_504_903_547_000),
  takesWrites: true,
  serial: 'KA-0001',
};
export const VIEW: ClusterView = { cluster: CLUSTER, hsms: [HSM] };
export const BACKUP: Backup = {
  id: parseBackupId('backup-keyark2ab3cd4ef5'),
  account: ACCOUNT,
  region: REGION,
  clusterId: CLUSTER.id,
  cause: 'manual',
  type: 'hsm2m.medium',
  mode: 'FIPS',
  createdAt: at(1_504_903_548_500),
  neverExpires: false,
  holds: [],
  tags: new Map(),
  state: 'CREATE_IN_PROGRESS',
};

const TAGS: Tags = new Map([['team', 'payments']]);

export const RESTORE: Restore = {
  id: 'restore-keyark2ab3cd4ef5' as RestoreId,
  account: ACCOUNT,
  region: REGION,
  clusterId: CLUSTER.id,
  backupId: BACKUP.id,
  oldHsmId: HSM.id,
  newHsmId: parseHsmId('hsm-keyark2ab3cd4ef6'),
  startedAt: at(1_504_903_549_000),
  by: `arn:aws:iam::${ACCOUNT}:root`,
  undoMs: 24 * HOUR_MS,
  state: 'PREPARING',
};
export const PLAN: RestorePlan = {
  way: 'CreateCluster',
  at: at(1_504_903_549_000),
  cluster: undefined,
  backup: BACKUP,
  changesSince: undefined,
  blockers: [{ code: 'BACKUP_STATE', text: 'wait' }],
  undoMs: 24 * HOUR_MS,
};
export const COPY: Backup = {
  ...BACKUP,
  id: parseBackupId('backup-keyark2ab3cd4ef6'),
  region: 'eu-west-1',
  cause: 'copied',
  copy: {
    copiedAt: at(1_504_903_549_000),
    sourceRegion: REGION,
    sourceBackup: BACKUP.id,
    sourceCluster: CLUSTER.id,
  },
  state: 'CREATE_IN_PROGRESS',
};
const POLICY = '{"Version":"2012-10-17"}';
const SHARE: Share = {
  backupId: BACKUP.id,
  owner: ACCOUNT,
  consumer: '000087654321',
  region: REGION,
  createdAt: BACKUP.createdAt,
  state: 'FROM_POLICY',
};
const RULE: CopyRule = {
  id: parseCopyRuleId('copy-rule-keyark2ab3cd4ef5'),
  account: ACCOUNT,
  fromRegion: REGION,
  toRegion: 'eu-west-1',
  createdAt: BACKUP.createdAt,
};

export interface Call {
  readonly method: string;
  readonly args: readonly unknown[];
}

export interface Stand extends AsyncDisposable {
  readonly url: URL;
  readonly calls: Call[];
  readonly events: ServiceEvent[];
  readonly api: Api;
  readonly credentials: Credentials;
  readonly catalog: Catalog;
  /** Where the trail's files are. */
  readonly trail: string;
}

export interface StandOptions {
  readonly clusters?: Partial<Clusters>;
  readonly backups?: Partial<ApiParts['backups']>;
  readonly clock?: Clock;
  readonly rates?: Rates;
  readonly parts?: Partial<ApiParts>;
}

export function faces(calls: Call[], options: StandOptions = {}) {
  const record =
    <Result>(method: string, result: Result) =>
    (...args: readonly unknown[]): Result => {
      calls.push({ method, args });
      return result;
    };
  const clusters: Clusters = {
    create: record('create', Promise.resolve(VIEW)),
    describe: record('describeClusters', { items: [VIEW] }),
    initialize: record(
      'initialize',
      Promise.resolve({ state: 'INITIALIZE_IN_PROGRESS', stateMessage: 'under way' } as const),
    ),
    remove: record('remove', Promise.resolve(VIEW)),
    modifyRetention: record('modifyRetention', Promise.resolve(VIEW)),
    migrate: record('migrate', Promise.resolve(VIEW)),
    createHsm: record('createHsm', Promise.resolve(HSM)),
    deleteHsm: record('deleteHsm', Promise.resolve(HSM.id)),
    giveUpHsm: record('giveUpHsm', Promise.resolve(HSM.id)),
    retag: record('retagCluster', TAGS),
    tagsOf: record('tagsOfCluster', TAGS),
    ...options.clusters,
  };
  const backups: ApiParts['backups'] = {
    describe: record('describeBackup', { items: [BACKUP] }),
    list: record('describeBackups', { items: [BACKUP] }),
    takeManual: record('takeManual', Promise.resolve(BACKUP)),
    remove: record('removeBackup', Promise.resolve(BACKUP)),
    undelete: record('undelete', Promise.resolve(BACKUP)),
    modifyNeverExpires: record('modifyNeverExpires', Promise.resolve(BACKUP)),
    drill: record('drill', Promise.resolve({ opened: false, why: 'another owner' } as const)),
    retag: record('retagBackup', Promise.resolve(TAGS)),
    tagsOf: record('tagsOfBackup', TAGS),
    copy: record('copy', Promise.resolve(COPY)),
    hold: record('hold', Promise.resolve(BACKUP)),
    liftHold: record('liftHold', Promise.resolve(BACKUP)),
    held: record('held', Promise.resolve([])),
    modifyRetention: record('modifyBackupRetention', Promise.resolve(BACKUP)),
    ...options.backups,
  };
  const restores: ApiParts['restores'] = {
    plan: record('plan', Promise.resolve(PLAN)),
    start: record('start', Promise.resolve(RESTORE)),
    undo: record('undo', Promise.resolve(RESTORE)),
    list: record('list', [RESTORE]),
  };
  const sharing: ApiParts['sharing'] = {
    describe: record('describeShared', { items: [BACKUP] }),
    putPolicy: record('putPolicy', Promise.resolve({ ...BACKUP, policy: POLICY })),
    policyOf: record('policyOf', POLICY),
    deletePolicy: record('deletePolicy', Promise.resolve(POLICY)),
    promote: record('promote', Promise.resolve([SHARE])),
    accept: record('accept', Promise.resolve(SHARE)),
    remove: record('removeShare', Promise.resolve()),
    list: record('listShares', { shares: [SHARE], isComplete: true }),
  };
  const copyRules: ApiParts['copyRules'] = {
    add: record('addRule', Promise.resolve(RULE)),
    list: record('listRules', [RULE]),
    remove: record('removeRule', Promise.resolve(RULE)),
  };
  return { clusters, backups, restores, sharing, copyRules };
}

export async function stand(options: StandOptions = {}): Promise<Stand> {
  const calls: Call[] = [];
  const events: ServiceEvent[] = [];
  const clock = options.clock ?? systemClock;
  const folder = await tempFolder();
  const catalog = openCatalog({ folder: join(folder.path, 'catalog') });
  const { rates } = options;
  const door = await entrance({
    folder: folder.path,
    keys: [KEY],
    catalog,
    clock,
    region: REGION,
    rates,
  });
  const api = createApi({
    ...faces(calls, options),
    ...door.parts,
    events: { emit: (event) => void events.push(event) },
    regions: [REGION],
    readiness: async () => [],
    native: {
      time: {
        isRehearsal: false,
        clock: () => ({}),
        confirm: () => ({}),
        advance: () => ({}),
      },
      profile: 'own',
      forecast: () => ({}),
      generation: async () => ({}),
      status: async () => ({ Roots: 'evaluation' }),
      clusterDoor: async () => ({
        clusterId: CLUSTER.id,
        state: 'ACTIVE',
        makerRoot: 'PEM',
        hsms: [{ hsmId: HSM.id, state: 'ACTIVE', takesWrites: true, officers: { path: '/s' } }],
      }),
    },
    ...options.parts,
  });
  const { url } = await api.listen({ host: '127.0.0.1', port: 0 });
  return {
    url: new URL(url),
    calls,
    events,
    api,
    credentials: door.credentials,
    catalog,
    trail: door.trailFolder,
    [Symbol.asyncDispose]: async () => {
      await api.close();
      await door[Symbol.asyncDispose]();
      catalog[Symbol.dispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

export interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
  // Parsed answers are picked apart by the tests; a wrong guess fails the assertion.
  readonly json: Record<string, unknown>;
}

/** Any POST, byte for byte. */
export async function post(
  url: URL,
  headers: Readonly<Record<string, string>>,
  body: string | Uint8Array,
  path = '/',
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const sent = httpRequest(
      { host: url.hostname, port: url.port, path, method: 'POST', headers },
      (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text,
            json: JSON.parse(text),
          });
        });
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}

/** A signed call. `input` as text goes out as it is. */
export async function call(
  { url }: Pick<Stand, 'url'>,
  operation: string,
  input: unknown,
  options: {
    readonly clock?: Clock;
    readonly region?: string;
    readonly key?: Parameters<typeof signRequest>[0]['key'];
  } = {},
): Promise<Reply> {
  const body = typeof input === 'string' ? input : JSON.stringify(input);
  const target = operation.includes('.') ? operation : `BaldrApiService.${operation}`;
  const headers = await signRequest({
    endpoint: url,
    target,
    body,
    region: options.region ?? REGION,
    key: options.key ?? KEY,
    clock: options.clock ?? systemClock,
  });
  const reply = await post(url, headers, body);
  if (reply.status === 200 && MODELLED_OPERATIONS.includes(operation)) {
    checkAnswer(operation, reply.json);
  }
  return reply;
}
