/** Rules for automatic copies: what they want, once each, whatever fails or dies. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CopyRule } from '../../src/backups/copy-rule.ts';
import { matches, nextCopyTry, sameRule } from '../../src/backups/copy-rules.ts';
import { createRuleBook, type RuleBook } from '../../src/backups/rule-book.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS } from '../../src/kernel/clock.ts';
import { Refused } from '../../src/kernel/errors.ts';
import { type ClusterId, parseCopyRuleId } from '../../src/kernel/ids.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import { at, clusterId, readyBackup, SCOPE as SAMPLE } from '../support/catalog-samples.ts';
import { callerOf, REGIONS, SCOPE, World } from '../support/world.ts';

const [HERE, THERE] = REGIONS;
const RULE: CopyRule = {
  id: parseCopyRuleId('copy-rule-keyark2ab3cd4ef5'),
  account: SAMPLE.account,
  fromRegion: HERE,
  toRegion: THERE,
  createdAt: at(1),
};

const bookOf = ({ catalog, clock, profile }: World): RuleBook =>
  createRuleBook({ catalog, clock, random: systemRandom, regions: REGIONS, profile });

const copiesIn = (world: World, id: ClusterId) =>
  world.allBackups().filter((backup) => backup.copy !== undefined && backup.clusterId === id);

async function copyDue(world: World): Promise<void> {
  await world.backups.copyDue();
  await world.background.idle();
}

test('a rule matches by account, region, cluster and cause, and never a copy', () => {
  const backup = readyBackup(1);
  const cases: readonly [Partial<CopyRule>, Parameters<typeof readyBackup>[1], boolean][] = [
    [{}, {}, true],
    [{ clusterId: clusterId(1) }, {}, true],
    [{ clusterId: clusterId(2) }, {}, false],
    [{ causes: ['scheduled', 'manual'] }, {}, true],
    [{ causes: ['manual'] }, {}, false],
    [{}, { account: '000000000001' }, false],
    [{}, { region: THERE }, false],
    [{}, { cause: 'copied' }, false],
  ];
  for (const [rule, changes, expected] of cases) {
    const given = { ...backup, ...changes };
    assert.equal(matches({ ...RULE, ...rule }, given), expected, JSON.stringify([rule, changes]));
  }
});

test('two rules are the same when some backup would be copied twice to one place', () => {
  const same = (change: Partial<CopyRule>): boolean =>
    sameRule([RULE], { ...RULE, ...change }) !== undefined;
  assert.equal(same({}), true);
  assert.equal(same({ causes: ['manual'] }), true);
  assert.equal(same({ toRegion: 'ap-south-1' }), false);
  assert.equal(same({ clusterId: clusterId(1) }), false);
  const manual: CopyRule = { ...RULE, causes: ['manual'] };
  assert.equal(sameRule([manual], { ...RULE, causes: ['scheduled'] }), undefined);
});

test('waits between tries double up to an hour', () => {
  const waits = [1, 2, 3, 6, 7, 50].map((tries) => nextCopyTry(at(0), tries) / MINUTE_MS);
  assert.deepEqual(waits, [1, 2, 4, 32, 60, 60]);
});

test('each backup that becomes READY after the rule is copied, once, and kept as long as it says', async () => {
  await using world = await World.open();
  const { clusterId: id } = await world.activeCluster();
  await bookOf(world).add(SCOPE, { fromRegion: HERE, toRegion: THERE, retentionDays: 30 });
  const [first] = world.ready(id);
  await copyDue(world);
  assert.deepEqual(copiesIn(world, id), [], 'what there was before stays as it is');

  const taken = await world.backups.take(id, 'manual');
  await copyDue(world);
  await copyDue(world);
  await world.restart();
  await copyDue(world);
  const [copy, ...more] = copiesIn(world, id);
  assert.deepEqual(more, []);
  assert.ok(copy?.state === 'READY' && copy.region === THERE);
  assert.equal(copy.copy?.sourceBackup, taken.id);
  assert.notEqual(copy.copy?.sourceBackup, first?.id);
  assert.deepEqual(copy.ownRetention, { days: 30, expiresAt: world.clock.now() + 30 * DAY_MS });
  await world.mustOpen(copy);
});

test('whichever call fails, a rule ends with exactly one copy', async () => {
  await using world = await World.open();
  const { clusterId: id } = await world.activeCluster();
  await bookOf(world).add(SCOPE, { fromRegion: HERE, toRegion: THERE });
  await world.backups.take(id, 'manual');
  world.faults.reset();
  await copyDue(world);
  const crossings = [...world.faults.seen];
  for (let n = 0; n < crossings.length; n += 1) {
    const taken = await world.backups.take(id, 'manual');
    world.faults.reset(n);
    await world.backups.copyDue().catch(() => {});
    await world.background.idle();
    await world.restart();
    world.clock.advance(HOUR_MS);
    await copyDue(world);
    const made = copiesIn(world, id).filter(({ copy }) => copy?.sourceBackup === taken.id);
    const states = made.map(({ state }) => state);
    const where = `${n}: ${crossings[n]}: ${states.join(', ')}`;
    assert.equal(states.filter((state) => state === 'READY').length, 1, where);
    assert.ok(
      states.every((state) => state === 'READY' || state === 'DELETED'),
      where,
    );
  }
});

test('a failed copy is tried again after its wait, not before, and says so each time', async () => {
  await using world = await World.open();
  const { clusterId: id } = await world.activeCluster();
  await bookOf(world).add(SCOPE, { fromRegion: HERE, toRegion: THERE });
  await world.backups.take(id, 'manual');
  const { drill } = world.fleet;
  world.fleet.drill = async () => {
    throw new Error('planted');
  };
  const failures = () => world.events.filter(({ kind }) => kind === 'copyFailed').length;
  for (const [waitMs, expected] of [
    [0, 1],
    [MINUTE_MS - 1, 1],
    [1, 2],
    [MINUTE_MS, 2],
    [MINUTE_MS, 3],
  ] as const) {
    world.clock.advance(waitMs);
    await copyDue(world);
    assert.equal(failures(), expected);
  }
  world.fleet.drill = drill;
  world.clock.advance(HOUR_MS);
  await copyDue(world);
  const states = copiesIn(world, id).map(({ state }) => state);
  assert.deepEqual(states.sort(), ['DELETED', 'DELETED', 'DELETED', 'READY']);
});

test('what piled up is caught up one after the other', async () => {
  await using world = await World.open();
  const { clusterId: id } = await world.activeCluster();
  await bookOf(world).add(SCOPE, { fromRegion: HERE, toRegion: THERE });
  for (let n = 0; n < 5; n += 1) await world.backups.take(id, 'manual');
  const { drill } = world.fleet;
  let [now, most] = [0, 0];
  world.fleet.drill = async (...given) => {
    now += 1;
    most = Math.max(most, now);
    const made = await drill.apply(world.fleet, given);
    const end = made[Symbol.asyncDispose].bind(made);
    return Object.assign(made, {
      [Symbol.asyncDispose]: async () => {
        now -= 1;
        await end();
      },
    });
  };
  // Several ticks look at the same rows at once.
  await Promise.all([copyDue(world), copyDue(world), copyDue(world)]);
  assert.equal(most, 1);
  assert.equal(copiesIn(world, id).filter(({ state }) => state === 'READY').length, 5);
});

test('while no HSM can be had one copy waits, and the rest does not even begin', async () => {
  await using world = await World.open();
  const { clusterId: id } = await world.activeCluster();
  await bookOf(world).add(SCOPE, { fromRegion: HERE, toRegion: THERE });
  for (let n = 0; n < 3; n += 1) await world.backups.take(id, 'manual');
  const { drill } = world.fleet;
  world.fleet.drill = async () => {
    throw new Refused('RootsLocked', 'the roots are locked');
  };
  for (let n = 0; n < 3; n += 1) await copyDue(world);
  assert.deepEqual(
    copiesIn(world, id).map(({ state }) => state),
    ['CREATE_IN_PROGRESS'],
  );
  world.fleet.drill = drill;
  for (let n = 0; n < 2; n += 1) await copyDue(world);
  assert.deepEqual(
    copiesIn(world, id).map(({ state }) => state),
    ['READY', 'READY', 'READY'],
  );
});

test('a rule to a region that is not served any more says so and waits', async () => {
  await using world = await World.open();
  const { clusterId: id } = await world.activeCluster();
  world.catalog.transact((writer) =>
    writer.createCopyRule({ ...RULE, account: SCOPE.account, toRegion: 'ap-south-1' }),
  );
  await world.backups.take(id, 'manual');
  await copyDue(world);
  await copyDue(world);
  const told = world.events.filter((event) => event.kind === 'copyFailed');
  assert.equal(told.length, 1);
  assert.match(JSON.stringify(told), /ap-south-1 is not served/);
  assert.deepEqual(copiesIn(world, id), []);
});

test('a wish ends when its source is gone or its rule removed', async () => {
  await using world = await World.open();
  const { clusterId: id } = await world.activeCluster();
  const book = bookOf(world);
  const rule = await book.add(SCOPE, { fromRegion: HERE, toRegion: THERE });
  const taken = await world.backups.take(id, 'manual');
  await world.backups.remove(SCOPE, taken.id);
  world.clock.advance(8 * DAY_MS);
  await world.backups.purgeDue();
  await copyDue(world);
  assert.deepEqual(copiesIn(world, id), []);
  await world.backups.take(id, 'manual');
  await book.remove(SCOPE, rule.id);
  await copyDue(world);
  assert.deepEqual(copiesIn(world, id), []);
  assert.deepEqual(book.list(SCOPE), []);
});

test('a rule is refused for regions, clusters, causes and days that cannot be', async () => {
  await using world = await World.open();
  const { clusterId: id } = await world.activeCluster();
  const book = bookOf(world);
  const rule = { fromRegion: HERE, toRegion: THERE };
  const cases: readonly [Partial<Parameters<RuleBook['add']>[1]>, string][] = [
    [{ toRegion: HERE }, 'InvalidRequest'],
    [{ toRegion: 'ap-south-1' }, 'InvalidRequest'],
    [{ fromRegion: 'ap-south-1' }, 'InvalidRequest'],
    [{ retentionDays: 6 }, 'InvalidRequest'],
    [{ retentionDays: 380 }, 'InvalidRequest'],
    [{ causes: ['copied'] }, 'InvalidRequest'],
    [{ causes: ['__proto__'] }, 'InvalidRequest'],
    [{ clusterId: clusterId(9) }, 'NotFound'],
    [{ fromRegion: THERE, toRegion: HERE, clusterId: id }, 'NotFound'],
  ];
  for (const [change, code] of cases) {
    const asked = book.add(SCOPE, { ...rule, ...change });
    await assert.rejects(asked, { name: 'Refused', code }, JSON.stringify(change));
  }
  assert.deepEqual(book.list(SCOPE), []);
  const { id: made } = await book.add(SCOPE, { ...rule, causes: ['manual'] });
  await assert.rejects(book.add(SCOPE, rule), { name: 'Refused', code: 'Conflict' });
  const stranger = callerOf('000000000001', HERE);
  await assert.rejects(book.remove(stranger, made), { name: 'Refused', code: 'NotFound' });
  assert.deepEqual(book.list(stranger), []);
});

test('aws-exact has no rules that copy by themselves, as AWS', async () => {
  await using world = await World.open();
  world.profile = 'aws-exact';
  const book = bookOf(world);
  await assert.rejects(book.add(SCOPE, { fromRegion: HERE, toRegion: THERE }), {
    code: 'InvalidRequest',
    message: /^\[PROFILE\] Rules .*CopyBackupToRegion.*Nothing was done/,
  });
  assert.deepEqual(book.list(SCOPE), []);
});
