/**
 * Two callers at once, for everything that changes a state: what the second gets, as a table. Whoever wins,
 * nothing half-done is left: the laws of the model hold when all has come to rest.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { resourceArn } from '../../src/aws/arn.ts';
import type { Backup, ReadyBackup } from '../../src/backups/backup.ts';
import { createRuleBook } from '../../src/backups/rule-book.ts';
import { createSharing } from '../../src/backups/sharing.ts';
import { DAY_MS } from '../../src/kernel/clock.ts';
import type { RefusalCode } from '../../src/kernel/errors.ts';
import type { BackupId, ClusterId, HsmId } from '../../src/kernel/ids.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import type { EpochMs } from '../../src/kernel/types.ts';
import { broken } from '../model/model.ts';
import { CONSUMER, snapshotOf } from '../model/snapshot.ts';
import { CALLER, REGIONS, SCOPE, World } from '../support/world.ts';

type Call = () => Promise<unknown>;

/** An ACTIVE cluster with one HSM and one READY backup. */
interface Stage {
  readonly world: World;
  readonly clusterId: ClusterId;
  readonly hsmId: HsmId;
  readonly backup: ReadyBackup;
}

interface Race {
  /** The two, in the order in which they come. */
  readonly calls: (stage: Stage) => Promise<readonly [Call, Call]> | readonly [Call, Call];
  /** What one of the two is refused with; absent where both are answered. */
  readonly loser?: readonly [RefusalCode, RegExp];
  /** What is there at the end. */
  readonly after?: (stage: Stage) => void;
}

const [HERE, THERE] = REGIONS;
const ZONE = 'us-east-1b';
const NEW = {
  hsmType: 'hsm2m.medium',
  subnetIds: ['subnet-00000001', 'subnet-00000002'],
  mode: 'NON_FIPS',
  tags: new Map(),
} as const;

const RACES: Readonly<Record<string, Race>> = {
  'CreateHsm twice, at the same address': {
    calls: ({ world, clusterId, hsmId }) => {
      const ipAddress = world.hsm(hsmId).eniIp.replace(/\d+$/, '77');
      return both(() =>
        world.clusters.createHsm(SCOPE, { clusterId, availabilityZone: 'us-east-1a', ipAddress }),
      );
    },
    loser: ['InvalidRequest', /77 is taken by another HSM/],
    after: (stage) => assert.equal(hsmsOf(stage).length, 2),
  },
  'CreateHsm twice, anywhere: two HSMs': {
    calls: ({ world, clusterId }) =>
      both(() => world.clusters.createHsm(SCOPE, { clusterId, availabilityZone: ZONE })),
    after: (stage) => {
      const addresses = hsmsOf(stage).map(({ state, eniIp }) => `${state} ${eniIp}`);
      assert.equal(new Set(addresses).size, 3);
      assert.ok(addresses.every((each) => each.startsWith('ACTIVE')));
    },
  },
  'CreateHsm twice, the first of a new cluster': {
    calls: async ({ world }) => {
      const { cluster } = await world.clusters.create(SCOPE, NEW);
      await world.background.idle();
      const request = { clusterId: cluster.id, availabilityZone: ZONE };
      return both(() => world.clusters.createHsm(SCOPE, request));
    },
    loser: ['WrongState', /a second HSM can be added once it is ACTIVE/],
  },
  'CreateHsm and DeleteCluster': {
    calls: async ({ world }) => {
      const clusterId = await emptyCluster(world);
      return [
        () => world.clusters.createHsm(SCOPE, { clusterId, availabilityZone: ZONE }),
        () => world.clusters.remove(SCOPE, clusterId),
      ];
    },
    loser: ['WrongState', /still has 1 HSM; delete them first/],
  },
  'DeleteCluster and CreateHsm': {
    calls: async ({ world }) => {
      const clusterId = await emptyCluster(world);
      return [
        () => world.clusters.remove(SCOPE, clusterId),
        () => world.clusters.createHsm(SCOPE, { clusterId, availabilityZone: ZONE }),
      ];
    },
    loser: ['WrongState', /HSMs can be added when it is UNINITIALIZED or ACTIVE/],
  },
  'DeleteCluster twice': {
    calls: async ({ world }) => {
      const clusterId = await emptyCluster(world);
      return both(() => world.clusters.remove(SCOPE, clusterId));
    },
    loser: ['WrongState', /is DELETED and cannot be deleted now/],
  },
  'DeleteHsm twice': {
    calls: ({ world, clusterId, hsmId }) =>
      both(() => world.clusters.deleteHsm(SCOPE, clusterId, { hsmId })),
    loser: ['WrongState', /is DELETE_IN_PROGRESS and cannot be deleted now/],
    after: ({ world, hsmId }) => assert.equal(world.hsm(hsmId).state, 'DELETED'),
  },
  'DeleteHsm and CreateHsm: a successor with the whole state': {
    calls: ({ world, clusterId, hsmId }) => [
      () => world.clusters.deleteHsm(SCOPE, clusterId, { hsmId }),
      () => world.clusters.createHsm(SCOPE, { clusterId, availabilityZone: ZONE }),
    ],
    after: (stage) => {
      assert.deepEqual(
        hsmsOf(stage).map(({ state, takesWrites }) => [state, takesWrites]),
        [['ACTIVE', true]],
      );
    },
  },
  'GiveUpHsm twice': {
    calls: ({ world, clusterId, hsmId }) => {
      degrade(world, hsmId);
      return both(() => world.clusters.giveUpHsm(SCOPE, { clusterId, hsmId }));
    },
    loser: ['WrongState', /DELETE_IN_PROGRESS; only a DEGRADED HSM can be given up/],
  },
  'DeleteHsm and GiveUpHsm': {
    calls: ({ world, clusterId, hsmId }) => {
      degrade(world, hsmId);
      return [
        () => world.clusters.deleteHsm(SCOPE, clusterId, { hsmId }),
        () => world.clusters.giveUpHsm(SCOPE, { clusterId, hsmId }),
      ];
    },
    loser: ['WrongState', /only a DEGRADED HSM can be given up/],
  },
  'InitializeCluster twice': {
    calls: async ({ world }) => {
      const { clusterId } = await world.uninitializedCluster();
      const request = await world.certificatesFor(clusterId);
      return both(() => world.clusters.initialize(SCOPE, request));
    },
    loser: [
      'WrongState',
      /INITIALIZE_IN_PROGRESS; only an UNINITIALIZED cluster can be initialized/,
    ],
  },
  'InitializeCluster and DeleteHsm': {
    calls: async ({ world }) => {
      const { clusterId, hsmId } = await world.uninitializedCluster();
      const request = await world.certificatesFor(clusterId);
      return [
        () => world.clusters.initialize(SCOPE, request),
        () => world.clusters.deleteHsm(SCOPE, clusterId, { hsmId }),
      ];
    },
    loser: ['WrongState', /INITIALIZE_IN_PROGRESS; wait until that is done/],
  },
  'DeleteHsm and InitializeCluster': {
    calls: async ({ world }) => {
      const { clusterId, hsmId } = await world.uninitializedCluster();
      const request = await world.certificatesFor(clusterId);
      return [
        () => world.clusters.deleteHsm(SCOPE, clusterId, { hsmId }),
        () => world.clusters.initialize(SCOPE, request),
      ];
    },
    loser: ['WrongState', /has no HSM yet, so there is no CSR to sign/],
  },
  'ModifyCluster to the new type, twice': {
    calls: async ({ world }) => {
      const { clusterId } = await oldCluster(world);
      return both(() => world.clusters.migrate(SCOPE, clusterId, 'hsm2m.medium'));
    },
    loser: ['WrongState', /MODIFY_IN_PROGRESS; its HSM type can be changed while ACTIVE/],
  },
  'ModifyCluster back to the old type, twice': {
    calls: async ({ world }) => {
      const { clusterId } = await oldCluster(world);
      await world.clusters.migrate(SCOPE, clusterId, 'hsm2m.medium');
      await world.background.idle();
      return both(() => world.clusters.migrate(SCOPE, clusterId, 'hsm1.medium'));
    },
    loser: ['WrongState', /ROLLBACK_IN_PROGRESS; its HSM type can be changed while ACTIVE/],
  },
  'ModifyCluster to the new type and DeleteHsm': {
    calls: async ({ world }) => {
      const { clusterId, hsmId } = await oldCluster(world);
      return [
        () => world.clusters.migrate(SCOPE, clusterId, 'hsm2m.medium'),
        () => world.clusters.deleteHsm(SCOPE, clusterId, { hsmId }),
      ];
    },
    loser: ['WrongState', /is DELETE_IN_PROGRESS; a cluster moves when all of its HSMs are ACTIVE/],
  },
  'ModifyCluster to the new type and a restore into the cluster': {
    calls: async ({ world }) => {
      const { clusterId } = await oldCluster(world);
      const [chosen] = world.ready(clusterId);
      assert.ok(chosen !== undefined);
      return [
        () => world.clusters.migrate(SCOPE, clusterId, 'hsm2m.medium'),
        () => world.restores.start(CALLER, { clusterId, backupId: chosen.id }),
      ];
    },
    loser: [
      'WrongState',
      /MODIFY_IN_PROGRESS; only an ACTIVE cluster|UPDATE_IN_PROGRESS; its HSM type/,
    ],
  },
  'ModifyCluster of retention, twice: the last word stays': {
    calls: ({ world, clusterId }) => [
      () => world.clusters.modifyRetention(SCOPE, clusterId, 10),
      () => world.clusters.modifyRetention(SCOPE, clusterId, 20),
    ],
    after: ({ world, clusterId }) => assert.equal(world.cluster(clusterId).retentionDays, 20),
  },
  'a restore into a cluster, begun twice': {
    calls: ({ world, clusterId, backup }) =>
      both(() => world.restores.start(CALLER, { clusterId, backupId: backup.id })),
    loser: ['WrongState', /\[RESTORE_UNDER_WAY\]/],
  },
  'an undo of a restore, begun twice': {
    calls: async ({ world, clusterId, backup }) => {
      await world.restores.start(CALLER, { clusterId, backupId: backup.id });
      await world.background.idle();
      return both(() => world.restores.undo(CALLER, clusterId));
    },
    loser: ['WrongState', /\[RESTORE_UNDER_WAY\]/],
  },
  'a restore into a cluster and DeleteBackup of what it brings': {
    calls: ({ world, clusterId, backup }) => [
      () => world.restores.start(CALLER, { clusterId, backupId: backup.id }),
      () => world.backups.remove(CALLER, backup.id),
    ],
    loser: ['WrongState', /\[BACKUP_STATE\]/],
  },
  'a restore into a cluster and DeleteHsm': {
    calls: ({ world, clusterId, hsmId, backup }) => [
      () => world.restores.start(CALLER, { clusterId, backupId: backup.id }),
      () => world.clusters.deleteHsm(SCOPE, clusterId, { hsmId }),
    ],
    loser: ['WrongState', /\[HSM_BUSY\]/],
  },
  'TakeBackup twice: two backups, one after the other': {
    calls: ({ world, clusterId }) => both(() => world.backups.takeManual(SCOPE, clusterId)),
    after: ({ world, clusterId }) => assert.equal(world.ready(clusterId).length, 3),
  },
  'DeleteBackup twice': {
    calls: ({ world, backup }) => both(() => world.backups.remove(CALLER, backup.id)),
    loser: ['WrongState', /PENDING_DELETION; only a READY backup can be deleted/],
  },
  'RestoreBackup twice': {
    calls: async ({ world, backup }) => {
      await world.backups.remove(CALLER, backup.id);
      return both(() => world.backups.undelete(CALLER, backup.id));
    },
    loser: ['WrongState', /READY; only a backup in PENDING_DELETION can be brought back/],
  },
  'RestoreBackup and the purge, in the last millisecond: it stays': {
    calls: async ({ world, backup }) => {
      await lastMoment(world, backup.id, -1);
      return [() => world.backups.undelete(CALLER, backup.id), () => world.backups.purgeDue()];
    },
    after: (stage) => assert.equal(rowOf(stage).state, 'READY'),
  },
  'the purge and RestoreBackup, when the seven days are over': {
    calls: async ({ world, backup }) => {
      await lastMoment(world, backup.id, 0);
      return [() => world.backups.purgeDue(), () => world.backups.undelete(CALLER, backup.id)];
    },
    loser: ['WrongState', /is DELETED; only a backup in PENDING_DELETION|it is being purged/],
    after: (stage) => assert.equal(rowOf(stage).state, 'DELETED'),
  },
  'RestoreBackup and the purge, when the seven days are over': {
    calls: async ({ world, backup }) => {
      await lastMoment(world, backup.id, 0);
      return [() => world.backups.undelete(CALLER, backup.id), () => world.backups.purgeDue()];
    },
    loser: ['WrongState', /it is being purged/],
    after: (stage) => assert.equal(rowOf(stage).state, 'DELETED'),
  },
  'the purge twice: gone once': {
    calls: async ({ world, backup }) => {
      await lastMoment(world, backup.id, 0);
      return both(() => world.backups.purgeDue());
    },
    after: ({ world }) =>
      assert.equal(world.events.filter(({ kind }) => kind === 'backupPurged').length, 1),
  },
  'ModifyBackupAttributes twice: the last word stays': {
    calls: ({ world, backup }) => [
      () => world.backups.modifyNeverExpires(SCOPE, backup.id, true),
      () => world.backups.modifyNeverExpires(SCOPE, backup.id, false),
    ],
    after: (stage) => assert.equal(rowOf(stage).neverExpires, false),
  },
  'DeleteBackup and ModifyBackupAttributes': {
    calls: ({ world, backup }) => [
      () => world.backups.remove(CALLER, backup.id),
      () => world.backups.modifyNeverExpires(SCOPE, backup.id, true),
    ],
    loser: ['WrongState', /only a READY backup can be set to never expire/],
  },
  'CopyBackupToRegion twice: two copies': {
    calls: ({ world, backup }) =>
      both(() => world.backups.copy(SCOPE, backup.id, { toRegion: THERE })),
    after: (stage) => assert.equal(copiesOf(stage).length, 2),
  },
  'DeleteBackup and CopyBackupToRegion: what has time left is copied': {
    calls: ({ world, backup }) => [
      () => world.backups.remove(CALLER, backup.id),
      () => world.backups.copy(SCOPE, backup.id, { toRegion: THERE }),
    ],
    after: (stage) => {
      assert.equal(rowOf(stage).state, 'PENDING_DELETION');
      assert.deepEqual(
        copiesOf(stage).map(({ state }) => state),
        ['READY'],
      );
    },
  },
  'the purge and CopyBackupToRegion': {
    calls: async ({ world, backup }) => {
      await lastMoment(world, backup.id, 0);
      return [
        () => world.backups.purgeDue(),
        () => world.backups.copy(SCOPE, backup.id, { toRegion: THERE }),
      ];
    },
    loser: ['WrongState', /was to be destroyed at|is DELETED/],
    after: (stage) => assert.deepEqual(copiesOf(stage), []),
  },
  'CopyBackupToRegion and the purge, in the last millisecond: read to the end first': {
    calls: async ({ world, backup }) => {
      await lastMoment(world, backup.id, -1);
      const purge = async () => {
        // The copy has begun, and is far from its end.
        await setImmediate();
        world.clock.advance(1);
        await world.backups.purgeDue();
        assert.equal(await partsOf(world, backup.id), 3);
      };
      return [() => world.backups.copy(SCOPE, backup.id, { toRegion: THERE }), purge];
    },
    after: (stage) =>
      assert.deepEqual(
        copiesOf(stage).map(({ state }) => state),
        ['READY'],
      ),
  },
  'a hold and DeleteBackup': {
    calls: ({ world, backup }) => [
      () => world.backups.hold(CALLER, backup.id, { kind: 'legal' }, 'a case'),
      () => world.backups.remove(CALLER, backup.id),
    ],
    loser: ['WrongState', /\[HELD\] .* can't be deleted/],
  },
  'DeleteBackup and a hold': {
    calls: ({ world, backup }) => [
      () => world.backups.remove(CALLER, backup.id),
      () => world.backups.hold(CALLER, backup.id, { kind: 'legal' }, 'a case'),
    ],
    loser: ['WrongState', /PENDING_DELETION; only a READY backup can be held/],
  },
  'a legal hold twice, for two reasons': {
    calls: ({ world, backup }) => [
      () => world.backups.hold(CALLER, backup.id, { kind: 'legal' }, 'a case'),
      () => world.backups.hold(CALLER, backup.id, { kind: 'legal' }, 'another'),
    ],
    loser: ['WrongState', /\[HELD\] .*\("a case"\) already/],
    after: (stage) => assert.equal(rowOf(stage).holds.length, 1),
  },
  'a legal hold twice, for one reason: one hold': {
    calls: ({ world, backup }) =>
      both(() => world.backups.hold(CALLER, backup.id, { kind: 'legal' }, 'a case')),
    after: (stage) => assert.equal(rowOf(stage).holds.length, 1),
  },
  'a compliance hold, prolonged and shortened at once': {
    calls: ({ world, backup }) => {
      const hold = (days: number) => {
        // A time plus a duration is a time.
        const until = (world.clock.now() + days * DAY_MS) as EpochMs;
        const terms = { kind: 'compliance', until } as const;
        return () => world.backups.hold(CALLER, backup.id, terms, 'a rule');
      };
      return [hold(9), hold(8)];
    },
    loser: ['WrongState', /can only be prolonged/],
  },
  'a hold lifted twice': {
    calls: async ({ world, backup }) => {
      await world.backups.hold(CALLER, backup.id, { kind: 'legal' }, 'a case');
      return both(() => world.backups.liftHold(CALLER, backup.id));
    },
    loser: ['WrongState', /\[HELD\] .* is not held/],
  },
  'TagResource twice on a backup: both tags': {
    calls: ({ world, backup }) => [
      () => world.backups.retag(SCOPE, backup.id, put('a')),
      () => world.backups.retag(SCOPE, backup.id, put('b')),
    ],
    after: (stage) => assert.deepEqual([...rowOf(stage).tags.keys()], ['a', 'b']),
  },
  'TagResource twice on a backup, for the last place': {
    calls: async ({ world, backup }) => {
      await world.backups.retag(SCOPE, backup.id, put(...places(49)));
      return [
        () => world.backups.retag(SCOPE, backup.id, put('a')),
        () => world.backups.retag(SCOPE, backup.id, put('b')),
      ];
    },
    loser: ['LimitExceeded', /would have 51; 50 are possible/],
  },
  'TagResource twice on a cluster, for the last place': {
    calls: ({ world, clusterId }) => {
      world.clusters.retag(SCOPE, clusterId, put(...places(49)));
      return [
        async () => world.clusters.retag(SCOPE, clusterId, put('a')),
        async () => world.clusters.retag(SCOPE, clusterId, put('b')),
      ];
    },
    loser: ['LimitExceeded', /would have 51; 50 are possible/],
  },
  'PutResourcePolicy and DeleteResourcePolicy: the last word stays': {
    calls: ({ world, backup }) => {
      const sharing = sharingOf(world);
      return [
        () => sharing.putPolicy(CALLER, { arn: arnOf(backup), policy: policyFor(backup) }),
        () => sharing.deletePolicy(CALLER, arnOf(backup)),
      ];
    },
    after: (stage) => {
      assert.equal(rowOf(stage).policy, undefined);
      assert.deepEqual(sharesOf(stage), []);
    },
  },
  'DeleteResourcePolicy twice: the second removes nothing': {
    calls: async ({ world, backup }) => {
      const sharing = sharingOf(world);
      await sharing.putPolicy(CALLER, { arn: arnOf(backup), policy: policyFor(backup) });
      const removed: unknown[] = [];
      const remove = async () => {
        removed.push((await sharing.deletePolicy(CALLER, arnOf(backup))) === undefined);
        if (removed.length === 2) assert.deepEqual(removed, [false, true]);
      };
      return [remove, remove];
    },
    after: (stage) => assert.deepEqual(sharesOf(stage), []),
  },
  'PutResourcePolicy and the purge: what is gone is shared with nobody': {
    calls: async ({ world, backup }) => {
      const sharing = sharingOf(world);
      await sharing.putPolicy(CALLER, { arn: arnOf(backup), policy: policyFor(backup) });
      await lastMoment(world, backup.id, 0);
      return [
        () => world.backups.purgeDue(),
        () => sharing.putPolicy(CALLER, { arn: arnOf(backup), policy: policyFor(backup) }),
      ];
    },
    loser: ['WrongState', /only a READY backup can be shared/],
    after: (stage) => assert.deepEqual(sharesOf(stage), []),
  },
  'a copy rule made twice': {
    calls: ({ world }) => {
      const rules = ruleBookOf(world);
      return both(() => rules.add(CALLER, { fromRegion: HERE, toRegion: THERE }));
    },
    loser: ['Conflict', /copies these from us-east-1 to eu-west-1 already/],
  },
  'a copy rule removed twice': {
    calls: async ({ world }) => {
      const rules = ruleBookOf(world);
      const { id } = await rules.add(CALLER, { fromRegion: HERE, toRegion: THERE });
      return both(() => rules.remove(CALLER, id));
    },
    loser: ['NotFound', /There is no copy rule/],
  },
};

for (const [name, { calls, loser, after }] of Object.entries(RACES)) {
  test(`${name}${loser === undefined ? '' : ': one wins'}`, async () => {
    await using world = await World.open();
    const stage = await ready(world);
    const [first, second] = await calls(stage);
    const answers = await Promise.allSettled([first(), second()]);
    await world.background.idle();
    await world.backups.copyDue();
    await world.background.idle();
    const refusals = answers.flatMap((each) => (each.status === 'rejected' ? [each.reason] : []));
    const [code, message] = loser ?? [];
    assert.deepEqual(
      refusals.map((cause) => [cause.name, cause.code]),
      loser === undefined ? [] : [['Refused', code]],
      String(refusals[0]),
    );
    if (message !== undefined) assert.match(String(refusals[0].message), message);
    after?.(stage);
    assert.deepEqual(broken(await snapshotOf(world), undefined), []);
  });
}

async function ready(world: World): Promise<Stage> {
  world.legacy.hsm1 = true;
  const { clusterId, hsmId } = await world.activeCluster();
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  return { world, clusterId, hsmId, backup };
}

const both = (call: Call): readonly [Call, Call] => [call, call];

async function emptyCluster(world: World): Promise<ClusterId> {
  const { cluster } = await world.clusters.create(SCOPE, NEW);
  await world.background.idle();
  return cluster.id;
}

const oldCluster = (world: World) => world.activeCluster({ hsmType: 'hsm1.medium', mode: 'FIPS' });

/** As an HSM that stopped leaves its row; this one answers all the same. */
function degrade(world: World, hsmId: HsmId): void {
  world.catalog.transact((writer) => writer.putHsm({ ...world.hsm(hsmId), state: 'DEGRADED' }));
}

/** The backup was deleted, and its seven days are over in so many milliseconds; its cluster has a younger one. */
async function lastMoment(world: World, id: BackupId, ms: number): Promise<void> {
  await world.backups.remove(CALLER, id);
  const row = world.catalog.read((reader) => reader.backup(id));
  assert.ok(row?.state === 'PENDING_DELETION');
  world.clock.advance(row.purgeAt - world.clock.now() + ms);
  await world.backups.take(row.clusterId, 'manual');
}

const partsOf = async (world: World, id: BackupId): Promise<number> =>
  (await world.stored()).filter((name) => name.startsWith(`${id}/`)).length;
const rowOf = ({ world, backup }: Stage): Backup =>
  world.catalog.read((reader) => reader.backup(backup.id)) ?? assert.fail();
const hsmsOf = ({ world, clusterId }: Stage) =>
  world.catalog.read((reader) => reader.hsmsOf(clusterId));
const copiesOf = ({ world, backup }: Stage): readonly Backup[] =>
  world.allBackups().filter(({ copy }) => copy?.sourceBackup === backup.id);
const sharesOf = ({ world, backup }: Stage) =>
  world.catalog.read((reader) => reader.sharesOf(backup.id));

const places = (count: number) => Array.from({ length: count }, (_, n) => `key-${n}`);
const put = (...keys: readonly string[]) => ({ put: new Map(keys.map((key) => [key, 'x'])) });

const sharingOf = ({ catalog }: World) => createSharing({ catalog, organization: [] });
const arnOf = (backup: Backup): string => resourceArn(backup, 'backup', backup.id);
const policyFor = (backup: Backup): string =>
  JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Principal: { AWS: CONSUMER.principal },
        Action: ['cloudhsm:CreateCluster', 'cloudhsm:DescribeBackups'],
        Resource: arnOf(backup),
      },
    ],
  });
const ruleBookOf = ({ catalog, clock, profile }: World) =>
  createRuleBook({ catalog, clock, random: systemRandom, regions: REGIONS, profile });
