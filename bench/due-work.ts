/**
 * Does work that is due stay cheap to find, and the service small and quick to start, in the largest catalog that is
 * promised? Nearly all rows are made by SQLite itself out of real ones, so the file is there in a minute.
 */

import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import type { Backups } from '../src/backups/backups.ts';
import { DueDrills } from '../src/backups/drill-due.ts';
import { Keeper } from '../src/backups/keeper.ts';
import { clusterFates } from '../src/backups/review.ts';
import { DEFAULT_SCHEDULE } from '../src/backups/schedule.ts';
import { Watch } from '../src/backups/watch.ts';
import type { BackupQuery, Catalog } from '../src/catalog/catalog.ts';
import { openCatalog } from '../src/catalog/sqlite.ts';
import { Background } from '../src/kernel/background.ts';
import { DAY_MS, HOUR_MS } from '../src/kernel/clock.ts';
import { createPlans } from '../src/ops/plans.ts';
import {
  at,
  backupId,
  clusterId,
  deletedBackup,
  hsmId,
  readyBackup,
  sampleCluster,
  sampleHsm,
} from '../test/support/catalog-samples.ts';
import { FakeClock } from '../test/support/world.ts';
import type { Bench } from './run.ts';
import { residentNow } from './support/memory.ts';
import { startService, temporaryFolder } from './support/service.ts';

const CLUSTERS = Number(process.env['CLUSTERS'] ?? 100_000);
const BACKUPS = CLUSTERS * 10;
/** Made by our own code; the rest is copied from them. */
const MODELS = 1_000;
const ROUNDS = 50;
/** What the service's first access key owns. */
const SCOPE = { account: '000000008228', region: 'us-east-1' };
const PAGE = { limit: 50 };
const TICK_TARGET_MS = 20;
const PAGE_TARGET_MS = 5;

const bench: Bench = {
  question: `${CLUSTERS} clusters, ${BACKUPS} backups (CLUSTERS=n for others): a tick, a page, memory, start`,
  guess:
    'a tick 1 ms with nothing due and 10 ms with everything due; pages below 1 ms; 200 MB; start 1 s',
  run: async () => {
    await using folder = await temporaryFolder();
    const data = join(folder.path, 'data');
    // Whoever the service runs as shall own the folder and its files.
    const empty = await startService(data);
    await empty[Symbol.asyncDispose]();
    const clock = new FakeClock();
    const now = Date.now();
    clock.advance(now - clock.now());
    const startedAt = performance.now();
    fill(join(data, 'catalog'), now);
    console.log(`the catalog was made in ${((performance.now() - startedAt) / 1000).toFixed(0)} s`);
    {
      using catalog = openCatalog({ folder: join(data, 'catalog') });
      await ticks(catalog, clock);
      await pages(catalog);
    }
    await service(data, empty.firstAnswerMs);
  },
};
export default bench;

async function ticks(catalog: Catalog, clock: FakeClock): Promise<void> {
  const keeper = keeperOf(catalog, clock);
  const events = { emit: () => {} };
  type Unused = Pick<ConstructorParameters<typeof DueDrills>[0], 'fleet' | 'storageOf'>;
  // Never asked: what is found is not run here.
  const unused = {} as Unused;
  const quiet = measured({
    'a tick, little due': () => keeper.tick(),
    'which drill is due': () => new DueDrills({ catalog, clock, events, ...unused }).next(),
    'totals for status and metrics': () => catalog.read((reader) => reader.protection.totals()),
    'a forecast of 25 clusters': () =>
      plansOf(catalog, clock, unused).forecast(SCOPE, { clusterId: undefined, most: 3 }),
  });
  for (const [name, time] of quiet) line(name, time, TICK_TARGET_MS);
  clock.advance(2 * DAY_MS);
  const watch = new Watch({ catalog, clock, events, policy: DEFAULT_SCHEDULE });
  const overdue = measured({
    'a tick, every cluster overdue': () => keeper.tick(),
    'the look of each minute': () => watch.look(),
  });
  for (const [name, time] of overdue) line(name, time, TICK_TARGET_MS);
}

function plansOf(
  catalog: Catalog,
  clock: FakeClock,
  unused: Pick<Parameters<typeof createPlans>[0], 'fleet'>,
) {
  return createPlans({
    ...unused,
    catalog,
    clock,
    policy: DEFAULT_SCHEDULE,
    profile: 'own',
    fatesOf: ({ id }) =>
      catalog.read((reader) => clusterFates(reader, id, clock.now(), { thinning: true }) ?? []),
  });
}

/** Starts as much as may run at once, each tick: taking is what costs nothing here. */
function keeperOf(catalog: Catalog, clock: FakeClock): Keeper {
  return new Keeper({
    catalog,
    clock,
    // The keeper uses these two alone.
    backups: { takeDue: async () => undefined, purgeDue: async () => {} } as Pick<
      Backups,
      'takeDue' | 'purgeDue'
    > as Backups,
    background: new Background(() => {}),
    policy: { ...DEFAULT_SCHEDULE, atOnce: 64 },
    onIdle: () => {},
    onMinute: () => {},
  });
}

async function pages(catalog: Catalog): Promise<void> {
  const page = (query: BackupQuery) => () =>
    catalog.read((reader) => reader.backups(SCOPE, query, PAGE));
  const some = Array.from({ length: 20 }, (_, n) => n);
  const times = measured({
    'newest backups': page({}),
    'oldest backups': page({ isAscending: true }),
    'READY or DELETED': page({ states: ['READY', 'DELETED'] }),
    'never expiring (rare)': page({ neverExpires: true }),
    'one cluster': page({ clusterIds: [clusterId(5)] }),
    '20 clusters, READY': page({ clusterIds: some.map(clusterId), states: ['READY'] }),
    'copies of 20 backups': page({ sourceBackupIds: some.map(backupId) }),
    '20 ids': page({ ids: some.map(backupId) }),
  });
  for (const [name, time] of times) line(name, time, PAGE_TARGET_MS);
}

async function service(data: string, emptyMs: number): Promise<void> {
  await using running = await startService(data);
  console.log(
    `start to first answer ${running.firstAnswerMs.toFixed(0)} ms, ${(running.firstAnswerMs / emptyMs).toFixed(1)}x of an empty folder's ${emptyMs.toFixed(0)} ms; target 3000 ms`,
  );
  for (let n = 0; n < 200; n += 1) {
    await running.client.aws('DescribeBackups', { MaxResults: 50 });
  }
  const startedAt = performance.now();
  await running.client.own('GetStatus');
  console.log(`GetStatus ${(performance.now() - startedAt).toFixed(0)} ms`);
  const mib = residentNow(running).get('control plane') ?? Number.NaN;
  console.log(
    `memory of the service ${mib.toFixed(0)} MiB after 10,000 rows were read; target 500 MB`,
  );
}

interface Cost {
  /** Of the processor: what a machine that does other things as well cannot blur. */
  readonly cpuMs: number;
  readonly wallMs: number;
}

/** Medians of synchronous work, taking turns, after once to warm up. */
function measured<Name extends string>(
  work: Readonly<Record<Name, () => unknown>>,
): ReadonlyMap<string, Cost> {
  const times = new Map<string, { cpu: number[]; wall: number[] }>();
  for (let round = 0; round <= ROUNDS; round += 1) {
    for (const [name, fn] of Object.entries<() => unknown>(work)) {
      const [cpuBefore, wallBefore] = [process.cpuUsage(), performance.now()];
      fn();
      const { user, system } = process.cpuUsage(cpuBefore);
      const wall = performance.now() - wallBefore;
      const of = times.get(name) ?? { cpu: [], wall: [] };
      times.set(name, of);
      if (round > 0) of.cpu.push((user + system) / 1000);
      if (round > 0) of.wall.push(wall);
    }
  }
  return new Map(
    [...times].map(([name, { cpu, wall }]) => [name, { cpuMs: median(cpu), wallMs: median(wall) }]),
  );
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}

function line(name: string, { cpuMs, wallMs }: Cost, targetMs: number): void {
  const verdict = cpuMs < targetMs ? '' : '   MISSED';
  console.log(
    `${name.padEnd(30)} n=${ROUNDS} median ${cpuMs.toFixed(2)} ms of CPU, ${wallMs.toFixed(2)} ms in all; target ${targetMs} ms${verdict}`,
  );
}

/**
 * Models through the catalog itself, then multiplied in SQL: half READY, half DELETED, spread over 90 days; each
 * cluster with a live HSM and its own time for the next backup.
 */
function fill(folder: string, now: number): void {
  {
    using catalog = openCatalog({ folder });
    catalog.transact((writer) => {
      for (let n = 0; n < MODELS; n += 1) {
        const make = n % 2 === 0 ? readyBackup : deletedBackup;
        writer.createBackup(make(n, { ...SCOPE, clusterId: clusterId(n) }));
      }
      writer.createCluster(sampleCluster(0, SCOPE));
      writer.createHsm(sampleHsm(0, { clusterId: clusterId(0) }));
    });
  }
  using db = new DatabaseSync(join(folder, 'keyark.sqlite'));
  // A file that is thrown away needs neither durability nor a way back.
  db.exec('pragma journal_mode = off; pragma synchronous = off; pragma cache_size = -200000');
  db.function('cluster_id', { deterministic: true }, (n) => clusterId(Number(n)));
  db.function('backup_id', { deterministic: true }, (n) => backupId(Number(n)));
  db.function('hsm_id', { deterministic: true }, (n) => hsmId(Number(n)));
  db.exec('begin');
  // Sorted once at the end instead of kept sorted a million times.
  const extras = db
    .prepare(
      "select type, name, sql from sqlite_schema where type in ('index', 'trigger') and sql <> ''",
    )
    .all()
    .map(({ type, name, sql }) => ({ name: `${type} ${name}`, sql: String(sql) }));
  for (const { name } of extras) db.exec(`drop ${name}`);
  const numbers = (name: string, from: number, to: number): string =>
    `with recursive ${name}(n) as (select ${from} union all select n + 1 from ${name} where n + 1 < ${to})`;
  copy(db, {
    table: 'clusters',
    from: `${numbers('many', 1, CLUSTERS)} select`,
    where: `from clusters cross join many where clusters.id = '${clusterId(0)}'`,
    set: {
      id: 'cluster_id(n)',
      created_at: `${now - 100 * DAY_MS} + n`,
      next_backup_at: `${now - 1} + (n * 7919) % ${20 * HOUR_MS}`,
    },
  });
  db.exec(`update clusters set next_backup_at = ${now + HOUR_MS} where next_backup_at is null`);
  copy(db, {
    table: 'hsms',
    from: `${numbers('many', 1, CLUSTERS)} select`,
    where: `from hsms cross join many where hsms.id = '${hsmId(0)}'`,
    set: { id: 'hsm_id(n)', cluster_id: 'cluster_id(n)', eni_id: "'eni-' || n" },
  });
  copy(db, {
    table: 'backups',
    from: `${numbers('many', MODELS, BACKUPS)} select`,
    where: `from many join backups on backups.id = backup_id(n % ${MODELS})`,
    set: {
      sequence: 'n + 1',
      id: 'backup_id(n)',
      cluster_id: `cluster_id((n / 2) % ${CLUSTERS})`,
      // The newest rows are of the last day, the oldest of 90 days ago.
      created_at: `${at(now - 90 * DAY_MS)} + n * ${Math.floor((90 * DAY_MS) / BACKUPS)}`,
      never_expires: 'n % 9973 = 5',
    },
  });
  for (const { sql } of extras) db.exec(sql);
  // Fires the triggers that keep beside a cluster what follows from its rows.
  db.exec(`update hsms set state = state;
    update backups set state = state where state = 'READY' and sequence > ${BACKUPS - 2 * CLUSTERS};
    commit`);
}

/** Copies rows, with some columns computed. */
function copy(
  db: DatabaseSync,
  {
    table,
    from,
    where,
    set,
  }: { table: string; from: string; where: string; set: Readonly<Record<string, string>> },
): void {
  const columns = db
    .prepare(`select name from pragma_table_info('${table}')`)
    .all()
    .map(({ name }) => String(name));
  const values = columns.map((column) => set[column] ?? `${table}.${column}`);
  db.exec(`insert into ${table} (${columns.join(', ')}) ${from} ${values.join(', ')} ${where}`);
}
