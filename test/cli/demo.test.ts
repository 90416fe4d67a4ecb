import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import test from 'node:test';
import { keyark } from '../support/command.ts';

const leftovers = async (): Promise<readonly string[]> =>
  (await readdir(tmpdir())).filter((name) => name.startsWith('keyark-demo-'));

test('keyark demo holds in every step, says so, and leaves nothing', async () => {
  const before = await leftovers();
  const { code, stdout, stderr } = await keyark(['demo']);
  assert.equal(code, 0, stderr);
  for (const step of [
    'three users and a policy of their own',
    'signatures with keys that sign',
    'a backup, proven by a second HSM',
    'a new HSM from the backup',
    'users, passwords, attributes and policies compared',
    'a second cluster from the same backup',
    '1,000 keys',
    'every HSM deleted',
    'the same keys sign again',
    "another manufacturer's HSM refuses it",
  ]) {
    assert.ok(stdout.includes(step), `nothing about ${step} in\n${stdout}`);
  }
  assert.match(stdout, /All of it held/);
  assert.deepEqual(await leftovers(), before);
});
