/**
 * Shell transcripts of AWS's getting-started and backup pages, and a boto3 script, against the real service with
 * only the endpoint changed: together each of the fifteen operations that Debian's clients know, twice.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, execFileSync, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { MODELLED_OPERATIONS } from '../support/api-model.ts';
import { startService, temporaryFolder } from '../support/service.ts';
import { watchingProxy } from '../support/watching-proxy.ts';

const HERE = import.meta.dirname;
const PYTHON = '/usr/bin/python3';
const NEEDED = [
  '/usr/bin/aws',
  '/usr/bin/openssl',
  '/usr/lib/python3/dist-packages/awscli/__init__.py',
  '/usr/lib/python3/dist-packages/boto3/__init__.py',
];
const skip = NEEDED.every(existsSync)
  ? false
  : 'needs the Debian packages awscli, python3-boto3 and openssl';
/** These came after Debian's clients; test/clients/js-sdk.test.ts calls them. */
const NEWER = ['PutResourcePolicy', 'GetResourcePolicy', 'DeleteResourcePolicy'];
const FIFTEEN = MODELLED_OPERATIONS.filter((name) => !NEWER.includes(name)).sort();
const run = promisify(execFile);

test("AWS's pages can be followed with its own clients", { skip }, async (t) => {
  await using home = await temporaryFolder();
  await using service = await startService(join(home.path, 'd'), [
    ...['--region', 'us-east-1,eu-west-1'],
  ]);
  await using proxy = await watchingProxy(new URL(service.env['AWS_ENDPOINT_URL'] ?? ''));
  const env = {
    ...service.env,
    AWS_ENDPOINT_URL: proxy.url,
    AWS_DEFAULT_REGION: 'us-east-1',
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_MAX_ATTEMPTS: '1',
    AWS_PAGER: '',
    AWS_LOADED: join(home.path, 'aws'),
    KEYARK: join(HERE, '..', '..', 'bin', 'keyark'),
    KEYARK_DATA: service.data,
    WORK: home.path,
    HOME: home.path,
    PATH: '/usr/bin:/bin',
    LC_ALL: 'C.UTF-8',
  };
  using _loaded = loadAws(home.path, env);
  const follow = (script: string) =>
    run('/bin/bash', [join(HERE, 'transcripts', script)], { env, cwd: home.path });

  await t.test('getting started: from nothing to an active cluster', async () => {
    await follow('getting-started.sh');
  });

  await t.test('backups: filters, retention, undo, tags, copies, restores, deletion', async () => {
    await follow('backups.sh');
    assert.deepEqual([...proxy.takeAnswered()].sort(), FIFTEEN);
  });

  await t.test('boto3 calls the same fifteen', async () => {
    const { stdout } = await run(PYTHON, [join(HERE, 'fifteen.py')], { env, cwd: home.path });
    assert.deepEqual(JSON.parse(stdout), {
      retention: { Type: 'DAYS', Value: '30' },
      tags: [{ Key: 'team', Value: 'payments' }],
      exempt: true,
      copied: true,
      daysLeft: 7,
      state: 'READY',
      refused: [400],
    });
    assert.deepEqual([...proxy.takeAnswered()].sort(), FIFTEEN);
  });

  await t.test("every answer has the shape of AWS's model", () => {
    assert.deepEqual(proxy.problems, []);
  });
});

function loadAws(folder: string, env: Readonly<Record<string, string>>): ChildProcess & Disposable {
  execFileSync('mkfifo', [env['AWS_LOADED'] ?? '']);
  const script = join(HERE, '..', 'support', 'loaded-aws.py');
  const child = spawn(PYTHON, [script, env['AWS_LOADED'] ?? ''], {
    cwd: folder,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return Object.assign(child, { [Symbol.dispose]: () => void child.kill() });
}
