/** How long do backup and restore of a full HSM take, is that linear, and what memory do they need? */
import { generateKeyPairSync } from 'node:crypto';
import { numberOf } from '../src/cli/json.ts';
import type { JsonObject } from '../src/kernel/types.ts';
import type { Bench } from './run.ts';
import {
  backUp,
  type Call,
  type ClusterOfBench,
  callAll,
  readyCluster,
  restore,
} from './support/cluster.ts';
import { peakDuring, type Resident, type Role, residentNow } from './support/memory.ts';
import { startService, temporaryFolder } from './support/service.ts';

/** As many as an HSM of this type takes. */
const FULL = { aes: 13_333, asymmetric: 3_333 };
const QUARTER = { aes: 3_333, asymmetric: 833 };
const POOL_OF_EACH = 32;
const AES_A_CALL = 250;
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
    const cluster = await readyCluster(service);
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
  cluster: ClusterOfBench,
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

const numbers = (from: number, to: number): readonly number[] =>
  Array.from({ length: to - from }, (_, i) => from + i);

// ---- measuring

async function measureState(cluster: ClusterOfBench): Promise<Figures> {
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
