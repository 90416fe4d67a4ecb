/** What every catalog promises, whatever it is made of. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import type { Backup, BackupState } from '../../src/backups/backup.ts';
import type { CopyRule, WantedCopy } from '../../src/backups/copy-rule.ts';
import type { Share } from '../../src/backups/share.ts';
import type { BackupQuery, Catalog, ClusterQuery, Page } from '../../src/catalog/catalog.ts';
import type { Cluster } from '../../src/clusters/cluster.ts';
import type { Restore } from '../../src/clusters/restore.ts';
import { parseCopyRuleId } from '../../src/kernel/ids.ts';
import {
  at,
  backupId,
  clusterId,
  deletedBackup,
  hsmId,
  pendingBackup,
  readyBackup,
  restoreId,
  SCOPE,
  sampleCluster,
  sampleHsm,
  sampleRestore,
  unfinishedBackup,
} from '../support/catalog-samples.ts';

export interface CatalogUnderTest extends AsyncDisposable {
  readonly catalog: Catalog;
  /** Closes it and opens the same data again. */
  reopen(): Promise<Catalog>;
}

export function catalogLaws(name: string, make: () => Promise<CatalogUnderTest>): void {
  describe(`${name} keeps the catalog's laws`, () => {
    let world: CatalogUnderTest;
    let catalog: Catalog;
    beforeEach(async () => {
      world = await make();
      catalog = world.catalog;
    });
    afterEach(async () => {
      await world[Symbol.asyncDispose]();
    });

    const write = <T>(fn: Parameters<typeof catalog.transact<T>>[0]): T => catalog.transact(fn);

    it('gives back exactly what was put, also after it was opened again', async () => {
      const full = sampleCluster(1, {
        state: 'DEGRADED',
        stateMessage: 'why',
        sourceBackup: { id: backupId(9), asRequested: 'arn:aws:…' },
        subnets: new Map([
          ['b', 'subnet-2'],
          ['a', 'subnet-1'],
        ]),
        certificates: { clusterCsr: 'csr', trustAnchor: 'anchor' },
        tags: new Map([['__proto__', 'x']]),
        newestChange: { generation: 0, at: at(7) },
        nextBackupAt: at(8),
        nextReviewAt: at(10),
        backupFailures: 3,
      });
      const hsms = [
        sampleHsm(1),
        sampleHsm(2, { stateMessage: 'm', eniIpV6: '::1', serial: 's', takesWrites: false }),
      ];
      const copy = {
        copiedAt: at(4),
        sourceRegion: 'eu-west-1',
        sourceBackup: backupId(1),
        sourceCluster: clusterId(2),
      };
      const backups: readonly Backup[] = [
        unfinishedBackup(1),
        readyBackup(2, { copy, tags: new Map([['k', 'v']]), neverExpires: true }),
        pendingBackup(3, 99),
        deletedBackup(4),
        readyBackup(5, { ...copiedUntil(8), holds: [LEGAL], sparedUntil: at(9), policy: '{}' }),
        {
          ...deletedBackup(6),
          state: 'DELETED',
          deletedAt: at(7),
          why: 'purged',
          record: { parts: [{ name: 'body', removedAt: at(1), absentAt: at(2) }] },
        },
      ];
      write((writer) => {
        writer.createCluster(full);
        writer.createCluster(sampleCluster(2));
        for (const hsm of hsms) writer.createHsm(hsm);
        for (const backup of backups) writer.createBackup(backup);
        writer.putSubnetZone(SCOPE, 'subnet-1', 'us-east-1a');
        writer.putSetting('n', 'v');
      });
      catalog = await world.reopen();
      catalog.read((reader) => {
        assert.deepEqual(reader.cluster(full.id), full);
        assert.deepEqual([...(reader.cluster(full.id)?.subnets.keys() ?? [])], ['b', 'a']);
        assert.deepEqual(reader.cluster(clusterId(2)), sampleCluster(2));
        for (const hsm of hsms) assert.deepEqual(reader.hsm(hsm.id), hsm);
        for (const backup of backups) assert.deepEqual(reader.backup(backup.id), backup);
        assert.equal(reader.subnetZone(SCOPE, 'subnet-1'), 'us-east-1a');
        assert.equal(reader.subnetZone({ ...SCOPE, region: 'other' }, 'subnet-1'), undefined);
        assert.equal(reader.setting('n'), 'v');
        assert.equal(reader.setting('m'), undefined);
        assert.equal(reader.cluster(clusterId(3)), undefined);
      });
    });

    it('replaces whole rows, and leaves nothing of the old one', () => {
      write((writer) => {
        writer.createBackup(pendingBackup(1, 50));
        writer.putBackup(deletedBackup(1));
        writer.createHsm(sampleHsm(1, { serial: 's' }));
        writer.putHsm(sampleHsm(1));
        writer.createCluster(sampleCluster(1, { nextBackupAt: at(1) }));
        writer.putCluster(sampleCluster(1));
        writer.putSetting('n', '1');
        writer.putSetting('n', '2');
      });
      catalog.read((reader) => {
        assert.deepEqual(reader.backup(backupId(1)), deletedBackup(1));
        assert.deepEqual(reader.hsm(hsmId(1)), sampleHsm(1));
        assert.deepEqual(reader.clustersDue(at(10), 10), []);
        assert.equal(reader.setting('n'), '2');
      });
    });

    it('refuses to create what exists', () => {
      write((writer) => {
        writer.createCluster(sampleCluster(1));
        writer.createHsm(sampleHsm(1));
        writer.createBackup(unfinishedBackup(1));
      });
      const conflict = { code: 'Conflict' };
      assert.throws(() => write((writer) => writer.createCluster(sampleCluster(1))), conflict);
      assert.throws(() => write((writer) => writer.createHsm(sampleHsm(1))), conflict);
      assert.throws(() => write((writer) => writer.createBackup(unfinishedBackup(1))), conflict);
    });

    it('does all of a transaction or nothing', () => {
      const boom = new Error('boom');
      assert.throws(
        () =>
          write((writer) => {
            writer.createCluster(sampleCluster(1));
            assert.ok(writer.cluster(clusterId(1)), 'a writer sees its own writes');
            throw boom;
          }),
        boom,
      );
      assert.equal(
        catalog.read((reader) => reader.cluster(clusterId(1))),
        undefined,
      );
      write((writer) => writer.createCluster(sampleCluster(1)));
    });

    it('refuses asynchronous and nested transactions, and writers that outlive theirs', () => {
      const broken = { name: 'Broken' };
      assert.throws(() => write(async (writer) => writer.createCluster(sampleCluster(1))), broken);
      assert.throws(() => write(() => write(() => 1)), broken);
      assert.throws(() => catalog.read(() => write(() => 1)), broken);
      const escaped = write((writer) => writer);
      assert.throws(() => escaped.putSetting('n', 'v'), broken);
      assert.equal(
        catalog.read((reader) => reader.cluster(clusterId(1))),
        undefined,
      );
    });

    it('lists live HSMs oldest first, and HSMs and clusters by state', () => {
      write((writer) => {
        writer.createHsm(sampleHsm(3));
        writer.createHsm(sampleHsm(1, { createdAt: at(9_999) }));
        writer.createHsm(sampleHsm(2, { state: 'DELETED' }));
        writer.createHsm(sampleHsm(4, { clusterId: clusterId(2), state: 'DEGRADED' }));
        writer.createCluster(sampleCluster(1));
        writer.createCluster(sampleCluster(2, { region: 'eu-west-1', state: 'DELETED' }));
      });
      catalog.read((reader) => {
        assert.deepEqual(ids(reader.hsmsOf(clusterId(1))), [hsmId(3), hsmId(1)]);
        assert.deepEqual(ids(reader.hsmsIn(['DEGRADED', 'DELETED'])), [hsmId(4), hsmId(2)]);
        assert.deepEqual(ids(reader.clustersIn(['DELETED'])), [clusterId(2)]);
        assert.deepEqual(ids(reader.clustersIn([])), []);
      });
    });

    it('finds the clusters that are due, earliest first', () => {
      write((writer) => {
        writer.createCluster(sampleCluster(1, { nextBackupAt: at(30) }));
        writer.createCluster(sampleCluster(2, { nextBackupAt: at(10) }));
        writer.createCluster(sampleCluster(3, { nextBackupAt: at(20), region: 'eu-west-1' }));
        writer.createCluster(sampleCluster(4));
        writer.createCluster(sampleCluster(5, { nextBackupAt: at(1) }));
        writer.createCluster(sampleCluster(6, { nextBackupAt: at(1), state: 'DEGRADED' }));
        for (const n of [1, 2, 3, 4, 6]) {
          writer.createHsm(sampleHsm(n, { clusterId: clusterId(n) }));
        }
        writer.createHsm(sampleHsm(5, { clusterId: clusterId(5), state: 'DEGRADED' }));
      });
      catalog.read((reader) => {
        assert.deepEqual(ids(reader.clustersDue(at(20), 9)), [clusterId(2), clusterId(3)]);
        assert.deepEqual(ids(reader.clustersDue(at(99), 1)), [clusterId(2)]);
        assert.deepEqual(reader.clustersDue(at(9), 9), []);
      });
    });

    it('knows the newest READY backup of a cluster by order of creation, whatever the clock said', () => {
      write((writer) => {
        writer.createBackup(readyBackup(1, { createdAt: at(50) }));
        writer.createBackup(readyBackup(3, { createdAt: at(50) }));
        writer.createBackup(readyBackup(2, { createdAt: at(40) }));
        // A change of an older row moves nothing.
        writer.putBackup(readyBackup(1, { createdAt: at(50) }));
        writer.createBackup(unfinishedBackup(4, { createdAt: at(60) }));
        writer.createBackup(pendingBackup(5, 1, { createdAt: at(70) }));
        writer.createBackup(readyBackup(6, { clusterId: clusterId(2), createdAt: at(80) }));
      });
      catalog.read((reader) => {
        assert.equal(reader.newestReady(clusterId(1))?.id, backupId(2));
        assert.equal(reader.newestReady(clusterId(3)), undefined);
        assert.deepEqual(ids(reader.backupsIn(['CREATE_IN_PROGRESS'])), [backupId(4)]);
        assert.deepEqual(ids(reader.backupsIn(['PENDING_DELETION'])), [backupId(5)]);
      });
    });

    it('never takes a copy for the newest backup of a cluster, wherever it lies', () => {
      const copy = {
        copiedAt: at(90),
        sourceRegion: SCOPE.region,
        sourceBackup: backupId(1),
        sourceCluster: clusterId(1),
      };
      write((writer) => {
        writer.createBackup(readyBackup(1));
        writer.createBackup(readyBackup(2, { region: 'eu-west-1', copy }));
        writer.createBackup(readyBackup(3, { copy: { ...copy, sourceBackup: backupId(2) } }));
        writer.createBackup(readyBackup(4, { clusterId: clusterId(2), copy }));
      });
      catalog.read((reader) => {
        assert.equal(reader.newestReady(clusterId(1))?.id, backupId(1));
        assert.equal(reader.newestReady(clusterId(2)), undefined);
      });
    });

    it('knows of which backup a copy is under way', () => {
      const copyOf = (n: number) => ({
        copiedAt: at(1),
        sourceRegion: SCOPE.region,
        sourceBackup: backupId(n),
        sourceCluster: clusterId(1),
      });
      write((writer) => {
        writer.createBackup(readyBackup(1));
        writer.createBackup(unfinishedBackup(2, { copy: copyOf(1) }));
        writer.createBackup(readyBackup(3, { copy: copyOf(2) }));
        writer.createBackup(deletedBackup(4, { copy: copyOf(3) }));
      });
      const isBeingCopied = (n: number) =>
        catalog.read((reader) => reader.isBeingCopied(backupId(n)));
      assert.deepEqual([1, 2, 3, 4].map(isBeingCopied), [true, false, false, false]);
    });

    it('keeps shares, rules and wishes as they were put, also after it was opened again', async () => {
      const share: Share = {
        backupId: backupId(1),
        owner: SCOPE.account,
        consumer: '000000000001',
        region: SCOPE.region,
        createdAt: at(1_001),
        state: 'FROM_POLICY',
      };
      const promoted: Share = { ...share, consumer: '000000000002', state: 'ACTIVE' };
      const elsewhere: Share = { ...share, backupId: backupId(2), region: 'eu-west-1' };
      const rule: CopyRule = {
        id: ruleId(1),
        account: SCOPE.account,
        fromRegion: SCOPE.region,
        toRegion: 'eu-west-1',
        createdAt: at(5),
      };
      const narrow: CopyRule = {
        ...rule,
        id: ruleId(2),
        fromRegion: 'eu-west-1',
        clusterId: clusterId(1),
        causes: ['scheduled', 'manual'],
        retentionDays: 7,
        createdAt: at(4),
      };
      const wish: WantedCopy = { ruleId: rule.id, backupId: backupId(1), tries: 0, nextAt: at(9) };
      const running = { ...wish, backupId: backupId(2), tries: 2, copyId: backupId(7) };
      write((writer) => {
        for (const each of [share, promoted, elsewhere]) writer.putShare(each);
        for (const each of [rule, narrow]) writer.createCopyRule(each);
        for (const each of [wish, running]) writer.putWantedCopy(each);
      });
      catalog = await world.reopen();
      catalog.read((reader) => {
        assert.deepEqual(reader.sharesOf(backupId(1)), [share, promoted]);
        assert.deepEqual(reader.shares(SCOPE, 'owner', 9), [promoted, share]);
        assert.deepEqual(reader.shares(SCOPE, 'owner', 1), [promoted]);
        const consumer = { ...SCOPE, account: share.consumer };
        assert.deepEqual(reader.shares(consumer, 'consumer', 9), [share]);
        assert.deepEqual(reader.copyRules(SCOPE.account), [narrow, rule]);
        assert.deepEqual(reader.copyRules(SCOPE.account, SCOPE.region), [rule]);
        assert.deepEqual(reader.copyRules('000000000009'), []);
        assert.deepEqual(reader.copyRule(narrow.id), narrow);
        assert.deepEqual(reader.copiesWanted(at(9), 9), [wish]);
        assert.deepEqual(reader.copiesWanted(at(8), 9), []);
        assert.deepEqual(reader.wishOf(backupId(7)), running);
      });
      catalog.transact((writer) => {
        writer.removeCopyRule(rule.id);
        writer.removeShare(backupId(1), share.consumer);
      });
      catalog.read((reader) => {
        assert.equal(reader.copyRule(rule.id), undefined);
        assert.deepEqual(reader.copiesWanted(at(99), 9), []);
        assert.deepEqual(reader.wishOf(backupId(7)), running, 'a copy under way ends its own wish');
        assert.deepEqual(reader.sharesOf(backupId(1)), [promoted]);
      });
    });

    it('shares nothing that is gone', () => {
      write((writer) => {
        writer.createBackup(readyBackup(1));
        writer.putShare(shareOf(readyBackup(1), CONSUMER.account));
        writer.putBackup(deletedBackup(1));
      });
      assert.deepEqual(
        catalog.read((reader) => reader.sharesOf(backupId(1))),
        [],
      );
    });

    it('pages through what is shared like a filter and a sort would, for every filter', () => {
      const all = manyBackups();
      const isShared = (n: number): boolean => n % 3 > 0;
      write((writer) => {
        for (const [n, backup] of all.entries()) {
          writer.createBackup(backup);
          if (isShared(n)) writer.putShare(shareOf(backup, CONSUMER.account));
          // Neither somebody else's share nor one that was not accepted shows.
          writer.putShare(shareOf(backup, '000000000002'));
          if (!isShared(n)) writer.putShare(shareOf(backup, CONSUMER.account, 'INVITED'));
        }
      });
      fc.assert(
        fc.property(backupQueries, fc.integer({ min: 1, max: 7 }), (query, limit) => {
          const expected = all
            .filter((_, n) => isShared(n))
            .filter(({ state, region }) => state === 'READY' && region === SCOPE.region)
            .filter((backup) => backupMatches(backup, query))
            .sort((a, b) => byTime(a, b) * (query.isAscending === true ? 1 : -1));
          const seen = collect(limit, (page) =>
            catalog.read((reader) => reader.sharedBackups(CONSUMER, query, page)),
          );
          assert.deepEqual(ids(seen), ids(expected));
        }),
        { numRuns: 100 },
      );
    });

    it('finds what retention has to look at, and nothing before its time', () => {
      write((writer) => {
        writer.createCluster(sampleCluster(1, { nextReviewAt: at(500) }));
        writer.createCluster(sampleCluster(2, { nextReviewAt: at(100) }));
        writer.createCluster(sampleCluster(3));
        writer.createBackup(readyBackup(1));
        writer.createBackup(readyBackup(2, { region: 'eu-west-1', ...copiedUntil(900) }));
        writer.createBackup(readyBackup(3, { clusterId: clusterId(2), ...copiedUntil(400) }));
        writer.createBackup(pendingBackup(4, 300, { clusterId: clusterId(2) }));
        writer.createBackup(pendingBackup(5, 200));
      });
      catalog.read((reader) => {
        const cluster = sampleCluster(1);
        assert.deepEqual(ids(reader.clustersToReview(at(499), 9)), [clusterId(2)]);
        assert.deepEqual(ids(reader.clustersToReview(at(500), 9)), [clusterId(2), clusterId(1)]);
        assert.deepEqual(ids(reader.clustersToReview(at(500), 1)), [clusterId(2)]);
        assert.deepEqual(ids(reader.readyBackupsOf(cluster)), [backupId(1)]);
        assert.deepEqual(ids(reader.backupsToPurge(at(300), 9)), [backupId(5), backupId(4)]);
        assert.deepEqual(ids(reader.backupsToPurge(at(299), 9)), [backupId(5)]);
        assert.deepEqual(ids(reader.backupsToExpire(at(899), 9)), [backupId(3)]);
      });
    });

    it('gives back restores as they were put, newest first, and those under way apart', () => {
      const backed = { safetyId: backupId(7), restoredId: backupId(8) };
      const failed: Restore = {
        ...sampleRestore(1, { safetyId: backupId(5) }),
        state: 'FAILED',
        finishedAt: at(2),
        why: 'a test',
      };
      const done: Restore = {
        ...sampleRestore(2, { undoes: restoreId(1) }),
        ...backed,
        state: 'DONE',
        finishedAt: at(3),
        undoUntil: at(8),
      };
      const switched: Restore = { ...sampleRestore(3), ...backed, state: 'SWITCHED' };
      const elsewhere: Restore = sampleRestore(4, { clusterId: clusterId(2) });
      for (const each of [failed, done, switched, elsewhere]) {
        write((writer) => writer.createRestore(each));
      }
      catalog.read((reader) => {
        assert.deepEqual(reader.restores(SCOPE, 9), [elsewhere, switched, done, failed]);
        assert.deepEqual(reader.restores(SCOPE, 2, clusterId(1)), [switched, done]);
        assert.deepEqual(reader.restores({ ...SCOPE, account: 'other' }, 9), []);
        assert.deepEqual(reader.restoresUnderWay(clusterId(1)), [switched]);
        assert.equal(reader.restoresUnderWay().length, 2);
        assert.deepEqual(reader.restore(done.id), done);
      });
      // One at a time for each cluster, whatever the callers thought.
      assert.throws(() => write((writer) => writer.createRestore(sampleRestore(5))));
      const ended: Restore = { ...switched, state: 'DONE', finishedAt: at(4), undoUntil: at(9) };
      write((writer) => writer.putRestore(ended));
      write((writer) => writer.createRestore(sampleRestore(5)));
      assert.deepEqual(
        catalog.read((reader) => reader.restore(switched.id)),
        ended,
      );
    });

    it('gives retention the same facts as the whole row has', () => {
      const backups = [
        readyBackup(1),
        readyBackup(2, { cause: 'changed', neverExpires: true, holds: [LEGAL] }),
        readyBackup(3, { ...copiedUntil(8), sparedUntil: at(9), policy: '{}' }),
      ];
      write((writer) => {
        for (const backup of [...backups, pendingBackup(4, 99)]) writer.createBackup(backup);
        writer.createBackup(readyBackup(5, { region: 'eu-west-1' }));
      });
      catalog.read((reader) => {
        const whole = reader.readyBackupsOf({ id: clusterId(1), region: SCOPE.region });
        const facts = reader.retentionFactsOf({ id: clusterId(1), region: SCOPE.region });
        assert.equal(facts.length, backups.length);
        for (const [i, each] of facts.entries())
          assert.deepEqual({ ...whole[i], ...each }, whole[i]);
      });
    });

    it('finds what a backup is held by, was made into, and whether it is the last', () => {
      write((writer) => {
        writer.createBackup(readyBackup(1, { holds: [LEGAL] }));
        writer.createBackup(pendingBackup(2, 99, { holds: [LEGAL], clusterId: clusterId(2) }));
        writer.createBackup({ ...deletedBackup(3), holds: [LEGAL] });
        writer.createBackup(readyBackup(4, { ...copiedUntil(8), clusterId: clusterId(2) }));
        writer.createBackup(readyBackup(5, { region: 'eu-west-1' }));
        const sourceBackup = { id: backupId(1), asRequested: 'x' };
        writer.createCluster(sampleCluster(7, { sourceBackup }));
        writer.createCluster(sampleCluster(8, { sourceBackup, state: 'DELETED' }));
        writer.createCluster(
          sampleCluster(9, { sourceBackup: { ...sourceBackup, id: backupId(2) } }),
        );
      });
      catalog.read((reader) => {
        assert.deepEqual(
          reader.heldBackups().map(({ id }) => id),
          [backupId(1), backupId(2)],
        );
        assert.deepEqual(
          reader.clustersMadeFrom(backupId(1)).map(({ id }) => id),
          [clusterId(7)],
        );
        assert.equal(reader.hasOtherSound({ id: backupId(1), clusterId: clusterId(1) }), true);
        assert.equal(reader.hasOtherSound({ id: backupId(4), clusterId: clusterId(2) }), false);
      });
    });

    it('finds clusters that their backups outlived, and those whose copies lie in a region', () => {
      const far = { account: SCOPE.account, region: 'eu-west-1' };
      const copyOf = (n: number, cluster: number) =>
        readyBackup(n, { ...copiedUntil(8), ...far, clusterId: clusterId(cluster) });
      write((writer) => {
        for (const n of [1, 2, 3, 4]) writer.createCluster(sampleCluster(n, { state: 'DELETED' }));
        writer.createCluster(sampleCluster(5));
        writer.createCluster(sampleCluster(6, far));
        for (const n of [1, 5]) writer.createBackup(readyBackup(n, { clusterId: clusterId(n) }));
        writer.createBackup(unfinishedBackup(2, { clusterId: clusterId(2) }));
        writer.putBackup(pendingBackup(2, 99, { clusterId: clusterId(2) }));
        writer.createBackup(readyBackup(3, { clusterId: clusterId(3) }));
        writer.putBackup(deletedBackup(3, { clusterId: clusterId(3) }));
        // Of the fourth one nothing is left but two copies elsewhere.
        for (const n of [40, 41]) writer.createBackup(copyOf(n, 4));
        for (const n of [50, 60]) writer.createBackup(copyOf(n, n / 10));
      });
      const ids = (clusters: readonly { id: string }[]) => clusters.map(({ id }) => id);
      catalog.read((reader) => {
        assert.deepEqual(ids(reader.clustersOutlived(SCOPE, 9)), [clusterId(2), clusterId(1)]);
        assert.deepEqual(ids(reader.clustersOutlived(SCOPE, 1)), [clusterId(2)]);
        assert.deepEqual(reader.clustersOutlived(far, 9), []);
        assert.deepEqual(reader.clustersCopiedTo(far, 9), [clusterId(4), clusterId(5)]);
        assert.deepEqual(reader.clustersCopiedTo(far, 1), [clusterId(4)]);
        assert.deepEqual(reader.clustersCopiedTo(SCOPE, 9), []);
        assert.equal(reader.hasSoundElsewhere(clusterId(5), far), true);
        assert.equal(reader.hasSoundElsewhere(clusterId(4), far), false);
      });
    });

    it('finds the clusters that move to another HSM type, or can go back, and keeps every part of it', () => {
      const swap = { oldHsmId: hsmId(1), newHsmId: hsmId(2), backHsmId: hsmId(3) };
      const way = {
        from: 'hsm1.medium',
        to: 'hsm2m.medium',
        startedAt: at(1),
        rollbackUntil: at(2),
      } as const;
      const done = { ...way, state: 'DONE', oldBackupId: backupId(1) } as const;
      const preparing = {
        ...way,
        state: 'PREPARING',
        undoes: done,
        writer: swap,
        followers: [swap],
        migratedIds: [backupId(2)],
        beforeId: backupId(3),
      } as const;
      const moving = [
        sampleCluster(1, { state: 'ROLLBACK_IN_PROGRESS', migration: preparing }),
        sampleCluster(2, { migration: done }),
      ];
      write((writer) => {
        for (const cluster of [...moving, sampleCluster(3, { migration: done })]) {
          writer.createCluster(cluster);
        }
        writer.createCluster(sampleCluster(4));
        // Over and forgotten.
        writer.putCluster(sampleCluster(3));
      });
      catalog.read((reader) => assert.deepEqual(reader.clustersMigrating(), moving));
    });

    it('pages through backups like a filter and a sort would, for every filter', () => {
      const all = manyBackups();
      write((writer) => {
        for (const backup of all) writer.createBackup(backup);
      });
      fc.assert(
        fc.property(backupQueries, fc.integer({ min: 1, max: 7 }), (query, limit) => {
          const expected = all
            .filter((backup) => backup.region === SCOPE.region && backupMatches(backup, query))
            .sort((a, b) => byTime(a, b) * (query.isAscending === true ? 1 : -1));
          const seen = collect(limit, (page) =>
            catalog.read((reader) => reader.backups(SCOPE, query, page)),
          );
          assert.deepEqual(ids(seen), ids(expected));
          const listed = collect(limit, (page) =>
            catalog.read((reader) => reader.backupSummaries(SCOPE, query, page)),
          );
          // The same backups, and nothing that their whole rows say otherwise.
          for (const [i, each] of listed.entries())
            assert.deepEqual({ ...seen[i], ...each }, seen[i]);
          assert.deepEqual(ids(listed), ids(seen));
        }),
        { numRuns: 150 },
      );
    });

    it('pages through clusters like a filter and a sort would, for every filter', () => {
      const all = manyClusters();
      write((writer) => {
        for (const cluster of all) writer.createCluster(cluster);
      });
      fc.assert(
        fc.property(clusterQueries, fc.integer({ min: 1, max: 7 }), (query, limit) => {
          const expected = all
            .filter((cluster) => cluster.region === SCOPE.region && clusterMatches(cluster, query))
            .sort((a, b) => -byTime(a, b));
          const seen = collect(limit, (page) =>
            catalog.read((reader) => reader.clusters(SCOPE, query, page)),
          );
          assert.deepEqual(ids(seen), ids(expected));
        }),
        { numRuns: 100 },
      );
    });

    it('neither repeats nor skips old rows when new ones arrive between pages', () => {
      const put = (n: number) => write((writer) => writer.createBackup(readyBackup(n)));
      for (const n of [1, 3, 5, 7]) put(n);
      const page = (nextToken?: string) =>
        catalog.read((reader) =>
          reader.backups(SCOPE, {}, { limit: 2, ...(nextToken && { nextToken }) }),
        );
      const first = page();
      put(8);
      put(4);
      const second = page(first.nextToken);
      const third = page(second.nextToken);
      assert.deepEqual(ids(first.items), [backupId(7), backupId(5)]);
      assert.deepEqual(ids(second.items), [backupId(4), backupId(3)]);
      assert.deepEqual(ids(third.items), [backupId(1)]);
      assert.equal(third.nextToken, undefined);
    });

    it('makes short tokens and refuses every token that it did not make for this question', () => {
      write((writer) => {
        for (const n of [1, 2, 3]) writer.createBackup(readyBackup(n));
        for (const n of [1, 2, 3]) writer.createCluster(sampleCluster(n));
      });
      const token =
        catalog.read((reader) => reader.backups(SCOPE, {}, { limit: 1 })).nextToken ?? '';
      assert.ok(token.length > 0 && token.length <= 256);
      const refused = { name: 'Refused', code: 'InvalidRequest' };
      const ask = (nextToken: string, query: BackupQuery = {}, scope = SCOPE) =>
        catalog.read((reader) => reader.backups(scope, query, { limit: 1, nextToken }));
      assert.equal(ask(token).items.length, 1);
      assert.throws(() => ask(token, { states: ['READY'] }), refused);
      assert.throws(() => ask(token, { isAscending: true }), refused);
      assert.throws(() => ask(token, {}, { ...SCOPE, region: 'eu-west-1' }), refused);
      assert.throws(
        () => catalog.read((reader) => reader.clusters(SCOPE, {}, { limit: 1, nextToken: token })),
        refused,
      );
      fc.assert(
        fc.property(fc.oneof(fc.string(), fc.base64String({ maxLength: 400 })), (text) => {
          assert.throws(() => ask(text), refused);
        }),
      );
      for (const value of [null, 1, {}, [], ['x'], [1, 2, 3], ['', 1.5, 'x'], [[], {}, null]]) {
        const text = Buffer.from(JSON.stringify(value)).toString('base64url');
        assert.throws(() => ask(text), refused);
      }
    });

    it('refuses more filter values than it could answer quickly', () => {
      const clusterIds = Array.from({ length: 101 }, (_, n) => clusterId(n));
      assert.throws(
        () => catalog.read((reader) => reader.backups(SCOPE, { clusterIds }, { limit: 1 })),
        { code: 'InvalidRequest' },
      );
      const most = clusterIds.slice(1);
      const states: readonly BackupState[] = ['READY', 'DELETED', 'PENDING_DELETION'];
      const page = catalog.read((reader) =>
        reader.backups(SCOPE, { clusterIds: most, states, neverExpires: true }, { limit: 1 }),
      );
      assert.deepEqual(page, { items: [] });
    });
  });
}

const CONSUMER = { ...SCOPE, account: '000000000001' };

const ruleId = (n: number) => parseCopyRuleId(backupId(n).replace('backup-', 'copy-rule-'));

function shareOf(backup: Backup, consumer: string, state: Share['state'] = 'ACTIVE'): Share {
  const { id, account, region, createdAt } = backup;
  return { backupId: id, owner: account, consumer, region, createdAt, state };
}

const ids = (rows: readonly { readonly id: string }[]): readonly string[] =>
  rows.map(({ id }) => id);

function byTime(a: Backup | Cluster, b: Backup | Cluster): number {
  return a.createdAt - b.createdAt || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);
}

function collect<T>(
  limit: number,
  read: (page: { limit: number; nextToken?: string }) => Page<T>,
): readonly T[] {
  const items: T[] = [];
  let nextToken: string | undefined;
  do {
    const page = read({ limit, ...(nextToken !== undefined && { nextToken }) });
    assert.ok(page.items.length <= limit);
    assert.ok(page.nextToken === undefined || page.items.length === limit);
    items.push(...page.items);
    nextToken = page.nextToken;
  } while (nextToken !== undefined);
  return items;
}

/** Every combination of state, cluster, source, flag and region, with many equal times. */
const LEGAL = { kind: 'legal', why: 'audit', by: 'keyark', at: at(3) } as const;

function copiedUntil(expiresAt: number) {
  return {
    copy: {
      copiedAt: at(5),
      sourceRegion: 'us-east-1',
      sourceBackup: backupId(9),
      sourceCluster: clusterId(9),
    },
    ownRetention: { days: 7, expiresAt: at(expiresAt) },
  };
}

function manyBackups(): readonly Backup[] {
  const makers = [
    unfinishedBackup,
    readyBackup,
    deletedBackup,
    (n: number, changes: Parameters<typeof readyBackup>[1]) => pendingBackup(n, n, changes),
  ];
  return Array.from({ length: 96 }, (_, n) => {
    const make = makers[n % 4] ?? readyBackup;
    return make(n, {
      createdAt: at(Math.floor(n / 7)),
      clusterId: clusterId(Math.floor(n / 4) % 3),
      neverExpires: n % 5 === 0,
      region: n % 11 === 0 ? 'eu-west-1' : SCOPE.region,
      ...(n % 3 === 0 && {
        copy: {
          copiedAt: at(n),
          sourceRegion: 'eu-west-1',
          sourceBackup: backupId(1_000 + (n % 2)),
          sourceCluster: clusterId(9),
        },
      }),
    });
  });
}

const some = <T>(...values: readonly T[]) => fc.subarray([...values]);

const backupQueries: fc.Arbitrary<BackupQuery> = fc.record(
  {
    ids: some(...Array.from({ length: 40 }, (_, n) => backupId(n * 3))),
    sourceBackupIds: some(backupId(1_000), backupId(1_001), backupId(1_002)),
    clusterIds: some(clusterId(0), clusterId(1), clusterId(2), clusterId(7)),
    states: some<BackupState>('CREATE_IN_PROGRESS', 'READY', 'PENDING_DELETION', 'DELETED'),
    neverExpires: fc.boolean(),
    isAscending: fc.boolean(),
  },
  { requiredKeys: [] },
);

function backupMatches(backup: Backup, query: BackupQuery): boolean {
  const { ids: wanted, sourceBackupIds, clusterIds, states, neverExpires } = query;
  const source = backup.copy?.sourceBackup;
  return (
    (wanted?.includes(backup.id) ?? true) &&
    (sourceBackupIds === undefined || (source !== undefined && sourceBackupIds.includes(source))) &&
    (clusterIds?.includes(backup.clusterId) ?? true) &&
    (states?.includes(backup.state) ?? true) &&
    (neverExpires === undefined || backup.neverExpires === neverExpires)
  );
}

function manyClusters(): readonly Cluster[] {
  const states = ['ACTIVE', 'DELETED', 'UNINITIALIZED'] as const;
  return Array.from({ length: 60 }, (_, n) =>
    sampleCluster(n, {
      state: states[n % 3] ?? 'ACTIVE',
      vpcId: `vpc-${Math.floor(n / 3) % 4}`,
      createdAt: at(Math.floor(n / 7)),
      region: n % 11 === 0 ? 'eu-west-1' : SCOPE.region,
    }),
  );
}

const clusterQueries: fc.Arbitrary<ClusterQuery> = fc.record(
  {
    ids: some(...Array.from({ length: 20 }, (_, n) => clusterId(n * 3))),
    vpcIds: some('vpc-0', 'vpc-1', 'vpc-2', 'vpc-9'),
    states: some<Cluster['state']>('ACTIVE', 'DELETED', 'UNINITIALIZED', 'DEGRADED'),
  },
  { requiredKeys: [] },
);

function clusterMatches(cluster: Cluster, { ids: wanted, vpcIds, states }: ClusterQuery): boolean {
  return (
    (wanted?.includes(cluster.id) ?? true) &&
    (vpcIds?.includes(cluster.vpcId) ?? true) &&
    (states?.includes(cluster.state) ?? true)
  );
}
