/** `keyark up` exactly when a restore is needed: the home HSM is broken, and the service stays to mend it. */
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from '../../src/cli/client.ts';
import { findEndpoint } from '../../src/cli/environment.ts';
import { EXIT } from '../../src/cli/exit-codes.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { keyark, start } from '../support/command.ts';
import { readEnv, temporaryFolder } from '../support/service.ts';

const LAST_LINE = 'Stop with Ctrl-C.';

/** Damage that no HSM repairs: the middle of everything it wrote. */
async function breakHsm(data: string): Promise<void> {
  const [hsm = ''] = await readdir(join(data, 'host', 'hsms'));
  for (const name of ['slot-0', 'slot-1', 'log']) {
    const file = join(data, 'host', 'hsms', hsm, 'disk', name);
    const content = await readFile(file);
    content.fill(0xa5, content.length >> 2, content.length >> 1);
    await writeFile(file, content);
  }
}

test('keyark up says that its HSM is broken and stays, until another one has taken its place', async () => {
  await using folder = await temporaryFolder();
  const data = join(folder.path, 'd');
  const on = (...args: string[]) => keyark([...args, '--data', data]);
  const up = () => start(['up', '--data', data, '--port', '0']);
  let clusterId: string;
  {
    await using first = up();
    await first.says(LAST_LINE);
    clusterId = (await readEnv(data))['KEYARK_CLUSTER_ID'] ?? '';
  }
  await breakHsm(data);
  let broken = '';
  {
    await using second = up();
    while (!second.stderr().includes(LAST_LINE)) await sleep(50);
    assert.match(second.stderr(), /\[NOT_READY\] .*hsm/i);
    assert.match(second.stderr(), /Keyark runs all the same: http:\/\/127/);
    const status = await on('status');
    assert.equal(status.code, EXIT.OK, status.stderr);
    const [, hsmId = ''] = /^ {2}(hsm-\S+) is DEGRADED: .*error state/m.exec(status.stdout) ?? [];
    assert.notEqual(hsmId, '', status.stdout);
    broken = hsmId;

    const client = new Client(await findEndpoint({ data }, {}), systemClock);
    await client.aws('CreateHsm', { ClusterId: clusterId, AvailabilityZone: 'us-east-1a' });
    const isServing = async () => / +\bACTIVE\b/.test((await on('hsm-info')).stdout);
    for (let tries = 0; tries < 60 && !(await isServing()); tries += 1) await sleep(250);
    const users = await on('user', 'list');
    assert.match(users.stdout, /\bapp\b/, users.stderr);
    assert.equal((await second.end()).code, EXIT.OK);
  }
  await using third = up();
  await third.says(LAST_LINE);
  const given = await on('cluster', 'give-up', broken, '--yes');
  assert.equal(given.code, EXIT.OK, given.stderr);
  while ((await on('status')).stdout.includes(broken)) await sleep(50);
});
