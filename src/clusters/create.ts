/** CreateCluster: a new cluster, or one made from a backup. */
import type { Caller } from '../access/caller.ts';
import type { Backup } from '../backups/backup.ts';
import type { CatalogReader } from '../catalog/catalog.ts';
import type { HsmMode, HsmType } from '../hsm/protocol.ts';
import { Refused } from '../kernel/errors.ts';
import { newClusterId } from '../kernel/ids.ts';
import type { Cluster } from './cluster.ts';
import type { ClusterDeps } from './deps.ts';
import { checkRetention, DEFAULT_RETENTION_DAYS } from './modify.ts';
import { placeSubnets, securityGroupOf, vpcIdOf } from './network.ts';
import { checkQuota } from './quotas.ts';
import type { ClusterView, CreateClusterRequest, OnCreated } from './requests.ts';
import { moveCluster, viewOf } from './rows.ts';

/** Backup's type and mode → the type and mode of clusters it may become (one way only). */
const RESTORES_TO: Record<`${HsmType} ${HsmMode}`, readonly `${HsmType} ${HsmMode}`[]> = {
  'hsm1.medium FIPS': ['hsm2m.medium FIPS'],
  'hsm1.medium NON_FIPS': [],
  'hsm2m.medium FIPS': ['hsm2m.medium FIPS'],
  'hsm2m.medium NON_FIPS': ['hsm2m.medium NON_FIPS'],
};

/** @param legacy whether clusters of type hsm1.medium are still made: that type takes its own backups. */
export function restoresTo(
  { type, mode }: Pick<Backup, 'type' | 'mode'>,
  legacy: ClusterDeps['legacy'] = { hsm1: false },
): readonly string[] {
  const own = legacy.hsm1 && type === 'hsm1.medium' && mode === 'FIPS' ? [`${type} ${mode}`] : [];
  return [...own, ...RESTORES_TO[`${type} ${mode}`]];
}

export async function createCluster(
  deps: ClusterDeps,
  scope: Caller,
  request: CreateClusterRequest,
  onCreated: OnCreated<ClusterView> = () => {},
): Promise<ClusterView> {
  if (request.hsmType === 'hsm1.medium' && !deps.legacy.hsm1) {
    throw new Refused(
      'InvalidRequest',
      'New clusters of type hsm1.medium cannot be created any more; use hsm2m.medium. To rehearse a migration, start the service with legacy.hsm1 = true (--allow-hsm1 true).',
    );
  }
  const retentionDays = checkRetention(request.retentionDays ?? DEFAULT_RETENTION_DAYS);
  if (request.networkType === 'DUALSTACK' && request.hsmType !== 'hsm2m.medium') {
    throw new Refused('InvalidRequest', 'DUALSTACK is offered with hsm2m.medium only.');
  }
  const id = newClusterId(deps.random);
  const cluster = deps.catalog.transact((writer): Cluster => {
    checkQuota(writer, scope, { what: 'clusters', quotas: deps.quotas });
    const source =
      request.sourceBackup === undefined
        ? undefined
        : sourceOf(deps, writer, { caller: scope, asRequested: request.sourceBackup });
    const mode = request.mode ?? source?.backup.mode ?? 'FIPS';
    if (source !== undefined) {
      checkFits(
        source.backup,
        `${request.hsmType} ${mode}`,
        restoresTo(source.backup, deps.legacy),
      );
    } else if (request.hsmType === 'hsm1.medium' && mode !== 'FIPS') {
      throw new Refused('InvalidRequest', 'hsm1.medium has FIPS mode only; nothing was created.');
    }
    const subnets = placeSubnets(scope.region, request.subnetIds, (subnetId) =>
      writer.subnetZone(scope, subnetId),
    );
    for (const [zone, subnetId] of subnets) writer.putSubnetZone(scope, subnetId, zone);
    const row: Cluster = {
      id,
      account: scope.account,
      region: scope.region,
      state: 'CREATE_IN_PROGRESS',
      type: request.hsmType,
      mode,
      networkType: request.networkType ?? 'IPV4',
      createdAt: deps.clock.now(),
      retentionDays,
      ...(source === undefined
        ? {}
        : { sourceBackup: { id: source.backup.id, asRequested: source.asRequested } }),
      vpcId: vpcIdOf(scope.account, scope.region),
      securityGroup: securityGroupOf(id),
      subnets,
      // A clone keeps its source's certificate: clients go on with the original customer CA.
      certificates: source === undefined ? {} : source.certificates,
      tags: request.tags,
      backupFailures: 0,
    };
    writer.createCluster(row);
    onCreated(writer, viewOf(writer, row));
    return row;
  });
  deps.events.emit({ kind: 'clusterState', clusterId: id, state: cluster.state });
  deps.background.run(`create ${id}`, async () => finishCreate(deps, cluster));
  return deps.catalog.read((reader) => viewOf(reader, cluster));
}

/** The second half, also called for rows that a dead process left behind. */
export function finishCreate(
  deps: Pick<ClusterDeps, 'catalog' | 'events'>,
  cluster: Cluster,
): void {
  moveCluster(deps, cluster.id, cluster.sourceBackup === undefined ? 'UNINITIALIZED' : 'ACTIVE');
}

function sourceOf(
  { backups }: Pick<ClusterDeps, 'backups'>,
  reader: CatalogReader,
  { caller, asRequested }: { caller: Caller; asRequested: string },
): { backup: Backup; asRequested: string; certificates: Cluster['certificates'] } {
  const backup = backups.toRestore(reader, caller, asRequested);
  if (backup.state !== 'READY') {
    throw new Refused(
      'WrongState',
      `${backup.id} is ${backup.state}; a cluster can be made from a READY backup only.`,
    );
  }
  // The sealed cluster's row tells, wherever and whoever's it is: rows outlive clusters, and a copy or a
  // shared backup names the same cluster.
  const { clusterCertificate, trustAnchor } = reader.cluster(backup.clusterId)?.certificates ?? {};
  return {
    backup,
    asRequested,
    certificates: {
      ...(clusterCertificate === undefined ? {} : { clusterCertificate }),
      ...(trustAnchor === undefined ? {} : { trustAnchor }),
    },
  };
}

function checkFits(backup: Backup, wanted: string, fits: readonly string[]): void {
  if (!fits.includes(wanted)) {
    throw new Refused(
      'InvalidRequest',
      `${backup.id} was taken from ${backup.type} in ${backup.mode} mode; it can become ${fits.join(' or ')}, not ${wanted}.`,
    );
  }
}
