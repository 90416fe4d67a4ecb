import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Officer } from '../../src/cli/officer.ts';
import type { Change } from '../../src/hsm/store.ts';
import { Refused } from '../../src/kernel/errors.ts';
import { ADMIN_PASSWORD, keyOf, OfficersRig, USER_PASSWORD } from '../support/officers-rig.ts';

const WRONG = 'certainly-not-it';

async function refusal(work: Promise<unknown>): Promise<Refused> {
  try {
    await work;
  } catch (cause) {
    assert.ok(cause instanceof Refused, String(cause));
    return cause;
  }
  return assert.fail('nothing was refused');
}

const tryLogin = (officer: Officer, username: string, password: string, role = 'crypto-user') =>
  refusal(officer.call('login', { username, role, password }));

test('a cluster is activated once, and its password is checked first', async () => {
  await using rig = await OfficersRig.make();
  const officer = await rig.connect();
  assert.equal(
    (await refusal(officer.call('activate', { password: 'short' }))).code,
    'InvalidRequest',
  );
  await officer.call('activate', { password: ADMIN_PASSWORD });
  const again = await refusal(officer.call('activate', { password: ADMIN_PASSWORD }));
  assert.equal(again.code, 'WrongState');
  assert.equal(rig.activations, 1);
});

test('two activations at once leave one admin with one password', async () => {
  await using rig = await OfficersRig.make();
  const [a, b] = [await rig.connect(), await rig.connect()];
  const outcomes = await Promise.allSettled([
    a.call('activate', { password: 'password-number-1' }),
    b.call('activate', { password: 'password-number-2' }),
  ]);
  assert.deepEqual(outcomes.map((one) => one.status).sort(), ['fulfilled', 'rejected']);
});

test('unknown user, wrong password, wrong role and no user name are told apart by nobody', async () => {
  await using rig = await OfficersRig.make();
  const admin = await rig.activated();
  await rig.cryptoUser(admin, 'alice');
  const stranger = await rig.connect();
  const refusals = [
    await tryLogin(stranger, 'alice', WRONG),
    await tryLogin(stranger, 'nobody_here', WRONG),
    await tryLogin(stranger, 'alice', USER_PASSWORD, 'admin'),
    await tryLogin(stranger, 'no user name!', WRONG),
  ];
  assert.deepEqual(new Set(refusals.map(({ code }) => code)), new Set(['NotAuthenticated']));
  assert.equal(new Set(refusals.map(({ message }) => message)).size, 1);
});

test('each failed login writes one commit before its answer, for unknown names too', async () => {
  let commits: (readonly Change[])[] = [];
  await using rig = await OfficersRig.make({
    onCommit: async (changes) => void commits.push(changes),
  });
  const admin = await rig.activated();
  await rig.cryptoUser(admin, 'alice');
  const stranger = await rig.connect();
  for (const name of ['alice', 'nobody_here']) {
    commits = [];
    await tryLogin(stranger, name, WRONG);
    assert.equal(commits.length, 1, name);
    const kinds = commits[0]?.map(({ kind }) => kind);
    assert.deepEqual(kinds, name === 'alice' ? ['set-failures', 'audit'] : ['audit']);
  }
});

test('a wrong password is not answered while its failure is not durable', async () => {
  const gate = Promise.withResolvers<void>();
  const reached = Promise.withResolvers<void>();
  let isHeld = false;
  await using rig = await OfficersRig.make({
    onCommit: async (changes) => {
      if (!isHeld || !changes.some(({ kind }) => kind === 'set-failures')) return;
      reached.resolve();
      await gate.promise;
    },
  });
  const admin = await rig.activated();
  await rig.cryptoUser(admin, 'alice');
  const stranger = await rig.connect();
  isHeld = true;
  let isAnswered = false;
  const attempt = tryLogin(stranger, 'alice', WRONG).finally(() => {
    isAnswered = true;
  });
  await reached.promise;
  await stranger.call('info');
  assert.equal(isAnswered, false);
  assert.equal(rig.store.local.failures.get('alice') ?? 0, 0);
  gate.resolve();
  assert.equal((await attempt).code, 'NotAuthenticated');
  assert.equal(rig.store.local.failures.get('alice'), 1);
});

test('the sixth failure locks, the right password included, and only an admin unlocks', async () => {
  await using rig = await OfficersRig.make();
  const admin = await rig.activated();
  const alice = await rig.cryptoUser(admin, 'alice');
  const stranger = await rig.connect();
  for (let i = 0; i < 5; i += 1) await tryLogin(stranger, 'ALICE', WRONG);
  const fine = await rig.login('alice', 'crypto-user', USER_PASSWORD);
  await fine.close();
  assert.equal(rig.store.local.failures.get('alice') ?? 0, 0, 'a right password forgets failures');

  for (let i = 0; i < 6; i += 1) {
    assert.equal((await tryLogin(stranger, 'alice', WRONG)).code, 'NotAuthenticated');
  }
  assert.equal((await tryLogin(stranger, 'alice', USER_PASSWORD)).code, 'LockedOut');
  assert.equal((await tryLogin(stranger, 'alice', WRONG)).code, 'LockedOut');
  const change = { username: 'alice', role: 'crypto-user', password: 'a-new-password' };
  await alice.call('user-change-password', change);
  assert.equal((await tryLogin(stranger, 'alice', 'a-new-password')).code, 'LockedOut');
  await alice.call('logout');
  await alice.close();
  await admin.call('user-change-password', { ...change, password: 'by-the-admin' });
  await rig.login('alice', 'crypto-user', 'by-the-admin');
});

test('guesses made in parallel do not outrun the lock', async () => {
  await using rig = await OfficersRig.make();
  const admin = await rig.activated();
  await admin.call('user-create', {
    username: 'bob',
    role: 'crypto-user',
    password: USER_PASSWORD,
  });
  const strangers = await Promise.all(Array.from({ length: 4 }, () => rig.connect()));
  const refusals = await Promise.all(
    strangers.flatMap((one) => Array.from({ length: 3 }, () => tryLogin(one, 'bob', WRONG))),
  );
  assert.equal(refusals.filter(({ code }) => code === 'NotAuthenticated').length, 6);
  assert.equal(rig.store.local.failures.get('bob'), 6);
});

test('one session has one login at a time', async () => {
  await using rig = await OfficersRig.make();
  const admin = await rig.activated();
  assert.equal((await tryLogin(admin, 'admin', ADMIN_PASSWORD, 'admin')).code, 'Conflict');
  await admin.call('logout');
  await admin.call('login', { username: 'admin', role: 'admin', password: ADMIN_PASSWORD });
});

test('names have 31 letters, digits and underscores, in one case; passwords 8 to 32 characters', async () => {
  await using rig = await OfficersRig.make();
  const admin = await rig.activated();
  const create = (username: string, password = USER_PASSWORD) =>
    admin.call('user-create', { username, role: 'crypto-user', password });
  for (const name of ['a-b', 'a b', 'ä', 'a'.repeat(32), 'a.b', 'a:b', '__proto__ ']) {
    assert.equal((await refusal(create(name))).code, 'InvalidRequest', name);
  }
  for (const bad of ['seven77', 'x'.repeat(33), 'new\nline-inside', '']) {
    assert.equal((await refusal(create('fine', bad))).code, 'InvalidRequest');
  }
  await create('Mixed_Case_1', '😀😀😀😀😀😀😀😀');
  assert.equal((await refusal(create('mixed_case_1'))).code, 'Conflict');
  await create('__proto__');
  assert.equal((await refusal(create('admin'))).code, 'Conflict');
});

test('the last admin, an owner of keys and whoever is logged in are not deleted', async () => {
  await using rig = await OfficersRig.make();
  const admin = await rig.activated();
  const alice = await rig.cryptoUser(admin, 'alice');
  await alice.call('key-generate-symmetric', { type: 'aes', bytes: 16, label: 'k' });
  const remove = (username: string, role = 'crypto-user') =>
    admin.call('user-delete', { username, role });
  assert.match((await refusal(remove('alice'))).message, /logged in on another session/);
  const reset = { username: 'alice', role: 'crypto-user', password: 'another-password' };
  assert.equal((await refusal(admin.call('user-change-password', reset))).code, 'Conflict');
  await alice.call('logout');
  assert.match(
    (await refusal(remove('alice'))).message,
    /^alice owns 1 key: delete them first\. Nothing was changed/,
  );
  assert.equal((await refusal(remove('admin', 'admin'))).code, 'Conflict');
  assert.equal((await refusal(remove('alice', 'admin'))).code, 'NotFound');
  assert.equal((await refusal(remove('nobody'))).code, 'NotFound');
});

test('a crypto user changes the own password only', async () => {
  await using rig = await OfficersRig.make();
  const admin = await rig.activated();
  const alice = await rig.cryptoUser(admin, 'alice');
  const other = { username: 'admin', role: 'admin', password: 'taken-over' };
  assert.equal((await refusal(alice.call('user-change-password', other))).code, 'AccessDenied');
});

test('a new user of a deleted one’s name inherits no shared key and no lock', async () => {
  await using rig = await OfficersRig.make();
  const admin = await rig.activated();
  const alice = await rig.cryptoUser(admin, 'alice');
  const bob = await rig.cryptoUser(admin, 'bob');
  const made = await alice.call('key-generate-symmetric', { type: 'aes', bytes: 16, label: 'k' });
  const key = keyOf(made);
  await alice.call('key-share', { key, username: 'bob' });
  await bob.call('key-get', { key });
  await bob.call('logout');
  for (let i = 0; i < 7; i += 1) await tryLogin(bob, 'bob', WRONG);
  await admin.call('user-delete', { username: 'bob', role: 'crypto-user' });
  const newBob = await rig.cryptoUser(admin, 'bob');
  assert.equal((await refusal(newBob.call('key-get', { key }))).code, 'NotFound');
});

test('policies move within their bounds, count at once, and what the type fixes stays', async () => {
  await using rig = await OfficersRig.make({ mode: 'FIPS' });
  const admin = await rig.activated();
  const set = (name: string, value: number) => admin.call('policy-set', { name, value });
  await set('password-min-length', 12);
  const short = admin.call('user-create', {
    username: 'u',
    role: 'crypto-user',
    password: '11-letters!',
  });
  assert.equal((await refusal(short)).code, 'InvalidRequest');
  for (const [name, value] of [
    ['password-min-length', 7],
    ['password-min-length', 33],
    ['password-max-length', 11],
    ['lockout-limit', 0],
    ['lockout-limit', 1.5],
    ['fips-mode', 0],
    ['max-keys', 1_000_000],
    ['no-such-policy', 1],
  ] as const) {
    assert.equal((await refusal(set(name, value))).code, 'InvalidRequest', name);
  }
  const { policies } = await admin.call('policy-list');
  // The answer's form is this call's contract.
  const values = new Map(
    (policies as { name: string; value: number }[]).map((p) => [p.name, p.value]),
  );
  assert.equal(values.get('fips-mode'), 1);
  assert.equal(values.get('password-min-length'), 12);
  assert.equal(values.get('max-keys'), 16_666);
  await set('lockout-limit', 1);
  const stranger = await rig.connect();
  for (let i = 0; i < 2; i += 1) await tryLogin(stranger, 'admin', WRONG, 'admin');
  assert.equal((await tryLogin(stranger, 'admin', ADMIN_PASSWORD, 'admin')).code, 'LockedOut');
});

test('changesDone() waits for what was let through before writes were frozen', async () => {
  const [isWriting, mayWrite] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  let isSlow = false;
  await using rig = await OfficersRig.make({
    onCommit: async () => {
      if (!isSlow) return;
      isWriting.resolve();
      await mayWrite.promise;
    },
  });
  const admin = await rig.activated();
  const alice = await rig.cryptoUser(admin, 'alice');
  const before = rig.store.shared.generation;
  isSlow = true;
  const key = alice.call('key-generate-symmetric', { type: 'aes', bytes: 16, label: 'k' });
  await isWriting.promise;
  rig.frozen = 'for a backup.';
  const seen = rig.officers.changesDone().then(() => rig.store.shared.generation);
  mayWrite.resolve();
  assert.equal(await seen, before + 1);
  await key;
});

test('frozen writes refuse every change and leave logins and signatures alone', async () => {
  await using rig = await OfficersRig.make();
  const admin = await rig.activated();
  const alice = await rig.cryptoUser(admin, 'alice');
  const pair = await alice.call('key-generate-pair', { type: 'ec', curve: 'P-256', label: 'p' });
  const key = keyOf(pair, 'privateKey');
  rig.frozen = 'another HSM of this cluster takes the writes; connect there.';
  const before = rig.store.shared.generation;
  const changes: [Officer, string, Record<string, string | number | object>][] = [
    [admin, 'user-create', { username: 'bob', role: 'crypto-user', password: USER_PASSWORD }],
    // Neither is judged here: what this HSM knows of users may be old.
    [admin, 'user-create', { username: 'alice', role: 'crypto-user', password: USER_PASSWORD }],
    [
      admin,
      'user-change-password',
      { username: 'carol', role: 'crypto-user', password: USER_PASSWORD },
    ],
    [admin, 'user-delete', { username: 'carol', role: 'crypto-user' }],
    [admin, 'policy-set', { name: 'lockout-limit', value: 9 }],
    [alice, 'key-generate-symmetric', { type: 'aes', bytes: 16, label: 'k' }],
    [alice, 'key-generate-many', { kinds: ['aes-256'], labelPrefix: 'k' }],
    [alice, 'key-delete', { key }],
    [alice, 'key-set-attribute', { key, attributes: { label: 'new' } }],
    [alice, 'key-share', { key, username: 'admin' }],
  ];
  for (const [officer, call, params] of changes) {
    // Plain JSON above; the record type only helps to write it.
    const refused = await refusal(officer.call(call, params as never));
    assert.equal(refused.code, 'WritesFrozen', call);
    assert.equal(refused.message, rig.frozen);
  }
  assert.equal(rig.store.shared.generation, before);
  await alice.call('sign', { key, mechanism: 'ECDSA_SHA256', data: '' });
  const stranger = await rig.connect();
  await tryLogin(stranger, 'alice', WRONG);
  assert.equal(rig.store.local.failures.get('alice'), 1);
  await rig.login('alice', 'crypto-user', USER_PASSWORD);
});

test('replacing the state ends every session', async () => {
  await using rig = await OfficersRig.make();
  const admin = await rig.activated();
  await rig.officers.replaceState('another state was restored', async () => {});
  await assert.rejects(admin.call('user-list'), { code: 'CHANNEL' });
  assert.equal(rig.officers.sessionCount, 0);
});

test('each act is in the audit log, failed logins too, without passwords', async () => {
  await using rig = await OfficersRig.make();
  const admin = await rig.activated();
  const alice = await rig.cryptoUser(admin, 'alice');
  await alice.call('key-generate-symmetric', { type: 'aes', bytes: 16, label: 'k' });
  const stranger = await rig.connect();
  await tryLogin(stranger, 'alice', WRONG);
  await tryLogin(stranger, 'My-Secret-Pa55word', WRONG);
  const { records } = await admin.call('audit', { limit: 100 });
  // The answer's form is this call's contract.
  const list = records as { opcode: string; response: number; user?: string; sequence: number }[];
  assert.deepEqual(
    list.map(({ opcode, response }) => `${opcode} ${response}`),
    [
      'CN_CHANGE_PSWD 0',
      'CN_LOGIN 0',
      'CN_CREATE_USER 0',
      'CN_LOGIN 0',
      'CN_GENERATE_KEY 0',
      'CN_LOGIN 163',
      'CN_LOGIN 157',
    ],
  );
  assert.doesNotMatch(JSON.stringify(list), /Pa55word|certainly|-password/i);
});
