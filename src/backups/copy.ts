/**
 * Copy a backup to another region, top to bottom: intent there, second layer off under the source's key,
 * on again under the destination's, read back, compared with what the HSM sealed, proven by a drill HSM
 * from the new bytes, fact. The seal itself is never opened on the way.
 *
 * The copy has an id of its own, which names what is stored and is bound into its data key; the id sealed
 * inside stays the original's. Dying after any step leaves a CREATE_IN_PROGRESS row with its lineage: the
 * next start throws away what was stored and begins again.
 */
import { createHash } from 'node:crypto';
import { islandOf } from '../aws/arn.ts';
import type { Catalog, Scope } from '../catalog/catalog.ts';
import type { Fleet } from '../fleet/fleet.ts';
import { toHex } from '../kernel/bytes.ts';
import { type Clock, DAY_MS, isoTime } from '../kernel/clock.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import type { BackupId } from '../kernel/ids.ts';
import type { EpochMs } from '../kernel/types.ts';
import type { Events } from '../ops/events.ts';
import type { Profile } from '../profile.ts';
import type { Backup, PendingBackup, Proof, ReadyBackup, SealedArchive } from './backup.ts';
import { settleWish } from './copy-rules.ts';
import { proveBackup, startDrill } from './prove.ts';
import { removeStored } from './purge.ts';
import { readSealed } from './restore.ts';
import type { RegionStorage, StorageOf } from './storage.ts';
import { failedTry, storeSealed } from './take.ts';

export interface CopyRequest {
  readonly toRegion: string;
  /** Absent: the source's. */
  readonly tags?: ReadonlyMap<string, string>;
  /** Absent: until somebody deletes it. */
  readonly retentionDays?: number;
}

export interface CopyDeps {
  readonly profile: Profile;
  readonly catalog: Catalog;
  readonly fleet: Fleet;
  readonly storageOf: StorageOf;
  readonly clock: Clock;
  readonly events: Events;
}

export type CopyRow = Extract<Backup, { state: 'CREATE_IN_PROGRESS' }> &
  Required<Pick<Backup, 'copy'>>;
type Source = ReadyBackup | PendingBackup;

/** A row that is only intent, and the intent of a copy. */
export function isCopyUnderWay(backup: Backup): backup is CopyRow {
  return backup.state === 'CREATE_IN_PROGRESS' && backup.copy !== undefined;
}

/**
 * The row that a copy begins with. Two requests for the same copy make two copies, as two takes make two
 * backups: nothing in a request says that it is the same one.
 * @throws Refused `InvalidRequest` for a region, `WrongState` for a source, that cannot be.
 */
export function decideCopy(
  source: Backup,
  request: CopyRequest,
  given: { id: BackupId; now: EpochMs; regions: readonly string[] },
): CopyRow {
  checkRegions(source.region, request.toRegion, given.regions);
  checkSource(source, given.now);
  return {
    id: given.id,
    account: source.account,
    region: request.toRegion,
    // The cluster that was sealed. No cluster of the destination has this id, so no policy of one applies.
    clusterId: source.clusterId,
    cause: 'copied',
    type: source.type,
    mode: source.mode,
    createdAt: source.createdAt,
    neverExpires: false,
    holds: [],
    tags: request.tags ?? source.tags,
    ...retentionFrom(given.now, request.retentionDays),
    copy: {
      copiedAt: given.now,
      sourceRegion: source.region,
      sourceBackup: source.id,
      sourceCluster: source.clusterId,
    },
    state: 'CREATE_IN_PROGRESS',
  };
}

/** Counts from the copy's arrival: what is copied may be as old as that already. */
function retentionFrom(now: EpochMs, days: number | undefined): Pick<Backup, 'ownRetention'> {
  if (days === undefined) return {};
  // A time plus a duration is a time.
  return { ownRetention: { days, expiresAt: (now + days * DAY_MS) as EpochMs } };
}

/** AWS refuses DELETED ones only; what is not READY yet has nothing that could be copied. */
function checkSource(source: Backup, now: EpochMs): void {
  if (source.state === 'READY') return;
  if (source.state === 'PENDING_DELETION' && now < source.purgeAt) return;
  const what =
    source.state === 'PENDING_DELETION'
      ? `was to be destroyed at ${isoTime(source.purgeAt)}`
      : `is ${source.state}`;
  throw new Refused(
    'WrongState',
    `${source.id} ${what}; a backup can be copied while it is READY, or PENDING_DELETION with time left. Nothing was copied.`,
  );
}

/** @throws Refused `InvalidRequest`. */
export function checkRegions(from: string, to: string, regions: readonly string[]): void {
  if (from === to) {
    throw new Refused(
      'InvalidRequest',
      `${to} is where it is already; a copy goes to another region.`,
    );
  }
  if (islandOf(from) !== islandOf(to)) {
    throw new Refused(
      'InvalidRequest',
      `Nothing is copied between ${from} and ${to}: GovCloud and other restricted regions exchange backups among themselves only.`,
    );
  }
  if (!regions.includes(to)) {
    const others = regions.filter((region) => region !== from);
    throw new Refused(
      'InvalidRequest',
      `${to} is not served here; ${others.length === 0 ? `nothing but ${from} is: name another one in the setting \`regions\`` : `copies can go to ${others.join(', ')}`}.`,
    );
  }
}

/** A backup of another account is as good as none, whoever may restore it. @throws Refused `NotFound`. */
export function sourceOfCopy(found: Backup | undefined, scope: Scope, id: BackupId): Backup {
  if (found?.account !== scope.account || found.region !== scope.region) {
    throw new Refused('NotFound', `There is no backup ${id} of yours in ${scope.region}.`);
  }
  return found;
}

/**
 * @returns the copy, READY, with a proof of its own.
 * @throws whatever failed, after the row says DELETED and why, and nothing of the try is left in the vault.
 *   While no HSM can be had (roots locked, host gone) the row stays: call again.
 */
export async function finishCopy(deps: CopyDeps, copy: CopyRow): Promise<ReadyBackup> {
  const startedAt = deps.clock.now();
  const destination = deps.storageOf(copy.region);
  deps.events.emit({
    kind: 'copyStarted',
    backupId: copy.id,
    sourceBackupId: copy.copy.sourceBackup,
    fromRegion: copy.copy.sourceRegion,
    toRegion: copy.region,
  });
  try {
    const source = currentSource(deps, copy);
    // What a dead process left; a vault never overwrites.
    await removeStored(destination, copy.id);
    const { archive, proof } = await carryAndProve(deps, source, { copy, destination });
    return recordFact(deps, copy, { archive, proof, startedAt });
  } catch (cause) {
    await recordFailure(deps, destination, copy, cause);
    throw cause;
  }
}

function currentSource(deps: CopyDeps, { copy }: CopyRow): Source {
  const source = deps.catalog.read((reader) => reader.backup(copy.sourceBackup));
  if (source?.state === 'READY' || source?.state === 'PENDING_DELETION') return source;
  throw new Failed(
    'VAULT_LOST',
    `${copy.sourceBackup} in ${copy.sourceRegion}, which was to be copied, is ${source?.state ?? 'gone'}`,
  );
}

async function carryAndProve(
  deps: CopyDeps,
  source: Source,
  { copy, destination }: { copy: CopyRow; destination: RegionStorage },
): Promise<{ archive: SealedArchive; proof: Proof }> {
  await using drill = startDrill(deps.fleet);
  using sealed = await readSealed(deps.storageOf(source.region), source);
  const { seal } = source.archive;
  const archive = await storeSealed(destination, copy, async () => {
    const seen = measured(sealed.body);
    const end = async () => {
      const { sealRecord } = sealed;
      const differs = differenceToSealed(seal.statement, {
        ...seen.result(),
        sealRecordSha256: sha256(sealRecord),
      });
      if (differs === undefined) return { sealRecord, seal };
      throw new Failed(
        'VAULT_READ',
        `${source.id} is not what its HSM sealed: another ${differs}. The source was left as it is.`,
      );
    };
    return { body: seen.body, end };
  });
  const proof = await proveBackup(
    { drill: await drill.ready, storage: destination, profile: deps.profile },
    copy,
    archive,
  );
  return { archive, proof };
}

/** What passed by is what the HSM signed, or it is no copy. */
function differenceToSealed(
  sealed: Pick<SealedArchive['seal']['statement'], 'bodyBytes' | 'bodySha256' | 'sealRecordSha256'>,
  seen: { bodyBytes: number; bodySha256: string; sealRecordSha256: string },
): string | undefined {
  if (sealed.bodyBytes !== seen.bodyBytes || sealed.bodySha256 !== seen.bodySha256) return 'body';
  return sealed.sealRecordSha256 === seen.sealRecordSha256 ? undefined : 'seal record';
}

/** Hashes and counts a stream on its way; `result` holds once it was read to its end. */
function measured(stream: AsyncIterable<Uint8Array>): {
  body: AsyncIterable<Uint8Array>;
  result: () => { bodyBytes: number; bodySha256: string };
} {
  const hash = createHash('sha256');
  let bodyBytes = 0;
  async function* body(): AsyncIterable<Uint8Array> {
    for await (const chunk of stream) {
      hash.update(chunk);
      bodyBytes += chunk.length;
      yield chunk;
    }
  }
  return { body: body(), result: () => ({ bodyBytes, bodySha256: toHex(hash.digest()) }) };
}

const sha256 = (bytes: Uint8Array): string => toHex(createHash('sha256').update(bytes).digest());

/** READY, and the end of the wish that it fulfils, are one fact. */
function recordFact(
  deps: CopyDeps,
  { id, copy }: CopyRow,
  done: { archive: SealedArchive; proof: Proof; startedAt: EpochMs },
): ReadyBackup {
  const { archive, proof, startedAt } = done;
  const ready = deps.catalog.transact((writer): ReadyBackup => {
    const row = writer.backup(id);
    if (row?.state !== 'CREATE_IN_PROGRESS') {
      throw new Failed('CATALOG', `${id} became ${row?.state ?? 'nothing'} while it was copied`);
    }
    // The row as it is now: tags may have been put on it meanwhile.
    const next: ReadyBackup = { ...row, state: 'READY', archive, proof };
    writer.putBackup(next);
    settleWish(writer, id, { isDone: true });
    return next;
  });
  deps.events.emit({
    kind: 'copyProven',
    backupId: id,
    sourceBackupId: copy.sourceBackup,
    region: ready.region,
    durationMs: deps.clock.now() - startedAt,
    storedBytes: archive.storedBytes,
  });
  return ready;
}

/** After a reboot the roots may be locked for hours: such a copy is not failed, it has not begun. */
function isForLater(cause: unknown): boolean {
  return (
    (cause instanceof Refused && cause.code === 'RootsLocked') ||
    (cause instanceof Failed && cause.code === 'HOST_GONE')
  );
}

async function recordFailure(
  deps: CopyDeps,
  destination: RegionStorage,
  copy: CopyRow,
  cause: unknown,
): Promise<void> {
  if (isForLater(cause)) return;
  const why = cause instanceof Error ? cause.message : String(cause);
  deps.events.emit({
    kind: 'copyFailed',
    backupId: copy.id,
    sourceBackupId: copy.copy.sourceBackup,
    region: copy.region,
    why,
  });
  try {
    await removeStored(destination, copy.id);
    const now = deps.clock.now();
    deps.catalog.transact((writer) => {
      writer.putBackup(failedTry(copy, now, why));
      settleWish(writer, copy.id, { isDone: false, now });
    });
  } catch {
    // The row stays CREATE_IN_PROGRESS, and the next start begins the copy again. The first failure,
    // which the caller is about to see, says more than this one.
  }
}
