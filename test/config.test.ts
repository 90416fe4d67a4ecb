import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { ConfigProblems, loadConfig } from '../src/config.ts';
import { type Surroundings, settingNames } from '../src/settings.ts';
import { tempFolder } from './support/temp-folder.ts';

const AROUND: Surroundings = {
  isRoot: false,
  home: '/nowhere/ada',
  cwd: '/nowhere',
  env: {},
  isTerminal: true,
};

async function withFile<T>(text: string, work: (path: string) => T): Promise<T> {
  await using folder = await tempFolder();
  const path = join(folder.path, 'keyark.toml');
  await writeFile(path, text);
  return work(path);
}

function problemsOf(work: () => unknown): readonly string[] {
  try {
    work();
  } catch (cause) {
    if (cause instanceof ConfigProblems) return cause.problems;
    throw cause;
  }
  return [];
}

test('loadConfig() has a default for everything: loopback, one region, the user’s data folder', () => {
  const { config, settings } = loadConfig({}, AROUND);
  assert.equal(config.data, '/nowhere/ada/.local/share/keyark');
  assert.equal(config.host, '127.0.0.1');
  assert.equal(config.port, 8228);
  assert.deepEqual(config.regions, ['us-east-1']);
  assert.match(config.account, /^0000/);
  assert.deepEqual(config.schedule, {
    isChangeDriven: true,
    quietMs: 5_000,
    latestMs: 60_000,
    atOnce: 2,
  });
  assert.ok(settings.every(({ origin }) => origin === 'default'));
  assert.equal(loadConfig({}, { ...AROUND, isRoot: true }).config.data, '/var/lib/keyark');
});

test('loadConfig() takes flag before variable before file before default, and says which', () =>
  withFile('[api]\nport = 1001\n[log]\nlevel = "debug"\n[home]\nname = "from-file"\n', (path) => {
    const around = { ...AROUND, env: { KEYARK_PORT: '1002', KEYARK_LOG_LEVEL: 'error' } };
    const { config, settings } = loadConfig({ port: '1003' }, around, path);
    assert.equal(config.port, 1003);
    assert.equal(config.log.level, 'error');
    assert.equal(config.home.name, 'from-file');
    const origins = Object.fromEntries(settings.map(({ name, origin }) => [name, origin]));
    assert.equal(origins['port'], 'flag');
    assert.equal(origins['logLevel'], 'variable');
    assert.equal(origins['homeName'], 'file');
    assert.equal(origins['region'], undefined);
    assert.equal(origins['regions'], 'default');
  }));

test('loadConfig() tells every problem at once', () =>
  withFile('[api]\nport = "high"\nhots = "127.0.0.1"\n[log]\nlevel = "loud"\n', (path) => {
    const around = { ...AROUND, env: { KEYARK_REGION: 'Mars' } };
    const problems = problemsOf(() => loadConfig({ account: '123' }, around, path));
    for (const part of ['api.port', 'api.hots', 'log.level', 'KEYARK_REGION', '--account']) {
      assert.ok(
        problems.some((problem) => problem.includes(part)),
        `nothing about ${part} in ${problems.join(' | ')}`,
      );
    }
  }));

for (const line of [
  'password = "hunter2"',
  '[home]\npin = "app:hunter2"',
  '[roots]\npassphrase = "hunter2"',
  'secret_access_key = "hunter2"',
  '[api]\ntls_key = """-----BEGIN PRIVATE KEY-----\nhunter2"""',
]) {
  test(`loadConfig() refuses a secret in the file and does not repeat it: ${line.match(/\w+(?= =)/)?.[0]}`, () =>
    withFile(line, (path) => {
      const problems = problemsOf(() => loadConfig({}, AROUND, path));
      assert.equal(problems.length, 1);
      assert.match(problems[0] ?? '', /looks like a secret/);
      assert.doesNotMatch(problems.join(), /hunter2/);
    }));
}

test('loadConfig() refuses an address off this machine without TLS', () => {
  assert.match(problemsOf(() => loadConfig({ host: '0.0.0.0' }, AROUND)).join(), /without TLS/);
  assert.match(problemsOf(() => loadConfig({ host: 'localhost' }, AROUND)).join(), /without TLS/);
  assert.deepEqual(
    problemsOf(() => loadConfig({ host: '127.0.0.9' }, AROUND)),
    [],
  );
});

test('loadConfig() wants certificate and key together, and both there', () => {
  const problems = problemsOf(() => loadConfig({ tlsCert: '/nowhere/cert.pem' }, AROUND));
  assert.match(problems.join(), /go together/);
  assert.match(problems.join(), /does not exist/);
});

test('loadConfig() has no change-driven backups in the profile aws-exact, whatever else is set', () => {
  const { config } = loadConfig({ profile: 'aws-exact', isChangeDriven: 'true' }, AROUND);
  assert.equal(config.profile, 'aws-exact');
  assert.equal(config.schedule.isChangeDriven, false);
  assert.match(problemsOf(() => loadConfig({ profile: 'aws' }, AROUND)).join(), /own or aws-exact/);
});

test('loadConfig() takes web addresses without credentials for the heartbeat, and nothing else', () => {
  const url = 'https://monitor.example/ping/x';
  const { config } = loadConfig({ heartbeatUrl: url, heartbeatSeconds: '30' }, AROUND);
  assert.deepEqual(config.heartbeat, { url, everyMs: 30_000 });
  assert.equal(loadConfig({}, AROUND).config.heartbeat, undefined);
  for (const bad of ['file:///etc/passwd', 'ftp://x/', 'https://me:pw@monitor.example/', 'ping']) {
    assert.match(
      problemsOf(() => loadConfig({ heartbeatUrl: bad }, AROUND)).join(),
      /http or https URL/,
    );
  }
});

test('the file that README shows is one that loadConfig() takes', async () => {
  const readme = await readFile(join(import.meta.dirname, '../README.md'), 'utf8');
  const shown = /```toml\n([\s\S]*?)```/.exec(readme)?.[1];
  assert.ok(shown !== undefined);
  await withFile(shown, (path) => {
    assert.deepEqual(
      problemsOf(() => loadConfig({}, AROUND, path)),
      [],
    );
  });
});

test('loadConfig() names the line of a file that is no TOML', () =>
  withFile('[api]\nport = = 1\n', (path) => {
    assert.match(problemsOf(() => loadConfig({}, AROUND, path)).join(), /line 2 cannot be read/);
  }));

test('loadConfig() says that a named file does not exist', () => {
  assert.match(problemsOf(() => loadConfig({}, AROUND, 'missing.toml')).join(), /does not exist/);
});

test('loadConfig() gives every setting a value', () => {
  const { settings } = loadConfig({}, AROUND);
  assert.deepEqual(
    settings.map(({ name }) => name),
    settingNames(),
  );
});
