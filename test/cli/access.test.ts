/** Accounts, users, temporary credentials and the trail, by the command line against a real service. */
import assert from 'node:assert/strict';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Client } from '../../src/cli/client.ts';
import { findEndpoint } from '../../src/cli/environment.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import type { Outcome } from '../support/command.ts';
import { inProcess } from '../support/in-process-command.ts';
import { type RunningService, startService, temporaryFolder } from '../support/service.ts';

/** `export NAME='value'` lines as variables. */
function exported(text: string): Record<string, string> {
  const lines = [...text.matchAll(/^export (\w+)='(.*)'$/gm)];
  return Object.fromEntries(lines.map(([, name = '', value = '']) => [name, value]));
}

describe('keyark account, iam, credential and audit', () => {
  let folder: Awaited<ReturnType<typeof temporaryFolder>>;
  let service: RunningService;
  const secrets: string[] = [];
  before(async () => {
    folder = await temporaryFolder();
    service = await startService(join(folder.path, 'd'), [
      '--region',
      'us-east-1,eu-west-1',
      '--log-level',
      'debug',
      '--log-format',
      'json',
    ]);
  });
  after(async () => {
    await service[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  const run = (words: string, env: Record<string, string> = {}): Promise<Outcome> =>
    inProcess([...words.split(' '), '--data', service.data], env);
  const make = async (words: string, env?: Record<string, string>) => {
    const made = await run(words, env);
    assert.equal(made.code, 0, made.stderr);
    const variables = exported(made.stdout);
    secrets.push(variables['AWS_SECRET_ACCESS_KEY'] ?? assert.fail(made.stdout));
    if (variables['AWS_SESSION_TOKEN']) secrets.push(variables['AWS_SESSION_TOKEN']);
    return variables;
  };
  const clusters = async (words: string, env?: Record<string, string>): Promise<number> => {
    const { stdout, stderr } = await run(`cluster list --json ${words}`.trim(), env);
    return JSON.parse(stdout || assert.fail(stderr)).Clusters.length;
  };

  it('keep two accounts and two regions apart', async () => {
    const other = await make('account create --label payments');
    const client = new Client(await findEndpoint({ data: service.data }, {}), systemClock);
    const SubnetIds = ['subnet-00000001'];
    await client.aws('CreateCluster', { HsmType: 'hsm2m.medium', Mode: 'NON_FIPS', SubnetIds });
    assert.deepEqual(
      await Promise.all([
        clusters(''),
        clusters('--region eu-west-1'),
        clusters('', other),
        clusters('--region eu-west-1', other),
      ]),
      [1, 0, 0, 0],
    );
    const listed = await run('account list');
    assert.match(listed.stdout, /^\d{12} +payments /m);
    assert.equal((await run('account list', other)).code, 3);
    const seen = await run('audit --json', other);
    assert.ok(!seen.stdout.includes('CreateCluster'), seen.stdout);
    assert.ok(!(await run('audit --json --region eu-west-1')).stdout.includes('CreateCluster'));
    assert.match((await run('audit')).stdout, /CreateCluster .*:root/);
  });

  it('let a user do what the policy says, from the next call on', async () => {
    await run('iam user create ada');
    const ada = await make('credential create --user ada');
    const ask = () => run('cluster list', ada);
    assert.match(
      (await ask()).stderr,
      /User: arn:aws:iam::\d+:user\/ada is not authorized to perform: cloudhsm:DescribeClusters on resource: \*/,
    );
    await run('iam policy put ada --managed AWSCloudHSMReadOnlyAccess');
    assert.equal((await ask()).code, 0);
    const file = join(folder.path, 'deny.json');
    await writeFile(
      file,
      JSON.stringify({
        Version: '2012-10-17',
        Statement: { Effect: 'Deny', Action: 'cloudhsm:DescribeCluster', Resource: 'x' },
      }),
    );
    const wrong = await run(`iam policy put ada --name deny --file ${file}`);
    assert.match(
      wrong.stderr,
      /\(1\) .*no action "cloudhsm:DescribeCluster".*\(2\) .*"x" is no resource/,
    );
    assert.equal((await ask()).code, 0);
    await run('iam policy put ada --managed KeyarkReadOnlyAccess');
    const session = await make('credential session --duration 15m', ada);
    assert.match(session['AWS_ACCESS_KEY_ID'] ?? '', /^KEYARKTMP/);
  });

  it('make temporary credentials that count until their key is switched off', async () => {
    const root = await make('credential create');
    const session = await make('credential session --duration 1h', root);
    const ask = () => run('cluster list', session);
    assert.equal((await ask()).code, 0);
    const bare = { ...session, AWS_SESSION_TOKEN: '' };
    assert.match((await run('cluster list', bare)).stderr, /needs its session token/);
    assert.equal((await run(`credential disable ${root['AWS_ACCESS_KEY_ID']}`)).code, 0);
    assert.match((await ask()).stderr, /DISABLED_ACCESS_KEY.*switched off/);
    const gone = await run(`credential remove ${root['AWS_ACCESS_KEY_ID']}`);
    assert.match(gone.stderr, /nothing was changed.*Scripts add --yes/);
    assert.equal((await run(`credential remove ${root['AWS_ACCESS_KEY_ID']} --yes`)).code, 0);
    assert.match((await run('credential list')).stdout, /root +Active/);
  });

  it('find every edit of the trail, also while the service runs and after it was started again', async () => {
    assert.match((await run('audit verify')).stdout, /^Whole: \d+ records in 1 files/);
    const head = (await run('audit head')).stdout.trim();
    assert.match(head, /^\d+:[0-9a-f]{64}$/);
    await service.kill('SIGTERM');
    const audit = join(service.data, 'audit');
    const [name = ''] = await readdir(audit);
    const text = await readFile(join(audit, name), 'utf8');
    assert.match((await run(`audit verify --head ${head}`)).stdout, /^Whole/);
    await writeFile(
      join(audit, name),
      text.replace('"eventName":"CreateCluster"', '"eventName":"CreateClusteR"'),
    );
    const found = await run(`audit verify --head ${head}`);
    assert.deepEqual([found.code, /does not fit its hash/.test(found.stdout)], [1, true]);

    // The last record cut off: the service's own memory of the head tells.
    const lines = text.trimEnd().split('\n');
    await writeFile(join(audit, name), `${lines.slice(0, -1).join('\n')}\n`);
    service = await startService(service.data, ['--region', 'us-east-1,eu-west-1']);
    const after = await run('audit verify');
    assert.match(after.stdout, /NOT WHOLE[\s\S]*TrailRecordsMissing/);
  });

  it('leave no secret in the trail, in the log or in any list', async () => {
    const audit = join(service.data, 'audit');
    const texts = await Promise.all(
      (await readdir(audit)).map((name) => readFile(join(audit, name), 'utf8')),
    );
    const all = [
      ...texts,
      service.output(),
      (await run('credential list --json')).stdout,
      (await run('iam user list --json')).stdout,
      (await run('audit --all-accounts --since 1d --json')).stdout,
    ].join('\n');
    assert.ok(secrets.length >= 5);
    for (const secret of secrets) assert.ok(!all.includes(secret));
  });
});
