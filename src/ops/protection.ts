/**
 * The facts behind status, metrics and heartbeat: how old the oldest newest proof is, and how many keys no
 * proven backup has. Rows tell which clusters have such changes, their HSMs tell how many keys; never which.
 */
import type { Catalog, CatalogReader } from '../catalog/catalog.ts';
import type { ProtectionTotals } from '../catalog/protection.ts';
import type { Fleet } from '../fleet/fleet.ts';
import { type Clock, DAY_MS, SECOND_MS } from '../kernel/clock.ts';
import type { ClusterId, HsmId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import { type Health, type HealthFacts, healthOf } from './health.ts';

/** Clusters whose HSMs are asked for one answer; what is beyond makes the number a lower bound. */
const MOST_ASKED = 50;
const ANSWER_MS = 2 * SECOND_MS;
const MAX_COUNTED = 10_000;
const DRILLED_WITHIN_MS = 30 * DAY_MS;

export interface ProtectionDeps {
  readonly catalog: Catalog;
  readonly fleet: Fleet;
  readonly clock: Clock;
  readonly isChangeDriven: boolean;
}

export interface Protection {
  readonly now: EpochMs;
  readonly totals: ProtectionTotals;
  readonly unprovenKeys: UnprovenKeys;
  readonly health: Health;
}

export interface UnprovenKeys {
  readonly keys: number;
  /** False when some HSM could not be asked: there may be more. */
  readonly isExact: boolean;
}

/** @param account in all its regions; undefined for everything the service has. */
export async function protectionOf(deps: ProtectionDeps, account?: string): Promise<Protection> {
  const { catalog, clock, isChangeDriven } = deps;
  const now = clock.now();
  // A time minus a duration is a time.
  const drilledSince = (now - DRILLED_WITHIN_MS) as EpochMs;
  const { totals, unproven, overdueDrills } = catalog.read((reader) => ({
    totals: reader.protection.totals(account),
    unproven: unprovenClusters(reader, account),
    overdueDrills: reader.protection.undrilledCount(drilledSince, MAX_COUNTED, account),
  }));
  const [unprovenKeys, areRootsLocked] = await Promise.all([
    keysIn(deps, unproven, totals.unproven),
    rootsLocked(deps),
  ]);
  const facts: HealthFacts = {
    ...totals,
    now,
    isChangeDriven,
    failedDrills: totals.failing,
    overdueDrills,
    areRootsLocked,
  };
  return { now, totals, unprovenKeys, health: healthOf(facts) };
}

/** Everything about one cluster's state beside its newest proof, asked of its writing HSM now. */
export async function unprovenIn(
  deps: Pick<ProtectionDeps, 'catalog' | 'fleet'>,
  clusterId: ClusterId,
): Promise<{ generation: number; keys: number } | undefined> {
  const asked = deps.catalog.read((reader) => questionFor(reader, clusterId));
  if (asked === undefined) return undefined;
  return await deps.fleet.hsm(asked.hsmId).keysNewerThan(asked.provenGeneration);
}

interface Question {
  readonly hsmId: HsmId;
  readonly provenGeneration: number;
}

function unprovenClusters(
  reader: CatalogReader,
  account: string | undefined,
): readonly (Question | undefined)[] {
  return reader.protection
    .withUnprovenChanges(MOST_ASKED, account)
    .map(({ id }) => questionFor(reader, id));
}

function questionFor(reader: CatalogReader, clusterId: ClusterId): Question | undefined {
  const writer = reader
    .hsmsOf(clusterId)
    .find((hsm) => hsm.takesWrites && hsm.state !== 'CREATE_IN_PROGRESS');
  if (writer === undefined) return undefined;
  // Generations begin with 1: without a proof every key is newer than 0.
  const provenGeneration = reader.protection.proven(clusterId)?.generation ?? 0;
  return { hsmId: writer.id, provenGeneration };
}

async function keysIn(
  { fleet, clock }: Pick<ProtectionDeps, 'fleet' | 'clock'>,
  questions: readonly (Question | undefined)[],
  clusters: number,
): Promise<UnprovenKeys> {
  const enough = new AbortController();
  const late = clock.sleep(ANSWER_MS, enough.signal).then(
    () => undefined,
    () => undefined,
  );
  const ask = async (question: Question): Promise<number | undefined> => {
    try {
      return (await fleet.hsm(question.hsmId).keysNewerThan(question.provenGeneration)).keys;
    } catch {
      // It does not answer now, which the number says by not being exact.
      return undefined;
    }
  };
  const answers = await Promise.all(
    questions.map((question) =>
      question === undefined ? undefined : Promise.race([ask(question), late]),
    ),
  );
  enough.abort();
  const known = answers.filter((keys) => keys !== undefined);
  return {
    keys: known.reduce((sum, keys) => sum + keys, 0),
    isExact: known.length === questions.length && questions.length === clusters,
  };
}

async function rootsLocked({ fleet }: ProtectionDeps): Promise<boolean | undefined> {
  try {
    return (await fleet.status()).areRootsLocked;
  } catch {
    // Unknown is an answer of its own.
    return undefined;
  }
}
