/**
 * Prove a backup: another HSM, made for this and wiped after it, restores what really rests in the vault,
 * finds the same state, uses the keys, and signs what it saw. Only then is a backup READY.
 */
import type { DrillHsm, Fleet } from '../fleet/fleet.ts';
import type { ExerciseOutcome, SealStatement, Signed } from '../hsm/protocol.ts';
import { Failed } from '../kernel/errors.ts';
import type { Profile } from '../profile.ts';
import type { Backup, Proof, SealedArchive } from './backup.ts';
import { differenceToSeal, openStored } from './restore.ts';
import type { RegionStorage } from './storage.ts';

/** A drill HSM on its way. Ends with the block that started it, also when nobody came to use it. */
export function startDrill(fleet: Fleet): { ready: Promise<DrillHsm> } & AsyncDisposable {
  const ready = fleet.drill();
  // Whoever awaits `ready` is told; until then a failure must not count as unnoticed.
  ready.catch(() => {});
  return {
    ready,
    async [Symbol.asyncDispose]() {
      const [drill] = await Promise.allSettled([ready]);
      if (drill.status === 'fulfilled') await drill.value[Symbol.asyncDispose]();
    },
  };
}

/** @throws Failed `NOT_PROVEN` with what differed; whatever vault, KMS and HSM throw. */
export async function proveBackup(
  parts: { drill: DrillHsm; storage: RegionStorage; profile: Profile },
  backup: Pick<Backup, 'id' | 'clusterId' | 'account' | 'region' | 'type' | 'mode'>,
  archive: SealedArchive,
): Promise<Proof> {
  const { drill, storage, profile } = parts;
  const opened = await openStored(storage, backup, {
    opener: drill,
    as: { clusterId: backup.clusterId, isClone: false },
  });
  const difference = differenceToSeal(archive.seal.statement, opened);
  if (difference !== undefined) {
    throw new Failed(
      'NOT_PROVEN',
      `${backup.id} was stored, but a second HSM found ${difference}.`,
    );
  }
  const exercised = await drill.exercise();
  if (!exercised.passed) {
    throw new Failed(
      'NOT_PROVEN',
      `${backup.id} was restored by a second HSM, but keys did not work: ${failuresOf(exercised)}.`,
    );
  }
  return await signedByDrill(drill, { ...backup, profile }, archive, archive.seal);
}

/** The drill HSM repeats the comparison itself before it signs: it does not take our word. */
async function signedByDrill(
  drill: DrillHsm,
  backup: Pick<Backup, 'id' | 'region'> & { profile: Profile },
  archive: SealedArchive,
  seal: Signed<SealStatement>,
): Promise<Proof> {
  return await drill.prove(
    {
      // The id that is sealed inside: a copy's own is another one, and the drill would refuse it.
      backupId: seal.statement.backupId,
      storedBodySha256: archive.storedBodySha256,
      storedBytes: archive.storedBytes,
      region: backup.region,
      profile: backup.profile,
    },
    seal,
  );
}

function failuresOf(exercised: ExerciseOutcome): string {
  return exercised.tried
    .filter(({ failed }) => failed > 0)
    .map(({ kind, failed, tried }) => `${failed} of ${tried} ${kind}`)
    .join(', ');
}
