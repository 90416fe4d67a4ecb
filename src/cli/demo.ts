/**
 * The whole story on a throw-away service: keys are made, every HSM is lost, a new one comes from a
 * backup, and the same keys sign again. Every step checks what it claims; a step that does not hold ends
 * the demo with an error.
 */
import { createPublicKey, verify } from 'node:crypto';
import { fromBase64, toBase64 } from '../kernel/bytes.ts';
import { canonicalJson } from '../kernel/canonical-json.ts';
import { MINUTE_MS } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { JsonObject } from '../kernel/types.ts';
import type { Client } from './client.ts';
import type { Context } from './context.ts';
import type { CustomerFolder } from './customer.ts';
import { newPassword } from './customer.ts';
import { CommandFailed, EXIT } from './exit-codes.ts';
import { listOf, numberOf, objectOf, optionalText, textOf } from './json.ts';
import type { Officer } from './officer.ts';
import { allKeys } from './officer-keys.ts';
import { withOfficer } from './officers.ts';
import { makeReady, type ReadyMade } from './ready-made.ts';
import { waitFor } from './wait.ts';

/** 1,000 keys of all kinds, a batch a row; few RSA pairs, because searching primes is what takes long. */
const BATCHES: readonly (readonly [kind: string, count: number])[] = [
  ['aes-128', 100],
  ['aes-192', 50],
  ['aes-256', 250],
  ['generic-secret', 200],
  ['ec-p224', 50],
  ['ec-p256', 150],
  ['ec-p384', 80],
  ['ec-p521', 50],
  ['ec-secp256k1', 50],
  ['rsa-2048', 18],
  ['rsa-3072', 2],
];
const MAX_BATCH = 250;
const STEP_MS = 5 * MINUTE_MS;
const SIGNERS_A_KIND = 2;
const DEMO_LOCKOUT_LIMIT = 7;
const FOREIGN_MAKER = 'another-maker';

export interface DemoParts {
  readonly client: Client;
  readonly context: Context;
  readonly customer: CustomerFolder;
  /** Makes a second manufacturer at the host's own operator door. */
  readonly createMaker: (name: string) => Promise<void>;
  readonly signal: AbortSignal;
}

/** One line of the table at the end. */
export interface DemoRow {
  readonly step: string;
  readonly result: string;
  readonly ms: number;
}

interface Person {
  readonly username: string;
  readonly role: 'admin' | 'crypto-user';
  readonly password: string;
}

interface Signed {
  readonly key: string;
  readonly mechanism: string;
  /** What a signature is checked with outside: a public key (DER, base64), or, for HMAC, the first one made. */
  readonly with: { readonly publicKey: string } | { readonly tag: string };
}

const MESSAGE = new TextEncoder().encode('signed before the loss, and after it');

/** @throws CommandFailed as soon as something does not hold. */
export async function runDemo(parts: DemoParts): Promise<readonly DemoRow[]> {
  const rows: DemoRow[] = [];
  const step = async <T>(
    name: string,
    work: () => Promise<[result: string, value: T]>,
  ): Promise<T> => {
    parts.context.print.progress(`${name} …`);
    const startedAt = parts.context.clock.now();
    const [result, value] = await work();
    rows.push({ step: name, result, ms: parts.context.clock.now() - startedAt });
    return value;
  };

  const cluster = await step('a cluster with one HSM, initialised and activated', async () => {
    const made = await makeReady({
      ...parts,
      home: { name: 'demo', mode: 'NON_FIPS' },
    });
    return [made.clusterId, made];
  });
  const people = await step('three users and a policy of their own', () =>
    makePeople(parts, cluster),
  );
  await step('1,000 keys of all kinds', () => makeKeys(parts, cluster.clusterId, people));
  const signers = await step('signatures with keys that sign', () =>
    signAll(parts, cluster.clusterId, people),
  );
  const before = await compare(parts, cluster.clusterId, people);
  const backup = await step('a backup, proven by a second HSM', () =>
    provenBackup(parts, cluster.clusterId),
  );

  await step('every HSM deleted', () => loseEverything(parts, cluster.clusterId));
  await step('a new HSM from the backup', () => newHsm(parts, cluster.clusterId));
  await step('the same keys sign again', () =>
    checkSigners(parts, cluster.clusterId, people, signers),
  );
  await step('users, passwords, attributes and policies compared', () =>
    checkSame(parts, cluster.clusterId, people, before),
  );
  await step('a second cluster from the same backup', () =>
    cloneCluster(parts, backup, people, { before, signers }),
  );
  await step("another manufacturer's HSM refuses it", () => foreignRefuses(parts, backup));
  parts.context.print.endProgress();
  return rows;
}

async function makePeople(
  parts: DemoParts,
  cluster: ReadyMade,
): Promise<[string, readonly Person[]]> {
  const admin: Person = {
    username: 'admin',
    role: 'admin',
    password: await parts.customer.password('admin-password'),
  };
  const [username = '', password = ''] = cluster.pin.split(':');
  const app: Person = { username, role: 'crypto-user', password };
  const signer: Person = {
    username: 'signer',
    role: 'crypto-user',
    password: newPassword(parts.context.random),
  };
  await asPerson(parts, cluster.clusterId, admin, async (officer) => {
    const { username, role, password } = signer;
    await officer.call('user-create', { username, role, password });
    // A policy that is not the default: one that was lost would look like the default.
    await officer.call('policy-set', { name: 'lockout-limit', value: DEMO_LOCKOUT_LIMIT });
  });
  const people = [admin, app, signer];
  return [people.map((person) => person.username).join(', '), people];
}

async function makeKeys(
  parts: DemoParts,
  clusterId: string,
  people: readonly Person[],
): Promise<[string, undefined]> {
  let made = 0;
  await asPerson(parts, clusterId, cryptoUser(people), async (officer) => {
    for (const [kind, count] of BATCHES) {
      for (let left = count; left > 0; left -= MAX_BATCH) {
        const kinds = Array.from({ length: Math.min(left, MAX_BATCH) }, () => kind);
        const { length } = listOf(
          await officer.call('key-generate-many', { kinds, labelPrefix: `${kind}-` }),
          'keys',
        );
        made += length;
      }
    }
  });
  hold(made === 1_000, `${made} keys were made, not 1,000`);
  return [`${BATCHES.length} kinds`, undefined];
}

async function signAll(
  parts: DemoParts,
  clusterId: string,
  people: readonly Person[],
): Promise<[string, readonly Signed[]]> {
  const signers: Signed[] = [];
  await asPerson(parts, clusterId, cryptoUser(people), async (officer) => {
    for (const type of ['ec', 'rsa'] as const) {
      const keys = await allKeys(officer, { class: 'private-key', type });
      for (const key of spread(keys, SIGNERS_A_KIND * 5)) {
        const reference = textOf(key, 'key');
        const view = objectOf(await officer.call('key-get', { key: reference }), 'key');
        signers.push({
          key: reference,
          mechanism: type === 'ec' ? 'ECDSA_SHA256' : 'SHA256_RSA_PKCS',
          with: { publicKey: textOf(objectOf(view, 'attributes'), 'public-key-info') },
        });
      }
    }
    const secrets = await allKeys(officer, { class: 'secret-key', type: 'generic-secret' });
    for (const each of spread(secrets, SIGNERS_A_KIND * 5)) {
      const asked = { key: textOf(each, 'key'), mechanism: 'SHA256_HMAC' };
      const answer = await officer.call('sign', { ...asked, data: toBase64(MESSAGE) });
      signers.push({ ...asked, with: { tag: textOf(answer, 'signature') } });
    }
    await checkEach(officer, signers);
  });
  return [`${signers.length} RSA, EC and HMAC keys; pairs checked outside by public key`, signers];
}

async function checkSigners(
  parts: DemoParts,
  clusterId: string,
  people: readonly Person[],
  signers: readonly Signed[],
): Promise<[string, undefined]> {
  await asPerson(parts, clusterId, cryptoUser(people), (officer) => checkEach(officer, signers));
  return [`${signers.length} of ${signers.length} signatures verify`, undefined];
}

async function checkEach(officer: Officer, signers: readonly Signed[]): Promise<void> {
  for (const { key, mechanism, with: checkedWith } of signers) {
    const answer = await officer.call('sign', { key, mechanism, data: toBase64(MESSAGE) });
    if ('tag' in checkedWith) {
      hold(textOf(answer, 'signature') === checkedWith.tag, `${key} makes another HMAC`);
      continue;
    }
    const signature = fromBase64(textOf(answer, 'signature'));
    const outside = createPublicKey({
      key: Buffer.from(checkedWith.publicKey, 'base64'),
      format: 'der',
      type: 'spki',
    });
    hold(verify('sha256', MESSAGE, outside, signature), `a signature of ${key} does not verify`);
  }
}

async function provenBackup(parts: DemoParts, clusterId: string): Promise<[string, string]> {
  const taken = objectOf(await parts.client.own('TakeBackup', { ClusterId: clusterId }), 'Backup');
  const id = textOf(taken, 'BackupId');
  await waitFor(
    parts.context.clock,
    { until: `${id} is proven`, atMostMs: STEP_MS, signal: parts.signal },
    async () => {
      const [backup] = await parts.client.all('DescribeBackups', 'Backups', {
        Filters: { backupIds: [id] },
      });
      const state = optionalText(backup ?? {}, 'BackupState');
      hold(state !== 'DELETED', `${id} failed`);
      return state === 'READY' ? state : undefined;
    },
  );
  const proof = await parts.client.own('GetBackupProof', { BackupId: id });
  const statement = objectOf(objectOf(proof, 'Proof'), 'statement');
  const counts = objectOf(objectOf(statement, 'opened'), 'counts');
  const kilobytes = Math.ceil(numberOf(proof, 'StoredBytes') / 1000);
  return [
    `${numberOf(counts, 'keys')} keys and ${numberOf(counts, 'users')} users in ${kilobytes} kB`,
    id,
  ];
}

async function loseEverything(parts: DemoParts, clusterId: string): Promise<[string, undefined]> {
  const hsms = listOf(await describe(parts, clusterId), 'Hsms');
  for (const hsm of hsms) {
    await parts.client.aws('DeleteHsm', { ClusterId: clusterId, HsmId: textOf(hsm, 'HsmId') });
  }
  await waitFor(
    parts.context.clock,
    { until: 'every HSM is gone', atMostMs: STEP_MS, signal: parts.signal },
    async () => (listOf(await describe(parts, clusterId), 'Hsms').length === 0 ? true : undefined),
  );
  return [`${hsms.length} of ${hsms.length}, each backed up first`, undefined];
}

async function newHsm(parts: DemoParts, clusterId: string): Promise<[string, undefined]> {
  const cluster = await describe(parts, clusterId);
  const [zone] = Object.keys(objectOf(cluster, 'SubnetMapping'));
  const hsm = objectOf(
    await parts.client.aws('CreateHsm', { ClusterId: clusterId, AvailabilityZone: zone }),
    'Hsm',
  );
  const id = textOf(hsm, 'HsmId');
  await waitFor(
    parts.context.clock,
    { until: `${id} is ACTIVE`, atMostMs: STEP_MS, signal: parts.signal },
    async () => {
      const seen = listOf(await describe(parts, clusterId), 'Hsms').find(
        (each) => each['HsmId'] === id,
      );
      const state = optionalText(seen ?? {}, 'State');
      hold(state !== 'DEGRADED', optionalText(seen ?? {}, 'StateMessage') ?? `${id} is DEGRADED`);
      return state === 'ACTIVE' ? state : undefined;
    },
  );
  return [id, undefined];
}

async function checkSame(
  parts: DemoParts,
  clusterId: string,
  people: readonly Person[],
  before: readonly string[],
): Promise<[string, undefined]> {
  const after = await compare(parts, clusterId, people);
  const difference = before.findIndex((line, i) => line !== after[i]);
  hold(
    difference === -1 && before.length === after.length,
    `record ${difference} differs after the restore`,
  );
  for (const person of people) await asPerson(parts, clusterId, person, async () => undefined);
  await refusesWrongPassword(parts, clusterId, cryptoUser(people));
  return [
    `${after.length} records equal, ${people.length} passwords work, a wrong one does not`,
    undefined,
  ];
}

async function refusesWrongPassword(
  parts: DemoParts,
  clusterId: string,
  person: Person,
): Promise<void> {
  try {
    await asPerson(
      parts,
      clusterId,
      { ...person, password: newPassword(parts.context.random) },
      async () => undefined,
    );
  } catch (cause) {
    if (cause instanceof Refused && cause.code === 'NotAuthenticated') return;
    throw cause;
  }
  hold(false, 'a wrong password was accepted');
}

async function cloneCluster(
  parts: DemoParts,
  backup: string,
  people: readonly Person[],
  expected: { before: readonly string[]; signers: readonly Signed[] },
): Promise<[string, undefined]> {
  const answer = await parts.client.aws('CreateCluster', {
    HsmType: 'hsm2m.medium',
    Mode: 'NON_FIPS',
    SubnetIds: ['subnet-0000000000000001'],
    SourceBackupId: backup,
  });
  const clusterId = textOf(objectOf(answer, 'Cluster'), 'ClusterId');
  await waitFor(
    parts.context.clock,
    { until: `${clusterId} is ACTIVE`, atMostMs: STEP_MS, signal: parts.signal },
    async () => (textOf(await describe(parts, clusterId), 'State') === 'ACTIVE' ? true : undefined),
  );
  await newHsm(parts, clusterId);
  await checkSame(parts, clusterId, people, expected.before);
  await checkSigners(parts, clusterId, people, expected.signers);
  return [clusterId, undefined];
}

async function foreignRefuses(parts: DemoParts, backup: string): Promise<[string, undefined]> {
  await parts.createMaker(FOREIGN_MAKER);
  const own = await parts.client.own('DrillBackup', { BackupId: backup });
  hold(own['Opened'] === true, 'a drill HSM of the own maker does not open the backup');
  const foreign = await parts.client.own('DrillBackup', { BackupId: backup, Maker: FOREIGN_MAKER });
  hold(foreign['Opened'] === false, "another manufacturer's HSM opened the backup");
  return [textOf(foreign, 'Why'), undefined];
}

async function compare(
  parts: DemoParts,
  clusterId: string,
  people: readonly Person[],
): Promise<readonly string[]> {
  const [admin] = people;
  const lines: JsonObject[] = [];
  await asPerson(parts, clusterId, required(admin), async (officer) => {
    lines.push(...(await officer.lines('compare')));
  });
  return lines.map((line) => canonicalJson(line));
}

async function asPerson<T>(
  parts: DemoParts,
  clusterId: string,
  { username, role, password }: Person,
  work: (officer: Officer) => Promise<T>,
): Promise<T> {
  return await withOfficer(parts, clusterId, async (officer) => {
    await officer.call('login', { username, role, password });
    return await work(officer);
  });
}

async function describe(parts: DemoParts, clusterId: string): Promise<JsonObject> {
  const found = await parts.client.all('DescribeClusters', 'Clusters', {
    Filters: { clusterIds: [clusterId] },
  });
  return required(found[0]);
}

function cryptoUser(people: readonly Person[]): Person {
  return required(people.find(({ role }) => role === 'crypto-user'));
}

/** @returns at most `count` of them, from the whole length of the list. */
function spread<T>(items: readonly T[], count: number): readonly T[] {
  const every = Math.max(1, Math.floor(items.length / count));
  return items.filter((_, i) => i % every === 0).slice(0, count);
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new CommandFailed(EXIT.FAILED, 'The demo lost something it made.');
  return value;
}

function hold(condition: boolean, otherwise: string): asserts condition {
  if (!condition) throw new CommandFailed(EXIT.FAILED, `The demo did not hold: ${otherwise}.`);
}
