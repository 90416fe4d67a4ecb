/**
 * Take a backup, top to bottom: intent, seal inside the HSM, second layer, vault, proof, fact.
 * Dying after any step leaves a CREATE_IN_PROGRESS row that `recover.ts` finishes off: the intent came
 * first, and the id is the name of everything stored.
 */
import type { Catalog } from '../catalog/catalog.ts';
import type { Cluster } from '../clusters/cluster.ts';
import type { Fleet, HsmHandle } from '../fleet/fleet.ts';
import { fromBase64 } from '../kernel/bytes.ts';
import type { Clock } from '../kernel/clock.ts';
import { assert } from '../kernel/errors.ts';
import { newBackupId } from '../kernel/ids.ts';
import type { Random } from '../kernel/random.ts';
import type { EpochMs } from '../kernel/types.ts';
import { encryptStream, sealSmall } from '../kms/envelope.ts';
import { encodeOuterRecord } from '../kms/records.ts';
import type { Events } from '../ops/events.ts';
import { isOffered, type Profile } from '../profile.ts';
import { objectName } from '../vault/names.ts';
import type { Backup, BackupCause, Proof, ReadyBackup, SealedArchive } from './backup.ts';
import { wishForCopies } from './copy-rules.ts';
import { PARTS } from './parts.ts';
import { proveBackup, startDrill } from './prove.ts';
import { removeStored } from './purge.ts';
import { contextOf } from './restore.ts';
import { earliestEnd, NEVER } from './retention.ts';
import { afterProven } from './schedule.ts';
import type { RegionStorage, StorageOf } from './storage.ts';

export interface TakeDeps {
  readonly catalog: Catalog;
  readonly fleet: Fleet;
  readonly storageOf: StorageOf;
  readonly clock: Clock;
  readonly random: Random;
  readonly events: Events;
  readonly profile: Profile;
}

/**
 * @param source the HSM to seal; `cluster` is what it belongs to.
 * @returns the READY backup, with its proof.
 * @throws whatever failed, after the row says DELETED and why, and nothing of the try is left in the vault.
 */
export async function takeBackup(
  deps: TakeDeps,
  cluster: Cluster,
  source: HsmHandle,
  cause: BackupCause,
  onStarted: (backup: Backup) => void = () => {},
): Promise<ReadyBackup> {
  const storage = deps.storageOf(cluster.region);
  const intent = recordIntent(deps, cluster, cause);
  onStarted(intent);
  try {
    const { archive, proof } = await storeAndProve(deps, storage, intent, source);
    return recordFact(deps, { ...intent, state: 'READY', archive, proof });
  } catch (cause) {
    await recordFailure(deps, storage, intent, cause);
    throw cause;
  }
}

function recordIntent(deps: TakeDeps, cluster: Cluster, cause: BackupCause): Backup {
  const intent: Backup = {
    id: newBackupId(deps.random),
    account: cluster.account,
    region: cluster.region,
    clusterId: cluster.id,
    cause,
    type: cluster.type,
    mode: cluster.mode,
    createdAt: deps.clock.now(),
    neverExpires: false,
    holds: [],
    tags: new Map(),
    state: 'CREATE_IN_PROGRESS',
  };
  deps.catalog.transact((writer) => writer.createBackup(intent));
  deps.events.emit({
    kind: 'backupStarted',
    backupId: intent.id,
    clusterId: cluster.id,
    cause,
  });
  return intent;
}

/** The drill HSM starts while the other one seals; it reads what is stored only once all of it is. */
async function storeAndProve(
  { fleet, profile }: Pick<TakeDeps, 'fleet' | 'profile'>,
  storage: RegionStorage,
  backup: Backup,
  source: HsmHandle,
): Promise<{ archive: SealedArchive; proof: Proof }> {
  await using drill = startDrill(fleet);
  const archive = await sealAndStore(storage, backup, source);
  const proof = await proveBackup({ drill: await drill.ready, storage, profile }, backup, archive);
  return { archive, proof };
}

/** The body streams from the HSM through the second layer into the vault; nobody holds it whole. */
async function sealAndStore(
  storage: RegionStorage,
  backup: Backup,
  source: HsmHandle,
): Promise<SealedArchive> {
  return await storeSealed(storage, backup, async () => {
    const { body, outcome } = await source.seal(backup.id);
    const end = async () => {
      const { sealRecord, seal } = await outcome;
      assert(
        seal.statement.backupId === backup.id,
        'the HSM sealed another backup than it was asked for',
      );
      assert(
        seal.statement.clusterId === backup.clusterId,
        `the HSM sealed ${seal.statement.clusterId}, not ${backup.clusterId}`,
      );
      return { sealRecord: fromBase64(sealRecord), seal };
    };
    return { body, end };
  });
}

/** A sealed body on its way; `end` is asked once the body was read, and has the last word on it. */
export interface Arriving {
  readonly body: AsyncIterable<Uint8Array>;
  readonly end: () => Promise<{ sealRecord: Uint8Array; seal: SealedArchive['seal'] }>;
}

/** Puts a sealed archive into a region's vault, under a fresh data key of that region's key service. */
export async function storeSealed(
  storage: RegionStorage,
  backup: Pick<Backup, 'id' | 'clusterId' | 'account' | 'region'>,
  arrive: () => Promise<Arriving>,
): Promise<SealedArchive> {
  const context = contextOf(backup);
  const dataKey = await storage.kms.generateDataKey(context);
  using key = dataKey.key;
  const arriving = await arrive();
  const body = await storage.vault.put(
    objectName(backup.id, PARTS.body),
    encryptStream(key, arriving.body),
  );
  const { sealRecord, seal } = await arriving.end();
  const sealed = await storage.vault.put(
    objectName(backup.id, PARTS.sealRecord),
    once(sealSmall(key, PARTS.sealRecord, sealRecord)),
  );
  const outer = await storage.vault.put(
    objectName(backup.id, PARTS.outerRecord),
    once(encodeOuterRecord({ dataKey: dataKey.wrapped, context })),
  );
  return {
    seal,
    storedBodySha256: body.sha256,
    storedBytes: body.sizeBytes + sealed.sizeBytes + outer.sizeBytes,
  };
}

/** READY, the next due time, the end of all failures and what copy rules want of it are one fact. */
function recordFact(deps: TakeDeps, ready: ReadyBackup): ReadyBackup {
  deps.catalog.transact((writer) => {
    const before = writer.newestReady(ready.clusterId);
    writer.putBackup(ready);
    if (isOffered(deps.profile, 'copyRules')) wishForCopies(writer, ready, deps.clock.now());
    const cluster = writer.cluster(ready.clusterId);
    if (cluster === undefined) return;
    const nextReviewAt = nextReview(cluster, ready, before);
    const { createdAt, archive } = ready;
    const { generation } = archive.seal.statement;
    writer.putCluster(
      cluster.state === 'DELETED'
        ? { ...cluster, nextReviewAt }
        : { ...afterProven(cluster, { createdAt, generation }), nextReviewAt },
    );
  });
  deps.events.emit({
    kind: 'backupProven',
    backupId: ready.id,
    clusterId: ready.clusterId,
    durationMs: deps.clock.now() - ready.createdAt,
    keys: ready.proof.statement.opened.counts.keys,
    storedBytes: ready.archive.storedBytes,
  });
  return ready;
}

/** The one that was the newest until now is an ordinary backup from here on. */
function nextReview(
  { nextReviewAt = NEVER, retentionDays }: Cluster,
  ready: ReadyBackup,
  before: ReadyBackup | undefined,
): EpochMs {
  const ends = [ready, before ?? ready].map((backup) => earliestEnd(backup, retentionDays));
  // The least of several times is a time.
  return Math.min(nextReviewAt, ...ends) as EpochMs;
}

async function recordFailure(
  deps: TakeDeps,
  storage: RegionStorage,
  backup: Backup,
  cause: unknown,
): Promise<void> {
  const why = cause instanceof Error ? cause.message : String(cause);
  deps.events.emit({ kind: 'backupFailed', backupId: backup.id, clusterId: backup.clusterId, why });
  try {
    await removeStored(storage, backup.id);
    deps.catalog.transact((writer) => writer.putBackup(failedTry(backup, deps.clock.now(), why)));
  } catch {
    // The row stays CREATE_IN_PROGRESS: `recover.ts` cleans up at the next start. The first failure,
    // which the caller is about to see, says more than this one.
  }
}

/** What is left of a try that did not succeed: a row that says why. */
export function failedTry(backup: Backup, deletedAt: Backup['createdAt'], why: string): Backup {
  const {
    id,
    account,
    region,
    clusterId,
    cause,
    type,
    mode,
    createdAt,
    neverExpires,
    holds,
    tags,
    copy,
  } = backup;
  return {
    id,
    account,
    region,
    clusterId,
    cause,
    type,
    mode,
    createdAt,
    neverExpires,
    holds,
    tags,
    ...(copy === undefined ? {} : { copy }),
    state: 'DELETED',
    deletedAt,
    why,
  };
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
