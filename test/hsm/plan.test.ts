/** What a plan counts and names, against a model of random changes; and to whom it says what. */
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import fc from 'fast-check';
import type { PlanChanges, PlanOutcome } from '../../src/hsm/protocol.ts';
import { fromBase64, toBase64 } from '../../src/kernel/bytes.ts';
import { Refused } from '../../src/kernel/errors.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import {
  ADMIN_PASSWORD,
  activate,
  CLUSTER,
  Factory,
  OTHER_CLUSTER,
  officer,
  type Unit,
} from './support/factory.ts';

type Archive = Awaited<ReturnType<Unit['seal']>>;
type Ask = (name: string, params?: JsonObject) => Promise<JsonObject>;

let factory: Factory;
let drill: Unit;
before(async () => {
  factory = new Factory();
  drill = await factory.drill();
});

async function active(): Promise<Unit> {
  const unit = await factory.initialized();
  await activate(factory, unit);
  return unit;
}

/** One officer's session, logged in unless nobody is named. */
async function as<T>(
  unit: Unit,
  who: { username: string; role: string; password: string } | undefined,
  work: (ask: Ask) => Promise<T>,
): Promise<T> {
  const peer = officer(unit, factory.customer.certificate);
  const ask: Ask = async (name, params = {}) => (await peer.call(name, params)).result;
  try {
    if (who !== undefined) await ask('login', who);
    return await work(ask);
  } finally {
    peer.close();
    await peer.closed;
  }
}

const ADMIN = { username: 'admin', role: 'admin', password: ADMIN_PASSWORD };

async function plan(chosen: Archive, current: Archive): Promise<PlanOutcome> {
  await drill.open(chosen.body, chosen.outcome.sealRecord);
  await drill.call('keep', {});
  await drill.open(current.body, current.outcome.sealRecord);
  return await drill.call('plan', {});
}

const NOTHING = { appear: 0, vanish: 0, attributesChanged: 0, ownerChanged: 0, sharingChanged: 0 };

// ---- the model: what is inside, in the terms of a plan

interface Model {
  readonly users: Map<string, { password: number; failures: number }>;
  readonly keys: Map<string, { owner: string; label: string; sharedWith: Set<string> }>;
  limit: number;
}

const copy = (model: Model): Model => structuredClone(model);

function expected(current: Model, chosen: Model): PlanChanges {
  const isLocked = (model: Model, name: string): boolean =>
    (model.users.get(name)?.failures ?? 0) > model.limit;
  const both = [...current.users.keys()].filter((name) => chosen.users.has(name));
  const keysOfBoth = [...current.keys.keys()].filter((key) => chosen.keys.has(key));
  const count = <T>(of: Iterable<T>, test: (each: T) => boolean): number =>
    [...of].filter(test).length;
  const shares = (model: Model, key: string): string =>
    [...(model.keys.get(key)?.sharedWith ?? [])].sort().join();
  return {
    users: {
      appear: count(chosen.users.keys(), (name) => !current.users.has(name)),
      vanish: count(current.users.keys(), (name) => !chosen.users.has(name)),
      passwordChanged: count(
        both,
        (name) => current.users.get(name)?.password !== chosen.users.get(name)?.password,
      ),
      roleChanged: 0,
      lock: count(both, (name) => !isLocked(current, name) && isLocked(chosen, name)),
      unlock: count(both, (name) => isLocked(current, name) && !isLocked(chosen, name)),
    },
    keys: {
      appear: count(chosen.keys.keys(), (key) => !current.keys.has(key)),
      vanish: count(current.keys.keys(), (key) => !chosen.keys.has(key)),
      attributesChanged: count(
        keysOfBoth,
        (key) => current.keys.get(key)?.label !== chosen.keys.get(key)?.label,
      ),
      ownerChanged: 0,
      sharingChanged: count(keysOfBoth, (key) => shares(current, key) !== shares(chosen, key)),
    },
    objects: NOTHING,
    policies: current.limit === chosen.limit ? 0 : 1,
    isCertificateChanged: false,
  };
}

const OPS = [
  'create',
  'delete',
  'password',
  'fail',
  'key',
  'drop',
  'label',
  'share',
  'policy',
] as const;
type Op = readonly [kind: (typeof OPS)[number], user: number, other: number];

let passwords = 0;
const passwordOf = (n: number): string => `password-number-${n}`;

/** Does one thing to HSM and model alike, or nothing when it would be refused. */
async function perform(unit: Unit, model: Model, [kind, user, other]: Op): Promise<void> {
  const name = `user${user}`;
  const found = model.users.get(name);
  const isLocked = (found?.failures ?? 0) > model.limit;
  const login = { username: name, role: 'crypto-user', password: passwordOf(found?.password ?? 0) };
  const owned = [...model.keys].filter(([, { owner }]) => owner === name);
  const [key, record] = owned[other % Math.max(1, owned.length)] ?? [];
  const asOwner = async (work: (ask: Ask) => Promise<void>): Promise<void> => {
    if (found === undefined || isLocked) return;
    found.failures = 0;
    await as(unit, login, work);
  };
  switch (kind) {
    case 'create': {
      if (found !== undefined) return;
      passwords += 1;
      const password = passwords;
      await as(unit, ADMIN, async (ask) => {
        const role = 'crypto-user';
        await ask('user-create', { username: name, role, password: passwordOf(password) });
      });
      model.users.set(name, { password, failures: 0 });
      return;
    }
    case 'delete': {
      if (found === undefined || owned.length > 0) return;
      await as(unit, ADMIN, async (ask) => {
        await ask('user-delete', { username: name, role: 'crypto-user' });
      });
      model.users.delete(name);
      for (const { sharedWith } of model.keys.values()) sharedWith.delete(name);
      return;
    }
    case 'password': {
      if (found === undefined) return;
      passwords += 1;
      const password = passwords;
      await as(unit, ADMIN, async (ask) => {
        const role = 'crypto-user';
        await ask('user-change-password', { username: name, role, password: passwordOf(password) });
      });
      model.users.set(name, { password, failures: 0 });
      return;
    }
    case 'fail':
      if (found === undefined || isLocked) return;
      await assert.rejects(
        as(unit, { ...login, password: 'wrong-password' }, async () => {}),
        Refused,
      );
      found.failures += 1;
      return;
    case 'key':
      return await asOwner(async (ask) => {
        const params = { type: 'aes', bytes: 32, label: 'made' };
        const { key } = await ask('key-generate-symmetric', params);
        const reference = String((key as JsonObject)['key']);
        model.keys.set(reference, { owner: name, label: 'made', sharedWith: new Set() });
      });
    case 'drop':
      return await asOwner(async (ask) => {
        if (key === undefined) return;
        await ask('key-delete', { key });
        model.keys.delete(key);
      });
    case 'label':
      return await asOwner(async (ask) => {
        if (key === undefined || record === undefined) return;
        record.label = `label-${other}`;
        await ask('key-set-attribute', { key, attributes: { label: record.label } });
      });
    case 'share':
      return await asOwner(async (ask) => {
        const username = `user${other % 3}`;
        if (key === undefined || record === undefined) return;
        if (username === name || !model.users.has(username)) return;
        const call = record.sharedWith.has(username) ? 'key-unshare' : 'key-share';
        await ask(call, { key, username });
        if (call === 'key-share') record.sharedWith.add(username);
        else record.sharedWith.delete(username);
      });
    case 'policy':
      model.limit = 1 + (other % 3);
      await as(unit, ADMIN, async (ask) => {
        await ask('policy-set', { name: 'lockout-limit', value: model.limit });
      });
  }
}

test("a plan's counts are those of a model, in both directions, whatever was changed", async () => {
  const op = fc.tuple(fc.constantFrom(...OPS), fc.nat(2), fc.nat(5));
  const ops = fc.array(op, { minLength: 1, maxLength: 12 });
  const unit = await active();
  const model: Model = { users: new Map(), keys: new Map(), limit: 5 };
  await fc.assert(
    fc.asyncProperty(ops, async (changes) => {
      const [archiveBefore, modelBefore] = [await unit.seal(), copy(model)];
      for (const change of changes) await perform(unit, model, change);
      const archiveAfter = await unit.seal();
      const back = await plan(archiveBefore, archiveAfter);
      assert.deepEqual(back.changes, expected(model, modelBefore));
      const forth = await plan(archiveAfter, archiveBefore);
      assert.deepEqual(forth.changes, expected(modelBefore, model));
      assert.equal(back.chosen.generation, forth.current.generation);
    }),
    { numRuns: 6 },
  );
});

test('an admin of the HSM reads names and labels; no byte of them leaves the drill in clear', async () => {
  const unit = await active();
  const before = await unit.seal();
  const username = 'planted_user_name';
  const label = 'planted-key-label';
  const login = { username, role: 'crypto-user', password: 'planted-password' };
  await as(unit, ADMIN, (ask) => ask('user-create', login));
  await as(unit, login, (ask) => ask('key-generate-symmetric', { type: 'aes', bytes: 32, label }));
  const outcome = await plan(before, await unit.seal());
  const said = JSON.stringify([outcome, drill.events]);
  const box = Buffer.from(outcome.names, 'base64').toString('latin1');
  for (const name of [username, label])
    assert.equal(said.includes(name) || box.includes(name), false);

  const text = await as(unit, ADMIN, (ask) => ask('plan-read', { plan: outcome.names }));
  assert.deepEqual(text['lines'], [
    { kind: 'user', name: username, role: 'crypto-user', changes: ['vanish'] },
    {
      kind: 'object',
      key: '0x0000000000000007',
      class: 'secret-key',
      type: 'aes',
      label,
      owner: username,
      changes: ['vanish'],
    },
  ]);
  assert.equal(text['left'], 0);
  const { records } = await as(unit, ADMIN, (ask) => ask('audit', { limit: 20 }));
  assert.match(JSON.stringify(records), /"CN_PLAN_READ"[^}]*"user":"admin"/);
  await assert.rejects(
    as(unit, login, (ask) => ask('plan-read', { plan: outcome.names })),
    { code: 'AccessDenied' },
  );
});

test('a plan is read by HSMs of that cluster and incarnation only, and not when a bit was changed', async () => {
  const unit = await active();
  const archive = await unit.seal();
  const { names } = await plan(archive, archive);
  const { body, outcome } = archive;
  const readBy = (by: Unit, box: string) => as(by, ADMIN, (ask) => ask('plan-read', { plan: box }));
  const sister = await factory.blank();
  await sister.open(body, outcome.sealRecord);
  assert.equal((await readBy(sister, names))['left'], 0);
  const clone = await factory.blank();
  await clone.open(body, outcome.sealRecord, { clusterId: CLUSTER, isClone: true });
  const elsewhere = await factory.blank();
  await elsewhere.open(body, outcome.sealRecord, { clusterId: OTHER_CLUSTER, isClone: true });
  const unreadable = { name: 'Refused', code: 'DoesNotOpen' };
  for (const by of [clone, elsewhere]) await assert.rejects(readBy(by, names), unreadable);
  const box = fromBase64(names);
  for (const at of [0, 8, 9, 40, 41, box.length - 1]) {
    const bent = box.slice();
    bent[at] = (bent[at] ?? 0) ^ 1;
    await assert.rejects(readBy(unit, toBase64(bent)), unreadable, `byte ${at}`);
  }
  for (const length of [0, 8, 9, 41, 42, box.length - 1]) {
    await assert.rejects(readBy(unit, toBase64(box.slice(0, length))), unreadable, `${length}`);
  }
});

test('a drill compares states of one lineage only', async () => {
  const [mine, stranger] = [await (await active()).seal(), await (await active()).seal()];
  await assert.rejects(plan(mine, stranger), { name: 'Refused', code: 'AccessDenied' });
  await assert.rejects(plan(stranger, mine), { name: 'Refused', code: 'AccessDenied' });
});

test('a plan needs a state that was kept, and zeroisation forgets it', async () => {
  const one = await factory.drill();
  const { body, outcome } = await (await active()).seal();
  await one.open(body, outcome.sealRecord);
  await assert.rejects(one.call('plan', {}), { name: 'Refused', code: 'WrongState' });
  await one.call('keep', {});
  assert.equal((await one.call('plan', {})).isSameState, true);
  await one.call('zeroise', { isFinal: false });
  await one.open(body, outcome.sealRecord);
  await assert.rejects(one.call('plan', {}), { name: 'Refused', code: 'WrongState' });
});

test('a plan of thousands of changes fits one call at the door, and says how many it left out', async () => {
  const unit = await active();
  const before = await unit.seal();
  const kinds = Array.from({ length: 250 }, () => 'aes-256');
  const alice = { username: 'alice', role: 'crypto-user', password: 'crypto-user-password' };
  await as(unit, alice, async (ask) => {
    for (let i = 0; i < 8; i += 1) {
      await ask('key-generate-many', { kinds, labelPrefix: `${'x'.repeat(100)}${i}-` });
    }
  });
  const { names, changes } = await plan(before, await unit.seal());
  assert.equal(changes.keys.vanish, 2_000);
  const text = await as(unit, ADMIN, (ask) => ask('plan-read', { plan: names }));
  const lines = text['lines'];
  assert.ok(Array.isArray(lines) && lines.length > 500);
  assert.equal(lines.length + Number(text['left']), 2_000);
});

test('a new incarnation goes on above a given generation, and only a new one', async () => {
  const unit = await active();
  const { body, outcome } = await unit.seal();
  const sealed = outcome.seal.statement;
  const next = await factory.blank();
  await assert.rejects(
    next.open(body, outcome.sealRecord, { clusterId: CLUSTER, isClone: false, afterGeneration: 9 }),
    { name: 'Refused', code: 'InvalidRequest' },
  );
  const as = { clusterId: CLUSTER, isClone: true };
  const opened = await next.open(body, outcome.sealRecord, { ...as, afterGeneration: 1_000 });
  assert.equal(opened.generation, 1_001);
  assert.equal(opened.stateDigest, sealed.stateDigest);
  assert.notEqual(opened.incarnation, sealed.incarnation);
  const lower = await factory.blank();
  const kept = await lower.open(body, outcome.sealRecord, { ...as, afterGeneration: 0 });
  assert.equal(kept.generation, sealed.generation + 1);
});
