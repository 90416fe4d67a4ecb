/** Sealed roots after a restart, as a person meets them: every command says so, nothing claims to be well. */
import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { EXIT } from '../../src/cli/exit-codes.ts';
import { keyark, start } from '../support/command.ts';
import { startService, temporaryFolder } from '../support/service.ts';

interface Described {
  readonly Clusters: readonly {
    readonly Hsms: readonly { readonly State: string; readonly StateMessage?: string }[];
  }[];
}

test('while the roots are locked no HSM is called ACTIVE, and every command says what to do', async () => {
  await using folder = await temporaryFolder();
  const data = join(folder.path, 'd');
  const passphrase = join(folder.path, 'passphrase');
  await writeFile(passphrase, 'correct horse battery\n');
  const on = (...args: string[]) => keyark([...args, '--data', data]);
  {
    await using up = start(['up', '--data', data, '--port', '0']);
    await up.says('Stop with Ctrl-C.');
    const sealed = await on('host', 'seal', '--passphrase-file', passphrase);
    assert.equal(sealed.code, EXIT.OK, sealed.stderr);
  }
  await using _service = await startService(data);
  const hsm = async () => {
    const { Clusters } = JSON.parse((await on('cluster', 'list', '--json')).stdout) as Described;
    return Clusters[0]?.Hsms[0];
  };
  const locked = await hsm();
  assert.equal(locked?.State, 'DEGRADED');
  assert.match(locked?.StateMessage ?? '', /roots are locked.*keyark unlock/);
  assert.match((await on('status')).stdout, /HSM crashing +NO +the roots are locked/);
  for (const command of [['backup', 'take'], ['key', 'list'], ['user', 'list'], ['hsm-info']]) {
    const { code, stderr } = await on(...command);
    assert.equal(code, EXIT.ROOTS_LOCKED, command.join(' '));
    assert.match(stderr, /^\[ROOTS_LOCKED\] [^\n]*`keyark unlock`[^\n]*\n$/, command.join(' '));
  }
  assert.doesNotMatch((await on('backup', 'list')).stdout, /CREATE_IN_PROGRESS/);

  assert.equal((await on('unlock', '--passphrase-file', passphrase)).code, EXIT.OK);
  while ((await hsm())?.State !== 'ACTIVE') await sleep(50);
  assert.equal((await hsm())?.StateMessage, undefined);
  assert.equal((await on('key', 'list')).code, EXIT.OK);
});
