/**
 * The officers' protocol over one stream: sessions, rights and the table of calls put together.
 *
 * It must never let a call through that `permissions.ts` does not allow, nor let a session live longer
 * than the state it logged into.
 */
import type { Duplex } from 'node:stream';
import type { PasswordHasher } from '../crypto/password.ts';
import type { Clock } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import type { JsonObject } from '../kernel/types.ts';
import { type WireAnswer, type WireHandler, WirePeer } from '../kernel/wire.ts';
import { type CallRow, officerCalls } from './calls.ts';
import { Changes } from './changes.ts';
import { KeyCache } from './key-material.ts';
import { Logins } from './login.ts';
import { KeyMill } from './mill.ts';
import { Objects } from './objects.ts';
import { checkPermitted, type OfficerCall } from './permissions.ts';
import type { Hello, Lifecycle } from './protocol.ts';
import { type Session, Sessions } from './sessions.ts';
import type { Store } from './store.ts';
import { Users } from './users.ts';

/** What the HSM gives its officers' door. */
export interface OfficerContext {
  readonly store: Store;
  readonly hasher: PasswordHasher;
  readonly clock: Clock;
  readonly random: Random;
  hello(): Hello;
  readonly lifecycle: {
    current(): Lifecycle;
    /** Called once the first admin password is durable. */
    activated(): Promise<void>;
  };
  /** A sentence for callers while changes of shared state are refused, else null. */
  frozenBecause(): string | null;
}

/** On one connection: a stranger at the door makes no more than these wait. */
const MAX_CALLS_UNDER_WAY = 32;

/** One per HSM: what all its officers' sessions share. */
export class Officers {
  readonly #context: OfficerContext;
  readonly #sessions = new Sessions();
  readonly #keys = new KeyCache();
  readonly #changes: Changes;
  readonly #calls: Readonly<Record<OfficerCall, CallRow>>;

  constructor(context: OfficerContext) {
    const { store, hasher, random, clock } = context;
    const sessions = this.#sessions;
    const changes = new Changes({ store, clock, frozenBecause: () => context.frozenBecause() });
    this.#context = context;
    this.#changes = changes;
    this.#calls = officerCalls({
      store,
      random,
      changes,
      users: new Users({ store, changes, sessions, hasher, random }),
      logins: new Logins({ store, changes, hasher, random }),
      objects: new Objects({ store, changes, keys: this.#keys, random }),
      mill: new KeyMill(random),
      hello: () => context.hello(),
      lifecycle: context.lifecycle,
      operationNeeds: () => ({ keys: this.#keys, random, mode: store.shared.partition.mode }),
    });
  }

  get sessionCount(): number {
    return this.#sessions.count;
  }

  /** Serves one connection until either side ends it. */
  serve(stream: Duplex): void {
    const session = this.#sessions.open(() => peer.close());
    const handlers = Object.entries(this.#calls).map(([name, row]): [string, WireHandler] => [
      name,
      // Entries of a table whose keys are OfficerCall.
      ({ params }) => this.#answer(name as OfficerCall, row, session, params),
    ]);
    const peer = new WirePeer(stream, new Map(handlers), () => {}, { calls: MAX_CALLS_UNDER_WAY });
    peer.closed.then(
      () => session.end('the connection closed'),
      () => session.end('the connection broke'),
    );
  }

  /**
   * Runs `work`, which replaces or erases the state, while nothing else changes it. Every session ends
   * first: its login and its rights belong to the state that goes.
   */
  replaceState<T>(reason: string, work: () => Promise<T>): Promise<T> {
    return this.#changes.exclusively(async () => {
      this.dropAll(reason);
      try {
        return await work();
      } finally {
        // Again: what connected or expanded a key while `work` ran saw the state that is gone now.
        this.dropAll(reason);
      }
    });
  }

  /** Resolves when no change from before is being judged or written any more. */
  changesDone(): Promise<void> {
    return this.#changes.exclusively(async () => {});
  }

  dropAll(reason: string): void {
    this.#sessions.dropAll(reason);
    this.#keys.clear();
  }

  async #answer(
    call: OfficerCall,
    row: CallRow,
    session: Session,
    params: JsonObject,
  ): Promise<WireAnswer> {
    session.assertAlive();
    const { lifecycle, store } = this.#context;
    if (call !== 'info' && (lifecycle.current() === 'ERROR' || !store.hasPartition)) {
      throw new Refused(
        'WrongState',
        `this HSM is ${lifecycle.current()} and answers "info" only; an operator at the host has to look.`,
      );
    }
    checkPermitted(call, session.login);
    return row.run(call, session, params);
  }
}
