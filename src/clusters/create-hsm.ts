/**
 * CreateHsm: obtain a blank HSM and feed it: from a live sister, from the newest backup, from the backup
 * the cluster was made of, or, for the first HSM of a new cluster, from nothing.
 */
import type { ReadyBackup } from '../backups/backup.ts';
import { isOfTheBackup, isSound } from '../backups/sound.ts';
import type { Scope } from '../catalog/catalog.ts';
import type { Hello } from '../hsm/protocol.ts';
import { isoTime } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import { newHsmId } from '../kernel/ids.ts';
import { WAITS_FOR_ROOTS } from '../kernel/roots-locked.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Cluster, ClusterCertificates, Hsm } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import { addressV6, chooseAddress, eniIdOf } from './network.ts';
import { checkQuota, MAX_HSMS_OF_CLUSTER } from './quotas.ts';
import type { CreateHsmRequest, OnCreated } from './requests.ts';
import { messageOf, moveHsm, ownCluster } from './rows.ts';
import { sourceFor } from './source.ts';
import {
  FOLLOWER_FROZEN,
  freezeFollower,
  openWriter,
  RESTORING_FROZEN,
  returningWriter,
} from './write-turn.ts';

export async function createHsm(
  deps: ClusterDeps,
  scope: Scope,
  request: CreateHsmRequest,
  onCreated: OnCreated<Hsm> = () => {},
): Promise<Hsm> {
  const id = newHsmId(deps.random);
  const hsm = deps.catalog.transact((writer): Hsm => {
    const cluster = ownCluster(writer, scope, request.clusterId);
    const live = writer.hsmsOf(cluster.id);
    checkRoom(cluster, live);
    checkQuota(writer, scope, { what: 'hsms', quotas: deps.quotas });
    const subnetId = cluster.subnets.get(request.availabilityZone);
    if (subnetId === undefined) {
      throw new Refused(
        'InvalidRequest',
        `${cluster.id} has no subnet in ${request.availabilityZone}; it has ${[...cluster.subnets.keys()].join(', ')}.`,
      );
    }
    const neighbours = writer
      .hsmsIn(['CREATE_IN_PROGRESS', 'ACTIVE', 'DEGRADED', 'DELETE_IN_PROGRESS'])
      .filter((other) => other.subnetId === subnetId);
    const eniIp = chooseAddress(subnetId, request.ipAddress, neighbours);
    const row: Hsm = {
      id,
      clusterId: cluster.id,
      state: 'CREATE_IN_PROGRESS',
      type: cluster.type,
      availabilityZone: request.availabilityZone,
      subnetId,
      eniId: eniIdOf(id),
      eniIp,
      ...(cluster.networkType === 'DUALSTACK' ? { eniIpV6: addressV6(subnetId, eniIp) } : {}),
      createdAt: deps.clock.now(),
      takesWrites: false,
    };
    writer.createHsm(row);
    onCreated(writer, row);
    return row;
  });
  deps.events.emit({ kind: 'hsmState', hsmId: id, clusterId: hsm.clusterId, state: hsm.state });
  deps.background.run(`create ${id}`, () => finishCreateHsm(deps, hsm));
  return hsm;
}

function checkRoom(cluster: Cluster, live: readonly Hsm[]): void {
  switch (cluster.state) {
    case 'ACTIVE':
      if (live.length >= MAX_HSMS_OF_CLUSTER) {
        throw new Refused(
          'LimitExceeded',
          `${cluster.id} has ${MAX_HSMS_OF_CLUSTER} HSMs; that is the most.`,
        );
      }
      return;
    case 'UNINITIALIZED':
    case 'INITIALIZED':
      if (live.length === 0) return;
      throw new Refused(
        'WrongState',
        `${cluster.id} is ${cluster.state}; a second HSM can be added once it is ACTIVE. Initialize the cluster, then set the first admin password: keyark cluster activate --cluster-id ${cluster.id}`,
      );
    default:
      throw new Refused(
        'WrongState',
        `${cluster.id} is ${cluster.state}; HSMs can be added when it is UNINITIALIZED or ACTIVE.`,
      );
  }
}

/** Also called for rows that a dead process left behind: `obtain` finds what there is already. */
export function finishCreateHsm(deps: ClusterDeps, hsm: Hsm): Promise<void> {
  return deps.turns.run(hsm.clusterId, async () => {
    // Who had the turn before may have finished it.
    if (deps.catalog.read((reader) => reader.hsm(hsm.id))?.state !== 'CREATE_IN_PROGRESS') return;
    try {
      if ((await deps.fleet.status()).areRootsLocked) {
        // Goes on once they are unlocked: `locked-roots.ts`.
        moveHsm(deps, hsm.id, 'CREATE_IN_PROGRESS', { why: WAITS_FOR_ROOTS });
        return;
      }
      await feedNewHsm(deps, hsm);
    } catch (cause) {
      moveHsm(deps, hsm.id, 'DEGRADED', {
        why: `Not usable; delete it and try again. ${messageOf(cause)}`,
      });
      return;
    }
    await openWriter(deps, hsm.id);
  });
}

async function feedNewHsm(deps: ClusterDeps, hsm: Hsm): Promise<void> {
  const returning = await returningWriter(deps, hsm.clusterId);
  const { cluster, source, hasWriter } = deps.catalog.read((reader) => {
    const row = reader.cluster(hsm.clusterId);
    if (row === undefined) throw new Refused('NotFound', `There is no cluster ${hsm.clusterId}.`);
    const liveSisters = reader
      .hsmsOf(row.id)
      .map((sister) => (sister.id === returning?.id ? returning : sister))
      .filter((sister) => sister.id !== hsm.id && sister.state === 'ACTIVE');
    return {
      cluster: row,
      hasWriter: liveSisters.some((sister) => sister.takesWrites),
      source: sourceFor(row, {
        liveSisters,
        newestReady: reader.newestReady(row.id),
        origin: row.sourceBackup === undefined ? undefined : reader.backup(row.sourceBackup.id),
      }),
    };
  });
  switch (source.kind) {
    case 'blocked':
      throw new Refused('WrongState', source.why);
    case 'nobody':
      return await bearFirst(deps, cluster, hsm);
    case 'sister': {
      const backup = await deps.backups.take(cluster.id, 'before-add-hsm', {
        source: source.sister,
      });
      return await restoreInto(deps, cluster, hsm, { backup, isClone: false, hasWriter });
    }
    case 'newest':
      try {
        await restoreInto(deps, cluster, hsm, { backup: source.backup, isClone: false, hasWriter });
      } catch (cause) {
        throw isOfTheBackup(cause) ? doesNotOpen(deps, cluster, source.backup, cause) : cause;
      }
      return;
    case 'origin':
      return await restoreInto(deps, cluster, hsm, {
        backup: source.backup,
        isClone: true,
        hasWriter,
      });
  }
}

/** Never by itself from an older one: what is missing then, somebody has to have chosen. */
function doesNotOpen(
  { catalog }: ClusterDeps,
  cluster: Cluster,
  { id }: ReadyBackup,
  cause: unknown,
): Refused {
  const sound = catalog
    .read((reader) => reader.retentionFactsOf(cluster))
    .findLast((each) => each.id !== id && each.copy === undefined && isSound(each));
  const way =
    sound === undefined
      ? 'No other backup of it is READY.'
      : `The newest that did is ${sound.id} of ${isoTime(sound.createdAt)}: to go back to that, delete ${id}.`;
  return new Refused(
    'WrongState',
    `${id}, the newest backup, does not open. ${way} ${messageOf(cause)}`,
    {
      cause,
    },
  );
}

/** The first HSM of a new cluster makes the cluster's keys and its CSR. */
async function bearFirst(deps: ClusterDeps, cluster: Cluster, hsm: Hsm): Promise<void> {
  const handle = await deps.fleet.obtain(hsm.id, cluster.id);
  const found = await handle.hello();
  const hello =
    found.lifecycle === 'BLANK'
      ? await handle.certify({ clusterId: cluster.id, type: cluster.type, mode: cluster.mode })
      : found;
  deps.catalog.transact((writer) => {
    const row = writer.cluster(cluster.id);
    if (row === undefined) return;
    writer.putCluster({ ...row, certificates: certificatesOf(hello) });
  });
  moveHsm(deps, hsm.id, 'ACTIVE', serving(hello, { takesWrites: true }));
}

async function restoreInto(
  deps: ClusterDeps,
  cluster: Cluster,
  hsm: Hsm,
  from: { backup: ReadyBackup; isClone: boolean; hasWriter: boolean },
): Promise<void> {
  const handle = await deps.fleet.obtain(hsm.id, cluster.id);
  // Until its row says that it serves: should we die before, it is restored once more, over any change.
  await handle.limit(from.hasWriter ? FOLLOWER_FROZEN : RESTORING_FROZEN);
  const opened = await deps.backups.restore(from.backup, {
    cluster,
    hsm,
    handle,
    isClone: from.isClone,
  });
  const hello = await handle.hello();
  const now = deps.clock.now();
  if (!from.hasWriter)
    noteRestored(deps, cluster, { generation: opened.generation, at: now }, hello);
  moveHsm(deps, hsm.id, 'ACTIVE', serving(hello, { takesWrites: !from.hasWriter }));
}

/**
 * The cluster is now what the backup was: older generations count as new again, and a clone, which has
 * no backup of its own yet, is due for one at once.
 */
function noteRestored(
  deps: ClusterDeps,
  cluster: Cluster,
  newestChange: { generation: number; at: EpochMs },
  hello: Hello,
): void {
  const replaced = deps.catalog.transact((writer) => {
    const row = writer.cluster(cluster.id);
    if (row === undefined) return [];
    // An HSM that stopped and was replaced has lost the write turn, also if it comes back.
    const others = writer.hsmsOf(cluster.id).filter(({ takesWrites }) => takesWrites);
    for (const other of others) writer.putHsm({ ...other, takesWrites: false });
    writer.putCluster({
      ...row,
      newestChange,
      nextBackupAt: row.nextBackupAt ?? newestChange.at,
      certificates: { ...row.certificates, ...publicCertificatesOf(hello) },
    });
    return others;
  });
  for (const { id } of replaced) {
    deps.background.run(`freeze ${id}`, () => freezeFollower(deps, id));
  }
}

function serving(
  hello: Hello,
  role: { takesWrites: boolean },
): { takesWrites: boolean; serial?: string } {
  return hello.serial === undefined ? role : { ...role, serial: hello.serial };
}

/** Before initialisation the CSR and all chains are shown; afterwards the cluster's certificate only. */
function certificatesOf(hello: Hello): ClusterCertificates {
  return { ...hello.certificates };
}

function publicCertificatesOf(hello: Hello): ClusterCertificates {
  const { clusterCertificate, trustAnchor } = hello.certificates ?? {};
  return {
    ...(clusterCertificate === undefined ? {} : { clusterCertificate }),
    ...(trustAnchor === undefined ? {} : { trustAnchor }),
  };
}
