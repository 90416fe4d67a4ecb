/**
 * The one way from a caller's wish to changed state: decisions are made one after the other on the state
 * as it is, and each is committed together with its audit record before the next one looks.
 *
 * It must never let two wishes be judged against the same state, answer before the commit is durable,
 * or change shared state while writes are frozen.
 */
import type { Clock } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import { Serial } from '../kernel/serial.ts';
import type { Session } from './sessions.ts';
import type { SharedState } from './state.ts';
import type { AuditRecord, Change, Store } from './store.ts';

export interface Act<T> {
  readonly opcode: string;
  /**
   * Judges and decides; must not wait. Its `details` go into the audit record: names and handles, never secrets.
   * @throws Refused, and then nothing is written.
   */
  readonly decide: (shared: SharedState) => Decision<T>;
}

export interface Decision<T> {
  readonly changes: readonly Change[];
  readonly result: T;
  readonly details?: string;
}

export interface ChangesNeeds {
  readonly store: Store;
  readonly clock: Clock;
  /** A sentence for callers while changes of shared state are refused. */
  readonly frozenBecause: () => string | null;
}

const MAX_WAITING = 4_096;

export class Changes {
  readonly #needs: ChangesNeeds;
  readonly #queue = new Serial();
  #waiting = 0;

  constructor(needs: ChangesNeeds) {
    this.#needs = needs;
  }

  /**
   * @throws Refused as `decide` does; `WritesFrozen`; `WrongState` when the session ended meanwhile;
   *   `LimitExceeded` when too many changes wait. Failed `DISK` as the store does.
   */
  make<T>(session: Session, { opcode, decide }: Act<T>): Promise<T> {
    return this.#inTurn(async () => {
      session.assertAlive();
      this.assertNotFrozen();
      const user = session.login?.name;
      const { changes, result, details } = decide(this.#needs.store.shared);
      await this.#needs.store.commit([
        ...changes,
        this.#auditOf({ opcode, response: 0, session, user, details }),
      ]);
      return result;
    });
  }

  /**
   * For whoever judges a wish before its turn: an HSM that follows another may not know yet what that one
   * knows, and must not answer as if it did. @throws Refused `WritesFrozen`.
   */
  assertNotFrozen(): void {
    const reason = this.#needs.frozenBecause();
    if (reason !== null) throw new Refused('WritesFrozen', reason);
  }

  /** For what changes only this HSM's own counters: logins, failed ones too, go on while writes are frozen. */
  note(
    what: {
      readonly opcode: string;
      readonly response: number;
      readonly session: Session;
      readonly user: string;
    },
    changes: readonly Change[] = [],
  ): Promise<void> {
    return this.#needs.store.commit([...changes, this.#auditOf(what)]);
  }

  /** Runs `work` while no change is being judged or written: for replacing the state as a whole. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    return this.#queue.run('changes', work);
  }

  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= MAX_WAITING) {
      throw new Refused(
        'LimitExceeded',
        `${MAX_WAITING} changes are waiting; try again in a second.`,
      );
    }
    this.#waiting += 1;
    try {
      return await this.#queue.run('changes', work);
    } finally {
      this.#waiting -= 1;
    }
  }

  #auditOf(what: {
    opcode: string;
    response: number;
    session: Session;
    user?: string | undefined;
    details?: string | undefined;
  }): Change {
    const record: AuditRecord = {
      at: this.#needs.clock.now(),
      opcode: what.opcode,
      response: what.response,
      session: what.session.id,
      ...(what.user === undefined ? {} : { user: what.user }),
      ...(what.details === undefined ? {} : { details: what.details }),
    };
    return { kind: 'audit', record };
  }
}
