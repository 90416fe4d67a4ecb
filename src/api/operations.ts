/** The operations that are served: checked request in, one call of a face, wire shape out. */
import type { Caller } from '../access/caller.ts';
import type { Backup } from '../backups/backup.ts';
import type { Backups } from '../backups/backups.ts';
import type { Sharing } from '../backups/sharing.ts';
import type { BackupQuery, ClusterQuery, PageRequest } from '../catalog/catalog.ts';
import type { Hsm } from '../clusters/cluster.ts';
import type { Clusters } from '../clusters/clusters.ts';
import type { ClusterView, HsmSelector } from '../clusters/requests.ts';
import type { HsmType } from '../hsm/protocol.ts';
import { Refused } from '../kernel/errors.ts';
import { parseBackupId, parseClusterId, parseHsmId } from '../kernel/ids.ts';
import type { TagChange } from '../kernel/tags.ts';
import type { JsonObject } from '../kernel/types.ts';
import type { Remember } from './once.ts';
import {
  renderBackup,
  renderCluster,
  renderDestinationBackup,
  renderHsm,
  renderSharedBackup,
  stateMessage,
} from './render.ts';
import type { OperationName, RequestOf } from './shapes.ts';
import { checkTagKey, pageOfTags, parseTags } from './tags.ts';

export interface Faces {
  readonly clusters: Clusters;
  readonly backups: Pick<
    Backups,
    'list' | 'remove' | 'undelete' | 'modifyNeverExpires' | 'retag' | 'tagsOf' | 'copy'
  >;
  readonly sharing: Pick<Sharing, 'describe' | 'putPolicy' | 'policyOf' | 'deletePolicy'>;
}

export type Serve<Name extends OperationName> = (
  faces: Faces,
  caller: Caller,
  request: RequestOf<Name>,
  /** Keeps the answer of a create for the case that it is sent again. */
  remember: Remember,
) => JsonObject | Promise<JsonObject>;

const CLUSTERS_A_PAGE = 25;
const BACKUPS_A_PAGE = 50;
const TAGS_A_PAGE = 100;

/** Operations of the API that are in no row here are refused as not served yet. */
export const SERVED: { readonly [Name in OperationName]?: Serve<Name> } = {
  CreateCluster: async ({ clusters }, caller, request, remember) => {
    const tags = parseTags(request.TagList ?? []);
    const wanted = {
      hsmType: parseHsmType(request.HsmType),
      subnetIds: request.SubnetIds,
      tags,
      ...(request.SourceBackupId !== undefined && { sourceBackup: request.SourceBackupId }),
      ...(request.BackupRetentionPolicy !== undefined && {
        retentionDays: parseRetention(request.BackupRetentionPolicy),
      }),
      ...(request.Mode !== undefined && { mode: request.Mode }),
      ...(request.NetworkType !== undefined && { networkType: request.NetworkType }),
    };
    const answer = (view: ClusterView): JsonObject => ({ Cluster: renderCluster(view) });
    return answer(
      await clusters.create(caller, wanted, (writer, view) => remember(writer, answer(view))),
    );
  },

  DescribeClusters: ({ clusters }, caller, request) => {
    const { clusterIds, vpcIds, states } = request.Filters ?? {};
    const query: ClusterQuery = {
      ...(clusterIds !== undefined && { ids: clusterIds.map(parseClusterId) }),
      ...(vpcIds !== undefined && { vpcIds }),
      ...(states !== undefined && { states }),
    };
    const page = clusters.describe(caller, query, pageOf(request, CLUSTERS_A_PAGE));
    return { Clusters: page.items.map(renderCluster), NextToken: page.nextToken };
  },

  InitializeCluster: async ({ clusters }, caller, request) => {
    const { state, stateMessage: message } = await clusters.initialize(caller, {
      clusterId: parseClusterId(request.ClusterId),
      signedCert: request.SignedCert,
      trustAnchor: request.TrustAnchor,
    });
    return { State: state, StateMessage: stateMessage(message) };
  },

  ModifyCluster: async ({ clusters }, caller, request) => {
    if (request.HsmType !== undefined && request.BackupRetentionPolicy !== undefined) {
      throw new Refused(
        'InvalidRequest',
        'HsmType and BackupRetentionPolicy go in two calls; nothing was changed. Give BackupRetentionPolicy first: HsmType takes a while.',
      );
    }
    if (request.HsmType !== undefined) {
      const id = parseClusterId(request.ClusterId);
      const view = await clusters.migrate(caller, id, parseHsmType(request.HsmType));
      return { Cluster: renderCluster(view) };
    }
    if (request.BackupRetentionPolicy === undefined) {
      throw new Refused(
        'InvalidRequest',
        'There is nothing to modify: give HsmType, or BackupRetentionPolicy with Type DAYS and a Value.',
      );
    }
    const view = await clusters.modifyRetention(
      caller,
      parseClusterId(request.ClusterId),
      parseRetention(request.BackupRetentionPolicy),
    );
    return { Cluster: renderCluster(view) };
  },

  DeleteCluster: async ({ clusters }, caller, request) => {
    const view = await clusters.remove(caller, parseClusterId(request.ClusterId));
    return { Cluster: renderCluster(view) };
  },

  CreateHsm: async ({ clusters }, caller, request, remember) => {
    const wanted = {
      clusterId: parseClusterId(request.ClusterId),
      availabilityZone: request.AvailabilityZone,
      ...(request.IpAddress !== undefined && { ipAddress: request.IpAddress }),
    };
    const answer = (hsm: Hsm): JsonObject => ({ Hsm: renderHsm(hsm) });
    return answer(
      await clusters.createHsm(caller, wanted, (writer, hsm) => remember(writer, answer(hsm))),
    );
  },

  DeleteHsm: async ({ clusters }, caller, request) => {
    const which = parseSelector(request);
    const id = await clusters.deleteHsm(caller, parseClusterId(request.ClusterId), which);
    return { HsmId: id };
  },

  DescribeBackups: ({ backups, sharing }, caller, request) => {
    const query = parseBackupQuery(request);
    if (request.Shared === true) {
      const shared = sharing.describe(caller, query, pageOf(request, BACKUPS_A_PAGE));
      return { Backups: shared.items.map(renderSharedBackup), NextToken: shared.nextToken };
    }
    const page = backups.list(caller, query, pageOf(request, BACKUPS_A_PAGE));
    return { Backups: page.items.map(renderBackup), NextToken: page.nextToken };
  },

  DeleteBackup: async ({ backups }, caller, request) => ({
    Backup: renderBackup(await backups.remove(caller, parseBackupId(request.BackupId))),
  }),

  RestoreBackup: async ({ backups }, caller, request) => ({
    Backup: renderBackup(await backups.undelete(caller, parseBackupId(request.BackupId))),
  }),

  ModifyBackupAttributes: async ({ backups }, caller, request) => ({
    Backup: renderBackup(
      await backups.modifyNeverExpires(
        caller,
        parseBackupId(request.BackupId),
        request.NeverExpires,
      ),
    ),
  }),

  TagResource: async (faces, caller, { ResourceId, TagList }) => {
    await tagged(faces, ResourceId).retag(caller, { put: parseTags(TagList) });
    return {};
  },

  UntagResource: async (faces, caller, { ResourceId, TagKeyList }) => {
    await tagged(faces, ResourceId).retag(caller, { remove: TagKeyList.map(checkTagKey) });
    return {};
  },

  ListTags: (faces, caller, request) =>
    pageOfTags(tagged(faces, request.ResourceId).tagsOf(caller), pageOf(request, TAGS_A_PAGE)),
  CopyBackupToRegion: async ({ backups }, caller, request, remember) => {
    const wanted = {
      toRegion: request.DestinationRegion,
      ...(request.TagList !== undefined && { tags: parseTags(request.TagList) }),
    };
    const answer = (copy: Backup): JsonObject => ({
      DestinationBackup: renderDestinationBackup(copy),
    });
    const id = parseBackupId(request.BackupId);
    return answer(
      await backups.copy(caller, id, wanted, (writer, copy) => remember(writer, answer(copy))),
    );
  },

  PutResourcePolicy: async ({ sharing }, caller, { ResourceArn, Policy }) => {
    const backup = await sharing.putPolicy(caller, { arn: ResourceArn, policy: Policy });
    return { ResourceArn, Policy: backup.policy };
  },

  GetResourcePolicy: ({ sharing }, caller, { ResourceArn }) => ({
    Policy: sharing.policyOf(caller, ResourceArn),
  }),

  DeleteResourcePolicy: async ({ sharing }, caller, { ResourceArn }) => ({
    ResourceArn,
    Policy: await sharing.deletePolicy(caller, ResourceArn),
  }),
};

/** Clusters and backups have tags; which one it is, the id says. */
function tagged({ clusters, backups }: Faces, resourceId: string) {
  if (resourceId.startsWith('cluster-')) {
    const id = parseClusterId(resourceId);
    return {
      retag: async (caller: Caller, change: TagChange) => clusters.retag(caller, id, change),
      tagsOf: (caller: Caller) => clusters.tagsOf(caller, id),
    };
  }
  const id = parseBackupId(resourceId);
  return {
    retag: (caller: Caller, change: TagChange) => backups.retag(caller, id, change),
    tagsOf: (caller: Caller) => backups.tagsOf(caller, id),
  };
}

function pageOf(
  request: { readonly MaxResults?: number; readonly NextToken?: string },
  most: number,
): PageRequest {
  const limit = request.MaxResults ?? most;
  const { NextToken: nextToken } = request;
  // An empty token ends paging for clients; sent back, it means the first page.
  return nextToken === undefined || nextToken === '' ? { limit } : { limit, nextToken };
}

function parseBackupQuery(request: RequestOf<'DescribeBackups'>): BackupQuery {
  const { backupIds, sourceBackupIds, clusterIds, states, neverExpires } = request.Filters ?? {};
  const wanted = new Set(neverExpires);
  return {
    ...(backupIds !== undefined && { ids: backupIds.map(parseBackupId) }),
    ...(sourceBackupIds !== undefined && { sourceBackupIds: sourceBackupIds.map(parseBackupId) }),
    ...(clusterIds !== undefined && { clusterIds: clusterIds.map(parseClusterId) }),
    ...(states !== undefined && { states }),
    // Both values together ask for every backup.
    ...(wanted.size === 1 && { neverExpires: wanted.has('true') }),
    ...(request.SortAscending !== undefined && { isAscending: request.SortAscending }),
  };
}

function parseHsmType(text: string): HsmType {
  if (text === 'hsm1.medium' || text === 'hsm2m.medium') return text;
  throw new Refused(
    'InvalidRequest',
    `HsmType "${text}" is not offered; hsm2m.medium is (and hsm1.medium for backups of that type).`,
  );
}

/** Days as a number; how many are possible is the cluster's rule. */
function parseRetention(policy: { readonly Type?: 'DAYS'; readonly Value?: string }): number {
  if (policy.Type === undefined || policy.Value === undefined) {
    throw new Refused(
      'InvalidRequest',
      'BackupRetentionPolicy needs both Type (DAYS) and Value (days, written as text).',
    );
  }
  return Number(policy.Value);
}

function parseSelector(request: RequestOf<'DeleteHsm'>): HsmSelector {
  const given: readonly (HsmSelector | undefined)[] = [
    request.HsmId === undefined ? undefined : { hsmId: parseHsmId(request.HsmId) },
    request.EniId === undefined ? undefined : { eniId: request.EniId },
    request.EniIp === undefined ? undefined : { eniIp: request.EniIp },
  ];
  const [which, ...more] = given.filter((selector) => selector !== undefined);
  if (which === undefined || more.length > 0) {
    throw new Refused(
      'InvalidRequest',
      'DeleteHsm wants exactly one of HsmId, EniId and EniIp; nothing was deleted.',
    );
  }
  return which;
}
