/** What the control plane's user is refused, tried as that user by real system calls. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chown, readdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { addToEnvironment } from '../../src/cli/environment.ts';
import { type LocalFleet, startLocalFleet } from '../../src/fleet/local.ts';
import { operatorSocket } from '../../src/host/operator.ts';
import { controlPlaneUser, hostUser, isRoot } from '../../src/host/users.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { newClusterId, newHsmId } from '../../src/kernel/ids.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import { start } from '../support/command.ts';
import { type FleetProcesses, fleetProcesses } from '../support/processes.ts';
import { readEnv, temporaryFolder } from '../support/service.ts';
import { type TempFolder, tempFolder } from '../support/temp-folder.ts';

const run = promisify(execFile);
const isPossible = isRoot() && process.platform === 'linux';
const skip = isPossible ? false : 'changing users needs root on Linux';

/** Runs in a process of the given user; prints one line per attempt: what, then `ok` or the error. */
const ATTEMPTS = `
import { createConnection } from 'node:net';
import { openSync, readdirSync, readFileSync, writeFileSync, renameSync } from 'node:fs';
const acts = {
  list: (path) => readdirSync(path),
  read: (path) => readFileSync(path),
  open: (path) => openSync(path, 'r'),
  write: (path) => writeFileSync(path, 'x'),
  rename: (path) => renameSync(path, path + '.moved'),
  kill: (pid) => process.kill(Number(pid), 0),
};
for (const [act, target] of JSON.parse(process.argv[1])) {
  let outcome = 'ok';
  try {
    if (act === 'connect') {
      await new Promise((resolve, reject) => {
        createConnection(target).once('connect', resolve).once('error', reject);
      });
    } else acts[act](target);
  } catch (cause) { outcome = cause.code; }
  console.log(outcome);
}
process.exit();
`;

async function attempt(
  user: { uid: number; gid: number },
  attempts: readonly (readonly [act: string, target: string])[],
): Promise<readonly string[]> {
  const { stdout } = await run(
    process.execPath,
    ['--input-type=module', '-e', ATTEMPTS, JSON.stringify(attempts)],
    { ...user, cwd: '/', env: {} },
  );
  return stdout.trim().split('\n');
}

describe('the control plane’s user', { skip }, () => {
  let temp: TempFolder;
  let fleet: LocalFleet;
  let processes: FleetProcesses;
  const hsmId = newHsmId(systemRandom);
  const clusterId = newClusterId(systemRandom);

  before(async () => {
    temp = await tempFolder();
    fleet = await startLocalFleet({ data: temp.path, clock: systemClock });
    await fleet.obtain(hsmId, clusterId);
    processes = await fleetProcesses(fleet.pid ?? 0);
  });
  after(async () => {
    await fleet?.[Symbol.asyncDispose]();
    await temp?.[Symbol.asyncDispose]();
  });

  const inHost = (...names: string[]) => join(temp.path, 'host', ...names);

  it('is refused the roots, the HSMs’ folders, the code’s folder and the operator’s socket', async () => {
    const attempts = [
      ['list', inHost()],
      ['list', inHost('roots')],
      ['read', inHost('roots', 'makers', 'keyark', 'keys.json')],
      ['read', inHost('roots', 'owners', 'home', 'keys.json')],
      ['read', inHost('roots', 'storage', 'keys.json')],
      ['list', inHost('hsms')],
      ['read', inHost('hsms', hsmId, 'meta.json')],
      ['read', inHost('hsms', hsmId, 'disk', 'log')],
      ['write', inHost('hsms', hsmId, 'disk', 'log')],
      ['write', inHost('code', 'x')],
      ['connect', operatorSocket(temp.path)],
      ['connect', join(temp.path, 'clusters', clusterId, 'officers.sock')],
      ['write', join(temp.path, 'clusters', 'x')],
    ] as const;
    for (const [i, outcome] of (await attempt(controlPlaneUser(), attempts)).entries()) {
      assert.equal(outcome, 'EACCES', String(attempts[i]));
    }
  });

  it('can write its own files beside them, and not put another folder in their place', async () => {
    assert.deepEqual(
      await attempt(controlPlaneUser(), [
        ['write', join(temp.path, 'mine')],
        ['rename', inHost()],
        ['rename', join(temp.path, 'clusters')],
      ]),
      ['ok', 'EPERM', 'EPERM'],
    );
  });

  it('is refused memory, environment, descriptors and signals of host, guard and HSM', async () => {
    const { guard, host, hsms } = processes;
    for (const pid of [guard, host, hsms.get(hsmId)]) {
      assert.ok(pid !== undefined);
      const attempts = [
        ['open', `/proc/${pid}/mem`],
        ['read', `/proc/${pid}/maps`],
        ['read', `/proc/${pid}/environ`],
        ['list', `/proc/${pid}/fd`],
        ['kill', String(pid)],
      ] as const;
      for (const [i, outcome] of (await attempt(controlPlaneUser(), attempts)).entries()) {
        assert.match(outcome, /^(EACCES|EPERM)$/, String(attempts[i]));
      }
    }
  });

  it('is another one than the host’s, who may read what it refuses', async () => {
    assert.notEqual(hostUser().uid, controlPlaneUser().uid);
    assert.deepEqual(
      await attempt(hostUser(), [['read', inHost('roots', 'makers', 'keyark', 'keys.json')]]),
      ['ok'],
    );
  });

  it('cannot change the code that HSMs run, and neither can the host’s user', async () => {
    const [hash] = (await readdir(inHost('code'))).filter((name) => /^[0-9a-f]{64}$/.test(name));
    for (const user of [controlPlaneUser(), hostUser()]) {
      const outcomes = await attempt(user, [
        ['write', inHost('code', hash ?? '', 'hsm.mjs')],
        ['rename', inHost('code', hash ?? '')],
      ]);
      for (const outcome of outcomes) assert.match(outcome, /^(EACCES|EPERM|ENOENT)$/);
    }
  });

  it('cannot read, change or replace the password that `keyark up` leaves for clients', async () => {
    await using folder = await temporaryFolder();
    const data = join(folder.path, 'd');
    {
      await using up = start(['up', '--data', data, '--port', '0']);
      await up.says('Stop with Ctrl-C.');
      assert.match((await readEnv(data))['KEYARK_PIN'] ?? '', /^app:/);
      assert.equal((await stat(join(data, 'env'))).mode & 0o777, 0o600);
      assert.deepEqual(
        await attempt(controlPlaneUser(), [
          ['read', join(data, 'env')],
          ['write', join(data, 'env')],
          ['rename', join(data, 'env')],
          ['list', join(data, 'customer')],
          ['read', join(data, 'customer', 'home', 'app-password')],
        ]),
        ['EACCES', 'EACCES', 'EPERM', 'EACCES', 'EACCES'],
      );
      const compiled = join(import.meta.dirname, '..', '..', 'dist', 'compiled');
      assert.deepEqual(
        await attempt(controlPlaneUser(), [
          ['write', join(compiled, 'x')],
          ['rename', compiled],
        ]),
        ['EACCES', 'EACCES'],
        'what root runs at the next start',
      );
      const { code, stderr } = await up.end();
      assert.equal(code, 0, stderr);
    }
    await assert.rejects(stat(join(data, 'env')), { code: 'ENOENT' });
  });

  it('cannot have that password written into a file of its own', async () => {
    await using temp = await tempFolder();
    await writeFile(join(temp.path, 'env.up'), '');
    await chown(join(temp.path, 'env.up'), controlPlaneUser().uid, controlPlaneUser().gid);
    await addToEnvironment(temp.path, new Map([['KEYARK_PIN', 'app:secret']]));
    const [outcome] = await attempt(controlPlaneUser(), [['read', join(temp.path, 'env')]]);
    assert.equal(outcome, 'EACCES');
  });
});
