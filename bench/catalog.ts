/** Does a page of the catalog stay cheap when the catalog is large? */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clusterFates } from '../src/backups/review.ts';
import type { BackupQuery, Catalog } from '../src/catalog/catalog.ts';
import { openCatalog } from '../src/catalog/sqlite.ts';
import { MINUTE_MS } from '../src/kernel/clock.ts';
import {
  at,
  backupId,
  clusterId,
  deletedBackup,
  pendingBackup,
  readyBackup,
  SCOPE,
  sampleCluster,
} from '../test/support/catalog-samples.ts';
import { type Measured, measure } from './measure.ts';
import type { Bench } from './run.ts';

const CLUSTERS = Number(process.env['CLUSTERS'] ?? 10_000);
const BACKUPS = CLUSTERS * 10;
/** A cluster under constant change, beyond all other numbers. */
const BUSY_N = 900_000_000;
const BUSY = clusterId(BUSY_N);
const BATCH = 5_000;
const ROUNDS = 50;
const PAGE = { limit: 50 };

const bench: Bench = {
  question: `${CLUSTERS} clusters, ${BACKUPS} backups (CLUSTERS=n for others): one page of 50, work that is due`,
  guess: 'any filtered page below 5 ms, due work below 20 ms, as in a catalog of a hundred',
  run: async () => {
    const folder = mkdtempSync(join(tmpdir(), 'keyark-bench-'));
    try {
      using large = openCatalog({ folder: join(folder, 'large') });
      using small = openCatalog({ folder: join(folder, 'small') });
      fill(large, CLUSTERS, BACKUPS);
      fill(small, 10, 100);
      const [inLarge, inSmall] = [
        await measure(ROUNDS, questions(large)),
        await measure(ROUNDS, questions(small)),
      ];
      for (const [name, time] of Object.entries(inLarge)) {
        // Both records come from the same questions.
        const base = inSmall[name as keyof typeof inSmall];
        console.log(line(name, time, base));
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
};
export default bench;

function line(name: string, time: Measured, base: Measured): string {
  const ratio = (time.medianMs / base.medianMs).toFixed(1);
  return `${name.padEnd(26)} n=${time.n} median ${time.medianMs.toFixed(2)} ms, p99 ${time.p99Ms.toFixed(2)} ms, ${ratio}x of a catalog of 100 backups`;
}

function questions(catalog: Catalog) {
  const page = (query: BackupQuery) => () =>
    catalog.read((reader) => reader.backups(SCOPE, query, PAGE));
  const some = Array.from({ length: 20 }, (_, n) => n);
  return {
    'newest backups': page({}),
    'oldest backups': page({ isAscending: true }),
    'READY or DELETED': page({ states: ['READY', 'DELETED'] }),
    'never expiring (rare)': page({ neverExpires: true }),
    'one cluster': page({ clusterIds: [clusterId(5)] }),
    '20 clusters, READY': page({ clusterIds: some.map(clusterId), states: ['READY'] }),
    'copies of 20 backups': page({ sourceBackupIds: some.map(backupId) }),
    '20 ids': page({ ids: some.map(backupId) }),
    'newest READY of a cluster': () => catalog.read((reader) => reader.newestReady(clusterId(5))),
    'clusters due': () => catalog.read((reader) => reader.clustersDue(at(1_100), 100)),
    'clusters to review': () => catalog.read((reader) => reader.clustersToReview(at(1_100), 5)),
    'copies to expire': () => catalog.read((reader) => reader.backupsToExpire(at(1_100), 50)),
    'deletions to make final': () => catalog.read((reader) => reader.backupsToPurge(at(1_100), 20)),
    'fates of 500 backups': () =>
      catalog.read((reader) => clusterFates(reader, BUSY, at(1_100), { thinning: true })),
    'clusters of a network': () =>
      catalog.read((reader) => reader.clusters(SCOPE, { vpcIds: ['vpc-3'] }, PAGE)),
    'one backup written': () =>
      catalog.transact((writer) => writer.putBackup(deletedBackup(7, { clusterId: clusterId(7) }))),
  };
}

function fill(catalog: Catalog, clusters: number, backups: number): void {
  catalog.transact((writer) => {
    writer.createCluster(sampleCluster(BUSY_N));
    for (let n = BUSY_N; n < BUSY_N + 500; n += 1) {
      const createdAt = at(n * 5 * MINUTE_MS);
      writer.createBackup(readyBackup(n, { clusterId: BUSY, cause: 'changed', createdAt }));
    }
  });
  const makers = [
    readyBackup,
    readyBackup,
    deletedBackup,
    (n: number, changes: Parameters<typeof readyBackup>[1]) => pendingBackup(n, n, changes),
  ];
  for (let from = 0; from < Math.max(clusters, backups); from += BATCH) {
    catalog.transact((writer) => {
      for (let n = from; n < Math.min(from + BATCH, clusters); n += 1) {
        const vpcId = `vpc-${n % 50}`;
        writer.createCluster(sampleCluster(n, { nextBackupAt: at(n), nextReviewAt: at(n), vpcId }));
      }
      for (let n = from; n < Math.min(from + BATCH, backups); n += 1) {
        const make = makers[n % makers.length] ?? readyBackup;
        writer.createBackup(
          make(n, { clusterId: clusterId(n % clusters), neverExpires: n % 9_973 === 5 }),
        );
      }
    });
  }
}
