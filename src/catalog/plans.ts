/** Which index answers which question of a list: one walk in order, the rest checked row by row. Pure. */
import type { SQLInputValue } from 'node:sqlite';
import type { BackupState } from '../backups/backup.ts';
import type { BackupQuery, ClusterQuery, Scope } from './catalog.ts';
import { canWalk, type Filter, type PagePlan } from './pages.ts';

export function clusterPlan({ account, region }: Scope, query: ClusterQuery): PagePlan {
  const scope = scopeFilters(account, region);
  const states = filter('state', query.states);
  const vpcs = filter('vpc_id', query.vpcIds);
  const common = { table: 'clusters', isAscending: false } as const;
  if (query.ids !== undefined) {
    const walk = filter('id', query.ids);
    return { ...common, walk, residual: [...scope, ...vpcs, ...states] };
  }
  if (vpcs.length > 0 && states.length > 0 && canWalk([...vpcs, ...states])) {
    const walk = [...scope, ...vpcs, ...states];
    return { ...common, index: 'clusters_by_vpc_state', walk, residual: [] };
  }
  if (vpcs.length > 0) {
    return {
      ...common,
      index: 'clusters_by_vpc',
      walk: [...scope, ...vpcs],
      residual: states,
    };
  }
  return states.length > 0
    ? { ...common, index: 'clusters_by_state', walk: [...scope, ...states], residual: [] }
    : { ...common, index: 'clusters_by_time', walk: scope, residual: [] };
}

const BACKUP_STATES: readonly BackupState[] = [
  'CREATE_IN_PROGRESS',
  'READY',
  'PENDING_DELETION',
  'DELETED',
];

export function backupPlan({ account, region }: Scope, query: BackupQuery): PagePlan {
  const scope = scopeFilters(account, region);
  const states = filter('state', query.states);
  const sources = filter('source_backup_id', query.sourceBackupIds);
  const clusters = filter('cluster_id', query.clusterIds);
  const never =
    query.neverExpires === undefined ? [] : filter('never_expires', [query.neverExpires ? 1 : 0]);
  const common = { table: 'backups', isAscending: query.isAscending ?? false } as const;
  if (query.ids !== undefined) {
    const walk = filter('id', query.ids);
    return { ...common, walk, residual: [...scope, ...sources, ...clusters, ...states, ...never] };
  }
  if (sources.length > 0) {
    const residual = [...scope, ...clusters, ...states, ...never];
    return { ...common, index: 'backups_by_source', walk: sources, residual };
  }
  if (clusters.length > 0 && states.length > 0) {
    const residual = [...scope, ...never];
    const walk = [...clusters, ...states];
    return { ...common, index: 'backups_by_cluster_state', walk, residual };
  }
  if (clusters.length > 0) {
    const residual = [...scope, ...never];
    return { ...common, index: 'backups_by_cluster', walk: clusters, residual };
  }
  if (states.length > 0 || never.length > 0) {
    const walk = [
      ...scope,
      ...(states.length > 0 ? states : filter('state', BACKUP_STATES)),
      ...(never.length > 0 ? never : filter('never_expires', [0, 1])),
    ];
    return { ...common, index: 'backups_by_state', walk, residual: [] };
  }
  return { ...common, index: 'backups_by_time', walk: scope, residual: [] };
}

/** A share leads to a backup; what is asked of the backup is looked up there, row by row. */
export function sharedPlan({ account, region }: Scope, query: BackupQuery): PagePlan {
  const { ids, states, sourceBackupIds, clusterIds, neverExpires, isAscending } = query;
  const isAsked = states === undefined || states.includes('READY');
  return {
    table: 'backups',
    keys: { table: 'shares', id: 'backup_id' },
    index: 'shares_by_consumer',
    walk: [
      ...filter('consumer', [account]),
      ...filter('shares.region', [region]),
      ...filter('shares.state', ['ACTIVE']),
    ],
    residual: [
      ...filter('backup_id', ids),
      ...filter('backups.source_backup_id', sourceBackupIds),
      ...filter('backups.cluster_id', clusterIds),
      // A consumer sees READY ones only; any other state it may ask for is nowhere.
      ...filter('backups.state', isAsked ? ['READY'] : []),
      ...(neverExpires === undefined ? [] : filter('never_expires', [neverExpires ? 1 : 0])),
    ],
    isAscending: isAscending ?? false,
  };
}

function scopeFilters(account: string, region: string): readonly Filter[] {
  return [...filter('account', [account]), ...filter('region', [region])];
}

function filter(column: string, values: readonly SQLInputValue[] | undefined): readonly Filter[] {
  return values === undefined ? [] : [{ column, values }];
}
