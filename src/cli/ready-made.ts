/**
 * The ready-made cluster of `keyark up`: one HSM, initialised, activated, one crypto user, a proven backup.
 * Made as any client would make it, through the public API and the officers' door. Every step looks first
 * whether it was done already, so that a start that was cut short goes on where it stopped.
 */
import type { Config } from '../config.ts';
import { MINUTE_MS, SECOND_MS } from '../kernel/clock.ts';
import { Failed } from '../kernel/errors.ts';
import type { JsonObject } from '../kernel/types.ts';
import type { Client } from './client.ts';
import type { Context } from './context.ts';
import { type CustomerFolder, signRequestOfCluster } from './customer.ts';
import { CommandFailed, EXIT } from './exit-codes.ts';
import { listOf, numberOf, objectOf, optionalObject, optionalText, textOf } from './json.ts';
import { describeCluster, type Officer, withOfficer } from './officers.ts';
import { waitFor } from './wait.ts';

export const APP_USER = 'app';
/** The only type that new clusters may have. */
export const HSM_TYPE = 'hsm2m.medium';
const NAME_TAG = 'keyark:name';
/** Nothing is routed; the service places whatever subnet it is given. */
const SUBNET = 'subnet-0000000000000001';
const STEP_MS = 2 * MINUTE_MS;
/** An HSM that died at the last stop, or waited for its roots, is back within seconds. */
const DEGRADED_MS = 15 * SECOND_MS;

export interface ReadyMade {
  readonly clusterId: string;
  readonly name: string;
  readonly hsmId: string;
  /** `app:…` */
  readonly pin: string;
  readonly backup: JsonObject;
}

export interface ReadyMadeParts {
  readonly client: Client;
  readonly customer: CustomerFolder;
  readonly context: Context;
  readonly home: Config['home'];
  /** Aborts the waits when the service ends meanwhile. */
  readonly signal: AbortSignal;
}

export async function makeReady(parts: ReadyMadeParts): Promise<ReadyMade> {
  const { customer, home, context } = parts;
  const step = (text: string): void => context.print.progress(`${home.name}: ${text} …`);
  step('looking for the cluster');
  const clusterId = await findOrCreate(parts);
  let cluster = await describeCluster(parts.client, clusterId);

  if (listOf(cluster, 'Hsms').length === 0) {
    step('making an HSM');
    const [zone] = Object.keys(objectOf(cluster, 'SubnetMapping'));
    await parts.client.aws('CreateHsm', { ClusterId: clusterId, AvailabilityZone: zone });
  }
  cluster = await untilItServes(parts, clusterId);

  if (textOf(cluster, 'State') === 'UNINITIALIZED') {
    step('signing its certificate');
    await initialize(parts, clusterId, csrOf(cluster) ?? '');
  }
  cluster = await until(parts, clusterId, 'it is initialised', (seen) =>
    ['INITIALIZED', 'ACTIVE'].includes(textOf(seen, 'State')),
  );

  if (textOf(cluster, 'State') === 'INITIALIZED') {
    step('setting the first password');
    await activate(parts, clusterId);
  }
  cluster = await until(
    parts,
    clusterId,
    'it is active',
    (seen) => textOf(seen, 'State') === 'ACTIVE',
  );

  step('waiting for its HSM');
  await untilItAnswers(parts, clusterId);
  step('a user for applications');
  const { pin, generation } = await ensureUser(parts, clusterId);
  step('backing up and proving it on a second HSM');
  const profile = textOf(await parts.client.own('GetStatus'), 'Profile');
  // As in AWS, no call forces a backup there: what was proven after activation is what there is today.
  const needed = profile === 'aws-exact' ? 0 : generation;
  const backup = await provenBackup(parts, clusterId, needed);
  context.print.endProgress();
  const hsm = activeHsm(cluster);
  await customer.write('cluster-id', clusterId);
  return { clusterId, name: home.name, hsmId: textOf(hsm ?? {}, 'HsmId'), pin, backup };
}

async function findOrCreate({ client, customer, home }: ReadyMadeParts): Promise<string> {
  const kept = await customer.read('cluster-id');
  const alive = (await client.all('DescribeClusters', 'Clusters')).filter(
    (cluster) => !['DELETED', 'DELETE_IN_PROGRESS'].includes(textOf(cluster, 'State')),
  );
  const found = alive.find(
    (cluster) => cluster['ClusterId'] === kept || nameOf(cluster) === home.name,
  );
  if (found !== undefined) return textOf(found, 'ClusterId');
  const answer = await client.aws('CreateCluster', {
    HsmType: HSM_TYPE,
    Mode: home.mode,
    SubnetIds: [SUBNET],
    TagList: [{ Key: NAME_TAG, Value: home.name }],
  });
  return textOf(objectOf(answer, 'Cluster'), 'ClusterId');
}

/**
 * One HSM that is ACTIVE will do, whatever became of others. An HSM that is DEGRADED may be on its way back
 * after a start; one that stays so is not waited for.
 */
async function untilItServes(parts: ReadyMadeParts, clusterId: string): Promise<JsonObject> {
  const { clock } = parts.context;
  const patienceEnds = clock.now() + DEGRADED_MS;
  return await until(parts, clusterId, 'its HSM is ready', (seen) => {
    if (activeHsm(seen) !== undefined) {
      return isPast(seen, 'UNINITIALIZED') || csrOf(seen) !== undefined;
    }
    const hsms = listOf(seen, 'Hsms');
    const isHopeless = hsms.every((hsm) => hsm['State'] === 'DEGRADED');
    if (isHopeless && clock.now() >= patienceEnds) {
      const what = hsms.map(
        (hsm) =>
          `${textOf(hsm, 'HsmId')} is DEGRADED: ${optionalText(hsm, 'StateMessage') ?? 'no reason given.'}`,
      );
      throw new CommandFailed(
        EXIT.FAILED,
        `${clusterId} has no HSM that serves. ${what.join(' ')}`,
      );
    }
    return false;
  });
}

function activeHsm(cluster: JsonObject): JsonObject | undefined {
  return listOf(cluster, 'Hsms').find((hsm) => hsm['State'] === 'ACTIVE');
}

/** The name that `up` gave a cluster. */
export function nameOf(cluster: JsonObject): string | undefined {
  const tag = listOf(cluster, 'TagList').find((each) => each['Key'] === NAME_TAG);
  return tag && optionalText(tag, 'Value');
}

async function initialize(parts: ReadyMadeParts, clusterId: string, csr: string): Promise<void> {
  const authority = await parts.customer.authority();
  await parts.client.aws('InitializeCluster', {
    ClusterId: clusterId,
    SignedCert: signRequestOfCluster(csr, authority, parts.context),
    TrustAnchor: authority.certificate,
  });
}

async function activate(parts: ReadyMadeParts, clusterId: string): Promise<void> {
  const password = await parts.customer.password('admin-password');
  await withOfficer(parts, clusterId, (officer) => officer.call('activate', { password }));
}

/** After a start the cluster is ACTIVE at once, its HSM a moment later. */
async function untilItAnswers(parts: ReadyMadeParts, clusterId: string): Promise<void> {
  const patience = { until: 'its HSM answers', atMostMs: STEP_MS, signal: parts.signal };
  await waitFor(parts.context.clock, patience, async () => {
    try {
      return await withOfficer(parts, clusterId, (officer) => officer.call('info', {}));
    } catch (cause) {
      // No line yet; every other failure is told.
      if (cause instanceof Failed && cause.code === 'CHANNEL') return undefined;
      throw cause;
    }
  });
}

/** Idempotent: a user that is there already keeps its password, which is in our file. */
async function ensureUser(
  parts: ReadyMadeParts,
  clusterId: string,
): Promise<{ pin: string; generation: number }> {
  const adminPassword = await parts.customer.password('admin-password');
  const password = await parts.customer.password('app-password');
  return withOfficer(parts, clusterId, async (officer) => {
    if (!(await hasUser(officer, APP_USER))) {
      await officer.call('login', { username: 'admin', role: 'admin', password: adminPassword });
      await officer.call('user-create', { username: APP_USER, role: 'crypto-user', password });
    }
    const generation = numberOf(await officer.call('info', {}), 'generation');
    return { pin: `${APP_USER}:${password}`, generation };
  });
}

async function hasUser(officer: Officer, name: string): Promise<boolean> {
  const users = listOf(await officer.call('user-list', {}), 'users');
  return users.some((user) => user['username'] === name);
}

/** The newest proven backup that holds at least this generation; takes one when none is under way. */
async function provenBackup(
  parts: ReadyMadeParts,
  clusterId: string,
  generation: number,
): Promise<JsonObject> {
  const { client, context, signal } = parts;
  let tries = 0;
  return waitFor(
    context.clock,
    { until: `a backup of ${clusterId} is proven`, atMostMs: STEP_MS, signal },
    async () => {
      const backups = await client.all('DescribeBackups', 'Backups', {
        Filters: { clusterIds: [clusterId] },
      });
      const newest = backups.find((backup) => backup['BackupState'] === 'READY');
      if (newest !== undefined && (await generationOf(client, newest)) >= generation) return newest;
      if (backups.some((backup) => backup['BackupState'] === 'CREATE_IN_PROGRESS'))
        return undefined;
      tries += 1;
      if (tries > 3) {
        throw new CommandFailed(
          EXIT.FAILED,
          `[NOT_PROVEN] The backup of ${clusterId} failed ${tries - 1} times; the lines of the log above say why. Keys are safe in the HSM; nothing else was changed.`,
        );
      }
      await client.own('TakeBackup', { ClusterId: clusterId });
      return undefined;
    },
  );
}

async function generationOf(client: Client, backup: JsonObject): Promise<number> {
  const proof = await client.own('GetBackupProof', { BackupId: textOf(backup, 'BackupId') });
  return numberOf(objectOf(objectOf(proof, 'Seal'), 'statement'), 'generation');
}

function until(
  parts: ReadyMadeParts,
  clusterId: string,
  what: string,
  holds: (cluster: JsonObject) => boolean,
): Promise<JsonObject> {
  const patience = { until: what, atMostMs: STEP_MS, signal: parts.signal };
  return waitFor(parts.context.clock, patience, async () => {
    const cluster = await describeCluster(parts.client, clusterId);
    return holds(cluster) ? cluster : undefined;
  });
}

function csrOf(cluster: JsonObject): string | undefined {
  const certificates = optionalObject(cluster, 'Certificates');
  return certificates && optionalText(certificates, 'ClusterCsr');
}

function isPast(cluster: JsonObject, state: string): boolean {
  return textOf(cluster, 'State') !== state;
}
