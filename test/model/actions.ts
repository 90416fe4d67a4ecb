/** What may happen to a service, each with how often; the model picks among them by luck. */
import assert from 'node:assert/strict';
import { resourceArn } from '../../src/aws/arn.ts';
import type { Backup } from '../../src/backups/backup.ts';
import { createSharing } from '../../src/backups/sharing.ts';
import type { Cluster } from '../../src/clusters/cluster.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/kernel/clock.ts';
import type { EpochMs } from '../../src/kernel/types.ts';
import { CALLER, REGIONS, SCOPE } from '../support/world.ts';
import type { Rig } from './rig.ts';
import { CONSUMER } from './snapshot.ts';

export interface Action {
  readonly name: string;
  readonly weight: number;
  /** What two callers get who ask for the very same thing at once; some things only one at a time asks for. */
  readonly twice: 'one wins' | 'both may' | 'never';
  /**
   * Finds what to do it to.
   * @returns the call, which throws Refused when it is not possible now: that is an answer like any other.
   * @throws Impossible.
   */
  choose(rig: Rig): () => Promise<unknown>;
}

/** There is nothing that this could be done to. */
export class Impossible extends Error {}

/** Made-up passwords are never looked at again. */
const PASSWORD = 'some-password-1';
const MAX_CLUSTERS = 12;
const ZONES = ['us-east-1a', 'us-east-1b'] as const;

export const ACTIONS: readonly Action[] = [
  passing('minutes pass', 4, (rig) => rig.luck.below(60) * MINUTE_MS),
  passing('hours pass', 8, (rig) => rig.luck.below(24) * HOUR_MS),
  passing('days pass', 3, (rig) => (1 + rig.luck.below(9)) * DAY_MS),
  { name: 'create a user', weight: 8, twice: 'never', choose: createUser },
  {
    name: 'take a backup',
    weight: 2,
    twice: 'both may',
    choose: (rig) => {
      const { id } = cluster(rig);
      return () => rig.world.backups.takeManual(SCOPE, id);
    },
  },
  {
    name: 'delete a backup',
    weight: 5,
    twice: 'one wins',
    choose: (rig) => {
      const { id } = backup(rig);
      return () => rig.world.backups.remove(CALLER, id);
    },
  },
  {
    name: 'restore a backup',
    weight: 4,
    twice: 'one wins',
    choose: (rig) => {
      const { id } = backup(rig, 'PENDING_DELETION');
      return () => rig.world.backups.undelete(CALLER, id);
    },
  },
  { name: 'restore a backup too late', weight: 1, twice: 'never', choose: undeleteTooLate },
  {
    name: 'switch NeverExpires',
    weight: 3,
    twice: 'both may',
    choose: (rig) => {
      const { id } = backup(rig);
      const neverExpires = rig.luck.share() < 0.4;
      return () => rig.world.backups.modifyNeverExpires(SCOPE, id, neverExpires);
    },
  },
  {
    name: 'change retention',
    weight: 3,
    twice: 'both may',
    choose: (rig) => {
      const { id } = cluster(rig);
      const days = 7 + rig.luck.below(20);
      return () => rig.world.clusters.modifyRetention(SCOPE, id, days);
    },
  },
  {
    name: 'tag a backup',
    weight: 1,
    twice: 'both may',
    choose: (rig) => {
      const { id } = backup(rig);
      const change = { put: new Map([['owner', `team ${rig.luck.below(9)}`]]) };
      return () => rig.world.backups.retag(SCOPE, id, change);
    },
  },
  { name: 'hold for days', weight: 2, twice: 'both may', choose: holdForDays },
  {
    name: 'hold by law',
    weight: 2,
    twice: 'both may',
    choose: (rig) => {
      const { id } = backup(rig);
      return () => rig.world.backups.hold(CALLER, id, { kind: 'legal' }, 'a case');
    },
  },
  {
    name: 'lift a hold',
    weight: 4,
    twice: 'one wins',
    choose: (rig) => {
      const { id } = some(rig, 'legal hold', rig.world.catalog.read(heldByLaw));
      return () => rig.world.backups.liftHold(CALLER, id);
    },
  },
  { name: 'copy', weight: 2, twice: 'both may', choose: copy },
  { name: 'share', weight: 2, twice: 'both may', choose: share },
  {
    name: 'end sharing',
    weight: 2,
    twice: 'both may',
    choose: (rig) => {
      const arn = arnOf(shared(rig));
      return () => sharing(rig).deletePolicy(CALLER, arn);
    },
  },
  { name: 'create a cluster of a backup', weight: 2, twice: 'both may', choose: createFromBackup },
  {
    name: 'add an HSM',
    weight: 4,
    twice: 'both may',
    choose: (rig) => {
      const request = { clusterId: withFewHsms(rig).id, availabilityZone: rig.luck.pick(ZONES) };
      return () => rig.world.clusters.createHsm(SCOPE, request);
    },
  },
  {
    name: 'delete an HSM',
    weight: 2,
    twice: 'one wins',
    choose: (rig) => {
      const { clusterId, id: hsmId } = hsm(rig);
      return () => rig.world.clusters.deleteHsm(SCOPE, clusterId, { hsmId });
    },
  },
  {
    name: 'restart an HSM',
    weight: 3,
    twice: 'never',
    choose: (rig) => {
      const { id } = some(rig, 'ACTIVE HSM', hsmsOf(rig, cluster(rig)).filter(isActive));
      return () => rig.world.fleet.restart(id);
    },
  },
  {
    name: 'delete a cluster',
    weight: 1,
    twice: 'one wins',
    choose: (rig) => {
      const { id } = cluster(rig);
      return () => rig.world.clusters.remove(SCOPE, id);
    },
  },
  {
    name: 'restore into a cluster',
    weight: 2,
    twice: 'one wins',
    choose: (rig) => {
      const { id: clusterId } = cluster(rig);
      const { id: backupId } = some(rig, 'READY backup', rig.world.ready(clusterId));
      return () => rig.world.restores.start(CALLER, { clusterId, backupId });
    },
  },
  {
    name: 'undo a restore',
    weight: 2,
    twice: 'one wins',
    choose: (rig) => {
      const { id } = cluster(rig);
      return () => rig.world.restores.undo(CALLER, id);
    },
  },
  {
    name: 'move to the new type',
    weight: 2,
    twice: 'one wins',
    choose: (rig) => {
      const { id } = ofType(rig, 'hsm1.medium');
      return () => rig.world.clusters.migrate(SCOPE, id, 'hsm2m.medium');
    },
  },
  {
    name: 'go back to the old type',
    weight: 3,
    twice: 'one wins',
    choose: (rig) => {
      const moved = clusters(rig).filter(({ migration }) => migration?.state === 'DONE');
      const { id } = some(rig, 'cluster that moved', moved);
      return () => rig.world.clusters.migrate(SCOPE, id, 'hsm1.medium');
    },
  },
];

export function pickAction({ luck }: Rig): Action {
  const total = ACTIONS.reduce((sum, { weight }) => sum + weight, 0);
  let left = luck.share() * total;
  for (const action of ACTIONS) {
    left -= action.weight;
    if (left < 0) return action;
  }
  throw new Error('weights do not add up');
}

function passing(name: string, weight: number, msOf: (rig: Rig) => number): Action {
  const choose = (rig: Rig) => {
    const ms = msOf(rig);
    return () => rig.pass(ms);
  };
  return { name, weight, twice: 'never', choose };
}

function some<T>(rig: Rig, what: string, items: readonly T[]): T {
  if (items.length === 0) throw new Impossible(`no ${what}`);
  return rig.luck.pick(items);
}

/** The customer's that are there, where he calls from. */
const clusters = (rig: Rig): readonly Cluster[] =>
  rig.clusters().filter((c) => c.state !== 'DELETED' && c.account === SCOPE.account);
const cluster = (rig: Rig): Cluster => some(rig, 'cluster', clusters(rig));
const ofType = (rig: Rig, wanted: Cluster['type']): Cluster =>
  some(
    rig,
    wanted,
    clusters(rig).filter(({ type }) => type === wanted),
  );
const hsmsOf = (rig: Rig, { id }: Cluster) => rig.world.catalog.read((reader) => reader.hsmsOf(id));
const isActive = ({ state }: { readonly state: string }): boolean => state === 'ACTIVE';
const hsm = (rig: Rig) => some(rig, 'HSM', hsmsOf(rig, cluster(rig)));
const withFewHsms = (rig: Rig): Cluster => {
  const isFew = (c: Cluster) => c.state === 'ACTIVE' && hsmsOf(rig, c).length < 2;
  return some(rig, 'cluster with few HSMs', clusters(rig).filter(isFew));
};

const backups = (rig: Rig, state: Backup['state']): readonly Backup[] =>
  rig.world.catalog
    .read((reader) => reader.backupsIn([state]))
    .filter((b) => b.region === SCOPE.region && b.account === SCOPE.account);
const backup = (rig: Rig, state: Backup['state'] = 'READY'): Backup =>
  some(rig, state, backups(rig, state));
const heldByLaw = (reader: { heldBackups(): readonly Backup[] }): readonly Backup[] =>
  reader.heldBackups().filter(({ holds }) => holds.some(({ kind }) => kind === 'legal'));

const sharing = ({ world }: Rig) => createSharing({ catalog: world.catalog, organization: [] });
const arnOf = (of: Backup): string => resourceArn(of, 'backup', of.id);
const shared = (rig: Rig): Backup =>
  some(
    rig,
    'shared backup',
    backups(rig, 'READY').filter((b) => b.policy !== undefined),
  );

function createUser(rig: Rig): () => Promise<void> {
  const { world } = rig;
  const { id } = cluster(rig);
  const writer = rig.writer(id);
  if (writer === undefined) throw new Impossible('nobody takes writes');
  rig.users += 1;
  const username = `user_${rig.users}`;
  return async () => {
    await world.asAdmin(writer.id, (call) =>
      call('user-create', { username, role: 'crypto-user', password: PASSWORD }),
    );
    const { generation } = await world.fleet.hsm(writer.id).hello();
    rig.acknowledged.set(id, generation);
    await world.settle(writer.id);
  };
}

/** At the very end of its seven days, before any look of the service. */
function undeleteTooLate(rig: Rig): () => Promise<void> {
  const { clock, backups: face } = rig.world;
  const pending = rig.world.catalog.read((reader) =>
    reader
      .backupsIn(['PENDING_DELETION'])
      .flatMap((b) => (b.state === 'PENDING_DELETION' && b.purgeAt > clock.now() ? [b] : [])),
  );
  const { id, purgeAt, region, account } = some(rig, 'PENDING_DELETION', pending);
  return async () => {
    await rig.pass(purgeAt - 1 - clock.now());
    clock.advance(1);
    await face.undelete({ account, region, principal: CALLER.principal }, id);
    assert.fail(`${id} was brought back when its seven days were over`);
  };
}

function holdForDays(rig: Rig): () => Promise<Backup> {
  const { id } = backup(rig);
  const days = 1 + rig.luck.below(12);
  // A time plus a duration is a time.
  const until = (rig.world.clock.now() + days * DAY_MS) as EpochMs;
  return () => rig.world.backups.hold(CALLER, id, { kind: 'compliance', until }, 'a rule');
}

function copy(rig: Rig): () => Promise<Backup> {
  const { id } = backup(rig);
  const days = rig.luck.share() < 0.7 ? { retentionDays: 7 + rig.luck.below(10) } : {};
  return () => rig.world.backups.copy(SCOPE, id, { toRegion: REGIONS[1], ...days });
}

function share(rig: Rig): () => Promise<Backup> {
  const arn = arnOf(backup(rig));
  const policy = JSON.stringify({
    Version: '2012-10-17',
    Statement: [
      {
        Effect: 'Allow',
        Principal: { AWS: CONSUMER.principal },
        Action: ['cloudhsm:CreateCluster', 'cloudhsm:DescribeBackups'],
        Resource: arn,
      },
    ],
  });
  return () => sharing(rig).putPolicy(CALLER, { arn, policy });
}

function createFromBackup(rig: Rig): () => Promise<void> {
  const { world } = rig;
  const alive = rig.clusters().filter(({ state }) => state !== 'DELETED');
  if (alive.length >= MAX_CLUSTERS) throw new Impossible('enough clusters');
  const source = backup(rig);
  return async () => {
    const { cluster: made } = await world.clusters.create(SCOPE, {
      hsmType: source.type,
      subnetIds: ['subnet-00000001', 'subnet-00000002'],
      sourceBackup: source.id,
      mode: source.mode,
      tags: new Map(),
    });
    await world.background.idle();
    await world.clusters.createHsm(SCOPE, { clusterId: made.id, availabilityZone: ZONES[0] });
  };
}
