/**
 * Users: making, changing and deleting them, and what their names and passwords may be.
 *
 * It must never leave a partition without an admin, a key without its owner, or a name that a later
 * user could inherit rights from.
 */

import type { PasswordHasher } from '../crypto/password.ts';
import { DEFAULT_PASSWORD_COST } from '../crypto/password.ts';
import { fromUtf8 } from '../kernel/bytes.ts';
import { Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import type { Changes } from './changes.ts';
import { LIMITS, policyValue } from './policies.ts';
import type { Role } from './protocol.ts';
import type { Session, Sessions } from './sessions.ts';
import type { LocalState, PasswordVerifier, SharedState, UserRecord } from './state.ts';
import type { Change, Store } from './store.ts';

/** The roles an admin can give. */
export type GivenRole = 'admin' | 'crypto-user';

export interface UserView {
  readonly username: string;
  readonly role: Role;
  readonly locked: boolean;
}

export interface UsersNeeds {
  readonly store: Store;
  readonly changes: Changes;
  readonly sessions: Sessions;
  readonly hasher: PasswordHasher;
  readonly random: Random;
}

const MAX_NAME_CHARACTERS = 31;
const SALT_BYTES = 16;

export class Users {
  readonly #needs: UsersNeeds;

  constructor(needs: UsersNeeds) {
    this.#needs = needs;
  }

  /** Names, roles and locks; no login needed, as CloudHSM does it. */
  list(): readonly UserView[] {
    const { shared, local } = this.#needs.store;
    return [...shared.users.values()]
      .map((user) => ({
        username: user.name,
        role: user.role,
        locked: isLocked(shared, local, user.name),
      }))
      .sort((a, b) => (a.username < b.username ? -1 : 1));
  }

  /** The unactivated admin becomes `admin` with this password: the partition's first user. */
  async activate(session: Session, password: string): Promise<void> {
    this.#needs.changes.assertNotFrozen();
    checkPassword(this.#needs.store.shared, password);
    unactivatedAdmin(this.#needs.store.shared);
    const verifier = await this.#verifier(password);
    await this.#needs.changes.make(session, {
      opcode: 'CN_CHANGE_PSWD',
      decide: (shared) => {
        const user = unactivatedAdmin(shared);
        const generation = shared.generation + 1;
        const admin: UserRecord = {
          ...user,
          role: 'admin',
          verifier,
          passwordGeneration: generation,
        };
        return {
          changes: [{ kind: 'put-user', user: admin }],
          result: undefined,
          details: `first password of ${user.name}`,
        };
      },
    });
  }

  async create(
    session: Session,
    name: string,
    role: GivenRole,
    password: string,
  ): Promise<UserView> {
    const lower = parseUserName(name);
    const judge = (shared: SharedState): void => {
      if (shared.users.has(lower)) {
        throw new Refused(
          'Conflict',
          `there is a user ${lower} already; names are the same in upper and lower case.`,
        );
      }
      const limit = LIMITS[shared.partition.type].users;
      if (shared.users.size >= limit) {
        throw new Refused(
          'LimitExceeded',
          `an HSM of type ${shared.partition.type} has at most ${limit} users; delete one first.`,
        );
      }
    };
    this.#needs.changes.assertNotFrozen();
    checkPassword(this.#needs.store.shared, password);
    judge(this.#needs.store.shared);
    const verifier = await this.#verifier(password);
    return this.#needs.changes.make(session, {
      opcode: role === 'admin' ? 'CN_CREATE_CO' : 'CN_CREATE_USER',
      decide: (shared) => {
        judge(shared);
        const generation = shared.generation + 1;
        const user: UserRecord = {
          name: lower,
          role,
          verifier,
          createdGeneration: generation,
          passwordGeneration: generation,
        };
        return {
          changes: [{ kind: 'put-user', user }],
          result: { username: lower, role, locked: false },
          details: `${lower} ${role}`,
        };
      },
    });
  }

  delete(session: Session, name: string, role: GivenRole): Promise<void> {
    return this.#needs.changes.make(session, {
      opcode: 'CN_DELETE_USER',
      decide: (shared) => {
        const user = this.#other(shared, session, name, role);
        const owned = [...shared.objects.values()].filter(
          (object) => object.owner === user.name,
        ).length;
        if (owned > 0) {
          throw new Refused(
            'Conflict',
            `${user.name} owns ${owned} ${owned === 1 ? 'key' : 'keys'}: delete them first. Nothing was changed.`,
          );
        }
        const admins = [...shared.users.values()].filter((one) => one.role === 'admin').length;
        if (user.role === 'admin' && admins === 1) {
          throw new Refused('Conflict', `${user.name} is the last admin; make another one first.`);
        }
        return {
          changes: [
            ...withoutSharee(shared, user.name),
            { kind: 'remove-user', name: user.name },
            { kind: 'set-failures', name: user.name, count: 0 },
          ],
          result: undefined,
          details: `${user.name} ${user.role}`,
        };
      },
    });
  }

  /** One's own, or as an admin somebody's, which also unlocks. */
  async changePassword(
    session: Session,
    name: string,
    role: GivenRole,
    password: string,
  ): Promise<void> {
    const own = session.login?.name === name.toLowerCase();
    const find = (shared: SharedState): UserRecord => {
      if (!own && session.login?.role !== 'admin') {
        throw new Refused(
          'AccessDenied',
          `a ${session.login?.role ?? 'stranger'} changes the own password only; an admin changes others'.`,
        );
      }
      return own ? findUser(shared, name, role) : this.#other(shared, session, name, role);
    };
    this.#needs.changes.assertNotFrozen();
    find(this.#needs.store.shared);
    checkPassword(this.#needs.store.shared, password);
    const verifier = await this.#verifier(password);
    await this.#needs.changes.make(session, {
      opcode: 'CN_CHANGE_PSWD',
      decide: (shared) => {
        const user = find(shared);
        const changed: UserRecord = {
          ...user,
          verifier,
          passwordGeneration: shared.generation + 1,
        };
        const unlock: Change[] = own ? [] : [{ kind: 'set-failures', name: user.name, count: 0 }];
        return {
          changes: [{ kind: 'put-user', user: changed }, ...unlock],
          result: undefined,
          details: `${user.name} ${user.role}`,
        };
      },
    });
  }

  /** Somebody whom this session may change or delete: not oneself, not logged in anywhere. */
  #other(shared: SharedState, session: Session, name: string, role: GivenRole): UserRecord {
    const user = findUser(shared, name, role);
    if (user.name === session.login?.name) {
      throw new Refused(
        'Conflict',
        `${user.name} is who you are logged in as; another admin can delete you.`,
      );
    }
    if (this.#needs.sessions.isLoggedInElsewhere(user.name, session)) {
      throw new Refused(
        'Conflict',
        `${user.name} is logged in on another session; it has to log out first. Nothing was changed.`,
      );
    }
    return user;
  }

  async #verifier(password: string): Promise<PasswordVerifier> {
    const salt = this.#needs.random.bytes(SALT_BYTES);
    const typed = fromUtf8(password);
    try {
      const hash = await this.#needs.hasher.hash(typed, { salt, ...DEFAULT_PASSWORD_COST });
      return { salt, ...DEFAULT_PASSWORD_COST, hash };
    } finally {
      typed.fill(0);
    }
  }
}

/** More wrong passwords in a row than the policy allows. */
export function isLocked(shared: SharedState, local: LocalState, name: string): boolean {
  return (local.failures.get(name) ?? 0) > policyValue(shared, 'lockout-limit');
}

/** @throws Refused `InvalidRequest`. Answers in lower case: names are the same in upper and lower case. */
export function parseUserName(name: string): string {
  if (name.length > MAX_NAME_CHARACTERS || !/^[a-z0-9_]+$/i.test(name)) {
    throw new Refused(
      'InvalidRequest',
      `a user name has 1 to ${MAX_NAME_CHARACTERS} letters a-z, digits and underscores; this one does not.`,
    );
  }
  return name.toLowerCase();
}

/** @throws Refused `InvalidRequest`; says the rule, never the password. */
export function checkPassword(shared: SharedState, password: string): void {
  const min = policyValue(shared, 'password-min-length');
  const max = policyValue(shared, 'password-max-length');
  const characters = [...password].length;
  if (characters < min || characters > max || /\p{Cc}/u.test(password)) {
    throw new Refused(
      'InvalidRequest',
      `a password has ${min} to ${max} characters, none of them a control character.`,
    );
  }
}

function findUser(shared: SharedState, name: string, role: GivenRole): UserRecord {
  const user = shared.users.get(parseUserName(name));
  if (user?.role !== role) {
    throw new Refused(
      'NotFound',
      `there is no ${role} ${name.toLowerCase()}; user-list shows who there is.`,
    );
  }
  return user;
}

function unactivatedAdmin(shared: SharedState): UserRecord {
  const user = [...shared.users.values()].find((one) => one.role === 'unactivated-admin');
  if (user === undefined) {
    throw new Refused(
      'WrongState',
      'this cluster is activated already; log in as an admin to change passwords.',
    );
  }
  return user;
}

/** Rights die with the user: a later one of the same name must not inherit them. */
function withoutSharee(shared: SharedState, name: string): Change[] {
  return [...shared.objects.values()].flatMap((object): Change[] =>
    object.sharedWith.includes(name)
      ? [
          {
            kind: 'put-object',
            object: { ...object, sharedWith: object.sharedWith.filter((one) => one !== name) },
          },
        ]
      : [],
  );
}
