/** How is it? The facts behind `keyark status`, readiness and the first screen, read from rows and host. */
import { statSync } from 'node:fs';
import type { NativeFacts } from '../api/native.ts';
import type { Catalog, Scope } from '../catalog/catalog.ts';
import type { Fleet, FleetStatus } from '../fleet/fleet.ts';
import type { Clock } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { ClusterId } from '../kernel/ids.ts';
import type { JsonObject } from '../kernel/types.ts';
import { survival } from './survival.ts';

const LIVE_STATES = [
  'UNINITIALIZED',
  'INITIALIZE_IN_PROGRESS',
  'INITIALIZED',
  'ACTIVE',
  'DEGRADED',
] as const;

export interface StatusDeps {
  readonly catalog: Catalog;
  readonly fleet: Fleet;
  readonly clock: Clock;
  /** Whether calls can be recorded. */
  readonly trail: () => { readonly problem?: string; readonly waiting: number };
  /** Two paths whose devices are compared: where backups and where HSMs lie. */
  readonly places: { readonly vault: string; readonly hsms: string };
  /** Where a cluster's officers knock. */
  readonly officersDoor: (clusterId: ClusterId) => string;
}

interface ClusterStatus {
  readonly clusterId: string;
  readonly state: string;
  readonly hsms: number;
  readonly newestProvenAt: number | null;
  readonly keysProven: number;
  readonly hasUnprovenChanges: boolean;
  readonly nextBackupAt: number | null;
}

export function createStatus(deps: StatusDeps): NativeFacts & {
  readiness(): Promise<readonly { part: string; problem?: string }[]>;
} {
  return {
    status: (scope) => statusOf(deps, scope),
    clusterDoor: (scope, clusterId) => clusterDoor(deps, scope, clusterId),
    readiness: async () => [
      catalogReadiness(deps),
      trailReadiness(deps),
      await hostReadiness(deps),
    ],
  };
}

async function statusOf(deps: StatusDeps, scope: Scope): Promise<JsonObject> {
  const host = await deps.fleet.status();
  const clusters = clusterStatuses(deps.catalog, scope);
  const live = clusters.filter(({ hsms }) => hsms > 0);
  return {
    Now: deps.clock.now() / 1000,
    Roots: {
      AreLocked: host.areRootsLocked,
      IsEvaluation: host.isEvaluation,
      Maker: host.maker,
      Owner: host.owner,
      // Public: what hardware certificates are checked against, with `openssl verify`.
      MakerRoot: host.makerRoot,
      OwnerRoot: host.ownerRoot,
    },
    CodeSha256: host.codeSha256,
    Trail: { IsWritten: deps.trail().problem === undefined, Problem: deps.trail().problem },
    Clusters: clusters.map((cluster) => ({
      ClusterId: cluster.clusterId,
      State: cluster.state,
      Hsms: cluster.hsms,
      NewestProvenAt: seconds(cluster.newestProvenAt),
      KeysProven: cluster.keysProven,
      HasUnprovenChanges: cluster.hasUnprovenChanges,
      NextBackupAt: seconds(cluster.nextBackupAt),
    })),
    Survival: survival({
      liveClusters: live.length,
      restorableClusters: live.filter(({ newestProvenAt }) => newestProvenAt !== null).length,
      unprovenClusters: live.filter(({ hasUnprovenChanges }) => hasUnprovenChanges).length,
      isVaultOnOtherDevice: deviceOf(deps.places.vault) !== deviceOf(deps.places.hsms),
      areRootsSealed: !host.isEvaluation,
    }).map(({ loss, isSurvived, why }) => ({ Loss: loss, IsSurvived: isSurvived, Why: why })),
  };
}

function clusterStatuses(catalog: Catalog, scope: Scope): readonly ClusterStatus[] {
  return catalog.read((reader) =>
    reader
      .clustersIn(LIVE_STATES)
      .filter(({ account, region }) => account === scope.account && region === scope.region)
      .map((cluster) => {
        const newest = reader.newestReady(cluster.id);
        const provenGeneration = newest?.archive.seal.statement.generation ?? -1;
        return {
          clusterId: cluster.id,
          state: cluster.state,
          hsms: reader.hsmsOf(cluster.id).length,
          newestProvenAt: newest?.proof.statement.provenAt ?? null,
          keysProven: newest?.proof.statement.opened.counts.keys ?? 0,
          hasUnprovenChanges: (cluster.newestChange?.generation ?? -1) > provenGeneration,
          nextBackupAt: cluster.nextBackupAt ?? null,
        };
      }),
  );
}

async function clusterDoor(
  deps: StatusDeps,
  scope: Scope,
  clusterId: ClusterId,
): Promise<Awaited<ReturnType<NativeFacts['clusterDoor']>>> {
  const { makerRoot } = await deps.fleet.status();
  return deps.catalog.read((reader) => {
    const cluster = reader.cluster(clusterId);
    if (cluster?.account !== scope.account || cluster.region !== scope.region) {
      throw new Refused('NotFound', `There is no cluster ${clusterId} in ${scope.region}.`);
    }
    const { trustAnchor } = cluster.certificates;
    return {
      clusterId,
      state: cluster.state,
      makerRoot,
      ...(trustAnchor === undefined ? {} : { trustAnchor }),
      hsms: reader.hsmsOf(clusterId).map((hsm) => ({
        hsmId: hsm.id,
        state: hsm.state,
        takesWrites: hsm.takesWrites,
        officers: { path: deps.officersDoor(clusterId) },
      })),
    };
  });
}

function catalogReadiness({ catalog }: StatusDeps): { part: string; problem?: string } {
  try {
    catalog.read((reader) => reader.setting('readiness'));
    return { part: 'catalog' };
  } catch (cause) {
    return { part: 'catalog', problem: cause instanceof Error ? cause.message : String(cause) };
  }
}

function trailReadiness({ trail }: StatusDeps): { part: string; problem?: string } {
  const { problem } = trail();
  return { part: 'trail', ...(problem === undefined ? {} : { problem }) };
}

async function hostReadiness({ fleet }: StatusDeps): Promise<{ part: string; problem?: string }> {
  let host: FleetStatus;
  try {
    host = await fleet.status();
  } catch (cause) {
    return { part: 'hsm host', problem: cause instanceof Error ? cause.message : String(cause) };
  }
  return host.areRootsLocked
    ? { part: 'roots', problem: 'roots are locked: run `keyark unlock`' }
    : { part: 'roots' };
}

const seconds = (at: number | null): number | null => (at === null ? null : at / 1000);

function deviceOf(path: string): number {
  return statSync(path).dev;
}
