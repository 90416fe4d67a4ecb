/** What may happen to a service, each with how often; the model picks among them by luck. */
import { resourceArn } from '../../src/aws/arn.ts';
import type { Backup } from '../../src/backups/backup.ts';
import { createSharing } from '../../src/backups/sharing.ts';
import type { Cluster } from '../../src/clusters/cluster.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/kernel/clock.ts';
import type { EpochMs } from '../../src/kernel/types.ts';
import { CALLER, REGIONS, SCOPE } from '../support/world.ts';
import { CONSUMER, type Rig } from './rig.ts';

export interface Action {
  readonly name: string;
  readonly weight: number;
  /** @throws Refused when it is not possible now: that is an answer like any other. */
  run(rig: Rig): Promise<unknown>;
}

/** Made-up passwords are never looked at again. */
const PASSWORD = 'some-password-1';
const MAX_CLUSTERS = 8;

export const ACTIONS: readonly Action[] = [
  { name: 'minutes pass', weight: 3, run: (rig) => rig.pass(rig.luck.below(60) * MINUTE_MS) },
  { name: 'hours pass', weight: 6, run: (rig) => rig.pass(rig.luck.below(24) * HOUR_MS) },
  { name: 'days pass', weight: 8, run: (rig) => rig.pass((1 + rig.luck.below(9)) * DAY_MS) },
  { name: 'create a user', weight: 8, run: createUser },
  {
    name: 'take a backup',
    weight: 2,
    run: (rig) => rig.world.backups.takeManual(SCOPE, cluster(rig).id),
  },
  {
    name: 'delete a backup',
    weight: 5,
    run: (rig) => rig.world.backups.remove(CALLER, backup(rig).id),
  },
  {
    name: 'restore a backup',
    weight: 3,
    run: (rig) => rig.world.backups.undelete(CALLER, backup(rig, 'PENDING_DELETION').id),
  },
  {
    name: 'switch NeverExpires',
    weight: 3,
    run: (rig) =>
      rig.world.backups.modifyNeverExpires(SCOPE, backup(rig).id, rig.luck.share() < 0.4),
  },
  {
    name: 'change retention',
    weight: 3,
    run: (rig) =>
      rig.world.clusters.modifyRetention(SCOPE, cluster(rig).id, 7 + rig.luck.below(20)),
  },
  { name: 'hold for days', weight: 2, run: (rig) => holdForDays(rig) },
  {
    name: 'hold by law',
    weight: 2,
    run: (rig) => rig.world.backups.hold(CALLER, backup(rig).id, { kind: 'legal' }, 'a case'),
  },
  { name: 'lift a hold', weight: 4, run: liftHold },
  { name: 'copy', weight: 2, run: copy },
  { name: 'share', weight: 2, run: share },
  {
    name: 'end sharing',
    weight: 2,
    run: (rig) => sharing(rig).deletePolicy(CALLER, arnOf(shared(rig))),
  },
  { name: 'create a cluster of a backup', weight: 2, run: createFromBackup },
  {
    name: 'add an HSM',
    weight: 4,
    run: (rig) =>
      rig.world.clusters.createHsm(SCOPE, {
        clusterId: withFewHsms(rig).id,
        availabilityZone: rig.luck.pick(['us-east-1a', 'us-east-1b']),
      }),
  },
  { name: 'delete an HSM', weight: 2, run: deleteHsm },
  {
    name: 'delete a cluster',
    weight: 1,
    run: (rig) => rig.world.clusters.remove(SCOPE, cluster(rig).id),
  },
  { name: 'restore into a cluster', weight: 1, run: restoreInto },
  { name: 'undo a restore', weight: 1, run: undoRestore },
];

/** There is nothing that this could be done to. */
export class Impossible extends Error {}

export function pickAction({ luck }: Rig): Action {
  const total = ACTIONS.reduce((sum, { weight }) => sum + weight, 0);
  let left = luck.share() * total;
  for (const action of ACTIONS) {
    left -= action.weight;
    if (left < 0) return action;
  }
  throw new Error('weights do not add up');
}

function one<T>(rig: Rig, what: string, items: readonly T[]): T {
  if (items.length === 0) throw new Impossible(`no ${what}`);
  return rig.luck.pick(items);
}

const cluster = (rig: Rig): Cluster =>
  one(
    rig,
    'cluster',
    rig.clusters().filter((c) => c.state !== 'DELETED' && c.account === SCOPE.account),
  );

/** Of the customer, where he calls from. */
const backup = (rig: Rig, state: Backup['state'] = 'READY'): Backup =>
  one(
    rig,
    state,
    rig.world
      .allBackups()
      .filter((b) => b.state === state && b.region === SCOPE.region && b.account === SCOPE.account),
  );

const withFewHsms = (rig: Rig): Cluster => {
  const count = ({ id }: Cluster) => rig.world.catalog.read((reader) => reader.hsmsOf(id)).length;
  const few = rig
    .clusters()
    .filter((c) => c.state === 'ACTIVE' && c.account === SCOPE.account && count(c) < 2);
  return one(rig, 'cluster with few HSMs', few);
};

const sharing = ({ world }: Rig) => createSharing({ catalog: world.catalog, organization: [] });
const arnOf = (of: Backup): string => resourceArn(of, 'backup', of.id);
const shared = (rig: Rig): Backup =>
  one(
    rig,
    'shared backup',
    rig.world.allBackups().filter((b) => b.policy !== undefined && b.region === SCOPE.region),
  );

async function createUser(rig: Rig): Promise<void> {
  const { world } = rig;
  const { id } = cluster(rig);
  const hsm = rig.writer(id);
  if (hsm === undefined) throw new Impossible('nobody takes writes');
  rig.users += 1;
  const username = `user_${rig.users}`;
  await world.asAdmin(hsm.id, (call) =>
    call('user-create', { username, role: 'crypto-user', password: PASSWORD }),
  );
  const { generation } = await world.fleet.hsm(hsm.id).digest();
  rig.acknowledged.set(id, generation);
  await world.settle(hsm.id);
}

const holdForDays = (rig: Rig) => {
  const days = 1 + rig.luck.below(12);
  // A time plus a duration is a time.
  const until = (rig.world.clock.now() + days * DAY_MS) as EpochMs;
  return rig.world.backups.hold(CALLER, backup(rig).id, { kind: 'compliance', until }, 'a rule');
};

function liftHold(rig: Rig): Promise<Backup> {
  const held = rig.world.allBackups().filter((b) => b.holds.some(({ kind }) => kind === 'legal'));
  return rig.world.backups.liftHold(CALLER, one(rig, 'legal hold', held).id);
}

function copy(rig: Rig): Promise<Backup> {
  const days = rig.luck.share() < 0.7 ? { retentionDays: 7 + rig.luck.below(10) } : {};
  return rig.world.backups.copy(SCOPE, backup(rig).id, { toRegion: REGIONS[1], ...days });
}

function share(rig: Rig): Promise<Backup> {
  const chosen = backup(rig);
  const arn = arnOf(chosen);
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
  return sharing(rig).putPolicy(CALLER, { arn, policy });
}

async function createFromBackup(rig: Rig): Promise<void> {
  const { world } = rig;
  const alive = rig.clusters().filter(({ state }) => state !== 'DELETED');
  if (alive.length >= MAX_CLUSTERS) throw new Impossible('enough clusters');
  const source = backup(rig);
  const { cluster: made } = await world.clusters.create(SCOPE, {
    hsmType: source.type,
    subnetIds: ['subnet-00000001', 'subnet-00000002'],
    sourceBackup: source.id,
    mode: source.mode,
    tags: new Map(),
  });
  await world.background.idle();
  await world.clusters.createHsm(SCOPE, { clusterId: made.id, availabilityZone: 'us-east-1a' });
}

async function deleteHsm(rig: Rig): Promise<void> {
  const { world } = rig;
  const { id } = cluster(rig);
  const hsm = one(
    rig,
    'HSM',
    world.catalog.read((reader) => reader.hsmsOf(id)),
  );
  await world.clusters.deleteHsm(SCOPE, id, { hsmId: hsm.id });
}

async function restoreInto(rig: Rig): Promise<void> {
  const { world } = rig;
  const { id } = cluster(rig);
  const chosen = one(rig, 'READY backup', world.ready(id));
  await world.restores.start(CALLER, { clusterId: id, backupId: chosen.id });
}

async function undoRestore(rig: Rig): Promise<void> {
  await rig.world.restores.undo(CALLER, cluster(rig).id);
}
