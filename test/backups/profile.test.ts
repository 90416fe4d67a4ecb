/** What AWS does not do is off in `aws-exact`, also what was set up under `own`; refusals name profile and way. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRuleBook } from '../../src/backups/rule-book.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/kernel/clock.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import type { Profile } from '../../src/profile.ts';
import { at, backupId } from '../support/catalog-samples.ts';
import { addCluster, addStored } from '../support/stored-rows.ts';
import { CALLER, REGIONS, SCOPE, World } from '../support/world.ts';

const [HERE, THERE] = REGIONS;
const ONE = backupId(1);
const LEGAL = { kind: 'legal' } as const;

async function as(world: World, profile: Profile): Promise<void> {
  world.profile = profile;
  await world.restart();
}

const stateOf = (world: World, id = ONE) =>
  world.catalog.read((reader) => reader.backup(id))?.state;
const refusedFor = (text: RegExp) => ({ code: 'InvalidRequest', message: text });

/** Backup 1 is older than the retention, 2 is the newest. */
async function withOld(profile: Profile): Promise<World> {
  const world = await World.open();
  await as(world, profile);
  addCluster(world, 1, { retentionDays: 7 });
  await addStored(world, 1);
  world.clock.advance(8 * DAY_MS);
  await addStored(world, 2);
  return world;
}

for (const [profile, after] of [
  ['own', 'READY'],
  ['aws-exact', 'PENDING_DELETION'],
] as const) {
  test(`a backup past its retention that is brought back is ${after} after the next purge in ${profile}`, async () => {
    await using world = await withOld(profile);
    await world.backups.purgeDue();
    assert.equal(stateOf(world), 'PENDING_DELETION');
    world.clock.advance(HOUR_MS);
    assert.equal((await world.backups.undelete(CALLER, ONE)).state, 'READY');
    await world.backups.purgeDue();
    assert.equal(stateOf(world), after);
  });
}

test('aws-exact gives no earlier grace back with a later undo', async () => {
  await using world = await withOld('own');
  await world.backups.remove(CALLER, ONE);
  await world.backups.undelete(CALLER, ONE);
  await as(world, 'aws-exact');
  await world.backups.remove(CALLER, ONE);
  await world.backups.undelete(CALLER, ONE);
  await world.backups.purgeDue();
  assert.equal(stateOf(world), 'PENDING_DELETION');
});

test('aws-exact takes NeverExpires before the undo for an answer, as AWS advises', async () => {
  await using world = await withOld('aws-exact');
  await world.backups.modifyNeverExpires(SCOPE, ONE, true);
  await world.backups.remove(CALLER, ONE);
  await world.backups.undelete(CALLER, ONE);
  await world.backups.purgeDue();
  assert.equal(stateOf(world), 'READY');
});

test('aws-exact gives no copy a retention, takes one away, and lets one from before rest', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const id = world.ready(clusterId)[0]?.id ?? assert.fail();
  const wanted = { toRegion: THERE, retentionDays: 7 };
  const { id: copyId } = await world.backups.copy(SCOPE, id, wanted);
  await world.background.idle();
  assert.equal(stateOf(world, copyId), 'READY');

  await as(world, 'aws-exact');
  const refusal = refusedFor(
    /^\[PROFILE\] A retention .*aws-exact.*DeleteBackup.*Nothing was done/,
  );
  const rows = world.allBackups().length;
  await assert.rejects(world.backups.copy(SCOPE, id, wanted), refusal);
  assert.equal(world.allBackups().length, rows);
  const there = { ...SCOPE, region: THERE };
  await assert.rejects(world.backups.modifyRetention(there, copyId, 30), refusal);
  world.clock.advance(8 * DAY_MS);
  await world.backups.purgeDue();
  assert.equal(stateOf(world, copyId), 'READY');

  await as(world, 'own');
  await world.backups.purgeDue();
  assert.equal(stateOf(world, copyId), 'PENDING_DELETION');
  await world.backups.undelete({ ...CALLER, region: THERE }, copyId);
  await as(world, 'aws-exact');
  const free = await world.backups.modifyRetention(there, copyId, undefined);
  assert.equal(free.ownRetention, undefined);
});

test('aws-exact sets no hold; one from before binds on, is listed and can be lifted', async () => {
  await using world = await withOld('own');
  await world.backups.hold(CALLER, ONE, LEGAL, 'audit');
  await as(world, 'aws-exact');
  await assert.rejects(
    world.backups.hold(CALLER, backupId(2), LEGAL, 'audit'),
    refusedFor(/^\[PROFILE\] Holds: .*aws-exact.*NeverExpires.*Nothing was done/),
  );
  await assert.rejects(world.backups.remove(CALLER, ONE), { message: /\[HELD\]/ });
  await world.backups.purgeDue();
  assert.equal(stateOf(world), 'READY');
  assert.deepEqual(
    (await world.backups.held(SCOPE)).map(({ backup }) => backup.id),
    [ONE],
  );
  await world.backups.liftHold(CALLER, ONE);
  await world.backups.purgeDue();
  assert.equal(stateOf(world), 'PENDING_DELETION');
});

test('in aws-exact a rule from before copies nothing, neither what it wished for nor what is new', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster();
  const { catalog, clock } = world;
  const book = createRuleBook({
    ...{ catalog, clock, random: systemRandom },
    ...{ regions: REGIONS, profile: 'own' },
  });
  const rule = await book.add(SCOPE, { fromRegion: HERE, toRegion: THERE });
  const wished = await world.backups.take(clusterId, 'scheduled');
  const wishes = () =>
    world.catalog
      .read((reader) => reader.copiesWanted(at(world.clock.now()), 10))
      .map(({ backupId: id }) => id);
  assert.deepEqual(wishes(), [wished.id]);

  await as(world, 'aws-exact');
  await world.backups.take(clusterId, 'scheduled');
  world.clock.advance(MINUTE_MS);
  await world.backups.copyDue();
  await world.background.idle();
  assert.deepEqual(wishes(), [wished.id]);
  const copies = world.allBackups().filter(({ copy }) => copy !== undefined);
  assert.deepEqual(copies, [], `${rule.id} copied`);
});
