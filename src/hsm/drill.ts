/**
 * What a drill does with the archive it opened: it uses the restored keys, and signs a proof of what it saw.
 *
 * It must never prove what was not exercised, nor a seal other than that of the archive it opened.
 */
import type { Clock } from '../kernel/clock.ts';
import { assert, Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import type { Answer, Params } from './answers.ts';
import type { DeviceRecord } from './device-record.ts';
import { exercise } from './exercise.ts';
import { checkSeal, notExercised, type OpenedArchiveFacts, signedBy } from './proof.ts';
import type { ExerciseOutcome, ProofStatement } from './protocol.ts';
import type { Store } from './store.ts';

export interface DrillNeeds {
  readonly clock: Clock;
  readonly random: Random;
  /** SHA-256 of the program that runs, hex. */
  readonly codeSha256: string;
  readonly parts: () => { readonly store: Store };
  readonly device: () => DeviceRecord;
}

export class Drill {
  readonly #needs: DrillNeeds;
  #last: { opened: OpenedArchiveFacts; exercised: ExerciseOutcome | null } | null = null;

  constructor(needs: DrillNeeds) {
    this.#needs = needs;
  }

  /** An archive was opened; what was exercised before counts no longer. */
  remember(opened: OpenedArchiveFacts): void {
    this.#last = { opened, exercised: null };
  }

  forget(): void {
    this.#last = null;
  }

  async exercise(): Promise<Answer<'exercise'>> {
    const drill = this.#last;
    if (drill === null) throw new Refused('WrongState', 'Nothing was opened here yet.');
    const outcome = await exercise(this.#needs.parts().store.shared, this.#needs.random);
    drill.exercised = outcome;
    return { result: outcome };
  }

  async prove({ claims, seal }: Params<'prove'>): Promise<Answer<'prove'>> {
    const { opened, exercised } = this.#last ?? { opened: null, exercised: null };
    if (opened === null || exercised === null) {
      throw new Refused('WrongState', 'A proof comes after "open" and "exercise".');
    }
    if (!exercised.passed) {
      throw new Refused('WrongState', 'Restored keys failed their exercise; there is no proof.');
    }
    const device = this.#needs.device();
    assert(device.maker !== null && device.owner !== null, 'whoever opens is enrolled');
    const { makerRoot } = device.maker;
    checkSeal(seal, opened, { makerRoot, ownerRoot: device.owner.ownerRoot });
    if (claims.backupId !== opened.backupId) {
      throw new Refused('InvalidRequest', 'The claims are about another backup.');
    }
    const statement: ProofStatement = {
      kind: 'keyark.proof.v1',
      claims,
      opened: opened.outcome,
      exercised,
      sealSignatureVerified: true,
      notExercised: notExercised(exercised, opened.outcome.counts),
      drillSerial: device.serial,
      codeSha256: this.#needs.codeSha256,
      provenAt: this.#needs.clock.now(),
    };
    return { result: signedBy(device, statement) };
  }
}
