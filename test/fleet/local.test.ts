/** The fleet with its real processes: made, used, killed, locked, gone. */
import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readdir, rm, stat, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { connectOfficer } from '../../src/cli/officer.ts';
import { waitFor } from '../../src/cli/wait.ts';
import { parseCsr } from '../../src/crypto/x509.ts';
import type { FleetEvent, HsmHandle } from '../../src/fleet/fleet.ts';
import { type LocalFleet, startLocalFleet } from '../../src/fleet/local.ts';
import { operatorSocket } from '../../src/host/operator.ts';
import { isRoot } from '../../src/host/users.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { Failed, Refused } from '../../src/kernel/errors.ts';
import {
  type ClusterId,
  type HsmId,
  newBackupId,
  newClusterId,
  newHsmId,
} from '../../src/kernel/ids.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { WirePeer } from '../../src/kernel/wire.ts';
import { certify, makeRoot } from '../support/officers-rig.ts';
import { fleetProcesses, isAlive } from '../support/processes.ts';
import { tempFolder } from '../support/temp-folder.ts';

const customer = makeRoot('Customer CA');
const KIND = { type: 'hsm2m.medium', mode: 'NON_FIPS' } as const;
/** As root the host gets a user of its own; the second way is how ordinary users run it. */
const WAYS = isRoot() ? [undefined, '0:0'] : [undefined];

const start = (data: string, user?: string): Promise<LocalFleet> =>
  startLocalFleet({ data, clock: systemClock, ...(user === undefined ? {} : { user }) });

const isRefused = (code: string) => (cause: unknown) =>
  cause instanceof Refused && cause.code === code;
const isFailed = (code: string) => (cause: unknown) =>
  cause instanceof Failed && cause.code === code;

function next(fleet: LocalFleet, kind: FleetEvent['kind'], hsmId: HsmId): Promise<FleetEvent> {
  return new Promise((resolve) => {
    fleet.onEvent((event) => {
      if (event.kind === kind && event.hsmId === hsmId) resolve(event);
    });
  });
}

/** Kills a process under this HSM, until the HSM is down and up again. */
async function killed(fleet: LocalFleet, hsmId: HsmId, pid: number | undefined): Promise<void> {
  assert.ok(pid !== undefined, 'there is no such process');
  const down = next(fleet, 'down', hsmId);
  process.kill(pid, 'SIGKILL');
  await down;
  // Not before: who listens is told at once what is up already.
  await next(fleet, 'up', hsmId);
}

const pidsOf = (fleet: LocalFleet) => fleetProcesses(fleet.pid ?? 0);

/** Comes when nothing else was started for a while. */
async function spareOf(fleet: LocalFleet): Promise<number> {
  return await waitFor(systemClock, { until: 'a spare waits', atMostMs: 30_000 }, async () => {
    const { spares } = await pidsOf(fleet);
    return spares[0];
  });
}

/** HSMs are made until one is this process: the host may not have heard yet that it waits. */
async function madeOf(fleet: LocalFleet, spare: number): Promise<ReturnType<typeof ids>> {
  return await waitFor(systemClock, { until: 'it became an HSM', atMostMs: 30_000 }, async () => {
    const made = ids();
    await fleet.obtain(made.hsmId, made.clusterId);
    return (await pidsOf(fleet)).hsms.get(made.hsmId) === spare ? made : undefined;
  });
}

async function ended(pid: number): Promise<void> {
  await waitFor(systemClock, { until: `${pid} is gone`, atMostMs: 10_000 }, async () =>
    (await isAlive(pid)) ? undefined : true,
  );
}

async function initialise(hsm: HsmHandle, clusterId: ClusterId): Promise<void> {
  const { certificates } = await hsm.certify({ clusterId, ...KIND });
  const { subject, publicKey } = parseCsr(certificates?.clusterCsr ?? '');
  const clusterCertificate = certify(subject, publicKey, customer);
  await hsm.install({ clusterCertificate, trustAnchor: customer.certificate });
}

async function activate(data: string, clusterId: ClusterId): Promise<void> {
  await using officer = await connectOfficer({
    address: { socketPath: join(data, 'clusters', clusterId, 'officers.sock') },
    trust: { kind: 'customer-ca', certificate: customer.certificate },
    clusterId,
  });
  await officer.call('activate', { password: 'first-admin-password' });
}

async function addUser(data: string, clusterId: ClusterId, username: string): Promise<void> {
  await using officer = await connectOfficer({
    address: { socketPath: join(data, 'clusters', clusterId, 'officers.sock') },
    trust: { kind: 'customer-ca', certificate: customer.certificate },
    clusterId,
  });
  const password = 'first-admin-password';
  await officer.call('login', { username: 'admin', role: 'admin', password });
  await officer.call('user-create', { username, role: 'crypto-user', password });
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part);
  return Buffer.concat(parts);
}

async function* inOne(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function operator(
  data: string,
  method: string,
  params: JsonObject = {},
): Promise<JsonObject> {
  const socket = connect(operatorSocket(data));
  await once(socket, 'connect');
  const peer = new WirePeer(socket, new Map());
  try {
    return (await peer.call(method, params)).result;
  } finally {
    peer.close();
  }
}

const ids = () => ({ hsmId: newHsmId(systemRandom), clusterId: newClusterId(systemRandom) });

describe('a local fleet', () => {
  for (const user of WAYS) {
    const how = user === undefined ? 'as it starts by itself' : `as user ${user}`;

    it(`does not start without the roots it was made with, ${how}`, async () => {
      await using temp = await tempFolder();
      {
        await using fleet = await start(temp.path, user);
        await fleet.status();
      }
      const roots = join(temp.path, 'host', 'roots');
      await rm(roots, { recursive: true });
      await assert.rejects(start(temp.path, user), { code: 'START', message: /\[ROOTS_LOST\]/ });
      await assert.rejects(stat(roots), { code: 'ENOENT' });
    });

    it(`makes an HSM, seals it, and proves it in a drill, ${how}`, async () => {
      await using temp = await tempFolder();
      await using fleet = await start(temp.path, user);
      const { hsmId, clusterId } = ids();
      const hsm = await fleet.obtain(hsmId, clusterId);
      const status = await fleet.status();
      const blank = await hsm.hello();
      assert.equal(blank.lifecycle, 'BLANK');
      assert.equal(blank.codeSha256, status.codeSha256);
      assert.deepEqual(blank.domain, { vendor: 'keyark', line: 'keyark-hsm-1', owner: 'home' });
      const certificates = blank.certificates ?? {};
      for (const [hardware, root] of [
        [certificates.manufacturerHardwareCertificate, status.makerRoot],
        [certificates.ownerHardwareCertificate, status.ownerRoot],
      ]) {
        const issuer = new X509Certificate(root ?? '');
        const read = new X509Certificate(hardware ?? '');
        assert.ok(read.ca && read.checkIssued(issuer) && read.verify(issuer.publicKey));
      }
      await initialise(hsm, clusterId);
      const activated = next(fleet, 'activated', hsmId);
      await activate(temp.path, clusterId);
      await activated;
      assert.equal((await hsm.hello()).lifecycle, 'ACTIVE');

      const backupId = newBackupId(systemRandom);
      const sealing = await hsm.seal(backupId);
      const body = await collect(sealing.body);
      const { seal, sealRecord } = await sealing.outcome;
      assert.equal(seal.statement.bodyBytes, body.length);

      const request = { sealRecord, as: { clusterId, isClone: false }, ...KIND };
      {
        await using drill = await fleet.drill();
        const opened = await drill.open({ ...request, body: inOne(body) });
        assert.equal(opened.stateDigest, (await hsm.digest()).stateDigest);
        assert.equal((await drill.exercise()).passed, true);
        const claims = {
          backupId,
          storedBodySha256: '00'.repeat(32),
          storedBytes: body.length,
          region: 'us-east-1',
        };
        const proof = await drill.prove(claims, seal);
        assert.equal(proof.statement.drillSerial, drill.serial);
        assert.equal((await pidsOf(fleet)).drills.length, 1);
      }
      assert.equal((await pidsOf(fleet)).drills.length, 0, 'the drill outlived its end');

      // Another maker's HSM, and another owner's, have no key for it.
      await operator(temp.path, 'maker-create', { name: 'foreign' });
      await operator(temp.path, 'owner-create', { name: 'stranger' });
      for (const roots of [{ maker: 'foreign' }, { owner: 'stranger' }]) {
        await using foreign = await fleet.drill(roots);
        await assert.rejects(foreign.open({ ...request, body: inOne(body) }), Refused);
      }
      await assert.rejects(fleet.drill({ maker: 'nobody' }), isRefused('NotFound'));

      await assert.rejects(fleet.discard(hsmId, 'another'), isRefused('WrongState'));
      assert.equal((await fleet.list()).length, 1);
      await fleet.discard(hsmId, (await hsm.digest()).stateDigest);
      await fleet.discard(hsmId);
      assert.deepEqual(await fleet.list(), []);
      assert.deepEqual(await readdir(join(temp.path, 'host', 'hsms')), []);
      assert.deepEqual(await readdir(join(temp.path, 'clusters')), []);
      await assert.rejects(hsm.hello(), isFailed('HSM_GONE'));
    });

    it(`gets an HSM and a host back with their state after kill -9, ${how}`, async () => {
      await using temp = await tempFolder();
      await using fleet = await start(temp.path, user);
      const { hsmId, clusterId } = ids();
      const hsm = await fleet.obtain(hsmId, clusterId);
      await initialise(hsm, clusterId);
      const before = await hsm.hello();

      let { hsms, host } = await pidsOf(fleet);
      await killed(fleet, hsmId, hsms.get(hsmId));
      assert.deepEqual(await hsm.hello(), before);

      const old = (await pidsOf(fleet)).hsms.get(hsmId) ?? 0;
      await killed(fleet, hsmId, host);
      assert.deepEqual(await hsm.hello(), before);
      ({ hsms, host } = await pidsOf(fleet));
      assert.equal(await isAlive(old), false, 'the old HSM outlived its host');
      await activate(temp.path, clusterId);
      assert.equal((await hsm.hello()).lifecycle, 'ACTIVE');
    });

    it(`keeps a frozen HSM frozen whatever dies, ${how}`, async () => {
      await using temp = await tempFolder();
      await using fleet = await start(temp.path, user);
      const { hsmId, clusterId } = ids();
      const hsm = await fleet.obtain(hsmId, clusterId);
      await initialise(hsm, clusterId);
      await activate(temp.path, clusterId);
      await hsm.limit('not now');
      for (const victim of ['hsm', 'host'] as const) {
        const { hsms, host } = await pidsOf(fleet);
        await killed(fleet, hsmId, victim === 'host' ? host : hsms.get(hsmId));
        await assert.rejects(addUser(temp.path, clusterId, 'early'), isRefused('WritesFrozen'));
      }
      await hsm.limit(null);
      await addUser(temp.path, clusterId, 'late');
    });

    it(`makes an HSM of the process that waits, which is then an HSM like any other, ${how}`, async () => {
      await using temp = await tempFolder();
      await using fleet = await start(temp.path, user);
      const spare = await spareOf(fleet);
      const { hsmId, clusterId } = await madeOf(fleet, spare);
      const hsm = fleet.hsm(hsmId);
      await initialise(hsm, clusterId);
      const before = await hsm.hello();
      await killed(fleet, hsmId, spare);
      assert.deepEqual(await hsm.hello(), before);
      await fleet.discard(hsmId);
      assert.ok(!(await readdir(join(temp.path, 'host', 'hsms'))).includes(hsmId));
    });

    it(`makes HSMs as ever when the process that waits has died, ${how}`, async () => {
      await using temp = await tempFolder();
      await using fleet = await start(temp.path, user);
      const spare = await spareOf(fleet);
      process.kill(spare, 'SIGKILL');
      await ended(spare);
      const { hsmId, clusterId } = ids();
      const hsm = await fleet.obtain(hsmId, clusterId);
      assert.equal((await hsm.hello()).lifecycle, 'BLANK');
    });

    it(`leaves no spare behind when the host dies, ${how}`, async () => {
      await using temp = await tempFolder();
      await using fleet = await start(temp.path, user);
      const spare = await spareOf(fleet);
      const { host } = await pidsOf(fleet);
      process.kill(host, 'SIGKILL');
      await ended(spare);
      const other = await spareOf(fleet);
      assert.notEqual(other, spare);
      assert.equal((await readdir(join(temp.path, 'host', 'spares'))).length, 1);
    });

    it(`ends every process with itself, and finds its HSMs at the next start, ${how}`, async () => {
      await using temp = await tempFolder();
      const { hsmId, clusterId } = ids();
      const fleet = await start(temp.path, user);
      await fleet.obtain(hsmId, clusterId);
      const { guard, host, hsms } = await pidsOf(fleet);
      await fleet[Symbol.asyncDispose]();
      for (const pid of [guard, host, ...hsms.values()]) {
        if (pid !== undefined) assert.equal(await isAlive(pid), false, `${pid} lives on`);
      }
      await assert.rejects(fleet.list(), isFailed('HOST_GONE'));

      await using again = await start(temp.path, user);
      assert.equal((await again.hsm(hsmId).hello()).lifecycle, 'BLANK');
      assert.deepEqual(await again.list(), [{ hsmId, isRunning: true }]);
    });
  }

  it('fails calls under way when the host dies, and answers the next', async () => {
    await using temp = await tempFolder();
    await using fleet = await start(temp.path);
    const { hsmId, clusterId } = ids();
    const hsm = await fleet.obtain(hsmId, clusterId);
    await initialise(hsm, clusterId);
    await activate(temp.path, clusterId);
    const lost = new Promise<void>((resolve) => {
      fleet.onEvent(({ kind }) => {
        if (kind === 'down') resolve();
      });
    });
    const sealing = await hsm.seal(newBackupId(systemRandom));
    await assert.rejects(
      hsm.open({
        sealRecord: '',
        as: { clusterId, isClone: false },
        ...KIND,
        body: (async function* () {
          yield new Uint8Array(1);
          process.kill((await pidsOf(fleet)).host, 'SIGKILL');
          await new Promise(() => {});
        })(),
      }),
    );
    await Promise.allSettled([collect(sealing.body), sealing.outcome]);
    // `open` may be refused for its record before the host is dead; the next call is one after the loss.
    await lost;
    assert.equal((await hsm.hello()).lifecycle, 'ACTIVE');
  });

  it('asked again for the same HSM gives the same one, for another cluster none', async () => {
    await using temp = await tempFolder();
    await using fleet = await start(temp.path);
    const { hsmId, clusterId } = ids();
    const [first, second] = await Promise.all([
      fleet.obtain(hsmId, clusterId),
      fleet.obtain(hsmId, clusterId),
    ]);
    assert.equal((await first.hello()).serial, (await second.hello()).serial);
    await assert.rejects(fleet.obtain(hsmId, newClusterId(systemRandom)), isRefused('Conflict'));
    await assert.rejects(fleet.hsm(newHsmId(systemRandom)).hello(), isFailed('HSM_GONE'));
  });

  it('makes no call for the control plane that gives or takes an HSM’s identity', async () => {
    await using temp = await tempFolder();
    await using fleet = await start(temp.path);
    const { hsmId, clusterId } = ids();
    await fleet.obtain(hsmId, clusterId);
    for (const call of ['power-on', 'device-request', 'manufacture', 'enrol', 'zeroise', 'x']) {
      await assert.rejects(
        fleet.ask('hsm', { hsmId, call, params: {} }),
        isRefused('AccessDenied'),
      );
    }
    for (const method of ['unlock', 'seal', 'maker-create', 'owner-create', 'spawn']) {
      await assert.rejects(fleet.ask(method, {}), isRefused('InvalidRequest'));
    }
    for (const bad of ['../../../etc', '', 'hsm-x', 'cluster-keyarkaaaaaaaaaa']) {
      await assert.rejects(
        fleet.ask('obtain', { hsmId: bad, clusterId }),
        isRefused('InvalidRequest'),
      );
    }
  });

  it('opens doors by path and port that lead to the HSM, closed to others', async () => {
    await using temp = await tempFolder();
    await using fleet = await start(temp.path);
    const { hsmId, clusterId } = ids();
    const hsm = await fleet.obtain(hsmId, clusterId);
    const path = join(temp.path, 'clusters', clusterId, 'officers.sock');
    assert.equal((await stat(path)).mode & 0o777, 0o660);
    assert.equal((await stat(join(path, '..'))).mode & 0o777, 0o750);
    await initialise(hsm, clusterId);
    const { port } = await fleet.door({ clusterId, hsmId, port: 0 });
    for (const address of [{ socketPath: path }, { host: '127.0.0.1', port: port ?? 0 }]) {
      await using officer = await connectOfficer({
        address,
        trust: { kind: 'customer-ca', certificate: customer.certificate },
        clusterId,
      });
      assert.equal((await officer.call('info'))['clusterId'], clusterId);
    }
    // Nobody serves: the connection is closed at once instead of hanging.
    const { hsms } = await pidsOf(fleet);
    const socket = connect(path);
    await once(socket, 'connect');
    process.kill(hsms.get(hsmId) ?? 0, 'SIGKILL');
    socket.resume();
    await once(socket, 'close');
  });

  it('leads a cluster’s door to the HSM that it was told', async () => {
    await using temp = await tempFolder();
    await using fleet = await start(temp.path);
    const { clusterId } = ids();
    for (const hsmId of [newHsmId(systemRandom), newHsmId(systemRandom)]) {
      const hsm = await fleet.obtain(hsmId, clusterId);
      await initialise(hsm, clusterId);
      await fleet.prefer(clusterId, hsmId);
      await using officer = await connectOfficer({
        address: { socketPath: join(temp.path, 'clusters', clusterId, 'officers.sock') },
        trust: { kind: 'customer-ca', certificate: customer.certificate },
      });
      assert.equal((await officer.call('info'))['serial'], (await hsm.hello()).serial);
    }
  });

  it('tells whoever listens late which HSMs run', async () => {
    await using temp = await tempFolder();
    const { hsmId, clusterId } = ids();
    {
      await using fleet = await start(temp.path);
      await fleet.obtain(hsmId, clusterId);
    }
    await using fleet = await start(temp.path);
    await fleet.hsm(hsmId).hello();
    await next(fleet, 'up', hsmId);
  });

  it('refuses a folder whose socket paths would not fit', async () => {
    await using temp = await tempFolder();
    const data = join(temp.path, 'x'.repeat(80));
    await assert.rejects(start(data), (cause: unknown) => {
      return isFailed('START')(cause) && /allows 107/.test(String(cause));
    });
  });
});

describe('locked roots', () => {
  it('refuse HSMs until an operator unlocks them, and then everything goes on', async () => {
    await using temp = await tempFolder();
    const { hsmId, clusterId } = ids();
    {
      await using fleet = await start(temp.path);
      assert.equal((await fleet.status()).isEvaluation, true);
      await fleet.obtain(hsmId, clusterId);
      await operator(temp.path, 'seal', { passphrase: 'correct horse battery' });
      assert.equal((await fleet.status()).isEvaluation, false);
    }
    await using fleet = await start(temp.path);
    const status = await fleet.status();
    assert.equal(status.areRootsLocked, true);
    assert.match(status.makerRoot, /BEGIN CERTIFICATE/);
    await assert.rejects(fleet.obtain(hsmId, clusterId), isRefused('RootsLocked'));
    await assert.rejects(fleet.drill(), isRefused('RootsLocked'));
    await assert.rejects(fleet.hsm(hsmId).hello(), isRefused('RootsLocked'));
    await assert.rejects(
      operator(temp.path, 'unlock', { passphrase: 'wrong horse battery' }),
      isRefused('NotAuthenticated'),
    );
    assert.deepEqual(await fleet.list(), [{ hsmId, isRunning: false }]);
    const up = next(fleet, 'up', hsmId);
    await operator(temp.path, 'unlock', { passphrase: 'correct horse battery' });
    await up;
    assert.equal((await fleet.hsm(hsmId).hello()).lifecycle, 'BLANK');
    await using drill = await fleet.drill();
    assert.match(drill.serial, /^KA/);
  });

  it('open by themselves with a systemd credential', async () => {
    await using temp = await tempFolder();
    await using credentials = await tempFolder();
    await writeFile(join(credentials.path, 'keyark-roots'), 'correct horse battery\n');
    const before = process.env['CREDENTIALS_DIRECTORY'];
    process.env['CREDENTIALS_DIRECTORY'] = credentials.path;
    try {
      for (const _ of ['the first start', 'the next']) {
        await using fleet = await start(temp.path);
        const { areRootsLocked, isEvaluation } = await fleet.status();
        assert.deepEqual(
          { areRootsLocked, isEvaluation },
          { areRootsLocked: false, isEvaluation: false },
        );
      }
    } finally {
      if (before === undefined) delete process.env['CREDENTIALS_DIRECTORY'];
      else process.env['CREDENTIALS_DIRECTORY'] = before;
    }
    await using fleet = await start(temp.path);
    assert.equal((await fleet.status()).areRootsLocked, true);
    await operator(temp.path, 'unlock', { passphrase: 'correct horse battery' });
    assert.equal((await fleet.status()).areRootsLocked, false);
  });
});
