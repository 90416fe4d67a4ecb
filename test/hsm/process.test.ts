/** The real process behind its wall, as the host starts it: killed at any moment, confined, gone with its host. */
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect as connectTcp, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { connect } from 'node:tls';
import { bundle, type HsmCode, install } from '../../src/host/code.ts';
import { type HsmProcess, startHsm } from '../../src/host/spawn.ts';
import { DISK_FILES } from '../../src/hsm/disk.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { randomBelow, systemRandom } from '../../src/kernel/random.ts';
import { Secret } from '../../src/kernel/secret.ts';
import { WirePeer } from '../../src/kernel/wire.ts';
import {
  ADMIN_PASSWORD,
  CLUSTER,
  Factory,
  HSM2M_FIPS,
  Unit,
  USER_PASSWORD,
} from './support/factory.ts';

const KILLS = 20;
const CHANGES_UNDER_WAY = 8;
const ALICE = { username: 'alice', role: 'crypto-user', password: USER_PASSWORD };

let home: string;
let code: HsmCode;
const running = new Set<HsmProcess>();
const servers: Server[] = [];

before(async () => {
  home = await mkdtemp(join(tmpdir(), 'keyark-hsm-'));
  const text = await bundle(join(import.meta.dirname, '../..'), 'hsm');
  const { folder, file, sha256 } = await install(join(home, 'code'), 'hsm.mjs', text);
  code = { folder, bundle: file, sha256, node: process.execPath };
});

after(async () => {
  for (const hsm of running) await hsm.kill();
  for (const server of servers) server.close();
  await rm(home, { recursive: true, force: true });
});

async function makeDisk(name: string): Promise<string> {
  const folder = join(home, name);
  await mkdir(folder, { mode: 0o700 });
  for (const file of DISK_FILES) await writeFile(join(folder, file), '', { mode: 0o600 });
  return folder;
}

async function start(folder: string | null, storageKey: Uint8Array): Promise<HsmProcess> {
  const hsm = await startHsm({
    name: 'an HSM under test',
    code,
    disk: folder === null ? null : { folder, lock: `${folder}.lock` },
    storageKey: folder === null ? null : new Secret(storageKey.slice()),
    clock: systemClock,
    onEvent: () => {},
  });
  running.add(hsm);
  return hsm;
}

/** The factory's calls over a real process: the same wire, another end. */
const asUnit = (hsm: HsmProcess): Unit =>
  // Only `call` is used of it, and that asks nothing but the peer.
  Object.create(Unit.prototype, { peer: { value: hsm.line.peer } }) as Unit;

async function doorOf(hsm: HsmProcess): Promise<number> {
  const server = createServer({ pauseOnConnect: true }, (socket) => hsm.adopt(socket, 'officers'));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

function officerAt(port: number, ca: string): WirePeer {
  const socket = connect({ port, host: '127.0.0.1', ca, checkServerIdentity: () => undefined });
  socket.on('error', () => {});
  return new WirePeer(socket, new Map());
}

async function labels(peer: WirePeer): Promise<Set<string>> {
  const found = new Set<string>();
  for (let after: string | undefined; ; ) {
    const { result } = await peer.call('key-list', after === undefined ? {} : { after });
    for (const key of result['keys'] as { label: string }[]) found.add(key.label);
    if (typeof result['next'] !== 'string') return found;
    after = result['next'];
  }
}

test(`${KILLS} times kill -9 in the middle of changes: every acknowledged one is there afterwards`, async () => {
  const factory = new Factory();
  const folder = await makeDisk('killed');
  let hsm = await start(folder, factory.storageKey);
  const unit = asUnit(hsm);
  await factory.manufacture(unit);
  await unit.call('enrol', await factory.enrolParams(unit));
  await unit.call('certify', { clusterId: CLUSTER, ...HSM2M_FIPS });
  await unit.call('install', await factory.installParams(unit));
  const ca = factory.customer.certificate;
  const first = officerAt(await doorOf(hsm), ca);
  await first.call('activate', { password: ADMIN_PASSWORD });
  await first.call('login', { username: 'admin', role: 'admin', password: ADMIN_PASSWORD });
  await first.call('user-create', ALICE);
  first.close();

  const acknowledged = new Set<string>();
  let asked = 0;
  for (let kill = 0; kill < KILLS; kill += 1) {
    const peer = officerAt(await doorOf(hsm), ca);
    await peer.call('login', ALICE);
    const there = await labels(peer);
    assert.deepEqual([...acknowledged.difference(there)], [], `lost after ${kill} kills`);
    const enough = acknowledged.size + 1 + randomBelow(systemRandom, 40);
    const change = async () => {
      while (!peer.isClosed) {
        asked += 1;
        const label = `key ${asked}`;
        await peer.call('key-generate-symmetric', { type: 'aes', bytes: 32, label });
        acknowledged.add(label);
        if (acknowledged.size === enough) process.kill(hsm.pid, 'SIGKILL');
      }
    };
    const ends = Array.from({ length: CHANGES_UNDER_WAY }, change);
    await Promise.allSettled(ends);
    await hsm.kill();
    running.delete(hsm);
    hsm = await start(folder, factory.storageKey);
    assert.equal(hsm.hello.lifecycle, 'ACTIVE', hsm.hello.errorReason ?? '');
  }
  assert.ok(acknowledged.size >= KILLS);
  await hsm.kill();
});

test('identity survives kill -9 right after each of its steps', async () => {
  const factory = new Factory();
  const folder = await makeDisk('identity');
  let hsm = await start(folder, factory.storageKey);
  const steps = [
    async (unit: Unit) => await factory.manufacture(unit),
    async (unit: Unit) => await unit.call('enrol', await factory.enrolParams(unit)),
    async (unit: Unit) => await unit.call('certify', { clusterId: CLUSTER, ...HSM2M_FIPS }),
    async (unit: Unit) => await unit.call('install', await factory.installParams(unit)),
  ];
  for (const step of steps) {
    await step(asUnit(hsm));
    const was = await asUnit(hsm).call('hello', {});
    await hsm.kill();
    running.delete(hsm);
    hsm = await start(folder, factory.storageKey);
    assert.deepEqual(hsm.hello, was);
  }
  await hsm.kill();
});

test('a drill runs without any file, and refuses sockets', async () => {
  const drill = await start(null, new Uint8Array(32));
  assert.equal(drill.hello.isDrill, true);
  assert.equal(drill.hello.codeSha256, code.sha256);
  const port = await doorOf(drill);
  const socket = connectTcp(port, '127.0.0.1');
  await new Promise<void>((resolve) => socket.once('close', () => resolve()).resume());
  await drill.kill();
});

test('an HSM ends at once when its host is gone', async () => {
  const factory = new Factory();
  const hsm = await start(await makeDisk('orphan'), factory.storageKey);
  hsm.line.peer.close();
  assert.match(await hsm.exited, /./);
  running.delete(hsm);
});

test('an HSM without its files does not start', async () => {
  const folder = join(home, 'nothing');
  await mkdir(folder);
  await assert.rejects(start(folder, new Uint8Array(32)), { code: 'START' });
});

test('one flipped bit in the newest snapshot: the process starts, says ERROR, and only wipes', async () => {
  const factory = new Factory();
  const folder = await makeDisk('rotten');
  const hsm = await start(folder, factory.storageKey);
  await factory.manufacture(asUnit(hsm));
  await hsm.kill();
  running.delete(hsm);
  const file = await open(join(folder, 'slot-0'), 'r+');
  const byte = Buffer.alloc(1);
  await file.read(byte, 0, 1, 60);
  await file.write(Uint8Array.of((byte[0] ?? 0) ^ 1), 0, 1, 60);
  await file.close();
  const again = await start(folder, factory.storageKey);
  assert.equal(again.hello.lifecycle, 'ERROR');
  await assert.rejects(asUnit(again).call('digest', {}), { code: 'WrongState' });
  assert.equal((await asUnit(again).call('zeroise', { isFinal: true })).lifecycle, 'ERROR');
  await again.kill();
  running.delete(again);
  const fresh = await start(folder, factory.storageKey);
  assert.equal(fresh.hello.lifecycle, 'FACTORY');
});
