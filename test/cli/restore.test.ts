/** `keyark restore` as a person meets it: words and counts, names for an admin, a restore and its undo. */
import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { EXIT } from '../../src/cli/exit-codes.ts';
import { nameRows, planLines } from '../../src/cli/restore-words.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { keyark, start } from '../support/command.ts';
import { temporaryFolder } from '../support/service.ts';

const USERS = { Appear: 0, Vanish: 0, PasswordChanged: 0, RoleChanged: 0, Lock: 0, Unlock: 0 };
const OBJECTS = {
  Appear: 0,
  Vanish: 0,
  AttributesChanged: 0,
  OwnerChanged: 0,
  SharingChanged: 0,
};
const PLAN: JsonObject = {
  Profile: 'own',
  Way: 'StartRestore',
  Now: 1_800_000_000,
  ClusterId: 'cluster-a',
  Backup: {
    BackupId: 'backup-a',
    ClusterId: 'cluster-a',
    BackupState: 'READY',
    CreateTimestamp: 1_800_000_000 - 7_200,
    ProvenAt: 1_800_000_000 - 7_199,
    Incarnation: '00ff',
    Generation: 7,
    Counts: { Users: 3, Keys: 1, Objects: 0, Tombstones: 0 },
  },
  ChangesSince: 4,
  ComparedWith: 'the live HSM',
  Current: {},
  IsSameState: false,
  Changes: {
    Users: { ...USERS, Vanish: 1, PasswordChanged: 2 },
    Keys: { ...OBJECTS, Appear: 1, AttributesChanged: 3 },
    Objects: OBJECTS,
    Policies: 1,
    IsCertificateChanged: false,
  },
  Blockers: [{ Code: 'NO_WRITER', Text: 'Nobody takes writes.' }],
};

test('a plan in words says which backup, how old, what goes and comes, and what is in the way', () => {
  assert.deepEqual(planLines(PLAN), [
    'Plan of a restore (profile own), which changes nothing:',
    'cluster-a would be restored in place: a new HSM is built from it and takes over:',
    '  backup-a   READY, taken 2 h ago (2027-01-15T06:00:00Z): 3 users, 1 key',
    '  proven 2027-01-15T06:00:01Z   incarnation 00ff, generation 7',
    '',
    'Made since, and lost with it: 4 changes.',
    'Compared with the live HSM:',
    '  users: 1 vanish, 2 get an earlier password',
    '  keys: 1 appear again, 3 get earlier attributes',
    '  policies: 1 with another value',
    '',
    'In the way:',
    '  [NO_WRITER] Nobody takes writes.',
  ]);
  const same = planLines({ ...PLAN, ChangesSince: 0, IsSameState: true, Blockers: [] });
  assert.deepEqual(same.slice(5), [
    'Nothing was changed since then.',
    'It holds the same as the live HSM does now.',
  ]);
});

test('a plan on a rehearsal says so before anything else', () => {
  const [first] = planLines({ ...PLAN, Profile: 'aws-exact', IsRehearsal: true });
  assert.match(first ?? '', /^REHEARSAL {2}Plan .*\(profile aws-exact\)/);
});

test('names are one line a user, policy or key, with what would become of it', () => {
  const lines = [
    { kind: 'user', name: 'bob', role: 'crypto-user', changes: ['passwordChanged', 'unlock'] },
    { kind: 'policy', name: 'lockout-limit', current: 9, chosen: 5 },
    { kind: 'object', class: 'secret-key', label: 'k', owner: 'bob', changes: ['vanish'] },
  ];
  assert.deepEqual(nameRows({ lines }), [
    ['user', 'bob', 'crypto-user', 'earlier password, is unlocked'],
    ['policy', 'lockout-limit', '', '9 becomes 5'],
    ['secret-key', 'k', 'bob', 'vanishes'],
  ]);
});

test('keyark restore: plan, names for an admin, start, undo, list, on real processes', async () => {
  await using folder = await temporaryFolder();
  await chmod(folder.path, 0o755);
  const data = join(folder.path, 'd');
  await using up = start(['up', '--data', data, '--port', '0']);
  await up.says('Stop with Ctrl-C.');
  const run = (...args: string[]) => keyark([...args, '--data', data]);
  const on = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await run(...args);
    assert.equal(code, EXIT.OK, `${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const idIn = (text: string, kind: string): string =>
    new RegExp(`${kind}-keyark[a-z2-7]{10}`).exec(text)?.[0] ?? '';
  const clusterId = idIn(up.stdout(), 'cluster');
  const password = join(folder.path, 'password');
  await writeFile(password, 'correct-horse-7\n');
  await on('key', 'generate', 'early', '--type', 'aes-256');
  const backupId = idIn(await on('backup', 'take'), 'backup');
  await on('user', 'create', 'planted_signer', '--new-password-file', password);
  await on('key', 'generate', 'planted-label', '--type', 'ec-p256');

  const plan = await on('restore', 'plan', '--backup-id', backupId);
  assert.match(plan, /Made since, and lost with it: 2 changes\./);
  assert.match(plan, /users: 1 vanish\n {2}keys: 2 vanish/);
  assert.doesNotMatch(plan, /planted/);
  const names = await on('restore', 'plan', '--backup-id', backupId, '--names');
  assert.match(names, /user +planted_signer +crypto-user +vanishes/);
  assert.match(names, /private-key +planted-label +app +vanishes/);
  const json = await on('restore', 'plan', '--backup-id', backupId, '--json');
  assert.equal(JSON.parse(json).Profile, 'own');
  assert.doesNotMatch(json + up.stdout(), /planted/);

  const target = ['--cluster-id', clusterId, '--backup-id', backupId] as const;
  const unasked = await run('restore', 'start', ...target);
  assert.equal(unasked.code, EXIT.USAGE);
  assert.match(unasked.stderr, /nothing was changed.*Scripts add --yes/);
  const done = await on('restore', 'start', ...target, '--yes');
  assert.match(done, new RegExp(`Until .*: keyark restore undo --cluster-id ${clusterId}`));
  assert.doesNotMatch(await on('user', 'list'), /planted_signer/);
  assert.doesNotMatch(await on('key', 'list'), /planted-label/);
  assert.match(await on('key', 'list'), /early/);
  await on('key', 'generate', 'after', '--type', 'aes-256');

  await on('restore', 'undo', '--cluster-id', clusterId, '--yes');
  assert.match(await on('user', 'list'), /planted_signer/);
  const keys = await on('key', 'list');
  assert.match(keys, /planted-label/);
  assert.doesNotMatch(keys, /after/);
  assert.match(await on('restore', 'list'), /DONE.*undo for 2\d h(.|\n)*DONE/);
  assert.match(await on('status'), new RegExp(`${clusterId} +ACTIVE +1 `));
  assert.match(await on('backup', 'take'), /is proven/);
});
