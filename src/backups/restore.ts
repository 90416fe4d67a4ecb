/**
 * Restore a backup: the road of `take.ts` the other way. Proofs, new HSMs and clones all come through
 * `openStored`, so what a proof showed is what a restore does.
 */
import type { Catalog } from '../catalog/catalog.ts';
import type { Cluster, Hsm } from '../clusters/cluster.ts';
import type { HsmHandle, OpenRequest } from '../fleet/fleet.ts';
import type { OpenOutcome, SealStatement } from '../hsm/protocol.ts';
import { toBase64 } from '../kernel/bytes.ts';
import type { Clock } from '../kernel/clock.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import { decryptStream, openSmall } from '../kms/envelope.ts';
import type { EncryptionContext } from '../kms/kms.ts';
import { parseOuterRecord } from '../kms/records.ts';
import type { Events } from '../ops/events.ts';
import { objectName } from '../vault/names.ts';
import type { Backup, ReadyBackup } from './backup.ts';
import { noteOpening } from './opening.ts';
import { PARTS, SMALL_PARTS_BYTES } from './parts.ts';
import { isOfTheBackup } from './sound.ts';
import type { RegionStorage, StorageOf } from './storage.ts';

/** Whatever can open a sealed archive: an HSM of a cluster or a drill. */
export interface Opener {
  open(request: OpenRequest): Promise<OpenOutcome>;
}

/** vault → second layer → the HSM's `open`. Every byte is checked on the way; plaintext stays inside. */
export async function openStored(
  storage: RegionStorage,
  backup: Pick<Backup, 'id' | 'clusterId' | 'account' | 'region' | 'type' | 'mode'>,
  target: { opener: Opener; as: OpenRequest['as'] } & Partial<Pick<OpenRequest, 'type' | 'mode'>>,
): Promise<OpenOutcome> {
  using sealed = await readSealed(storage, backup);
  return await target.opener.open({
    sealRecord: toBase64(sealed.sealRecord),
    body: sealed.body,
    as: target.as,
    // What the target is: the HSM judges it by the values that are sealed inside.
    type: target.type ?? backup.type,
    mode: target.mode ?? backup.mode,
  });
}

/** What the HSM sealed, without the second layer around it. */
export interface SealedParts extends Disposable {
  readonly sealRecord: Uint8Array;
  /** Read it before disposing: the data key goes with the block. */
  readonly body: AsyncIterable<Uint8Array>;
}

/** Takes the second layer off what rests in the vault; the seal stays shut. @throws Failed `VAULT_…`, `KMS`. */
export async function readSealed(
  storage: RegionStorage,
  backup: Pick<Backup, 'id' | 'clusterId' | 'account' | 'region'>,
): Promise<SealedParts> {
  const outer = parseOuterRecord(await readSmall(storage, backup.id, PARTS.outerRecord));
  const key = await storage.kms.unwrapDataKey(outer.dataKey, contextOf(backup));
  try {
    return {
      sealRecord: openSmall(
        key,
        PARTS.sealRecord,
        await readSmall(storage, backup.id, PARTS.sealRecord),
      ),
      body: decryptStream(key, storage.vault.get(objectName(backup.id, PARTS.body))),
      [Symbol.dispose]: () => key[Symbol.dispose](),
    };
  } catch (cause) {
    key[Symbol.dispose]();
    throw cause;
  }
}

/** Bound into the data key: a wrapped key moved to another backup, cluster, region or account is refused. */
export function contextOf(
  backup: Pick<Backup, 'id' | 'clusterId' | 'account' | 'region'>,
): EncryptionContext {
  return {
    backupId: backup.id,
    clusterId: backup.clusterId,
    region: backup.region,
    account: backup.account,
  };
}

/** Where a backup goes, and what it becomes there. */
export interface RestoreTarget {
  readonly cluster: Cluster;
  readonly hsm: Hsm;
  readonly handle: HsmHandle;
  /** A new incarnation. */
  readonly isClone: boolean;
  /** For a clone that takes its own cluster's place: generations go on above this one. */
  readonly afterGeneration?: number;
}

export interface RestoreDeps {
  readonly catalog: Catalog;
  readonly storageOf: StorageOf;
  readonly clock: Clock;
  readonly events: Events;
}

/**
 * Puts a READY backup onto an HSM. All previous state of the HSM is replaced, or none of it.
 * @throws Refused `WrongState`, `DoesNotOpen`; Failed `VAULT_…`, `KMS`, `HSM_GONE`, `NOT_PROVEN` when the
 *   HSM's digest is not the proven one (it must then not serve).
 */
export async function restoreBackup(
  deps: RestoreDeps,
  backup: ReadyBackup,
  target: RestoreTarget,
): Promise<OpenOutcome> {
  const startedAt = deps.clock.now();
  const current = deps.catalog.read((reader) => reader.backup(backup.id));
  if (current?.state !== 'READY') {
    throw new Refused(
      'WrongState',
      `${backup.id} is ${current?.state ?? 'gone'}; only a READY backup can be restored.`,
    );
  }
  let opened: OpenOutcome;
  try {
    opened = await openOnto(deps, backup, target);
  } catch (cause) {
    if (isOfTheBackup(cause)) noteBroken(deps, current, cause.message);
    throw cause;
  }
  deps.events.emit({
    kind: 'restored',
    backupId: backup.id,
    hsmId: target.hsm.id,
    durationMs: deps.clock.now() - startedAt,
  });
  return opened;
}

async function openOnto(
  deps: RestoreDeps,
  backup: ReadyBackup,
  target: RestoreTarget,
): Promise<OpenOutcome> {
  const opened = await openStored(deps.storageOf(backup.region), backup, {
    opener: target.handle,
    type: target.cluster.type,
    mode: target.cluster.mode,
    as: {
      clusterId: target.cluster.id,
      isClone: target.isClone,
      ...(target.afterGeneration === undefined ? {} : { afterGeneration: target.afterGeneration }),
    },
  });
  if (opened.stateDigest !== backup.proof.statement.opened.stateDigest && !target.isClone) {
    throw new Failed(
      'NOT_PROVEN',
      `${target.hsm.id} restored ${backup.id}, but its state digest is not the proven one.`,
    );
  }
  return opened;
}

/** As a drill would have found it: nobody should have to wait for the next one to hear of it. */
function noteBroken(deps: RestoreDeps, backup: ReadyBackup, why: string): void {
  try {
    if (!noteOpening(deps, backup, why)) return;
    const { id: backupId, clusterId } = backup;
    deps.events.emit({ kind: 'backupBroken', backupId, clusterId, why });
  } catch {
    // The restore's own failure says more, and the next drill finds the same.
  }
}

/** What a sealing HSM said and what an opening one saw, side by side; the first difference in words. */
export function differenceToSeal(seal: SealStatement, opened: OpenOutcome): string | undefined {
  const pairs: readonly (readonly [string, unknown, unknown])[] = [
    ['state digest', seal.stateDigest, opened.stateDigest],
    ['header', seal.headerSha256, opened.headerSha256],
    ['body', seal.bodySha256, opened.bodySha256],
    ['generation', seal.generation, opened.generation],
    ['users', seal.counts.users, opened.counts.users],
    ['keys', seal.counts.keys, opened.counts.keys],
    ['objects', seal.counts.objects, opened.counts.objects],
    ['tombstones', seal.counts.tombstones, opened.counts.tombstones],
  ];
  const [name, sealed, seen] = pairs.find(([, a, b]) => a !== b) ?? [];
  return name === undefined ? undefined : `${name}: sealed ${sealed}, restored ${seen}`;
}

async function readSmall(
  storage: RegionStorage,
  id: Backup['id'],
  part: string,
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let sizeBytes = 0;
  for await (const chunk of storage.vault.get(objectName(id, part))) {
    sizeBytes += chunk.length;
    if (sizeBytes > SMALL_PARTS_BYTES) {
      throw new Failed('VAULT_READ', `${part} of ${id} is larger than a key record can be`);
    }
    parts.push(chunk);
  }
  return new Uint8Array(Buffer.concat(parts));
}
