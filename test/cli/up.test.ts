/** `keyark up` as a person meets it: real processes on a throw-away folder, from nothing to a second start. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { EXIT } from '../../src/cli/exit-codes.ts';
import { keyark, type Running, start } from '../support/command.ts';
import { isAlive } from '../support/processes.ts';
import { readEnv, temporaryFolder } from '../support/service.ts';

const LAST_LINE = 'Stop with Ctrl-C.';

async function upOn(data: string): Promise<Running> {
  const up = start(['up', '--data', data, '--port', '0']);
  await up.says(LAST_LINE);
  return up;
}

/** Without what differs from start to start: the port. */
const withoutPort = (screen: string): string => screen.replaceAll(/127\.0\.0\.1:\d+/g, 'HOST');

test('keyark up makes a cluster with a proven backup, and a second start prints the same', async () => {
  await using folder = await temporaryFolder();
  await chmod(folder.path, 0o755);
  const data = join(folder.path, 'd');
  const on = (...args: string[]) => keyark([...args, '--data', data]);

  let screen: string;
  let pin: string | undefined;
  {
    await using up = await upOn(data);
    screen = up.stdout();
    assert.match(screen, /home +cluster-keyark[a-z2-7]{10}/);
    assert.match(
      screen,
      /backup +backup-keyark[a-z2-7]{10} +proven .*restored it \(2 users, 0 keys\)/,
    );
    for (const loss of ['HSM', 'disk', 'machine', 'site']) {
      assert.match(screen, new RegExp(`${loss}.* (yes|NO) `));
    }
    assert.match(screen, /evaluation roots/);

    const env = await readEnv(data);
    pin = env['KEYARK_PIN'];
    assert.match(pin ?? '', /^app:[a-z0-9]{7,32}$/);
    assert.match(env['KEYARK_CLUSTER_ID'] ?? '', /^cluster-keyark/);
    for (const file of ['env', 'customer/home/ca.key', 'customer/home/admin-password']) {
      assert.equal((await stat(join(data, file))).mode & 0o777, 0o600, file);
    }

    const second = await on('up', '--port', '0');
    assert.equal(second.code, EXIT.IN_USE);
    assert.match(second.stderr, /\[DATA_IN_USE\]/);

    const users = JSON.parse((await on('user', 'list', '--json')).stdout) as {
      users: { username: string }[];
    };
    assert.deepEqual(users.users.map(({ username }) => username).sort(), ['admin', 'app']);
    assert.equal((await up.end()).code, EXIT.OK);
  }
  {
    await using up = await upOn(data);
    assert.equal(withoutPort(up.stdout()), withoutPort(screen));
    assert.equal((await readEnv(data))['KEYARK_PIN'], pin);
    assert.equal((await on('stop')).code, EXIT.OK);
    assert.equal((await up.ended).code, EXIT.OK);
  }
});

test('commands work on a running Keyark: keys, users, backups, info, host, environment', async () => {
  await using folder = await temporaryFolder();
  await chmod(folder.path, 0o755);
  const data = join(folder.path, 'd');
  await using _up = await upOn(data);
  const on = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await keyark([...args, '--data', data]);
    assert.equal(code, EXIT.OK, `${args.join(' ')}: ${stderr}`);
    return stdout;
  };
  const message = join(folder.path, 'message');
  const password = join(folder.path, 'password');
  await writeFile(message, 'hello');
  await writeFile(password, 'correct-horse-7\n');

  await on('key', 'generate', 'tls', '--type', 'ec-p256');
  assert.match(await on('key', 'list'), /tls +private-key +ec +0x/);
  assert.match(await on('key', 'sign', 'tls', message), /^[A-Za-z0-9+/]{60,}=*\n$/);
  await on('user', 'create', 'signer', '--new-password-file', password);
  await on('key', 'generate', 'own', '--as', 'signer', '--password-file', password);
  assert.doesNotMatch(await on('key', 'list'), /\bown\b.*private-key/);

  const taken = await on('backup', 'take');
  assert.match(taken, /is proven:\n {2}opened on HSM KA[0-9A-F]+, .*3 users, 4 keys/);
  const id = /backup-keyark[a-z2-7]+/.exec(taken)?.[0] ?? '';
  assert.match(await on('backup', 'list'), new RegExp(`${id} .*READY`));
  const proof = JSON.parse(await on('backup', 'proof', id, '--json')) as { BackupId: string };
  assert.equal(proof.BackupId, id);
  assert.match(await on('hsm-info'), /generation +\d+/);
  assert.match(await on('host', 'status'), /evaluation/);
  assert.match(await on('host', 'maker', 'create', 'other-maker'), /BEGIN CERTIFICATE/);
  assert.match(await on('status'), /cluster-keyark\S+ +ACTIVE +1 +4 /);
  assert.match(await on('env'), /export AWS_ENDPOINT_URL='http:\/\/127\.0\.0\.1:\d+'/);
  assert.match(await on('cluster', 'list'), /home +ACTIVE/);

  const hsm = JSON.parse(await on('cluster', 'list', '--json')) as {
    Clusters: { Hsms: { HsmId: string }[] }[];
  };
  const giveUp = ['cluster', 'give-up', hsm.Clusters[0]?.Hsms[0]?.HsmId ?? '', '--data', data];
  const unasked = await keyark(giveUp);
  assert.equal(unasked.code, EXIT.USAGE);
  assert.match(unasked.stderr, /lost for good[\s\S]*--yes/);
  const serving = await keyark([...giveUp, '--yes']);
  assert.equal(serving.code, EXIT.REFUSED);
  assert.match(serving.stderr, /only a DEGRADED HSM can be given up/);

  const unknown = await keyark(['backup', 'proof', 'backup-keyarkaaaaaaaaaa', '--data', data]);
  assert.equal(unknown.code, EXIT.REFUSED);
  const wrong = await keyark([
    'key',
    'list',
    '--as',
    'app',
    '--password-file',
    message,
    '--data',
    data,
  ]);
  assert.equal(wrong.code, EXIT.REFUSED);
  assert.doesNotMatch(wrong.stderr, /hello| at .*\.ts:\d+/);
});

test('commands reach a service over HTTPS by its CA only', async () => {
  await using folder = await temporaryFolder();
  await chmod(folder.path, 0o755);
  const [cert, key] = [join(folder.path, 'cert.pem'), join(folder.path, 'key.pem')];
  execFileSync(
    'openssl',
    `req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=here
     -addext subjectAltName=IP:127.0.0.1 -keyout ${key} -out ${cert}`.split(/\s+/),
    { stdio: 'ignore' },
  );
  const data = join(folder.path, 'd');
  await using up = start([
    'up',
    '--data',
    data,
    '--port',
    '0',
    '--tls-cert',
    cert,
    '--tls-key',
    key,
  ]);
  await up.says(LAST_LINE);
  assert.match(up.stdout(), /https:\/\/127\.0\.0\.1/);
  const untrusted = await keyark(['status', '--data', data]);
  assert.equal(untrusted.code, EXIT.REFUSED);
  assert.match(untrusted.stderr, /\[UNTRUSTED\]/);
  const trusted = await keyark(['status', '--data', data], { env: { AWS_CA_BUNDLE: cert } });
  assert.equal(trusted.code, EXIT.OK, trusted.stderr);
});

test('keyark up ends the service also when it is killed itself', async () => {
  await using folder = await temporaryFolder();
  await chmod(folder.path, 0o755);
  const data = join(folder.path, 'd');
  const up = await upOn(data);
  const service = Number(/process (\d+)/.exec(await readFile(join(data, 'user'), 'utf8'))?.[1]);
  await up.end('SIGKILL');
  while (await isAlive(service)) await setImmediate();
  const again = await upOn(data);
  assert.equal((await again.end('SIGINT')).code, EXIT.OK);
});
