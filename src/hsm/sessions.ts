/**
 * Who is logged in where. A session is one connection; it has one login at a time and none when it starts.
 * Sessions are never stored: a restart, a restore and a zeroise leave none.
 */
import { Refused } from '../kernel/errors.ts';
import type { Role } from './protocol.ts';

export interface Login {
  readonly name: string;
  readonly role: Role;
}

export class Session {
  /** As in the audit records; unique until the HSM restarts. */
  readonly id: number;
  readonly #onEnd: (reason: string) => void;
  #login: Login | null = null;
  #isEnded = false;

  constructor(id: number, onEnd: (reason: string) => void) {
    this.id = id;
    this.#onEnd = onEnd;
  }

  get login(): Login | null {
    return this.#login;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** @throws Refused `Conflict` when somebody is logged in here, `WrongState` when the session has ended. */
  start(login: Login): void {
    this.assertAlive();
    this.assertNobody();
    this.#login = login;
  }

  logout(): void {
    this.#login = null;
  }

  end(reason: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#login = null;
    this.#onEnd(reason);
  }

  /** @throws Refused `WrongState`. */
  assertAlive(): void {
    if (this.#isEnded) throw new Refused('WrongState', 'this session has ended; connect again.');
  }

  /** @throws Refused `Conflict`. */
  assertNobody(): void {
    if (this.#login !== null) {
      throw new Refused(
        'Conflict',
        `${this.#login.name} is logged in on this session, which has one login at a time; log out first.`,
      );
    }
  }
}

export class Sessions {
  readonly #open = new Set<Session>();
  #nextId = 1;

  get count(): number {
    return this.#open.size;
  }

  /** @param onEnd called once, when the session ends from either side. */
  open(onEnd: (reason: string) => void): Session {
    const session = new Session(this.#nextId, (reason) => {
      this.#open.delete(session);
      onEnd(reason);
    });
    this.#nextId += 1;
    this.#open.add(session);
    return session;
  }

  isLoggedInElsewhere(name: string, here: Session): boolean {
    return [...this.#open].some((session) => session !== here && session.login?.name === name);
  }

  /** Ends every session: what they were logged into is gone or replaced. */
  dropAll(reason: string): void {
    for (const session of [...this.#open]) session.end(reason);
  }
}
