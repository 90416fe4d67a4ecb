/**
 * The service under random operations, crashes and months of virtual time: whatever happens, the laws of
 * model.ts hold at every quiet point. `KEYARK_MODEL_SEED=n` runs another seed, `KEYARK_MODEL_DAYS=n` more or fewer
 * cluster-days. Ids are drawn outside the seed, so a seed repeats its actions, not each id.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { Failed, Refused } from '../../src/kernel/errors.ts';
import { Luck } from '../support/luck.ts';
import { World } from '../support/world.ts';
import { type Action, Impossible, pickAction } from './actions.ts';
import { Rig } from './rig.ts';

const CLUSTERS = 4;
const CRASH_SHARE = 0.25;
/** An action that is cut short dies within so many crossings. */
const CRASH_WITHIN = 40;
const WANTED_DAYS = Number(process.env['KEYARK_MODEL_DAYS'] ?? 240);
const SEEDS = process.env['KEYARK_MODEL_SEED']?.split(',').map(Number) ?? [1, 2];

let clusterDays = 0;

for (const seed of SEEDS) {
  test(`the laws hold for seed ${seed}`, async (t) => {
    const cpu = process.cpuUsage();
    await using world = await World.open();
    const rig = new Rig(world, new Luck(seed));
    for (let i = 0; i < CLUSTERS; i += 1) await world.activeCluster();
    let crashes = 0;
    try {
      while (rig.clusterDays < WANTED_DAYS / SEEDS.length) {
        const action = pickAction(rig);
        if (rig.luck.share() < CRASH_SHARE) {
          crashes += 1;
          await crashDuring(rig, action);
        } else {
          rig.log.push(`${action.name}: ${await outcomeOf(rig, action)}`);
          await world.background.idle();
        }
        await rig.rest();
        await rig.check();
      }
      for (const backup of world
        .allBackups()
        .filter(({ state }) => state === 'READY')
        .slice(-3)) {
        if (backup.state === 'READY') await world.mustOpen(backup);
      }
    } catch (cause) {
      throw new Error(`seed ${seed}, action ${rig.log.length}: ${String(cause)}`, { cause });
    }
    const { user, system } = process.cpuUsage(cpu);
    clusterDays += rig.clusterDays;
    t.diagnostic(
      `seed ${seed}: ${Math.floor(rig.clusterDays)} cluster-days, ${rig.log.length} actions, ${crashes} crashes, ${Math.round((user + system) / 1e6)} s of processor time`,
    );
  });
}

after(() => {
  assert.ok(clusterDays >= Math.floor(WANTED_DAYS), `only ${clusterDays} cluster-days`);
});

/** The process dies somewhere within the action or its aftermath, and a new one takes over. */
async function crashDuring(rig: Rig, action: Action): Promise<void> {
  const at = rig.luck.below(CRASH_WITHIN);
  rig.world.faults.die(at);
  const said = await outcomeOf(rig, action, true);
  await rig.world.background.idle();
  rig.log.push(`${action.name}, crash at ${at} (${rig.world.faults.seen.at(-1)}): ${said}`);
  await rig.restart();
}

/** A refusal is an answer; a failure is one only where something was made to fail. */
async function outcomeOf(rig: Rig, action: Action, isDying = false): Promise<string> {
  try {
    await action.run(rig);
    return 'done';
  } catch (cause) {
    const isAnswer = cause instanceof Refused || cause instanceof Impossible;
    const isPlanted = isDying && cause instanceof Error;
    if (!isAnswer && !isPlanted && !(cause instanceof Failed && isDying)) throw cause;
    return cause.message;
  }
}
