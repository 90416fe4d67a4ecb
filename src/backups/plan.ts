/**
 * What would a restore change? A throw-away HSM opens the chosen backup, then the state that it would
 * replace, and compares them inside. The current state comes as sealed as a backup does: the newest proven
 * one if it is that state, else a seal made for this alone, which is never stored.
 */
import type { Fleet, HsmHandle } from '../fleet/fleet.ts';
import type { PlanOutcome } from '../hsm/protocol.ts';
import { concat } from '../kernel/bytes.ts';
import { assert, Failed, Refused } from '../kernel/errors.ts';
import { type ClusterId, newBackupId } from '../kernel/ids.ts';
import type { Random } from '../kernel/random.ts';
import type { ReadyBackup } from './backup.ts';
import { type Opener, openStored } from './restore.ts';
import type { StorageOf } from './storage.ts';

export type CurrentState =
  | { readonly from: 'backup'; readonly backup: ReadyBackup }
  | { readonly from: 'live'; readonly clusterId: ClusterId; readonly handle: HsmHandle };

/** Sealed bytes held at once; a full HSM of the largest type makes about a quarter. */
const MAX_SEALED_BYTES = 256 * 1024 * 1024;

export interface PlanDeps {
  readonly fleet: Fleet;
  readonly storageOf: StorageOf;
  readonly random: Random;
}

/** @throws Refused as the drill says (`DoesNotOpen`, `AccessDenied` for another lineage); Failed. */
export async function planAgainst(
  deps: PlanDeps,
  chosen: ReadyBackup,
  current: CurrentState,
): Promise<PlanOutcome> {
  await using drill = await deps.fleet.drill();
  await openProven(deps, chosen, drill);
  await drill.keep();
  if (current.from === 'backup') await openProven(deps, current.backup, drill);
  else await openLive(deps, current, drill);
  return await drill.plan();
}

async function openProven(deps: PlanDeps, backup: ReadyBackup, opener: Opener): Promise<void> {
  const { stateDigest } = await openStored(deps.storageOf(backup.region), backup, {
    opener,
    as: { clusterId: backup.clusterId, isClone: false },
  });
  if (stateDigest !== backup.proof.statement.opened.stateDigest) {
    throw new Failed('NOT_PROVEN', `${backup.id} opens to another state than was proven.`);
  }
}

/** The seal record comes after the body and is needed before it, so the sealed body waits here. */
async function openLive(
  { random }: PlanDeps,
  { clusterId, handle }: Extract<CurrentState, { from: 'live' }>,
  opener: Opener,
): Promise<void> {
  const sealing = await handle.seal(newBackupId(random));
  const body = await collect(sealing.body);
  const { sealRecord, seal } = await sealing.outcome;
  const { type, mode, stateDigest } = seal.statement;
  assert(
    seal.statement.clusterId === clusterId,
    `the HSM sealed another cluster than ${clusterId}`,
  );
  const as = { clusterId, isClone: false };
  const opened = await opener.open({ sealRecord, body: once(body), as, type, mode });
  if (opened.stateDigest !== stateDigest) {
    throw new Failed('NOT_PROVEN', `what ${clusterId} sealed opens to another state.`);
  }
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > MAX_SEALED_BYTES) {
      throw new Refused(
        'LimitExceeded',
        'The HSM holds more than a plan compares at once; take a backup and plan against that.',
      );
    }
    chunks.push(chunk);
  }
  return concat(...chunks);
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
