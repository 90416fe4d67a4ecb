/** Two officers, one for users and one for keys, who go on making changes whatever happens around them. */
import assert from 'node:assert/strict';
import { listOf, numberOf, objectOf, textOf } from '../../src/cli/json.ts';
import { type Officer, withOfficer } from '../../src/cli/officers.ts';
import { APP_USER } from '../../src/cli/ready-made.ts';
import { waitFor } from '../../src/cli/wait.ts';
import { systemClock as clock } from '../../src/kernel/clock.ts';
import { type RefusalCode, Refused } from '../../src/kernel/errors.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { Ledger } from './ledger.ts';
import type { Luck } from './luck.ts';
import { clientOf, type ReadyCluster } from './ready-cluster.ts';

/** How long a service may take until it lets an officer in again. */
const PATIENCE_MS = 60_000;
const NOT_THERE = 'absent';
const THERE = 'present';
const ADMIN = 'admin';
/** Refusals that may come while an HSM comes and goes; any other is a mistake, here or there. */
const PASSING: ReadonlySet<RefusalCode> = new Set(['WrongState', 'WritesFrozen']);

/** Everything an HSM holds, as its `compare` lists it. */
export type Listing = readonly JsonObject[];

export class BusyOfficer {
  /** Name → password. */
  readonly users = new Ledger<string>(NOT_THERE);
  /** Label → whether there is such a key. */
  readonly keys = new Ledger<string>(NOT_THERE);
  readonly #cluster: Pick<ReadyCluster, 'customer' | 'clusterId'> & { readonly data: string };
  readonly #luck: Luck;
  /** Label → the reference that its answer gave. */
  readonly #references = new Map<string, string>();
  /** Lines of objects as they were last seen. */
  #seen = new Map<string, JsonObject>();
  #made = 0;
  #isPaused = true;
  #working: Promise<void> = Promise.resolve();
  #failure: unknown;

  constructor(cluster: ReadyCluster & { readonly data: string }, luck: Luck) {
    this.#cluster = cluster;
    this.#luck = luck;
  }

  get acknowledged(): number {
    return this.users.acknowledged + this.keys.acknowledged;
  }

  /** Starts making changes, on new lines whenever one breaks. */
  start(): void {
    this.#isPaused = false;
    this.#working = this.#work();
    // `pause` tells.
    this.#working.catch(() => {});
  }

  /** Resolves once something was acknowledged from now on. */
  async isHeard(): Promise<void> {
    const before = this.acknowledged;
    const until = `a change is acknowledged (last: ${String(this.#failure)})`;
    const heard = waitFor(clock, { until, atMostMs: PATIENCE_MS, everyMs: 10 }, async () =>
      this.acknowledged > before ? true : undefined,
    );
    // Its end is no change, but a mistake, if it has one, ends the wait.
    await Promise.race([heard, this.#working.then(() => heard)]);
  }

  /** Makes no new change and waits for the answer to the last. */
  async pause(): Promise<void> {
    this.#isPaused = true;
    await this.#working;
  }

  /** Waits until the door leads to an HSM that has this: after a start a follower may answer first. */
  async reaches(generation: number): Promise<void> {
    await this.#retried(async (officer) => {
      const info = await officer.call('info');
      if (numberOf(info, 'generation') < generation) throw new Error(`not ${generation} yet`);
    });
  }

  /** What the HSM says it holds; everything in it must be as it was acknowledged. */
  async check(): Promise<Listing> {
    const listing = await this.#asAdmin((officer) => officer.lines('compare'));
    this.#checkUsers(listing);
    this.#checkKeys(listing);
    await this.#checkPasswords(this.users.unsure());
    return listing;
  }

  /** Every user logs in with the password that was acknowledged. */
  async checkAllPasswords(): Promise<void> {
    await this.#checkPasswords(this.users.present());
  }

  async #work(): Promise<void> {
    while (!this.#isPaused) {
      try {
        await this.#onLines(async (admin, user) => {
          while (!this.#isPaused) await this.#change(admin, user);
        });
      } catch (cause) {
        // A line that broke: the ledger knows what it means, and the next line tries again.
        this.#failure = cause;
        if (cause instanceof Refused && !PASSING.has(cause.code)) throw cause;
        await clock.sleep(20);
      }
    }
  }

  async #change(admin: Officer, user: Officer): Promise<void> {
    this.#made += 1;
    const dice = this.#luck.below(100);
    if (dice < 50) await this.#generateKey(user, `key-${this.#made}`);
    else if (dice < 65) await this.#generatePair(user, `pair-${this.#made}`);
    else if (dice < 80) await this.#deleteKey(user);
    else if (dice < 90) await this.#setPassword(admin, `user_${this.#made}`, 'user-create');
    else if (dice < 95) await this.#changeUser(admin);
    else await this.#deleteUser(admin);
  }

  async #generateKey(user: Officer, label: string): Promise<void> {
    await this.keys.change(label, THERE, async () => {
      const key = { type: 'aes', bytes: 32, label };
      const answer = await user.call('key-generate-symmetric', key);
      this.#references.set(label, textOf(objectOf(answer, 'key'), 'key'));
    });
  }

  async #generatePair(user: Officer, label: string): Promise<void> {
    await this.keys.change(label, THERE, async () => {
      const pair = { type: 'ec', curve: 'P-256', label };
      const answer = await user.call('key-generate-pair', pair);
      this.#references.set(label, textOf(objectOf(answer, 'privateKey'), 'key'));
    });
  }

  /** A pair is two objects of one label, so what goes is a key of the other kind. */
  async #deleteKey(user: Officer): Promise<void> {
    const present = this.keys
      .present()
      .filter((label) => label.startsWith('key-') && this.#references.has(label));
    if (present.length === 0) return;
    const label = this.#luck.pick(present);
    const key = this.#references.get(label);
    await this.keys.change(label, NOT_THERE, () => user.call('key-delete', { key }));
  }

  async #changeUser(admin: Officer): Promise<void> {
    const present = this.users.present();
    if (present.length === 0) return;
    await this.#setPassword(admin, this.#luck.pick(present), 'user-change-password');
  }

  async #setPassword(admin: Officer, username: string, call: string): Promise<void> {
    const password = `password-${this.#made}`;
    await this.users.change(username, password, () =>
      admin.call(call, { username, role: 'crypto-user', password }),
    );
  }

  async #deleteUser(admin: Officer): Promise<void> {
    const present = this.users.present();
    if (present.length === 0) return;
    const username = this.#luck.pick(present);
    await this.users.change(username, NOT_THERE, () =>
      admin.call('user-delete', { username, role: 'crypto-user' }),
    );
  }

  #checkUsers(listing: Listing): void {
    const names = ofKind(listing, 'user').map((user) => textOf(user, 'name'));
    for (const name of this.users.names()) {
      const possible = this.users.possible(name);
      if (!names.includes(name)) this.users.saw(name, NOT_THERE);
      else assert.ok(!possible.every((each) => each === NOT_THERE), `${name} came back`);
    }
    const strangers = names.filter((name) => !this.users.names().includes(name));
    assert.deepEqual(strangers.sort(), [ADMIN, APP_USER], 'users whom nobody made');
  }

  #checkKeys(listing: Listing): void {
    const objects = ofKind(listing, 'object');
    const labelled = Map.groupBy(objects, (object) =>
      textOf(objectOf(object, 'attributes'), 'label'),
    );
    for (const label of this.keys.names()) {
      const found = labelled.get(label) ?? [];
      this.keys.saw(label, found.length === 0 ? NOT_THERE : THERE);
      const reference = this.#references.get(label);
      if (found.length === 0 || reference === undefined) continue;
      assert.ok(
        found.some((object) => object['key'] === reference),
        `${label} is another key than the one that was acknowledged`,
      );
    }
    for (const label of labelled.keys()) {
      assert.ok(this.keys.names().includes(label), `${label}: a key that nobody made`);
    }
    const now = new Map(objects.map((object) => [textOf(object, 'id'), object]));
    for (const [id, object] of now) {
      const before = this.#seen.get(id);
      if (before !== undefined) assert.deepEqual(object, before, 'a key changed by itself');
    }
    this.#seen = now;
  }

  async #checkPasswords(names: readonly string[]): Promise<void> {
    for (const username of names) {
      const right: string[] = [];
      for (const password of this.users.possible(username)) {
        if (password !== NOT_THERE && (await this.#canLogIn(username, password))) {
          right.push(password);
        }
      }
      assert.equal(right.length, 1, `${username} logs in with ${right.length} passwords`);
      this.users.saw(username, right[0] ?? '');
    }
  }

  async #canLogIn(username: string, password: string): Promise<boolean> {
    return await this.#retried(async (officer) => {
      try {
        await officer.call('login', { username, role: 'crypto-user', password });
        return true;
      } catch (cause) {
        if (cause instanceof Refused && cause.code === 'NotAuthenticated') return false;
        throw cause;
      }
    });
  }

  async #asAdmin<T>(work: (officer: Officer) => Promise<T>): Promise<T> {
    return await this.#retried(async (officer) => {
      await this.#logIn(officer, ADMIN);
      return await work(officer);
    });
  }

  /** Reading may be repeated: an HSM that was just killed needs a moment. */
  async #retried<T>(work: (officer: Officer) => Promise<T>): Promise<T> {
    const deadline = clock.now() + PATIENCE_MS;
    for (;;) {
      try {
        return await this.#online(work);
      } catch (cause) {
        if (cause instanceof assert.AssertionError || clock.now() > deadline) throw cause;
        await clock.sleep(50);
      }
    }
  }

  async #online<T>(work: (officer: Officer) => Promise<T>): Promise<T> {
    const { customer, clusterId, data } = this.#cluster;
    const parts = { client: await clientOf(data), customer };
    return await withOfficer(parts, clusterId, work);
  }

  async #onLines(work: (admin: Officer, user: Officer) => Promise<void>): Promise<void> {
    await this.#online(async (admin) => {
      await this.#logIn(admin, ADMIN);
      await this.#online(async (user) => {
        await this.#logIn(user, APP_USER);
        await work(admin, user);
      });
    });
  }

  async #logIn(officer: Officer, username: typeof ADMIN | typeof APP_USER): Promise<void> {
    const { customer } = this.#cluster;
    const isAdmin = username === ADMIN;
    await officer.call('login', {
      username,
      role: isAdmin ? 'admin' : 'crypto-user',
      password: await customer.password(isAdmin ? 'admin-password' : 'app-password'),
    });
  }
}

function ofKind(listing: Listing, kind: string): readonly JsonObject[] {
  return listOf({ listing }, 'listing').filter((line) => line['kind'] === kind);
}
