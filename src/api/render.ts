/**
 * Our things in the shapes of the API. Absent members are left out; times are seconds with a
 * millisecond fraction, as JSON numbers; a retention value is text.
 */
import { resourceArn } from '../aws/arn.ts';
import type { Backup, BackupSummary } from '../backups/backup.ts';
import type { Cluster, Hsm } from '../clusters/cluster.ts';
import type { ClusterView } from '../clusters/requests.ts';
import type { EpochMs, JsonObject } from '../kernel/types.ts';
import { renderTags } from './tags.ts';

const MAX_STATE_MESSAGE = 300;

export const seconds = (at: EpochMs): number => at / 1000;

/** A state message that does not fit is cut, with a mark that it was. */
export function stateMessage(text: string | undefined): string | undefined {
  if (text === undefined || text.length <= MAX_STATE_MESSAGE) return text;
  return `${text.slice(0, MAX_STATE_MESSAGE - 1)}…`.toWellFormed();
}

export function renderCluster({ cluster, hsms }: ClusterView): JsonObject {
  return {
    BackupPolicy: 'DEFAULT',
    BackupRetentionPolicy: { Type: 'DAYS', Value: String(cluster.retentionDays) },
    ClusterId: cluster.id,
    CreateTimestamp: seconds(cluster.createdAt),
    Hsms: hsms.map(renderHsm),
    HsmType: cluster.type,
    HsmTypeRollbackExpiration: cluster.migration && seconds(cluster.migration.rollbackUntil),
    SecurityGroup: cluster.securityGroup,
    SourceBackupId: cluster.sourceBackup?.asRequested,
    State: cluster.state,
    StateMessage: stateMessage(cluster.stateMessage),
    SubnetMapping: Object.fromEntries(cluster.subnets),
    VpcId: cluster.vpcId,
    NetworkType: cluster.networkType,
    Certificates: renderCertificates(cluster),
    TagList: renderTags(cluster.tags),
    Mode: cluster.mode,
  };
}

/** Before initialisation what is needed to check and sign; afterwards the cluster certificate alone. */
function renderCertificates({ state, certificates }: Cluster): JsonObject {
  if (state !== 'UNINITIALIZED') return { ClusterCertificate: certificates.clusterCertificate };
  return {
    ClusterCsr: certificates.clusterCsr,
    HsmCertificate: certificates.hsmCertificate,
    AwsHardwareCertificate: certificates.ownerHardwareCertificate,
    ManufacturerHardwareCertificate: certificates.manufacturerHardwareCertificate,
  };
}

export function renderHsm(hsm: Hsm): JsonObject {
  return {
    AvailabilityZone: hsm.availabilityZone,
    ClusterId: hsm.clusterId,
    SubnetId: hsm.subnetId,
    EniId: hsm.eniId,
    EniIp: hsm.eniIp,
    EniIpV6: hsm.eniIpV6,
    HsmId: hsm.id,
    HsmType: hsm.type,
    State: hsm.state,
    StateMessage: stateMessage(hsm.stateMessage),
  };
}

export function renderBackup(backup: BackupSummary): JsonObject {
  return {
    BackupId: backup.id,
    BackupArn: resourceArn(backup, 'backup', backup.id),
    BackupState: backup.state,
    ClusterId: backup.clusterId,
    CreateTimestamp: seconds(backup.createdAt),
    CopyTimestamp: backup.copy && seconds(backup.copy.copiedAt),
    NeverExpires: backup.neverExpires,
    SourceRegion: backup.copy?.sourceRegion,
    SourceBackup: backup.copy?.sourceBackup,
    SourceCluster: backup.copy?.sourceCluster,
    DeleteTimestamp:
      backup.state === 'PENDING_DELETION' && backup.purgeAt !== undefined
        ? seconds(backup.purgeAt)
        : undefined,
    TagList: renderTags(backup.tags),
    HsmType: backup.type,
    Mode: backup.mode,
  };
}

/** What a consumer sees of a backup that is shared with him: everything but the owner's tags. */
export function renderSharedBackup(backup: BackupSummary): JsonObject {
  const { TagList: _owners, ...seen } = renderBackup(backup);
  return seen;
}

/** The answer of a copy: where it comes from, not what it is called (AWS has no member for that). */
export function renderDestinationBackup(copy: Backup): JsonObject {
  return {
    CreateTimestamp: seconds(copy.createdAt),
    SourceRegion: copy.copy?.sourceRegion,
    SourceBackup: copy.copy?.sourceBackup,
    SourceCluster: copy.copy?.sourceCluster,
  };
}

/** Under what an answer was given. What a rehearsal shows is no evidence of anything else. */
export const renderRun = (run: {
  readonly profile: string;
  readonly time: { readonly isRehearsal: boolean };
}): JsonObject => ({
  Profile: run.profile,
  IsRehearsal: run.time.isRehearsal ? true : undefined,
});
