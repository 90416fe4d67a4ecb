/** Weeks in seconds: a rehearsal as a user runs it, with real processes and a real service. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { EXIT } from '../../src/cli/exit-codes.ts';
import { waitFor } from '../../src/cli/wait.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { keyark, type Outcome, start } from '../support/command.ts';
import { inProcess } from '../support/in-process-command.ts';
import { startService, temporaryFolder } from '../support/service.ts';

const DAY_S = 86_400;

function commandsOn(data: string) {
  const run = (...args: readonly string[]): Promise<Outcome> =>
    inProcess([...args, '--data', data]);
  const json = async (...args: readonly string[]): Promise<Record<string, unknown>> => {
    const { code, stdout, stderr } = await run(...args, '--json');
    assert.equal(code, EXIT.OK, `${args.join(' ')}: ${stderr}`);
    return JSON.parse(stdout);
  };
  /** The service acts within a second or two of a move of its time. */
  const untilState = (id: string, state: string): Promise<true> =>
    waitFor(systemClock, { until: `${id} is ${state}`, atMostMs: 30_000 }, async () => {
      const { Backups: backups } = await json('backup', 'list');
      assert.ok(Array.isArray(backups));
      const found = backups.find((each) => each.BackupId === id);
      return found?.BackupState === state ? true : undefined;
    });
  return { run, json, untilState };
}

test('on a rehearsal the undo window, retention, holds and the deletion record are seen in seconds', async () => {
  await using folder = await temporaryFolder();
  const data = join(folder.path, 'd');
  const { run, json, untilState } = commandsOn(data);
  let held = '';
  let aheadS = 0;
  {
    await using service = start(['up', '--rehearsal', '--data', data, '--port', '0']);
    await service.says('Stop with Ctrl-C.');
    assert.match(service.stdout(), /^REHEARSAL: /);
    assert.match(readFileSync(join(data, 'env'), 'utf8'), /^KEYARK_REHEARSAL=true$/m);
    const { Backups: first } = await json('backup', 'list');
    assert.ok(Array.isArray(first));
    const doomed = String(first[0].BackupId);
    const taken = await run('backup', 'take');
    assert.match(taken.stdout, /^REHEARSAL {2}backup-\S+ is proven/);
    held = /backup-\S+/.exec(taken.stdout)?.[0] ?? '';

    assert.match((await run('status', '--check')).stdout, /^\w+: REHEARSAL .*\(profile own\)\n$/);
    assert.match((await run('restore', 'plan')).stdout, /^REHEARSAL {2}Plan .*\(profile own\)/);
    const unasked = await run('backup', 'delete', doomed);
    assert.equal(unasked.code, EXIT.USAGE);
    assert.match(unasked.stderr, /nothing was changed/);
    assert.equal((await run('backup', 'delete', doomed, '--yes')).code, EXIT.OK);
    assert.equal((await run('backup', 'deletion-record', doomed)).code, EXIT.REFUSED);
    assert.equal((await run('clock', 'advance', '6d')).code, EXIT.OK);
    assert.equal((await run('backup', 'undelete', doomed)).code, EXIT.OK);
    assert.equal((await run('backup', 'delete', doomed, '--yes')).code, EXIT.OK);
    assert.match((await run('clock', 'advance', '1w')).stdout, /^REHEARSAL {2}\S+Z, 13 d ahead/);
    await untilState(doomed, 'DELETED');
    const record = await run('backup', 'deletion-record', doomed);
    assert.match(record.stdout, /^REHEARSAL {2}backup-\S+ is DELETED .*\(profile own\)\n/);
    const recorded = await json('backup', 'deletion-record', doomed);
    assert.deepEqual([recorded['Profile'], recorded['IsRehearsal']], ['own', true]);
    for (const part of ['outer-1', 'seal-1', 'body']) assert.match(record.stdout, new RegExp(part));
    assert.equal((await run('backup', 'undelete', doomed)).code, EXIT.REFUSED);

    const why = ['--why', 'audit Q4'];
    const set = await run(
      'hold',
      'set',
      '--backup-id',
      held,
      '--until',
      '2999-01-31',
      ...why,
      '--yes',
    );
    assert.equal(set.code, EXIT.REFUSED, 'a slip of the hand');
    assert.equal((await run('hold', 'set', '--backup-id', held, '--legal', ...why)).code, EXIT.OK);
    const list = await run('hold', 'list');
    assert.match(list.stdout, /legal .*yes .*audit Q4\n[\s\S]*root on this machine is not bound/);
    const refused = await run('backup', 'delete', held, '--yes');
    assert.equal(refused.code, EXIT.REFUSED);
    assert.match(refused.stderr, /\[HELD\]/);
    assert.equal((await run('clock', 'advance', '400d')).code, EXIT.OK);
    const { AheadSeconds: ahead, IsPurging: isPurging } = await json('clock', 'show');
    aheadS = Number(ahead);
    assert.equal(aheadS, 413 * DAY_S);
    assert.equal(isPurging, true, 'a move of the time was taken for a step');
    assert.match((await run('status')).stdout, /^REHEARSAL: .*413 d ahead[\s\S]*1 backup is held/);
  }
  // Without the flag it stays what it is, and as far ahead.
  await using service = await startService(data);
  assert.equal(service.env['KEYARK_REHEARSAL'], 'true');
  const { AheadSeconds: ahead, IsRehearsal: isRehearsal } = await json('clock', 'show');
  assert.deepEqual([ahead, isRehearsal], [aheadS, true]);
  // The certificates of HSMs are by the machine's clock: thirteen months ahead a new state is still proven.
  assert.match((await run('backup', 'take')).stdout, /is proven/);
  await run('hold', 'lift', '--backup-id', held, '--yes');
  await untilState(held, 'PENDING_DELETION');
});

test('a folder that was made without --rehearsal never becomes one, and its time is not moved', async () => {
  await using folder = await temporaryFolder();
  const data = join(folder.path, 'd');
  const { run } = commandsOn(data);
  {
    await using _service = await startService(data);
    const refused = await run('clock', 'advance', '8d');
    assert.equal(refused.code, EXIT.REFUSED);
    assert.match(refused.stderr, /\[NOT_A_REHEARSAL\]/);
    assert.doesNotMatch((await run('status')).stdout, /REHEARSAL/);
    assert.match((await run('clock', 'confirm')).stdout, /Z\n$/);
  }
  const flagged = await keyark(['serve', '--rehearsal', '--data', data, '--port', '0']);
  assert.equal(flagged.code, EXIT.REFUSED);
  assert.match(flagged.stderr, /\[NOT_A_REHEARSAL\].*Nothing was touched/);
});
