import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect as connectTls, type SecureVersion } from 'node:tls';
import { connectOfficer } from '../../src/cli/officer.ts';
import { type Clock, systemClock } from '../../src/kernel/clock.ts';
import { makeRoot, OfficersRig } from '../support/officers-rig.ts';

function openssl(args: readonly string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = execFile('openssl', args, { timeout: 20_000 }, (cause, stdout, stderr) =>
      resolve({ code: cause === null ? 0 : 1, output: `${stdout}\n${stderr}` }),
    );
    child.stdin?.end();
  });
}

async function sClient(port: number, ca: string, flags: readonly string[]) {
  const folder = await mkdtemp(join(tmpdir(), 'keyark-door-'));
  try {
    const file = join(folder, 'ca.pem');
    await writeFile(file, ca);
    return await openssl(['s_client', '-connect', `127.0.0.1:${port}`, '-CAfile', file, ...flags]);
  } finally {
    await rm(folder, { recursive: true });
  }
}

test('openssl verifies the cluster certificate under the customer’s CA, over TLS 1.3 only', async () => {
  await using rig = await OfficersRig.make();
  const good = await sClient(rig.port, rig.customer.certificate, [
    '-tls1_3',
    '-verify_return_error',
  ]);
  assert.equal(good.code, 0, good.output);
  assert.match(good.output, /Verify return code: 0 \(ok\)/);
  assert.match(good.output, /TLSv1\.3/);
  const old = await sClient(rig.port, rig.customer.certificate, ['-tls1_2']);
  assert.equal(old.code, 1);
  const foreign = await sClient(rig.port, rig.maker.certificate, [
    '-tls1_3',
    '-verify_return_error',
  ]);
  assert.equal(foreign.code, 1);
});

test('openssl verifies an HSM before initialisation under the maker’s root', async () => {
  await using rig = await OfficersRig.make({ isInitialized: false });
  const good = await sClient(rig.port, rig.maker.certificate, ['-tls1_3', '-verify_return_error']);
  assert.equal(good.code, 0, good.output);
  assert.match(good.output, /Verify return code: 0 \(ok\)/);
});

test('the client refuses any chain but the one it was told', async () => {
  await using rig = await OfficersRig.make();
  const elsewhere = makeRoot('customer CA');
  await assert.rejects(rig.connect({ kind: 'customer-ca', certificate: elsewhere.certificate }), {
    code: 'NotAuthenticated',
  });
  await assert.rejects(rig.connect({ kind: 'maker-root', certificate: rig.maker.certificate }), {
    code: 'NotAuthenticated',
  });
  // A customer's CA is no maker's root, although its chain verifies.
  await assert.rejects(rig.connect({ kind: 'maker-root', certificate: rig.customer.certificate }), {
    code: 'NotAuthenticated',
  });
});

test('before initialisation the client goes by the maker’s root alone', async () => {
  await using rig = await OfficersRig.make({ isInitialized: false });
  const officer = await rig.connect({ kind: 'maker-root', certificate: rig.maker.certificate });
  assert.equal((await officer.call('info'))['lifecycle'], 'UNINITIALIZED');
  await assert.rejects(rig.connect({ kind: 'customer-ca', certificate: rig.maker.certificate }), {
    code: 'NotAuthenticated',
  });
});

test('the client refuses another cluster under the same CA', async () => {
  await using rig = await OfficersRig.make();
  const address = { host: '127.0.0.1', port: rig.port };
  const other = { address, trust: rig.customerTrust, clusterId: 'cluster-keyarkzzzzzzzzzz' };
  await assert.rejects(connectOfficer(other), { code: 'NotAuthenticated' });
  const right = await connectOfficer({ ...other, clusterId: rig.partition.clusterId });
  await right.close();
});

test('a client of an older TLS is turned away', async () => {
  await using rig = await OfficersRig.make();
  const maxVersion: SecureVersion = 'TLSv1.2';
  const socket = connectTls({
    host: '127.0.0.1',
    port: rig.port,
    maxVersion,
    rejectUnauthorized: false,
  });
  const outcome = await new Promise((resolve) => {
    socket.once('error', () => resolve('refused'));
    socket.once('secureConnect', () => resolve('accepted'));
  });
  socket.destroy();
  assert.equal(outcome, 'refused');
});

test('whoever does not finish the handshake in time is cut off', async () => {
  const deadline = Promise.withResolvers<void>();
  const clock: Clock = {
    now: systemClock.now,
    sleep: async (_ms, signal) => {
      await Promise.race([
        deadline.promise,
        new Promise((_, reject) => signal?.addEventListener('abort', () => reject(signal.reason))),
      ]);
    },
  };
  await using rig = await OfficersRig.make({ clock });
  const officer = await rig.connect();
  const silent = connect(rig.port, '127.0.0.1');
  const closed = new Promise((resolve) => silent.once('close', resolve));
  await new Promise((resolve) => silent.once('connect', resolve));
  while (rig.door.connectionCount < 2) await officer.call('info');
  deadline.resolve();
  await closed;
  await officer.call('info');
  while (rig.door.connectionCount > 1) await officer.call('info');
});

test('noise instead of TLS ends its own connection only', async () => {
  await using rig = await OfficersRig.make();
  const officer = await rig.connect();
  const noisy = connect(rig.port, '127.0.0.1', () => noisy.write('GET / HTTP/1.1\r\n\r\n'));
  noisy.on('error', () => {});
  await new Promise((resolve) => noisy.once('close', resolve));
  await officer.call('info');
  assert.equal(rig.officers.sessionCount, 1);
});

test('a connection that goes takes its session along', async () => {
  await using rig = await OfficersRig.make();
  const admin = await rig.activated();
  const other = await rig.connect();
  await other.close();
  while (rig.officers.sessionCount > 1) await admin.call('info');
  assert.equal(rig.officers.sessionCount, 1);
});
