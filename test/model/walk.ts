/**
 * Walks the service through random operations, crashes, failing calls and months of virtual time: whatever
 * happens, the laws of model.ts hold at every quiet point. Everything but keys is drawn from the seed, so a seed
 * repeats its run. `KEYARK_MODEL_SEED=n` begins at another seed, `KEYARK_MODEL_DAYS=n` walks more or fewer
 * cluster-days, counted over all walks.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HsmType } from '../../src/hsm/protocol.ts';
import { MINUTE_MS } from '../../src/kernel/clock.ts';
import { Refused } from '../../src/kernel/errors.ts';
import { blockingFiles } from '../support/blocking-files.ts';
import { Luck, randomOf } from '../support/luck.ts';
import { REGIONS, World } from '../support/world.ts';
import { type Action, Impossible, pickAction } from './actions.ts';
import { Rig } from './rig.ts';

/** Each in a test file of its own, so that the runner has something to divide. */
const WALKS = 4;
const WANTED_DAYS = Number(process.env['KEYARK_MODEL_DAYS'] ?? 2_000) / WALKS;
const FIRST_SEED = Number(process.env['KEYARK_MODEL_SEED'] ?? 1);

const CLUSTERS: readonly HsmType[] = [
  ...Array.from({ length: 6 }, () => 'hsm2m.medium' as const),
  ...Array.from({ length: 3 }, () => 'hsm1.medium' as const),
];

/** What is wrong with the world while something happens, and how often. */
const TROUBLES = [
  { kind: 'none', share: 0.6 },
  { kind: 'crash', share: 0.25 },
  { kind: 'one call fails', share: 0.15 },
] as const;
/** An action that is cut short, or whose call fails, comes to that within so many crossings. */
const WITHIN = 40;
const TWICE_SHARE = 0.2;
const DIES_AGAIN_SHARE = 0.2;

interface Walked {
  readonly clusterDays: number;
  readonly actions: number;
  readonly crashes: number;
  readonly failures: number;
  /** Crashes and failures in the middle of work; the others fell into a quiet moment. */
  readonly hits: number;
  readonly races: number;
  /** What was done and what the service told of it, ids and all. */
  readonly story: readonly string[];
}

type Counts = { -readonly [name in 'actions' | 'crashes' | 'failures' | 'hits' | 'races']: number };

/** Declares the test of one walk. @param nth from 0. */
export function walk(nth: number): void {
  const seed = FIRST_SEED + nth;
  test(`the laws hold for seed ${seed}`, async (t) => {
    const cpu = process.cpuUsage();
    const { clusterDays, ...counts } = await walkOnce(seed, WANTED_DAYS);
    const { user, system } = process.cpuUsage(cpu);
    t.diagnostic(
      `seed ${seed}: ${Math.floor(clusterDays)} cluster-days, ${counts.actions} actions, ${counts.crashes} crashes and ${counts.failures} failing calls (${counts.hits} amid work), ${counts.races} races, ${Math.round((user + system) / 1e6)} s of processor time`,
    );
    assert.ok(clusterDays >= WANTED_DAYS);
  });
}

export async function walkOnce(seed: number, wantedDays: number): Promise<Walked> {
  await using world = await World.open({ ids: randomOf(new Luck(~seed)), files: blockingFiles });
  const rig = new Rig(world, new Luck(seed));
  const counts: Counts = { actions: 0, crashes: 0, failures: 0, hits: 0, races: 0 };
  try {
    await settleIn(world);
    while (rig.clusterDays < wantedDays) {
      counts.actions += 1;
      await step(rig, counts);
      await rig.rest();
      await rig.check();
    }
    const ready = world.allBackups().flatMap((each) => (each.state === 'READY' ? [each] : []));
    for (const backup of ready.slice(-3)) await world.mustOpen(backup);
  } catch (cause) {
    const again = `KEYARK_MODEL_SEED=${seed} npm test -- test/model/walk-1.test.ts`;
    throw new Error(`seed ${seed}, action ${counts.actions}: ${cause}\nAgain: ${again}`, { cause });
  }
  // Keys are nobody's to repeat, and the length of a signature follows its key.
  const told = world.events.map((event) =>
    JSON.stringify(event, (name, value) => (name === 'storedBytes' ? undefined : value)),
  );
  return { ...counts, clusterDays: rig.clusterDays, story: [...rig.log, ...told] };
}

async function settleIn(world: World): Promise<void> {
  world.legacy.hsm1 = true;
  // What is read from files once is read now: later its answer would come when the kernel likes.
  await world.fleet.status();
  for (const region of REGIONS) await world.storageOf(region).kms.currentKeyId();
  for (const hsmType of CLUSTERS) {
    await world.activeCluster({ hsmType, mode: hsmType === 'hsm1.medium' ? 'FIPS' : 'NON_FIPS' });
  }
}

async function step(rig: Rig, counts: Counts): Promise<void> {
  const { faults, background } = rig.world;
  const trouble = troubleOf(rig);
  const { name, call } = chosen(rig, counts, trouble !== 'none');
  const at = pointOf(rig.luck);
  if (trouble === 'crash') faults.die(at);
  if (trouble === 'one call fails') faults.reset(at);
  const said = await answerTo(call, trouble !== 'none');
  await background.idle();
  // What an action leaves to the next looks is where it can be hit too.
  if (trouble !== 'none' && faults.seen.length <= at) {
    await answerTo(() => rig.pass(MINUTE_MS), true);
    await background.idle();
  }
  const point = trouble === 'none' ? '' : `, ${trouble} at ${at} (${faults.seen[at]})`;
  rig.log.push(`${name}${point}: ${said}`);
  if (trouble !== 'none' && faults.seen.length > at) counts.hits += 1;
  if (trouble === 'crash') {
    counts.crashes += 1;
    await restartSomehow(rig, counts);
  }
  if (trouble === 'one call fails') {
    counts.failures += 1;
    faults.reset();
  }
}

/** Until then everything fails. The process that cleans up may die of it too, and the next one takes over. */
async function restartSomehow(rig: Rig, counts: Counts): Promise<void> {
  const { luck } = rig;
  while (luck.share() < DIES_AGAIN_SHARE) {
    counts.crashes += 1;
    try {
      await rig.restart(pointOf(luck));
    } catch (cause) {
      if (!(cause instanceof Error && /planted fault/.test(cause.message))) throw cause;
    }
  }
  await rig.restart();
}

/** Most operations make few crossings, so most points are early ones. */
const pointOf = (luck: Luck): number => luck.below(1 + luck.below(WITHIN));

/** What luck wants and the world allows: asked once, or by two callers at once. */
function chosen(
  rig: Rig,
  counts: Counts,
  isTroubled: boolean,
): { name: string; call: () => Promise<unknown> } {
  for (;;) {
    const action = pickAction(rig);
    try {
      const call = action.choose(rig);
      if (action.twice === 'never' || rig.luck.share() >= TWICE_SHARE) {
        return { name: action.name, call };
      }
      counts.races += 1;
      return { name: `${action.name}, twice`, call: () => twice(action, call, isTroubled) };
    } catch (cause) {
      // Time can always pass, so this ends.
      if (!(cause instanceof Impossible)) throw cause;
    }
  }
}

async function twice(
  { name, twice: rule }: Action,
  call: () => Promise<unknown>,
  isTroubled: boolean,
): Promise<void> {
  const answers = await Promise.allSettled([call(), call()]);
  const lost = answers.flatMap((answer) => (answer.status === 'rejected' ? [answer.reason] : []));
  // In trouble the first may have failed and been undone before the other came.
  if (rule === 'one wins' && !isTroubled) assert.ok(lost.length > 0, `both got it: ${name}`);
  // A loser is refused; anything else is trouble, and the caller judges it.
  for (const cause of lost) if (!(cause instanceof Refused)) throw cause;
}

/** A refusal is an answer; a failure is one only where something was made to fail. */
async function answerTo(call: () => Promise<unknown>, isTroubled: boolean): Promise<string> {
  try {
    await call();
    return 'done';
  } catch (cause) {
    if (cause instanceof Refused) return cause.message;
    if (isTroubled && cause instanceof Error && !(cause instanceof assert.AssertionError)) {
      return cause.message;
    }
    throw cause;
  }
}

function troubleOf({ luck }: Rig): (typeof TROUBLES)[number]['kind'] {
  let left = luck.share();
  for (const { kind, share } of TROUBLES) {
    left -= share;
    if (left < 0) return kind;
  }
  return 'none';
}
