/** What the HSM's disk promises, checked at every place where a write can be cut and a bit can rot. */
import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { test } from 'node:test';
import { type DiskFile, type HsmDisk, memoryDisk } from '../../src/hsm/disk.ts';
import { DurableStore } from '../../src/hsm/durable-store.ts';
import type { Partition } from '../../src/hsm/state.ts';
import type { Change } from '../../src/hsm/store.ts';
import { asBuffer, fromUtf8 } from '../../src/kernel/bytes.ts';
import { Failed } from '../../src/kernel/errors.ts';
import { systemRandom } from '../../src/kernel/random.ts';

type Files = Map<DiskFile, Uint8Array>;
const storageKey = createSecretKey(new Uint8Array(32).fill(7));
const DAMAGED = { name: 'Failed', code: 'DISK_DAMAGED' };

function partition(): Partition {
  return {
    clusterId: 'cluster-keyark2345abc',
    incarnation: '11'.repeat(16),
    type: 'hsm2m.medium',
    mode: 'FIPS',
    partitionKey: fromUtf8('planted partition key'),
    clusterCsr: 'csr',
    hsmCertificate: 'pem',
    clusterCertificate: null,
    trustAnchor: null,
    maskingKey: new Uint8Array(32).fill(9),
  };
}

const policy = (value: number): Change => ({
  kind: 'put-policy',
  policy: { name: `policy-${value}`, value },
});

async function open(disk: HsmDisk, failures: Error[] = []): Promise<DurableStore> {
  return await DurableStore.open({
    disk,
    storageKey,
    random: systemRandom,
    onChanged: () => {},
    onFailed: (cause) => failures.push(cause),
  });
}

const values = (store: DurableStore): number[] =>
  [...store.shared.policies.values()].map(({ value }) => value);

const copyOf = (files: Files): Files =>
  new Map([...files].map(([file, bytes]) => [file, bytes.slice()]));

/** A partition and `count` changes, each in a record of its own; where the last one begins. */
async function filled(count: number): Promise<{ files: Files; lastAt: number }> {
  const files: Files = new Map();
  const store = await open(memoryDisk(files));
  await store.commit([{ kind: 'put-partition', partition: partition() }]);
  let lastAt = 0;
  for (let i = 0; i < count; i += 1) {
    lastAt = files.get('log')?.length ?? 0;
    await store.commit([policy(i)]);
  }
  return { files, lastAt };
}

test('a torn last record is repaired at every length it can be cut to', async () => {
  const { files, lastAt } = await filled(3);
  const log = files.get('log') ?? new Uint8Array();
  for (let length = lastAt; length < log.length; length += 1) {
    const torn = copyOf(files).set('log', log.slice(0, length));
    const store = await open(memoryDisk(torn));
    // Cut within its last padding, the record is whole.
    const kept = values(store);
    assert.ok(kept.length === 2 || (kept.length === 3 && length > log.length - 16), `${length}`);
    await store.commit([policy(9)]);
    assert.deepEqual(values(await open(memoryDisk(torn))), [...kept, 9]);
  }
});

test('a torn last record over older bytes is repaired, whichever of its sectors are missing', async () => {
  const { files, lastAt } = await filled(2);
  const log = files.get('log') ?? new Uint8Array();
  for (let at = lastAt; at < log.length - 16; at += 1) {
    const torn = copyOf(files).set('log', log.slice());
    torn.get('log')?.fill(0xee, at, at + 8);
    assert.deepEqual(values(await open(memoryDisk(torn))), [0], `bytes at ${at}`);
  }
});

test('a damaged older record is refused, whichever of its bytes is wrong', async () => {
  const { files, lastAt } = await filled(3);
  const log = files.get('log') ?? new Uint8Array();
  const firstLength = asBuffer(log).readUInt32BE(20);
  const firstEnd = 36 + firstLength;
  const padded = Math.ceil(firstEnd / 16) * 16;
  for (let at = padded; at < lastAt; at += 1) {
    const bad = copyOf(files).set('log', log.slice());
    const bytes = bad.get('log') ?? new Uint8Array();
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    // Padding means nothing; any other byte does.
    try {
      assert.deepEqual(values(await open(memoryDisk(bad))), [0, 1, 2]);
      assert.equal(log[at], 0);
    } catch (cause) {
      assert.ok(cause instanceof Failed && cause.code === 'DISK_DAMAGED', `byte ${at}`);
    }
  }
});

test('after a restart even the last acknowledged record is an older one: its damage is refused', async () => {
  const { files, lastAt } = await filled(2);
  await open(memoryDisk(files));
  const bytes = files.get('log') ?? new Uint8Array();
  bytes[lastAt + 40] = (bytes[lastAt + 40] ?? 0) ^ 1;
  await assert.rejects(open(memoryDisk(files)), DAMAGED);
});

/** The disk as it would be after each write had been cut in each of several ways. */
class CuttableDisk implements HsmDisk {
  readonly isDurable = true;
  readonly files: Files;
  readonly #inner: HsmDisk;
  writesLeft = Number.POSITIVE_INFINITY;
  partial = 0;

  constructor(files: Files) {
    this.files = files;
    this.#inner = memoryDisk(files);
  }

  size = (file: DiskFile) => this.#inner.size(file);
  read = (file: DiskFile, offset: number, length: number) => this.#inner.read(file, offset, length);
  close = () => this.#inner.close();

  async write(file: DiskFile, offset: number, bytes: Uint8Array): Promise<void> {
    if (this.writesLeft <= 0) {
      const part = bytes.slice(0, Math.floor(bytes.length * this.partial));
      if (this.writesLeft === 0 && part.length > 0) await this.#inner.write(file, offset, part);
      this.writesLeft = -1;
      throw new Failed('DISK', 'power was cut');
    }
    this.writesLeft -= 1;
    await this.#inner.write(file, offset, bytes);
  }
}

test('erase(), replace() and saveDevice() happen wholly or not at all, wherever the power is cut', async () => {
  const device = {
    serial: 'KA1',
    vendor: 'v',
    line: 'l',
    privateKey: new Uint8Array(8),
    maker: null,
    owner: null,
    hsmCertificate: null,
  };
  const acts = {
    erase: (store: DurableStore) => store.erase(),
    replace: (store: DurableStore) =>
      store.replace({ ...store.shared, policies: new Map() }, store.local),
    saveDevice: (store: DurableStore) => store.saveDevice(device),
  };
  for (const [name, act] of Object.entries(acts)) {
    for (const partial of [0, 0.3, 0.99]) {
      for (let cut = 0, isDone = false; !isDone; cut += 1) {
        assert.ok(cut < 20, 'the act ends at some point');
        const { files } = await filled(2);
        const disk = new CuttableDisk(files);
        const store = await open(disk);
        disk.writesLeft = cut;
        disk.partial = partial;
        isDone = await act(store).then(
          () => true,
          () => false,
        );
        const again = await open(memoryDisk(files));
        const isBefore = again.hasPartition && values(again).length === 2 && again.device === null;
        const isAfter =
          name === 'erase'
            ? !again.hasPartition
            : name === 'replace'
              ? again.hasPartition && values(again).length === 0
              : again.device?.serial === 'KA1' && values(again).length === 2;
        assert.ok(isDone ? isAfter : isBefore || isAfter, `${name}, cut ${cut}, part ${partial}`);
      }
    }
  }
});

test('a bad newest snapshot with a log of its own is refused; an older one is never served instead', async () => {
  const { files } = await filled(2);
  const store = await open(memoryDisk(files));
  await store.replace({ ...store.shared, policies: new Map() }, store.local);
  const newest = files.get('slot-1') ?? new Uint8Array();
  for (let at = 0; at < newest.length; at += 7) {
    const bad = copyOf(files).set('slot-1', newest.slice());
    const bytes = bad.get('slot-1') ?? new Uint8Array();
    bytes[at] = (bytes[at] ?? 0) ^ 1;
    await assert.rejects(open(memoryDisk(bad)), DAMAGED, `byte ${at}`);
  }
});

test('a bad older slot harms nobody', async () => {
  const { files } = await filled(2);
  const store = await open(memoryDisk(files));
  await store.replace({ ...store.shared, policies: new Map() }, store.local);
  files.get('slot-0')?.fill(0xee);
  assert.deepEqual(values(await open(memoryDisk(files))), []);
});

test('a disk with nothing readable is refused unless nothing was ever acknowledged on it', async () => {
  const { files } = await filled(1);
  for (const file of ['slot-0', 'log'] as const) {
    const bad = copyOf(files);
    bad.get(file)?.fill(0);
    if (file === 'slot-0') await assert.rejects(open(memoryDisk(bad)), DAMAGED);
  }
  const torn: Files = new Map([['slot-0', fromUtf8('KEYARKS1 torn')]]);
  assert.equal((await open(memoryDisk(torn))).hasPartition, false);
});

test('erase() leaves no byte of the old snapshot or log on the disk', async () => {
  const { files } = await filled(2);
  const before = copyOf(files);
  const store = await open(memoryDisk(files));
  await store.erase();
  assert.ok(files.get('slot-0')?.every((byte) => byte === 0));
  const log = asBuffer(files.get('log') ?? new Uint8Array());
  const old = asBuffer(before.get('log') ?? new Uint8Array());
  assert.equal(log.indexOf(old.subarray(40, 60)), -1);
});

test('nothing planted is readable on the disk', async () => {
  const { files } = await filled(1);
  for (const bytes of files.values()) {
    const text = asBuffer(bytes);
    for (const planted of ['planted partition key', 'policy-0', 'cluster-keyark']) {
      assert.equal(text.indexOf(planted), -1);
    }
    assert.equal(text.indexOf(Buffer.alloc(32, 9)), -1);
  }
});

test('commits queued together go out in one write, in order, and are visible only afterwards', async () => {
  const files: Files = new Map();
  const disk = new CuttableDisk(files);
  const store = await open(disk);
  await store.commit([{ kind: 'put-partition', partition: partition() }]);
  disk.writesLeft = 1_000;
  const commits = Array.from({ length: 50 }, (_, i) => store.commit([policy(i)]));
  assert.equal(store.shared.policies.size, 0);
  await Promise.all(commits);
  assert.equal(disk.writesLeft, 999);
  assert.equal(store.shared.generation, 51);
  const again = await open(memoryDisk(files));
  assert.deepEqual(values(again), values(store));
  assert.equal(again.shared.generation, 51);
});

test('a failed write is told to whoever waits and to the HSM, and nothing is written afterwards', async () => {
  const { files } = await filled(1);
  const disk = new CuttableDisk(files);
  const failures: Error[] = [];
  const store = await open(disk, failures);
  disk.writesLeft = 0;
  const waiting = [store.commit([policy(5)]), store.erase(), store.commit([policy(6)])];
  for (const { status } of await Promise.allSettled(waiting)) assert.equal(status, 'rejected');
  assert.equal(failures.length, 1);
  disk.writesLeft = 100;
  await assert.rejects(store.commit([policy(7)]), { code: 'DISK' });
  assert.deepEqual(values(store), [0]);
});

test('a long log is folded into a snapshot; audit numbers stay gapless and the newest are kept', async () => {
  const files: Files = new Map();
  const store = await open(memoryDisk(files));
  await store.commit([{ kind: 'put-partition', partition: partition() }]);
  const details = 'x'.repeat(60_000);
  const record = { at: 1, opcode: 'CN_TEST', response: 0, session: 0, details };
  for (let i = 0; i < 120; i += 1) await store.commit([policy(i), { kind: 'audit', record }]);
  assert.ok((files.get('slot-1')?.length ?? 0) > 0, 'there was a second snapshot');
  const again = await open(memoryDisk(files));
  assert.equal(values(again).length, 120);
  assert.deepEqual(
    again.audit(10).map(({ sequence }) => sequence),
    Array.from({ length: 10 }, (_, i) => 110 + i),
  );
});
