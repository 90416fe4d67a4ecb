import assert from 'node:assert/strict';
import { test } from 'node:test';
import { World } from '../support/world.ts';

test('activation leaves a READY backup whose proof another HSM signed', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  assert.equal(world.cluster(clusterId).state, 'ACTIVE');
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined, JSON.stringify(world.events));
  const { opened, drillSerial, claims } = backup.proof.statement;
  assert.equal(opened.stateDigest, backup.archive.seal.statement.stateDigest);
  assert.notEqual(drillSerial, backup.archive.seal.statement.serial);
  assert.equal(claims.storedBodySha256, backup.archive.storedBodySha256);
  await world.mustOpen(backup);
});

test('takeBackup() leaves no unproven READY row and harms nothing stored, whichever call fails', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const crossings = await crossingsOf(world, clusterId);
  assert.ok(crossings.length > 12, crossings.join(', '));
  for (let n = 0; n < crossings.length; n += 1) {
    const before = world.ready(clusterId);
    world.faults.reset(n);
    await assert.rejects(world.backups.take(clusterId, 'manual'), `${n}: ${crossings[n]}`);
    await world.restart();
    const after = world.ready(clusterId);
    // The last crossing may fail after everything was stored and proven; then nothing claims READY either.
    assert.deepEqual(
      after.map(({ id }) => id),
      before.map(({ id }) => id),
      `${n}: ${crossings[n]}`,
    );
    const known = new Set<string>(after.map(({ id }) => id));
    const orphans = (await world.stored()).filter((name) => !known.has(name.split('/')[0] ?? ''));
    assert.deepEqual(orphans, [], `${n}: ${crossings[n]}`);
  }
  for (const backup of world.ready(clusterId)) await world.mustOpen(backup);
  await world.backups.take(clusterId, 'manual');
});

/** Which walls one backup crosses, in order. */
async function crossingsOf(
  world: World,
  clusterId: Parameters<World['ready']>[0],
): Promise<readonly string[]> {
  world.faults.reset();
  await world.backups.take(clusterId, 'manual');
  return [...world.faults.seen];
}
