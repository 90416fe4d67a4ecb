/**
 * A week of the schedule in minutes: the real keeper, the real rules, a real catalog; only the clock is virtual, and a
 * backup costs a fixed time instead of being one.
 */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ReadyBackup } from '../src/backups/backup.ts';
import type { Backups } from '../src/backups/backups.ts';
import { Keeper } from '../src/backups/keeper.ts';
import {
  afterProven,
  DEFAULT_SCHEDULE,
  FLOOR_MS,
  nextAfterSuccess,
} from '../src/backups/schedule.ts';
import type { Catalog } from '../src/catalog/catalog.ts';
import { openCatalog } from '../src/catalog/sqlite.ts';
import { Background } from '../src/kernel/background.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS } from '../src/kernel/clock.ts';
import { Failed } from '../src/kernel/errors.ts';
import type { ClusterId } from '../src/kernel/ids.ts';
import type { EpochMs } from '../src/kernel/types.ts';
import {
  at,
  clusterId,
  hsmId,
  readyBackup,
  sampleCluster,
  sampleHsm,
} from '../test/support/catalog-samples.ts';
import { FakeClock } from '../test/support/world.ts';
import type { Bench } from './run.ts';

const CLUSTERS = Number(process.env['CLUSTERS'] ?? 1_000);
const SEED = Number(process.env['SEED'] ?? 1);
const BACKUP_MS = 2 * SECOND_MS;
/** One try in ten fails, and for two hours of the second day every one: the vault is away. */
const FAILS = 0.1;
const TROUBLE = { from: DAY_MS + 9 * HOUR_MS, to: DAY_MS + 11 * HOUR_MS };
/** The service is off for the whole fourth day. */
const OUTAGE = { from: 3 * DAY_MS, to: 4 * DAY_MS };
const DAYS = 8;
/** The keeper looks each second; five at a time are enough for figures in minutes. */
const STEP_MS = 5 * SECOND_MS;

interface Done {
  readonly clusterId: ClusterId;
  readonly startedAt: number;
  readonly isProven: boolean;
}

const bench: Bench = {
  question: `${CLUSTERS} clusters for ${DAYS} days, one try in ten failing, two hours of nothing but failures, a day's outage (SEED=${SEED})`,
  guess:
    'every cluster inside 24 hours; after the outage all in about an hour, never more than 2 at once',
  run: async () => {
    const memory = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
    const folder = mkdtempSync(join(memory, 'keyark-bench-'));
    try {
      using catalog = openCatalog({ folder });
      report(await simulate(catalog));
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};
export default bench;

interface Week {
  readonly start: number;
  readonly done: readonly Done[];
  readonly firstProofs: ReadonlyMap<ClusterId, number>;
  readonly mostAtOnce: number;
}

async function simulate(catalog: Catalog): Promise<Week> {
  const clock = new FakeClock();
  const start = clock.now();
  const random = randomOf(SEED);
  const firstProofs = fill(catalog, start, random);
  const done: Done[] = [];
  let [running, mostAtOnce, numbered] = [0, 0, CLUSTERS];
  const takeDue = async (id: ClusterId): Promise<ReadyBackup> => {
    const startedAt = clock.now();
    running += 1;
    mostAtOnce = Math.max(mostAtOnce, running);
    await clock.sleep(BACKUP_MS);
    running -= 1;
    const sinceStart = startedAt - start;
    const isTrouble = sinceStart >= TROUBLE.from && sinceStart < TROUBLE.to;
    const isProven = !isTrouble && random() >= FAILS;
    done.push({ clusterId: id, startedAt, isProven });
    if (!isProven) throw new Failed('VAULT_WRITE', 'the bench says so');
    numbered += 1;
    return prove(catalog, id, startedAt, numbered);
  };
  const keeperOf = (): Keeper =>
    new Keeper({
      catalog,
      backups: { takeDue, purgeDue: async () => {} } as Pick<
        Backups,
        'takeDue' | 'purgeDue'
        // The keeper uses these two alone.
      > as Backups,
      clock,
      background: new Background(() => {}),
      policy: DEFAULT_SCHEDULE,
      onIdle: () => {},
      onMinute: () => {},
    });
  let keeper = keeperOf();
  while (clock.now() - start < DAYS * DAY_MS) {
    const sinceStart = clock.now() - start;
    if (sinceStart >= OUTAGE.from && sinceStart < OUTAGE.to) {
      // A new process knows nothing but the rows.
      clock.advance(OUTAGE.to - sinceStart);
      await turn();
      keeper = keeperOf();
    }
    keeper.tick();
    clock.advance(STEP_MS);
    await turn();
  }
  return { start, done, firstProofs, mostAtOnce };
}

/** What the stubbed backups wait for, and what follows from it. */
async function turn(): Promise<void> {
  await new Promise(setImmediate);
}

/** Clusters as a service that has run for a while has them: their newest proofs are spread over the last hours. */
function fill(catalog: Catalog, start: number, random: () => number): Map<ClusterId, number> {
  const proofs = new Map<ClusterId, number>();
  catalog.transact((writer) => {
    for (let n = 0; n < CLUSTERS; n += 1) {
      const id = clusterId(n);
      const provenAt = at(start - Math.floor(random() * 16 * HOUR_MS));
      proofs.set(id, provenAt);
      writer.createCluster(sampleCluster(n, { nextBackupAt: nextAfterSuccess(provenAt, id) }));
      writer.createHsm(sampleHsm(n, { id: hsmId(n), clusterId: id }));
      writer.createBackup(readyBackup(n, { clusterId: id, createdAt: provenAt }));
    }
  });
  return proofs;
}

function prove(catalog: Catalog, id: ClusterId, startedAt: EpochMs, n: number): ReadyBackup {
  const backup = readyBackup(n, { clusterId: id, createdAt: startedAt });
  catalog.transact((writer) => {
    writer.createBackup(backup);
    const cluster = writer.cluster(id);
    const { generation } = backup.archive.seal.statement;
    if (cluster !== undefined) {
      writer.putCluster(afterProven(cluster, { createdAt: startedAt, generation }));
    }
  });
  return backup;
}

function report({ start, done, firstProofs, mostAtOnce }: Week): void {
  const [outageFrom, outageTo] = [start + OUTAGE.from, start + OUTAGE.to];
  const gaps = gapsOf(done, firstProofs);
  const isOfOutage = ({ from, to }: Gap): boolean => from < outageTo && to > outageFrom;
  const worst = Math.max(
    ...gaps.filter((gap) => !isOfOutage(gap)).map(({ from, to }) => to - from),
  );
  const late = gaps.filter((gap) => !isOfOutage(gap) && gap.to - gap.from > FLOOR_MS).length;
  const caughtUp = Math.max(
    ...gaps
      .filter((gap) => isOfOutage(gap) && gap.to - gap.from > FLOOR_MS)
      .map(({ to }) => to - outageTo),
  );
  const before = done.filter(({ startedAt }) => startedAt < outageFrom);
  const firstDay = done.filter(
    ({ startedAt }) => startedAt >= outageTo && startedAt < outageTo + DAY_MS,
  );
  const last = done.filter(({ startedAt }) => startedAt >= outageTo + DAY_MS);
  const failed = done.filter(({ isProven }) => !isProven).length;
  const total = `${done.length} tries, ${failed} failed, never more than ${mostAtOnce} at once`;
  console.log(total);
  console.log(
    `longest time without a newer proof ${(worst / HOUR_MS).toFixed(2)} h; over 24 h: ${late} (target 0)`,
  );
  console.log(
    `after the outage all were proven again within ${(caughtUp / MINUTE_MS).toFixed(0)} min`,
  );
  console.log(`busiest minute, with the bad hours    ${busiest(before, start, outageFrom)}`);
  console.log(
    `busiest minute, day after the outage  ${busiest(firstDay, outageTo, outageTo + DAY_MS)}`,
  );
  console.log(
    `busiest minute, the days after that   ${busiest(last, outageTo + DAY_MS, start + DAYS * DAY_MS)}`,
  );
}

interface Gap {
  readonly from: number;
  readonly to: number;
}

/** From one proof of a cluster to its next. */
function gapsOf(
  done: readonly Done[],
  firstProofs: ReadonlyMap<ClusterId, number>,
): readonly Gap[] {
  const newest = new Map(firstProofs);
  return done.flatMap(({ clusterId: id, startedAt, isProven }): Gap[] => {
    if (!isProven) return [];
    const from = newest.get(id) ?? startedAt;
    newest.set(id, startedAt);
    return [{ from, to: startedAt }];
  });
}

function busiest(done: readonly Done[], from: number, to: number): string {
  const perMinute = new Map<number, number>();
  for (const { startedAt } of done) {
    const minute = Math.floor(startedAt / MINUTE_MS);
    perMinute.set(minute, (perMinute.get(minute) ?? 0) + 1);
  }
  const most = Math.max(0, ...perMinute.values());
  const mean = done.length / ((to - from) / MINUTE_MS);
  return `${most} starts, mean ${mean.toFixed(2)}: ${(most / mean).toFixed(0)}x`;
}

/** mulberry32: the same week for the same seed. */
function randomOf(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
