/** How is it? The facts behind `keyark status`, readiness and the first screen, read from rows and host. */
import { statSync } from 'node:fs';
import type { NativeFacts } from '../api/native.ts';
import type { ScheduleFacts } from '../api/native-schedule.ts';
import type { Catalog, Scope } from '../catalog/catalog.ts';
import type { Cluster, Hsm } from '../clusters/cluster.ts';
import type { Fleet, FleetStatus } from '../fleet/fleet.ts';
import type { Clock } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { ClusterId } from '../kernel/ids.ts';
import { rootsLocked } from '../kernel/roots-locked.ts';
import type { JsonObject } from '../kernel/types.ts';
import type { Vault } from '../vault/vault.ts';
import type { ClockWatch } from './clock-watch.ts';
import { LEVELS } from './health.ts';
import type { Protection } from './protection.ts';
import type { Rehearsal } from './rehearsal.ts';
import { survival } from './survival.ts';
import { renderStep } from './time-facts.ts';

const LIVE_STATES = [
  'UNINITIALIZED',
  'INITIALIZE_IN_PROGRESS',
  'INITIALIZED',
  'ACTIVE',
  'DEGRADED',
  'UPDATE_IN_PROGRESS',
  'MODIFY_IN_PROGRESS',
  'ROLLBACK_IN_PROGRESS',
] as const;

/** What one answer lists; the headline is over all of them. */
const MOST_CLUSTERS = 100;

export interface Probe {
  readonly part: string;
  /** Cheap: asked as often as a monitor likes. @throws what is wrong. */
  readonly look: () => Promise<unknown>;
}

export interface StatusDeps {
  readonly profile: string;
  readonly plans: ScheduleFacts;
  readonly protection: (account: string) => Promise<Protection>;
  readonly catalog: Catalog;
  readonly fleet: Fleet;
  readonly clock: Clock;
  readonly watch: Pick<ClockWatch, 'step'>;
  readonly rehearsal: Pick<Rehearsal, 'isRehearsal' | 'aheadMs'>;
  /** Parts that say by themselves whether they are well. */
  readonly probes: readonly Probe[];
  /** One for each region's vault. */
  readonly holdsBind: () => readonly Vault['holdsBind'][];
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
  readonly failedTries: number;
  readonly notActive: readonly JsonObject[];
}

export function createStatus(deps: StatusDeps): Omit<NativeFacts, 'time'> & {
  readiness(): Promise<readonly { part: string; problem?: string }[]>;
} {
  return {
    ...deps.plans,
    profile: deps.profile,
    status: (scope) => statusOf(deps, scope),
    clusterDoor: (scope, clusterId) => clusterDoor(deps, scope, clusterId),
    readiness: async () => [
      ...(await Promise.all(deps.probes.map(probed))),
      catalogReadiness(deps),
      trailReadiness(deps),
      await hostReadiness(deps),
    ],
  };
}

async function statusOf(deps: StatusDeps, scope: Scope): Promise<JsonObject> {
  const host = await deps.fleet.status();
  const { clusters, hasMore } = clusterStatuses(deps, scope);
  const protection = await deps.protection(scope.account);
  const { totals } = protection;
  return {
    Now: deps.clock.now() / 1000,
    ...marks(deps, scope),
    Profile: deps.profile,
    Headline: renderHeadline(protection),
    Health: renderHealth(protection),
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
    HasMoreClusters: hasMore,
    Trail: { IsWritten: deps.trail().problem === undefined, Problem: deps.trail().problem },
    Clusters: clusters.map((cluster) => ({
      ClusterId: cluster.clusterId,
      State: cluster.state,
      Hsms: cluster.hsms,
      NewestProvenAt: seconds(cluster.newestProvenAt),
      KeysProven: cluster.keysProven,
      HasUnprovenChanges: cluster.hasUnprovenChanges,
      NextBackupAt: seconds(cluster.nextBackupAt),
      FailedTries: cluster.failedTries,
      NotActive: cluster.notActive,
    })),
    Survival: survival({
      liveClusters: totals.clusters,
      restorableClusters: totals.clusters - totals.withoutProof,
      unprovenClusters: totals.unproven,
      isVaultOnOtherDevice: deviceOf(deps.places.vault) !== deviceOf(deps.places.hsms),
      areRootsSealed: !host.isEvaluation,
      areRootsLocked: host.areRootsLocked,
    }).map(({ loss, isSurvived, why }) => ({ Loss: loss, IsSurvived: isSurvived, Why: why })),
  };
}

/** What colours everything else that a status says. */
function marks(deps: StatusDeps, scope: Scope): JsonObject {
  const { catalog, clock, rehearsal, watch } = deps;
  const held = catalog
    .read((reader) => reader.heldBackups())
    .filter(({ account, region }) => account === scope.account && region === scope.region)
    .filter(({ holds }) =>
      holds.some(({ until }) => until === undefined || until > clock.now()),
    ).length;
  return {
    IsRehearsal: rehearsal.isRehearsal,
    AheadSeconds: rehearsal.isRehearsal ? rehearsal.aheadMs / 1000 : undefined,
    ClockStep: renderStep(watch.step()),
    Holds: {
      Backups: held,
      // One folder is enough to make the promise the weaker one.
      Bind: deps.holdsBind().every((bind) => bind === 'store') ? 'store' : 'service',
    },
  };
}

/** The age of the oldest cluster's newest proven backup, and what is in none. */
function renderHeadline({ now, totals, unprovenKeys }: Protection): JsonObject {
  const { oldestProofAt, oldestProofOf } = totals;
  return {
    Clusters: totals.clusters,
    OldestClusterId: oldestProofOf,
    NewestProvenAgeSeconds:
      oldestProofAt === undefined ? null : Math.max(0, now - oldestProofAt) / 1000,
    ClustersWithoutProof: totals.withoutProof,
    UnprovenClusters: totals.unproven,
    UnprovenKeys: unprovenKeys.keys,
    IsUnprovenKeysExact: unprovenKeys.isExact,
    FailedDrills: totals.failing,
  };
}

function renderHealth({ health }: Protection): JsonObject {
  return {
    Level: health.level,
    ExitCode: LEVELS[health.level].exitCode,
    Reasons: health.reasons.map(({ level, why }) => ({ Level: level, Why: why })),
  };
}

function clusterStatuses(
  { catalog, clock }: Pick<StatusDeps, 'catalog' | 'clock'>,
  scope: Scope,
): { clusters: readonly ClusterStatus[]; hasMore: boolean } {
  return catalog.read((reader) => {
    const page = reader.clusters(scope, { states: LIVE_STATES }, { limit: MOST_CLUSTERS });
    // Oldest first, as they were made.
    const clusters = page.items.toReversed().map((cluster) => {
      const newest = reader.newestReady(cluster.id);
      const hsms = reader.hsmsOf(cluster.id);
      const provenGeneration = newest?.archive.seal.statement.generation ?? -1;
      return {
        clusterId: cluster.id,
        state: cluster.state,
        hsms: hsms.length,
        // A proof has the HSM's real time; on a rehearsal the row's is later, and is the service's.
        newestProvenAt:
          newest === undefined ? null : Math.max(newest.createdAt, newest.proof.statement.provenAt),
        keysProven: newest?.proof.statement.opened.counts.keys ?? 0,
        hasUnprovenChanges: (cluster.newestChange?.generation ?? -1) > provenGeneration,
        nextBackupAt: canBeBackedUp(cluster, hsms) ? (cluster.nextBackupAt ?? clock.now()) : null,
        failedTries: cluster.backupFailures,
        notActive: hsms
          .filter(({ state }) => state !== 'ACTIVE')
          .map(({ id, state, stateMessage }) => ({
            HsmId: id,
            State: state,
            StateMessage: stateMessage,
          })),
      };
    });
    return { clusters, hasMore: page.nextToken !== undefined };
  });
}

/** As the forecast sees it: a time for what cannot be taken would be a promise. */
const canBeBackedUp = ({ state }: Cluster, hsms: readonly Hsm[]): boolean =>
  state === 'ACTIVE' && hsms.some((hsm) => hsm.state === 'ACTIVE' && hsm.takesWrites);

async function clusterDoor(
  deps: StatusDeps,
  scope: Scope,
  clusterId: ClusterId,
): Promise<Awaited<ReturnType<NativeFacts['clusterDoor']>>> {
  const { makerRoot, areRootsLocked } = await deps.fleet.status();
  const { cluster, hsms } = deps.catalog.read((reader) => {
    const row = reader.cluster(clusterId);
    if (row?.account !== scope.account || row.region !== scope.region) {
      throw new Refused('NotFound', `There is no cluster ${clusterId} in ${scope.region}.`);
    }
    return { cluster: row, hsms: reader.hsmsOf(clusterId) };
  });
  // Nobody is behind the door; whoever knocks hears why at once.
  if (areRootsLocked) throw rootsLocked();
  const serving = hsms.filter(({ state }) => state === 'ACTIVE');
  const first = serving.find(({ takesWrites }) => takesWrites) ?? serving[0];
  // A host that was started again does not know any more whom its doors lead to.
  if (first !== undefined) await deps.fleet.prefer(clusterId, first.id);
  const { trustAnchor } = cluster.certificates;
  return {
    clusterId,
    state: cluster.state,
    makerRoot,
    ...(trustAnchor === undefined ? {} : { trustAnchor }),
    hsms: hsms.map((hsm) => ({
      hsmId: hsm.id,
      state: hsm.state,
      takesWrites: hsm.takesWrites,
      officers: { path: deps.officersDoor(clusterId) },
    })),
  };
}

function catalogReadiness({ catalog }: StatusDeps): { part: string; problem?: string } {
  try {
    catalog.read((reader) => reader.setting('readiness'));
    return { part: 'catalog' };
  } catch (cause) {
    return { part: 'catalog', problem: cause instanceof Error ? cause.message : String(cause) };
  }
}

async function probed({ part, look }: Probe): Promise<{ part: string; problem?: string }> {
  try {
    await look();
    return { part };
  } catch (cause) {
    return { part, problem: cause instanceof Error ? cause.message : String(cause) };
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
