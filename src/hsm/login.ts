/**
 * Logging in: passwords against verifiers, and the lock-out.
 *
 * It must never say which of name, role and password was wrong, nor answer a wrong password before its
 * failure is durable: guesses are counted also across a pulled plug. An unknown name costs the same work.
 */

import { DEFAULT_PASSWORD_COST, type PasswordHasher } from '../crypto/password.ts';
import { equalBytes, fromUtf8 } from '../kernel/bytes.ts';
import { Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import { Serial } from '../kernel/serial.ts';
import type { Changes } from './changes.ts';
import type { Role } from './protocol.ts';
import type { Login, Session } from './sessions.ts';
import type { PasswordVerifier } from './state.ts';
import type { Change, Store } from './store.ts';
import { isLocked } from './users.ts';

export interface LoginNeeds {
  readonly store: Store;
  readonly changes: Changes;
  readonly hasher: PasswordHasher;
  readonly random: Random;
}

/** CloudHSM's numbers in the audit log, where they may differ: only admins read it. */
const RESPONSE = { OK: 0, UNKNOWN_USER: 157, WRONG_PASSWORD: 163, LOCKED: 164 } as const;

/** Log-ins waiting for their turn; each holds a password. */
const MAX_WAITING = 64;

export class Logins {
  readonly #needs: LoginNeeds;
  /** Tries for one name run one after the other, or guesses in parallel would outrun their counter. */
  readonly #tries = new Serial();
  #waiting = 0;

  constructor(needs: LoginNeeds) {
    this.#needs = needs;
  }

  /**
   * @throws Refused `NotAuthenticated` (name, role or password), `LockedOut`, `Conflict` (a login is there),
   *   `LimitExceeded` (too many at once).
   */
  async login(session: Session, name: string, role: Role, password: string): Promise<Login> {
    session.assertNobody();
    if (this.#waiting >= MAX_WAITING) {
      throw new Refused(
        'LimitExceeded',
        `${MAX_WAITING} logins are waiting; try again in a few seconds.`,
      );
    }
    this.#waiting += 1;
    try {
      const lower = name.toLowerCase();
      return await this.#tries.run(lower, () => this.#try(session, lower, role, password));
    } finally {
      this.#waiting -= 1;
    }
  }

  async #try(session: Session, name: string, role: Role, password: string): Promise<Login> {
    const { store, changes } = this.#needs;
    const user = store.shared.users.get(name);
    const isKnown = user !== undefined && user.role === role && user.verifier !== null;
    const isRight = await this.#matches(password, isKnown ? user.verifier : null);
    // In turn with changes: nobody is deleted or given another password between verdict and login.
    return changes.exclusively(async () => {
      session.assertAlive();
      // The state may have been replaced while the hash was computed.
      const isSame = store.hasPartition && store.shared.users.get(name) === user;
      const note = (response: number, changed: readonly Change[] = []): Promise<void> =>
        changes.note({ opcode: 'CN_LOGIN', response, session, user: nameForAudit(name) }, changed);

      if (!isKnown || !isSame) {
        await note(RESPONSE.UNKNOWN_USER);
        throw notAuthenticated();
      }
      if (isLocked(store.shared, store.local, name)) {
        await note(RESPONSE.LOCKED);
        throw new Refused(
          'LockedOut',
          `${name} is locked after too many wrong passwords; an admin unlocks by setting a new one.`,
        );
      }
      const failures = store.local.failures.get(name) ?? 0;
      if (!isRight) {
        await note(RESPONSE.WRONG_PASSWORD, [{ kind: 'set-failures', name, count: failures + 1 }]);
        throw notAuthenticated();
      }
      await note(RESPONSE.OK, failures === 0 ? [] : [{ kind: 'set-failures', name, count: 0 }]);
      const login: Login = { name, role };
      session.start(login);
      return login;
    });
  }

  /** Computes and compares in every case; without a verifier nothing matches. */
  async #matches(password: string, verifier: PasswordVerifier | null): Promise<boolean> {
    const expected = verifier ?? {
      salt: this.#needs.random.bytes(16),
      ...DEFAULT_PASSWORD_COST,
      hash: this.#needs.random.bytes(32),
    };
    const typed = fromUtf8(password);
    try {
      return equalBytes(await this.#needs.hasher.hash(typed, expected), expected.hash);
    } finally {
      typed.fill(0);
    }
  }
}

function notAuthenticated(): Refused {
  return new Refused('NotAuthenticated', 'name, role or password is wrong.');
}

/** What was typed as a name may be a password in the wrong field: only what looks like a name is kept. */
function nameForAudit(name: string): string {
  return /^[a-z0-9_]{1,31}$/.test(name) ? name : '(no user name)';
}
