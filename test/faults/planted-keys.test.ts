/**
 * Known bytes are planted inside an HSM, and then looked for everywhere else: in every file that is not the
 * host's or the customer's, in everything the service says, in what crosses between its processes, and in
 * their memory; before and after the HSM is replaced by one made of a backup.
 *
 * Every kind of place is searched once more where the same bytes were put on purpose.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { listOf, objectOf, textOf } from '../../src/cli/json.ts';
import { waitFor } from '../../src/cli/wait.ts';
import { Roots } from '../../src/hsm/roots.ts';
import { systemClock as clock } from '../../src/kernel/clock.ts';
import { Secret } from '../../src/kernel/secret.ts';
import { Holder } from '../support/holder.ts';
import {
  formsOf,
  formsOfPem,
  type Planted,
  searchBytes,
  searchFile,
  searchFolder,
} from '../support/planted.ts';
import { Plants } from '../support/plants.ts';
import {
  cannotReadMemory,
  coresIn,
  searchMemory,
  WITH_CORE_DUMPS,
} from '../support/process-memory.ts';
import { fleetProcesses, isAlive } from '../support/processes.ts';
import { type ReadyCluster, readyCluster, replaceHsms } from '../support/ready-cluster.ts';
import { type RunningService, startService, temporaryFolder } from '../support/service.ts';
import { cannotRecord, recordTraffic, type Stream } from '../support/traffic.ts';

const isRoot = process.getuid?.() === 0;
/** As root both ways of running: with users of their own, and in a folder that only root may enter. */
const WAYS = isRoot ? (['separate users', 'one user'] as const) : (['one user'] as const);
const WAIT_MS = 60_000;
/** All that is neither the roots' nor the customer's. */
const RESTING_PLACES = [
  'vault',
  'catalog',
  'kms',
  'access',
  'audit',
  join('host', 'hsms'),
  'clusters',
];
/** A call that the control plane makes of the host, and nobody else of anybody. */
const ONLY_TO_THE_HOST = 'drill-end';
const NO_CORES =
  'the system writes no core files here; what they would hold is the memory that was searched above';

/** As the host keeps it while no passphrase was set. */
async function rootFile<Content>(data: string, of: string): Promise<Content> {
  const text = await readFile(join(data, 'host', 'roots', of, 'keys.json'), 'utf8');
  // Written by the host in this shape.
  return JSON.parse(text) as Content;
}

interface Authority {
  readonly caKey: string;
  readonly backupKeys: readonly { readonly key: string }[];
}

const bytesOf = (text = ''): Uint8Array => new Uint8Array(Buffer.from(text, 'base64'));

function pbkOf(mkbk: Uint8Array, akbk: Uint8Array): Uint8Array {
  using roots = new Roots();
  const [vendor, line, owner, epoch] = ['keyark', 'keyark-hsm-1', 'home', 1] as const;
  roots.addMkbk({ vendor, line, epoch, key: new Secret(mkbk.slice()) });
  roots.addAkbk({ owner, epoch, key: new Secret(akbk.slice()) });
  return new Uint8Array(roots.pbk({ mkbk: epoch, akbk: epoch }).export());
}

async function rootForms(data: string): Promise<readonly Planted[]> {
  const maker = await rootFile<Authority>(data, join('makers', 'keyark'));
  const owner = await rootFile<Authority>(data, join('owners', 'home'));
  const storage = await rootFile<{ key: string }>(data, 'storage');
  const [mkbk, akbk] = [maker, owner].map(({ backupKeys }) => bytesOf(backupKeys[0]?.key));
  assert.ok(mkbk?.length === 32 && akbk?.length === 32);
  return [
    ...formsOf('MKBK', mkbk),
    ...formsOf('AKBK', akbk),
    ...formsOf('PBK', pbkOf(mkbk, akbk)),
    ...formsOf('storage root', bytesOf(storage.key)),
    ...formsOfPem("the maker's CA", maker.caKey),
    ...formsOfPem("the owner's CA", owner.caKey),
  ];
}

for (const way of WAYS) {
  test(`planted keys, passwords and roots are nowhere outside the boundary, ${way}`, async (t) => {
    await using folder = await temporaryFolder();
    // A folder that only its owner may enter leaves root nobody to become; other users are one anyway.
    if (way === 'one user') await chmod(folder.path, 0o700);
    const data = join(folder.path, 'd');
    const start = { through: WITH_CORE_DUMPS, cwd: folder.path };
    await using service = await startService(data, [], start);
    const { host } = await fleetProcesses(service.pid);
    assert.notEqual(host, service.pid);
    const recorder =
      cannotRecord === undefined ? await recordTraffic([service.pid, host]) : undefined;

    const plants = new Plants();
    const cluster = await readyCluster({ data, customers: join(folder.path, 'customers') });
    const { customer } = cluster;
    await plants.plant(cluster);
    await plants.use(cluster);
    await provenBackup(cluster);
    const users = plants.users([
      await customer.password('admin-password'),
      await customer.password('app-password'),
    ]);
    const roots = await rootForms(data);
    const everything = [...users, ...roots, ...plants.names];

    const checkAll = async (when: string): Promise<void> => {
      await t.test(`${when}: in files, in the log, in answers`, async () => {
        for (const part of RESTING_PLACES) {
          assert.deepEqual(await searchFolder(join(data, part), everything), []);
        }
        const answers = JSON.stringify(await everyAnswer(cluster));
        assert.deepEqual(searchBytes(Buffer.from(answers), everything), []);
        assert.deepEqual(searchBytes(Buffer.from(service.output()), everything), []);
      });
      await t.test(`${when}: in memory`, { skip: cannotReadMemory ?? false }, async () => {
        const processes = await fleetProcesses(service.pid);
        assert.deepEqual(await searchMemory(service.pid, [...users, ...roots]), []);
        assert.deepEqual(await searchMemory(processes.host, users), []);
        const [hsm] = processes.hsms.values();
        assert.ok(hsm !== undefined);
        const inside = await searchMemory(hsm, users);
        for (const name of ['AES key raw', 'RSA key d raw', 'EC key d raw']) {
          assert.ok(inside.includes(name), `${name} is not even found inside: ${inside}`);
        }
      });
    };
    await checkAll('after a backup was proven');
    await replaceHsms(cluster.client, cluster.clusterId);
    await plants.use(cluster);
    await checkAll('after a new HSM was made of the backup, and used');
    await t.test(
      'in what crossed between control plane, host and HSMs',
      {
        skip: cannotRecord ?? false,
      },
      async () => {
        const streams = (await recorder?.stop()) ?? [];
        for (const direction of ['in', 'out'] as const) {
          assert.ok(crossed(streams, ONLY_TO_THE_HOST, direction), `nothing crossed, ${direction}`);
        }
        for (const { name, direction, bytes } of streams) {
          assert.deepEqual(searchBytes(bytes, everything), [], `${direction} ${name}`);
        }
      },
    );
    await t.test('in core dumps', async (dump) => {
      await leaveNoCore(service, folder.path);
      await service.kill('SIGABRT');
      const cores = await coresIn(folder.path);
      if (way === 'separate users') assert.deepEqual(cores, [], 'who changed users leaves none');
      else if (cores.length === 0) dump.diagnostic(NO_CORES);
      for (const core of cores) assert.deepEqual(await searchFile(core, [...users, ...roots]), []);
    });
  });
}

test('the search finds every form of every plant wherever it is put', async (t) => {
  await using folder = await temporaryFolder();
  const plants = new Plants();
  const forms = [
    ...plants.users(),
    ...plants.names,
    ...['MKBK', 'AKBK', 'PBK'].flatMap((name) => formsOf(name, randomBytes(32))),
  ];
  const all = forms.map(({ name }) => name).sort();
  const bytes = Buffer.concat(forms.flatMap((form) => [randomBytes(1_021), form.bytes]));
  await using holder = await Holder.start(bytes, folder.path);

  await t.test('in a file', async () => {
    const file = join(folder.path, 'file');
    // Around the seams of the pieces that a search reads.
    for (const at of [0, 1024 * 1024 - 200]) {
      await writeFile(file, Buffer.concat([Buffer.alloc(at), bytes]));
      assert.deepEqual([...(await searchFile(file, forms))], all);
    }
    assert.equal((await searchFolder(folder.path, forms)).length, all.length);
  });
  await t.test('in memory', { skip: cannotReadMemory ?? false }, async () => {
    assert.deepEqual(await searchMemory(holder.pid, forms), all);
  });
  await t.test('in what crosses between processes', { skip: cannotRecord ?? false }, async () => {
    const recorder = await recordTraffic([holder.pid]);
    await holder.passOn();
    const found = (await recorder.stop()).flatMap((stream) => searchBytes(stream.bytes, forms));
    assert.deepEqual([...new Set(found)].sort(), all);
  });
  await t.test('in a core dump, where the system writes one', async (dump) => {
    await holder.abort();
    const cores = await coresIn(folder.path);
    if (cores.length === 0) dump.diagnostic(NO_CORES);
    for (const core of cores) assert.deepEqual(await searchFile(core, forms), all);
  });
});

/** Whatever the API says of clusters, backups, and itself. */
async function everyAnswer({ client, clusterId }: ReadyCluster): Promise<unknown> {
  const backups = await client.all('DescribeBackups', 'Backups');
  const ready = backups.filter((backup) => backup['BackupState'] === 'READY');
  return {
    backups,
    clusters: await client.all('DescribeClusters', 'Clusters'),
    status: await client.own('GetStatus'),
    trail: await client.own('LookupEvents', {}),
    restores: await client.own('ListRestores'),
    forecast: await client.own('Forecast'),
    door: await client.own('GetClusterDoor', { ClusterId: clusterId }),
    proofs: await Promise.all(
      ready.map((backup) => client.own('GetBackupProof', { BackupId: textOf(backup, 'BackupId') })),
    ),
  };
}

/** Sealed, stored and opened by a second HSM: now the keys have crossed every wall there is. */
async function provenBackup({ client, clusterId }: ReadyCluster): Promise<unknown> {
  const taken = objectOf(await client.own('TakeBackup', { ClusterId: clusterId }), 'Backup');
  const BackupId = textOf(taken, 'BackupId');
  const until = `${BackupId} is READY`;
  return await waitFor(clock, { until, atMostMs: WAIT_MS }, async () => {
    const filters = { Filters: { backupIds: [BackupId] } };
    const [backup] = listOf(await client.aws('DescribeBackups', filters), 'Backups');
    return backup?.['BackupState'] === 'READY' ? backup : undefined;
  });
}

function crossed(
  streams: readonly Stream[],
  text: string,
  direction: Stream['direction'],
): boolean {
  return streams.some(
    (stream) =>
      stream.direction === direction &&
      stream.name.includes('socket') &&
      Buffer.from(stream.bytes).includes(text),
  );
}

/** Core dumps of the host and of HSMs are off, whatever the service was started with. */
async function leaveNoCore({ pid }: RunningService, folder: string): Promise<void> {
  const { host, hsms } = await fleetProcesses(pid);
  for (const each of [...hsms.values(), host]) {
    process.kill(each, 'SIGABRT');
    await waitFor(clock, { until: `process ${each} is gone`, atMostMs: WAIT_MS }, async () =>
      (await isAlive(each)) ? undefined : true,
    );
  }
  assert.deepEqual(await coresIn(folder), []);
}
