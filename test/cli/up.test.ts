/** `keyark up` as a person meets it: real processes on a throw-away folder, from nothing to a second start. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmod, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import test from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { signRequest } from '../../src/aws/sign.ts';
import { EXIT } from '../../src/cli/exit-codes.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { post } from '../api/stand.ts';
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
  assert.match(
    taken,
    /is proven \(profile own\):\n {2}opened on HSM KA[0-9A-F]+, .*3 users, 2 keys/,
  );
  const id = /backup-keyark[a-z2-7]+/.exec(taken)?.[0] ?? '';
  assert.match(await on('backup', 'list'), new RegExp(`${id} .*READY`));
  const proof = JSON.parse(await on('backup', 'proof', id, '--json')) as { BackupId: string };
  assert.equal(proof.BackupId, id);
  assert.match(await on('hsm-info'), /generation +\d+/);
  assert.match(await on('host', 'status'), /evaluation/);
  assert.match(await on('host', 'maker', 'create', 'other-maker'), /BEGIN CERTIFICATE/);
  assert.match(await on('status'), /cluster-keyark\S+ +ACTIVE +1 +2 /);
  assert.match(await on('env'), /export AWS_ENDPOINT_URL='http:\/\/127\.0\.0\.1:\d+'/);
  assert.match(await on('cluster', 'list'), /home +ACTIVE/);

  await on('key', 'generate', 'words', '--type', 'rsa-2048');
  assert.match(await on('key', 'sign', 'words', message), /^[A-Za-z0-9+/]{342}==\n$/);
  assert.match(await on('key', 'delete', 'words', '--yes'), /words is gone, with its public half/);
  assert.doesNotMatch(await on('key', 'list'), /words/);
  await on('policy', 'set', 'lockout-limit', '7');
  assert.match(await on('policy', 'list'), /lockout-limit +7 +1 to 20/);

  const ownsKeys = await keyark(['user', 'delete', 'signer', '--data', data]);
  assert.equal(ownsKeys.code, EXIT.REFUSED, ownsKeys.stderr);
  assert.match(
    await on('status'),
    /^GOOD: newest proven backup .*; \d+ keys? in no proven backup +\(profile own\)/,
  );
  assert.match(await on('status', '--check'), /^good: newest .* {3}\(profile own\)\n$/);
  assert.equal(JSON.parse(await on('status', '--check', '--json')).Profile, 'own');
  assert.match(
    await on('forecast'),
    /cluster-keyark\S+\n[\s\S]* scheduled backup .*24 hours[\s\S]* drill +backup-/,
  );
  await on('key', 'generate', 'late', '--type', 'ec-p256');
  const waited = JSON.parse(await on('backup', 'wait', '--contains-change', '--json')) as {
    Generation: number;
    ProvenGeneration: number;
    UnprovenKeys: number;
  };
  assert.deepEqual([waited.ProvenGeneration, waited.UnprovenKeys], [waited.Generation, 0]);
  assert.match(await on('backup', 'wait', '--backup-id', id, '--state', 'READY'), /is READY/);
  const inVain = await keyark([
    ...['backup', 'wait', '--backup-id', id, '--state', 'PENDING_DELETION'],
    ...['--timeout', '1s', '--data', data],
  ]);
  assert.equal(inVain.code, EXIT.TIMED_OUT);
  const both = await keyark(['backup', 'wait', '--data', data]);
  assert.equal(both.code, EXIT.USAGE);
  const { AWS_ENDPOINT_URL: url } = await readEnv(data);
  const metrics = await fetch(`${url}/metrics`);
  assert.match(await metrics.text(), /^keyark_newest_proven_backup_age_seconds [\d.]+$/m);
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

test('keyark status --check takes silence for unknown, never for good', async () => {
  await using folder = await temporaryFolder();
  const nothing = await keyark(['status', '--check', '--data', join(folder.path, 'd')]);
  assert.equal(nothing.code, 3);
  assert.match(nothing.stderr, /^unknown: /);
});

test('in the profile aws-exact everything names it, and a backup on request is refused', async () => {
  await using folder = await temporaryFolder();
  await chmod(folder.path, 0o755);
  const data = join(folder.path, 'd');
  await using up = start(['up', '--data', data, '--port', '0', '--profile', 'aws-exact']);
  await up.says(LAST_LINE);
  assert.match(up.stdout(), /, profile aws-exact\n/);
  const taken = await keyark(['backup', 'take', '--data', data]);
  assert.equal(taken.code, EXIT.REFUSED);
  assert.match(taken.stderr, /\[PROFILE\] Backups on request: not in the profile aws-exact/);
  const id = /backup +(backup-keyark[a-z2-7]+)/.exec(up.stdout())?.[1] ?? '';
  const proof = JSON.parse(
    (await keyark(['backup', 'proof', id, '--json', '--data', data])).stdout,
  ) as {
    Profile: string;
    Proof: { statement: { claims: { profile: string } } };
  };
  assert.equal(proof.Profile, 'aws-exact');
  assert.equal(proof.Proof.statement.claims.profile, 'aws-exact');
  assert.match((await keyark(['forecast', '--data', data])).stdout, /^Profile aws-exact\./);

  // As AWS, which has no client token: a create that an SDK sends twice runs twice.
  const invocation = { 'amz-sdk-invocation-id': '2f1b7c0e-9d4e-4f3a-8f7e-6a5b4c3d2e1f' };
  const wanted = { HsmType: 'hsm2m.medium', SubnetIds: ['subnet-00000001'], Mode: 'NON_FIPS' };
  const made = [
    await signedCall(await readEnv(data), 'CreateCluster', wanted, invocation),
    await signedCall(await readEnv(data), 'CreateCluster', wanted, invocation),
  ].map(({ Cluster: { ClusterId: clusterId } }) => clusterId);
  assert.equal(new Set(made).size, 2);
});

async function signedCall(
  env: Readonly<Record<string, string>>,
  operation: string,
  input: JsonObject,
  headers: Readonly<Record<string, string>>,
): Promise<{ Cluster: { ClusterId: string } }> {
  const endpoint = new URL(env['AWS_ENDPOINT_URL'] ?? '');
  const body = JSON.stringify(input);
  const signed = await signRequest({
    ...{ endpoint, body, target: `BaldrApiService.${operation}`, clock: systemClock },
    region: env['AWS_REGION'] ?? 'us-east-1',
    key: {
      accessKeyId: env['AWS_ACCESS_KEY_ID'] ?? '',
      secretAccessKey: env['AWS_SECRET_ACCESS_KEY'] ?? '',
    },
  });
  const answer = await post(endpoint, { ...signed, ...headers }, body);
  assert.equal(answer.status, 200, answer.text);
  return JSON.parse(answer.text);
}

/** A certificate for 127.0.0.1: its own issuer, or issued by a CA that is made beside it. */
function certificates(folder: string, isSelfSigned: boolean) {
  const path = (name: string): string => join(folder, `${name}.pem`);
  const openssl = (text: string) => execFileSync('openssl', text.split(/\s+/), { stdio: 'ignore' });
  const make = (name: string, rest: string) =>
    openssl(`req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=${name}
      -keyout ${path(`${name}-key`)} -out ${path(name)} ${rest}`);
  const forLoopback = '-addext subjectAltName=IP:127.0.0.1';
  if (isSelfSigned) make('here', forLoopback);
  else {
    make('ca', '-addext basicConstraints=critical,CA:TRUE');
    make('here', `${forLoopback} -CA ${path('ca')} -CAkey ${path('ca-key')}`);
  }
  return { cert: path('here'), key: path('here-key'), ca: path('ca') };
}

test('commands and clients reach a service over HTTPS that vouches for itself', async () => {
  await using folder = await temporaryFolder();
  await chmod(folder.path, 0o755);
  const { cert, key } = certificates(folder.path, true);
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
  const env = await readFile(join(data, 'env'), 'utf8');
  assert.match(env, new RegExp(`^AWS_CA_BUNDLE=${cert}$`, 'm'));
  const trusted = await keyark(['status', '--data', data], { env: { AWS_CA_BUNDLE: key } });
  assert.equal(trusted.code, EXIT.OK, trusted.stderr);
});

test('commands reach a service whose certificate a CA issued by that CA only', async () => {
  await using folder = await temporaryFolder();
  await chmod(folder.path, 0o755);
  const { cert, key, ca } = certificates(folder.path, false);
  const data = join(folder.path, 'd');
  await using serve = start([
    'serve',
    '--data',
    data,
    '--port',
    '0',
    '--tls-cert',
    cert,
    '--tls-key',
    key,
  ]);
  await serve.logs('serviceStarted');
  const untrusted = await keyark(['status', '--data', data]);
  assert.equal(untrusted.code, EXIT.REFUSED);
  assert.match(untrusted.stderr, /\[UNTRUSTED\]/);
  const trusted = await keyark(['status', '--data', data], { env: { AWS_CA_BUNDLE: ca } });
  assert.equal(trusted.code, EXIT.OK, trusted.stderr);
});

test('a certificate and a key that are swapped are told in a sentence', async () => {
  await using folder = await temporaryFolder();
  const { cert, key } = certificates(folder.path, true);
  const args = ['--data', join(folder.path, 'd'), '--tls-cert', key, '--tls-key', cert];
  const { code, stderr } = await keyark(['serve', ...args]);
  assert.equal(code, EXIT.CONFIG);
  assert.match(stderr, /they are swapped/);
  assert.doesNotMatch(stderr, / at .*\.ts:\d+/);
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
