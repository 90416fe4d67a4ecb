/**
 * What a drill does with two archives, one after the other: it keeps what the first one held, and says
 * what would change if that came back instead of the second one's state.
 *
 * It must never compare states of two lineages: an officer of one would learn the names of the other.
 */
import { equalBytes, toBase64 } from '../kernel/bytes.ts';
import type { Clock } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import type { Answer } from './answers.ts';
import { stateDigest } from './backup/digest.ts';
import { countsOf } from './counts.ts';
import type { DurableStore } from './durable-store.ts';
import { planOf, type WholeState } from './plan.ts';
import { sealPlan } from './plan-box.ts';
import type { PlanSide } from './protocol.ts';

export interface PlannerNeeds {
  readonly clock: Clock;
  readonly random: Random;
  readonly parts: () => { readonly store: DurableStore };
}

export class Planner {
  readonly #needs: PlannerNeeds;
  #kept: WholeState | null = null;

  constructor(needs: PlannerNeeds) {
    this.#needs = needs;
  }

  forget(): void {
    this.#kept = null;
  }

  /** What is open now would come back. */
  async keep(): Promise<Answer<'keep'>> {
    this.#kept = this.#needs.parts().store.frozen();
    return { result: await sideOf(this.#kept) };
  }

  /** What is open now would be replaced by what was kept. */
  async plan(): Promise<Answer<'plan'>> {
    const chosen = this.#kept;
    if (chosen === null) {
      throw new Refused('WrongState', 'A plan compares two states; "keep" comes after the first.');
    }
    const current = this.#needs.parts().store.frozen();
    if (!equalBytes(current.shared.partition.maskingKey, chosen.shared.partition.maskingKey)) {
      throw new Refused(
        'AccessDenied',
        'These are states of two clusters that have nothing in common; they are not compared.',
      );
    }
    const { changes, lines, isSameState } = planOf(current, chosen);
    const sides = { current: await sideOf(current), chosen: await sideOf(chosen) };
    const head = {
      madeAt: this.#needs.clock.now(),
      current: headOf(sides.current),
      chosen: headOf(sides.chosen),
    };
    const box = sealPlan(current.shared.partition, { head, lines }, this.#needs.random);
    return { result: { ...sides, changes, isSameState, names: toBase64(box) } };
  }
}

async function sideOf({ shared }: WholeState): Promise<PlanSide> {
  const { partition, generation } = shared;
  return {
    clusterId: partition.clusterId,
    incarnation: partition.incarnation,
    generation,
    stateDigest: await stateDigest(shared),
    counts: countsOf(shared),
  };
}

const headOf = ({ clusterId, incarnation, generation }: PlanSide) => ({
  clusterId,
  incarnation,
  generation,
});
