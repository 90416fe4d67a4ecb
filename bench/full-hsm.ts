/** How long do backup and restore of a full HSM take, is that linear, and what memory do they need? */
import { generateKeyPairSync } from 'node:crypto';
import type { Context } from '../src/cli/context.ts';
import { CustomerFolder } from '../src/cli/customer.ts';
import { listOf, numberOf, objectOf, textOf } from '../src/cli/json.ts';
import { type Officer, withOfficer } from '../src/cli/officers.ts';
import { createPrinter } from '../src/cli/print.ts';
import { APP_USER, makeReady } from '../src/cli/ready-made.ts';
import { systemClock } from '../src/kernel/clock.ts';
import { systemRandom } from '../src/kernel/random.ts';
import type { JsonObject } from '../src/kernel/types.ts';
import type { Bench } from './run.ts';
import { peakDuring, type Resident, type Role, residentNow } from './support/memory.ts';
import { type BenchService, startService, temporaryFolder } from './support/service.ts';

/** As many as an HSM of this type takes. */
const FULL = { aes: 13_333, asymmetric: 3_333 };
const QUARTER = { aes: 3_333, asymmetric: 833 };
const POOL_OF_EACH = 32;
const AES_A_CALL = 250;
const OFFICERS = 4;
const IMPORTS_UNDER_WAY = 4;
const ROUNDS = 5;
const BACKUP_TARGET_MS = 1_500;
const RESTORE_TARGET_MS = 1_000;
/** An HSM takes at most its idle size and this many times its state. */
const STATES = 3;
const MIB = 2 ** 20;

const bench: Bench = {
  question: `${FULL.aes} AES and ${FULL.asymmetric} RSA and EC keys: backup to READY with proof, restore to ACTIVE`,
  guess: 'backup 1,200 ms, restore 800 ms, a quarter of the state takes 35 % of that',
  run: async () => {
    await using folder = await temporaryFolder();
    await using service = await startService(`${folder.path}/data`);
    const signal = new AbortController().signal;
    const context = contextOfBench(service);
    const customer = new CustomerFolder({ ...context, data: service.data, name: 'full' });
    const home = { name: 'full', mode: 'NON_FIPS' } as const;
    const { client } = service;
    const { clusterId } = await makeReady({ client, customer, context, home, signal });
    const cluster: FilledCluster = { service, customer, clusterId };
    const idle = residentNow(service);

    const pool = keyPool();
    await fill(cluster, pool, { from: { aes: 0, asymmetric: 0 }, to: QUARTER });
    const quarter = await measureState(cluster);
    await fill(cluster, pool, { from: QUARTER, to: FULL });
    const filled = residentNow(service);
    const full = await measureState(cluster);

    printTimes('quarter', quarter);
    printTimes('full', full);
    const share = (part: number, whole: number) => `${((100 * part) / whole).toFixed(0)} %`;
    console.log(
      `a quarter takes: state ${share(quarter.stateBytes, full.stateBytes)}, backup ${share(median(quarter.backupMs), median(full.backupMs))}, restore ${share(median(quarter.restoreMs), median(full.restoreMs))}`,
    );
    printMemory({ idle, filled, quarter, full });
  },
};
export default bench;

interface FilledCluster {
  readonly service: BenchService;
  readonly customer: CustomerFolder;
  readonly clusterId: string;
}

interface Figures {
  readonly stateBytes: number;
  readonly keys: number;
  readonly backupMs: readonly number[];
  readonly restoreMs: readonly number[];
  /** Of the restored HSM, nothing going on. */
  readonly rest: Resident;
  readonly duringBackup: Resident;
  readonly duringRestore: Resident;
}

function contextOfBench({ data }: BenchService): Context {
  return {
    print: createPrinter(process.stdout, process.stderr),
    clock: systemClock,
    random: systemRandom,
    around: { env: {}, home: data, cwd: data, isRoot: false, isTerminal: false },
    endWith: () => {},
  };
}

// ---- filling

/** PKCS#8 PEMs, RSA and EC in turn; few, because searching primes is not what is measured. */
function keyPool(): readonly string[] {
  const encoding = { type: 'pkcs8', format: 'pem' } as const;
  return Array.from({ length: POOL_OF_EACH }).flatMap(() => [
    generateKeyPairSync('rsa', { modulusLength: 2_048 }).privateKey.export(encoding).toString(),
    generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export(encoding).toString(),
  ]);
}

type Amount = typeof FULL;

/** Pairs before AES keys: each import counts what is there, so that it is quicker while there is little. */
async function fill(
  cluster: FilledCluster,
  pool: readonly string[],
  { from, to }: { from: Amount; to: Amount },
): Promise<void> {
  const pairs: Call[] = numbers(from.asymmetric, to.asymmetric).map((n) => [
    'key-import',
    { format: 'pkcs8-pem', pem: pool[n % pool.length], label: `pair ${n}` },
  ]);
  const secrets: Call[] = [];
  for (let n = from.aes; n < to.aes; n += AES_A_CALL) {
    const kinds = numbers(n, Math.min(n + AES_A_CALL, to.aes)).map(() => 'aes-256');
    secrets.push(['key-generate-many', { kinds, labelPrefix: `aes ${n} ` }]);
  }
  for (const calls of [pairs, secrets]) await callAll(cluster, calls);
}

type Call = readonly [name: string, params: JsonObject];

/** Over several connections, with a few calls under way on each. */
async function callAll(cluster: FilledCluster, calls: readonly Call[]): Promise<void> {
  const left = calls.values();
  const connection = async (officer: Officer): Promise<void> => {
    const password = await cluster.customer.password('app-password');
    await officer.call('login', { username: APP_USER, role: 'crypto-user', password });
    const line = async (): Promise<void> => {
      for (const [name, params] of left) await officer.call(name, params);
    };
    await Promise.all(Array.from({ length: IMPORTS_UNDER_WAY }, line));
  };
  const { customer, clusterId } = cluster;
  const parts = { client: cluster.service.client, customer };
  await Promise.all(
    Array.from({ length: OFFICERS }, () => withOfficer(parts, clusterId, connection)),
  );
}

const numbers = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from }, (_, i) => from + i);

// ---- measuring

async function measureState(cluster: FilledCluster): Promise<Figures> {
  const { service } = cluster;
  const backupMs: number[] = [];
  const restoreMs: number[] = [];
  let last: JsonObject = {};
  // The first of each warms up and is not counted.
  for (let round = 0; round <= ROUNDS; round += 1) {
    const { ms, proven } = await backUp(cluster);
    if (round > 0) backupMs.push(ms);
    last = proven;
  }
  for (let round = 0; round <= ROUNDS; round += 1) {
    const ms = await restore(cluster);
    if (round > 0) restoreMs.push(ms);
  }
  // On their own, so that looking costs the figures above nothing.
  const duringRestore = (await peakDuring(service, () => restore(cluster))).peak;
  const rest = residentNow(service);
  const duringBackup = (await peakDuring(service, () => backUp(cluster))).peak;
  return {
    stateBytes: numberOf(last, 'storedBytes'),
    keys: numberOf(last, 'keys'),
    backupMs,
    restoreMs,
    rest,
    duringBackup,
    duringRestore,
  };
}

/** From the call until the service says that the backup is proven, which is when it is READY. */
async function backUp({ service, clusterId }: FilledCluster) {
  const done = service.hear((event) => /^backup(Proven|Failed)$/.test(textOf(event, 'kind')));
  const start = performance.now();
  await service.client.own('TakeBackup', { ClusterId: clusterId });
  const { event, at } = await done;
  if (event['kind'] !== 'backupProven') throw new Error(`the backup failed: ${event['why']}`);
  return { ms: at - start, proven: event };
}

/** From CreateHsm until the new HSM is ACTIVE; the one before it is deleted first. */
async function restore({ service, clusterId }: FilledCluster): Promise<number> {
  const { client } = service;
  const filters = { Filters: { clusterIds: [clusterId] } };
  const [cluster = {}] = listOf(await client.aws('DescribeClusters', filters), 'Clusters');
  const [hsm = {}] = listOf(cluster, 'Hsms');
  const HsmId = textOf(hsm, 'HsmId');
  const deleted = service.hear((event) => event['hsmId'] === HsmId && event['state'] === 'DELETED');
  await client.aws('DeleteHsm', { ClusterId: clusterId, HsmId });
  await deleted;

  const [AvailabilityZone] = Object.keys(objectOf(cluster, 'SubnetMapping'));
  const ready = service.hear(
    (event) =>
      event['clusterId'] === clusterId && /^(ACTIVE|DEGRADED)$/.test(String(event['state'])),
  );
  const start = performance.now();
  await client.aws('CreateHsm', { ClusterId: clusterId, AvailabilityZone });
  const { event, at } = await ready;
  if (event['state'] !== 'ACTIVE') throw new Error(`the restore failed: ${event['why']}`);
  return at - start;
}

// ---- telling

function median(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length / 2)] ?? Number.NaN;
}

function printTimes(name: string, { keys, stateBytes, backupMs, restoreMs }: Figures): void {
  const times = (all: readonly number[]) =>
    `median ${median(all).toFixed(0)} ms, worst ${Math.max(...all).toFixed(0)} ms, n=${all.length}`;
  console.log(
    `${name}: ${keys} keys and public halves, ${(stateBytes / MIB).toFixed(1)} MiB stored`,
  );
  console.log(`  backup to READY     ${times(backupMs)}; target ${BACKUP_TARGET_MS} ms when full`);
  console.log(
    `  restore to ACTIVE   ${times(restoreMs)}; target ${RESTORE_TARGET_MS} ms when full`,
  );
}

function printMemory(seen: {
  idle: Resident;
  filled: Resident;
  quarter: Figures;
  full: Figures;
}): void {
  const { idle, filled, quarter, full } = seen;
  const rows: readonly (readonly [name: string, resident: Resident])[] = [
    ['one user, no keys', idle],
    ['quarter, at rest', quarter.rest],
    ['quarter, most in a backup', quarter.duringBackup],
    ['quarter, most in a restore', quarter.duringRestore],
    ['full, just filled', filled],
    ['full, at rest', full.rest],
    ['full, most in a backup', full.duringBackup],
    ['full, most in a restore', full.duringRestore],
  ];
  const roles: readonly Role[] = ['control plane', 'HSM', 'drill HSM'];
  for (const [name, resident] of rows) {
    const cells = roles
      .filter((role) => resident.has(role))
      .map((role) => `${role} ${(resident.get(role) ?? 0).toFixed(0)} MiB`);
    console.log(`${name.padEnd(28)} ${cells.join(', ')}`);
  }
  const idleMiB = idle.get('HSM') ?? Number.NaN;
  const state = full.stateBytes / MIB;
  const times = (mib: number) => `idle + ${((mib - idleMiB) / state).toFixed(1)} x state`;
  const most = (role: Role) =>
    Math.max(full.duringBackup.get(role) ?? 0, full.duringRestore.get(role) ?? 0);
  console.log(
    `at their most: an HSM ${times(most('HSM'))}, a drill HSM ${times(most('drill HSM'))}, ` +
      `an HSM just filled ${times(filled.get('HSM') ?? Number.NaN)}; ` +
      `target idle + ${STATES} x state = ${(idleMiB + STATES * state).toFixed(0)} MiB`,
  );
}
