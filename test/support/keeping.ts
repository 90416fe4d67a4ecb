/** Steps of tests in which a keeper looks after a world's backups. */
import type { Keeper } from '../../src/backups/keeper.ts';
import type { ClusterId, HsmId } from '../../src/kernel/ids.ts';
import type { World } from './world.ts';

export async function tickAfter(world: World, keeper: Keeper, ms: number): Promise<void> {
  world.clock.advance(ms);
  keeper.tick();
  await world.background.idle();
}

/** A new user in the HSM; the keeper hears of it. */
export async function change(
  world: World,
  keeper: Keeper,
  hsmId: HsmId,
  username: string,
): Promise<void> {
  await world.asAdmin(hsmId, (call) =>
    call('user-create', { username, role: 'crypto-user', password: 'some-password-1' }),
  );
  await world.settle(hsmId);
  for (const { clusterId, generation } of world.changes.splice(0)) {
    keeper.noteChange(clusterId, generation);
  }
}

export const causesOf = (world: World, clusterId: ClusterId) =>
  world
    .allBackups()
    .filter((backup) => backup.clusterId === clusterId)
    .map(({ cause }) => cause)
    .sort();
