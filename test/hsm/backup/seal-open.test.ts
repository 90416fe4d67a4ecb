import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { openArchive } from '../../../src/hsm/backup/open.ts';
import { sealState } from '../../../src/hsm/backup/seal.ts';
import type { HsmMode, HsmType } from '../../../src/hsm/protocol.ts';
import { concat, u32 } from '../../../src/kernel/bytes.ts';
import { Broken, Failed, type RefusalCode, Refused } from '../../../src/kernel/errors.ts';
import { parseBackupId } from '../../../src/kernel/ids.ts';
import { type Random, systemRandom } from '../../../src/kernel/random.ts';
import {
  arbitraryState,
  BACKUP_ID,
  fixedRandom,
  inChunks,
  makeRoots,
  type OpenOptions,
  open,
  type Sealed,
  type State,
  sampleState,
  seal,
  withMaps,
} from './sample.ts';

const WRAPPED_BYTES = 2056;
const state = sampleState({ paddingBytes: 9_000 });
const sealed = await seal(state);
const headerBytes = new DataView(sealed.body.buffer).getUint16(10);

type Parts = Pick<Sealed, 'body' | 'sealRecord'>;

async function refusal(parts: Partial<Parts>, options: OpenOptions = {}): Promise<Refused> {
  const attempt = open({ ...sealed, ...parts }, options);
  const error: unknown = await attempt.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  assert.ok(error instanceof Refused, `opened, or failed otherwise: ${error}`);
  return error;
}

const { message: INDISTINCT } = await refusal({ body: new Uint8Array(0) });

async function assertDoesNotOpen(parts: Partial<Parts>, options: OpenOptions = {}): Promise<void> {
  const { code, message, cause } = await refusal(parts, options);
  assert.deepEqual(
    { code, message, cause },
    {
      code: 'DoesNotOpen',
      message: INDISTINCT,
      cause: undefined,
    },
  );
}

async function assertRefused(
  code: RefusalCode,
  says: RegExp,
  parts: Partial<Parts>,
  options: OpenOptions = {},
): Promise<void> {
  const error = await refusal(parts, options);
  assert.equal(error.code, code);
  assert.match(error.message, says);
}

/** Header, then each segment. */
function segmentsOf(body: Uint8Array): Uint8Array[] {
  const parts = [body.subarray(0, headerBytes)];
  for (let at = headerBytes; at < body.length; at += WRAPPED_BYTES) {
    parts.push(body.subarray(at, at + WRAPPED_BYTES));
  }
  return parts;
}

function patched(bytes: Uint8Array, at: number, ...octets: number[]): Uint8Array {
  const copy = bytes.slice();
  copy.set(octets, at);
  return copy;
}

// ---- what comes back

test('openArchive() gives back what sealState() took, whatever is in it', async () => {
  await fc.assert(
    fc.asyncProperty(
      arbitraryState,
      fc.integer({ min: 1, max: 5_000 }),
      async (any, chunkBytes) => {
        const one = await seal(any, { random: systemRandom });
        const { shared, local, ...facts } = await open(one, { chunkBytes });
        assert.deepEqual(withMaps({ shared, local }), any);
        assert.deepEqual(facts, {
          backupId: BACKUP_ID,
          epochs: { mkbk: 1, akbk: 1 },
          headerSha256: one.headerSha256,
          bodySha256: one.bodySha256,
        });
      },
    ),
    { numRuns: 60 },
  );
});

test('a state opens at every length around the edges of segments, lanes and batches', async () => {
  const { bodyBytes } = sealState({ ...sampleState({ paddingBytes: 0 }), ...fixedInput() });
  const lengths = [1, 2, 8, 9, 512, 513, 1024, 1025].flatMap((segments) =>
    [-1, 0, 1].map((off) => segments * 2040 + off),
  );
  for (const plaintextBytes of [...lengths.filter((n) => n > 2040), bodyBytes]) {
    const one = stateOf(plaintextBytes);
    const archive = await seal(one);
    assert.equal(plaintextLength(archive.body), plaintextBytes);
    const { shared, local } = await open(archive);
    assert.deepEqual(withMaps({ shared, local }), one);
  }
});

test('the body is as long as sealState() said, and its size follows the arithmetic of the format', async () => {
  for (const paddingBytes of [0, 1_000, 2_040, 20_000]) {
    const one = sampleState({ paddingBytes });
    const { bodyBytes, header } = sealState({ ...one, ...fixedInput() });
    const { body } = await seal(one);
    assert.equal(body.length, bodyBytes);
    const plaintextBytes = plaintextLength(body);
    const segments = Math.ceil(plaintextBytes / 2040);
    const last = plaintextBytes - 2040 * (segments - 1);
    const expected = header.length + 2056 * (segments - 1) + 8 * (Math.ceil((last + 8) / 8) + 1);
    assert.equal(body.length, expected);
  }
});

test('the same luck gives the same bytes, other luck shares no segment with them', async () => {
  const again = await seal(state);
  assert.deepEqual(again, sealed);
  const other = await seal(state, { random: fixedRandom('other luck') });
  assert.deepEqual(other.body.subarray(0, headerBytes), sealed.body.subarray(0, headerBytes));
  const segments = new Set(segmentsOf(sealed.body).map(toText));
  const shared = segmentsOf(other.body).filter((part) => segments.has(toText(part)));
  assert.equal(shared.length, 1);
});

test('equal pieces of state give different segments', async () => {
  const { body } = await seal(stateOf(2040 * 40, new Uint8Array(2040 * 39)));
  const segments = segmentsOf(body).map(toText);
  assert.equal(new Set(segments).size, segments.length);
});

test('a change during sealing does not reach the backup', async () => {
  const users = new Map(state.shared.users);
  const failures = new Map(state.local.failures);
  const live: State = {
    shared: { ...state.shared, users },
    local: { ...state.local, failures },
  };
  const sealing = sealState({ ...live, ...fixedInput() });
  const chunks: Uint8Array[] = [];
  for await (const chunk of sealing.body) {
    users.delete('admin');
    failures.set('admin', 99);
    chunks.push(chunk.slice());
  }
  const { shared, local } = await open({ body: concat(...chunks), ...sealing.finish() });
  assert.deepEqual(withMaps({ shared, local }), state);
});

test('finish() before the end of the body, and a second reading, are our mistakes', async () => {
  const sealing = sealState({ ...state, ...fixedInput() });
  assert.throws(() => sealing.finish(), Broken);
  for await (const _ of sealing.body) break;
  assert.throws(() => sealing.finish(), Broken);
  let chunks = 0;
  for await (const _ of sealing.body) chunks++;
  assert.equal(chunks, 0);
  assert.throws(() => sealing.finish(), Broken);
});

test('an EBK is 32 bytes of the given luck, asked for once for each seal', async () => {
  const asked: number[] = [];
  const luck = fixedRandom('counted');
  const random: Random = {
    bytes: (length) => {
      asked.push(length);
      return luck.bytes(length);
    },
  };
  await seal(state, { random });
  await seal(state, { random });
  assert.deepEqual(asked, [32, 32]);
});

test('nothing but the restore domain, the id and the sizes is readable in a sealed backup', async () => {
  const bytes = Buffer.concat([sealed.body, sealed.sealRecord]);
  const { partition, users, objects, policies } = state.shared;
  const secrets = [
    partition.partitionKey,
    partition.maskingKey,
    fixedRandom('luck').bytes(32),
    ...[...objects.values()].flatMap((one) => [Buffer.from(one.id, 'hex'), Buffer.from(one.id)]),
    ...[...objects.values()].map((one) => one.attributes.get(0x11)?.value as Uint8Array),
    ...[...users.keys(), ...policies.keys(), partition.clusterId].map((name) => Buffer.from(name)),
  ];
  for (const secret of secrets) {
    if (secret.length > 3) assert.equal(bytes.indexOf(secret.subarray(0, 16)), -1);
  }
});

// ---- what is refused, all with one sentence

test('a backup that was cut short is refused, wherever it was cut', async () => {
  const { body } = sealed;
  const edges: number[] = [];
  for (const part of segmentsOf(body)) edges.push((edges.at(-1) ?? 0) + part.length);
  const around = edges.flatMap((edge) => [edge - 9, edge - 8, edge - 1, edge, edge + 1, edge + 8]);
  const start = Array.from({ length: headerBytes + 40 }, (_, i) => i);
  const lengths = [...start, ...around].filter((length) => length < body.length);
  for (const length of lengths) {
    await assertDoesNotOpen({ body: body.subarray(0, length) });
  }
});

test('a backup with anything behind it is refused', async () => {
  const { body } = sealed;
  const last = segmentsOf(body).at(-1)!;
  for (const extra of [Uint8Array.of(0), new Uint8Array(8), last, body]) {
    await assertDoesNotOpen({ body: concat(body, extra) });
    await assertDoesNotOpen({ body: concat(body, extra) }, { chunkBytes: body.length });
  }
});

test('re-ordered, doubled, missing and foreign segments are refused', async () => {
  const foreign = await seal(state, { random: fixedRandom('other luck') });
  const parts = segmentsOf(sealed.body);
  const foreignParts = segmentsOf(foreign.body);
  for (let i = 1; i < parts.length; i++) {
    await assertDoesNotOpen({ body: concat(...parts.toSpliced(i, 1)) });
    await assertDoesNotOpen({ body: concat(...parts.toSpliced(i, 0, parts[i]!)) });
    await assertDoesNotOpen({ body: concat(...parts.with(i, foreignParts[i]!)) });
    for (let j = 1; j < i; j++) {
      await assertDoesNotOpen({ body: concat(...parts.with(i, parts[j]!)) });
      const swapped = parts.with(i, parts[j]!).with(j, parts[i]!);
      await assertDoesNotOpen({ body: concat(...swapped) });
    }
  }
});

test('a body with another header, or another seal record, is refused', async () => {
  const otherId = await seal(state, { backupId: parseBackupId('backup-keyark7654fedcba') });
  const otherLuck = await seal(state, { random: fixedRandom('other luck') });
  const [, ...segments] = segmentsOf(sealed.body);
  await assertDoesNotOpen({ body: concat(otherId.body.subarray(0, headerBytes), ...segments) });
  await assertDoesNotOpen({ sealRecord: otherId.sealRecord });
  await assertDoesNotOpen({ sealRecord: otherLuck.sealRecord });
  await assertDoesNotOpen({ body: otherLuck.body });
});

test('another magic is refused, at the body and at the seal record', async () => {
  await assertDoesNotOpen({ body: patched(sealed.body, 0, 0x4c) });
  await assertDoesNotOpen({ body: patched(sealed.body, 7, 0x53) });
  await assertDoesNotOpen({ sealRecord: patched(sealed.sealRecord, 7, 0x42) });
  await assertDoesNotOpen({ body: new Uint8Array(4096) });
});

test('a seal record of any other length is refused', async () => {
  for (const length of [0, 8, 12, 19, 20, 44, 116, 123]) {
    await assertDoesNotOpen({ sealRecord: sealed.sealRecord.subarray(0, length) });
  }
  await assertDoesNotOpen({ sealRecord: concat(sealed.sealRecord, new Uint8Array(8)) });
});

test('lengths that lie are refused before they allocate anything', async () => {
  const huge = [0x3f, 0xff, 0xff, 0xff];
  const lies: [number, ...number[]][] = [
    [10, 0x00, 0x00],
    [10, 0x00, 0x3c],
    [10, 0x00, 0xff],
    [10, 0xff, 0xff],
    [12, ...huge],
    [12, 0, 0, 0, 0],
    [16, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
    [20, ...huge],
    [16, 0, 0, 0, 0, 0, 0, 0, 0],
    [24, 0, 0, 0, 0, 0, 0, 0, 0],
    [32, 0xff, 0xff],
  ];
  for (const [at, ...octets] of lies) {
    await assertDoesNotOpen({ body: patched(sealed.body, at, ...octets) });
  }
  // A header that is consistent in itself asks for 1 GiB; its digest is judged first.
  const { header } = await consistentHeader(2 ** 30);
  const before = process.memoryUsage().arrayBuffers;
  await assertDoesNotOpen({ body: header });
  assert.ok(process.memoryUsage().arrayBuffers - before < 2 ** 26);
});

test('the roots of a stranger with the same names open nothing', async () => {
  await assertDoesNotOpen({}, { roots: makeRoots({ makerSeed: 'another maker' }) });
  await assertDoesNotOpen({}, { roots: makeRoots({ ownerSeed: 'another owner' }) });
  await assertDoesNotOpen({}, { roots: makeRoots({ makerSeed: 'owner', ownerSeed: 'maker' }) });
});

test('epochs that are swapped, changed or unknown open nothing', async () => {
  const roots = makeRoots({ epochs: { mkbk: 2, akbk: 3 } });
  const one = await seal(state, { roots });
  assert.deepEqual((await open(one, { roots })).epochs, { mkbk: 2, akbk: 3 });
  const record = (mkbk: number, akbk: number) =>
    patched(one.sealRecord, 12, ...u32(mkbk), ...u32(akbk));
  const wrong: [number, number][] = [
    [3, 2],
    [2, 2],
    [1, 3],
    [1, 1],
    [0, 0],
    [2, 4],
    [2 ** 32 - 1, 3],
  ];
  for (const [mkbk, akbk] of wrong) {
    await assertDoesNotOpen({ body: one.body, sealRecord: record(mkbk, akbk) }, { roots });
  }
});

test('a backup of an older epoch opens where newer roots were added', async () => {
  const newer = makeRoots({ epochs: { mkbk: 3, akbk: 2 } });
  const { epochs, shared } = await open(sealed, { roots: newer });
  assert.deepEqual(epochs, { mkbk: 1, akbk: 1 });
  assert.deepEqual(withMaps(shared), state.shared);
});

test('a backup of a newer epoch is refused where that root is missing', async () => {
  const newer = makeRoots({ epochs: { mkbk: 1, akbk: 2 } });
  const one = await seal(state, { roots: newer });
  await assertDoesNotOpen(one, { roots: makeRoots() });
});

// ---- what the clear header says

test('another restore domain is told by name: vendor, line or owner', async () => {
  const needs =
    /needs an HSM of vendor "Example Works", product line "ark-1", owner "Müller & Söhne"/;
  for (const other of [{ vendor: 'V' }, { line: 'ark-2' }, { owner: 'Muller' }]) {
    await assertRefused('InvalidRequest', needs, {}, { roots: makeRoots(other) });
  }
});

test('another format version is told by number, before anything else is judged', async () => {
  await assertRefused('InvalidRequest', /format version 2\b/, {
    body: patched(sealed.body, 8, 0, 2),
  });
  await assertRefused('InvalidRequest', /format version 0\b/, {
    body: patched(sealed.body, 8, 0, 0),
  });
  const future = concat(patched(sealed.body, 8, 1, 0).subarray(0, 12), new Uint8Array(3));
  await assertRefused('InvalidRequest', /format version 256\b/, { body: future });
  const record = patched(sealed.sealRecord, 11, 2);
  await assertRefused('InvalidRequest', /format version 2\b/, { sealRecord: record });
});

// ---- what the values inside say

const KINDS: readonly [HsmType, HsmMode][] = [
  ['hsm1.medium', 'FIPS'],
  ['hsm2m.medium', 'FIPS'],
  ['hsm2m.medium', 'NON_FIPS'],
];
const ALLOWED = new Set([
  'hsm1.medium FIPS > hsm1.medium FIPS',
  'hsm1.medium FIPS > hsm2m.medium FIPS',
  'hsm2m.medium FIPS > hsm2m.medium FIPS',
  'hsm2m.medium NON_FIPS > hsm2m.medium NON_FIPS',
]);

for (const [fromType, fromMode] of KINDS) {
  const partition = { ...state.shared.partition, type: fromType, mode: fromMode };
  for (const [type, mode] of KINDS) {
    const isAllowed = ALLOWED.has(`${fromType} ${fromMode} > ${type} ${mode}`);
    const verdict = isAllowed ? 'opens on' : 'is refused by';
    test(`a backup of ${fromType} ${fromMode} ${verdict} ${type} ${mode}`, async () => {
      const one = await seal({ ...state, shared: { ...state.shared, partition } });
      if (isAllowed) {
        const { shared } = await open(one, { type, mode });
        assert.equal(shared.partition.type, fromType);
      } else {
        await assertRefused('WrongState', new RegExp(`an ${fromType} ${fromMode}`), one, {
          type,
          mode,
        });
      }
    });
  }
}

test('type and mode are judged only when everything is authentic', async () => {
  const target = { type: 'hsm2m.medium', mode: 'NON_FIPS' } as const;
  await assertRefused('WrongState', /hsm2m\.medium FIPS/, {}, target);
  const damaged = patched(sealed.body, sealed.body.length - 1, sealed.body.at(-1)! ^ 1);
  await assertDoesNotOpen({ body: damaged }, target);
  await assertDoesNotOpen({ body: concat(sealed.body, Uint8Array.of(0)) }, target);
});

// ---- the stream

test('a failure of the stream stays that failure', async () => {
  async function* failing(): AsyncGenerator<Uint8Array> {
    yield sealed.body.subarray(0, 5_000);
    throw new Failed('VAULT_READ', 'the disk is gone');
  }
  const attempt = openArchive({
    sealRecord: sealed.sealRecord,
    body: failing(),
    roots: makeRoots(),
    expect: { type: 'hsm2m.medium', mode: 'FIPS' },
  });
  await assert.rejects(attempt, (error) => error instanceof Failed && error.code === 'VAULT_READ');
});

test('a refused backup lets go of its stream', async () => {
  let isReleased = false;
  async function* watched(): AsyncGenerator<Uint8Array> {
    try {
      yield* inChunks(patched(sealed.body, 0, 0), 16);
    } finally {
      isReleased = true;
    }
  }
  const attempt = openArchive({
    sealRecord: sealed.sealRecord,
    body: watched(),
    roots: makeRoots(),
    expect: { type: 'hsm2m.medium', mode: 'FIPS' },
  });
  await assert.rejects(attempt, Refused);
  assert.ok(isReleased);
});

test('empty chunks in the stream mean nothing', async () => {
  async function* sparse(): AsyncGenerator<Uint8Array> {
    const nothing = new Uint8Array(0);
    yield nothing;
    for await (const chunk of inChunks(sealed.body, 3_000)) {
      yield chunk;
      yield nothing;
    }
  }
  const { shared } = await openArchive({
    sealRecord: sealed.sealRecord,
    body: sparse(),
    roots: makeRoots(),
    expect: { type: 'hsm2m.medium', mode: 'FIPS' },
  });
  assert.deepEqual(withMaps(shared), state.shared);
});

test('sealing and opening give way to other work between batches', async () => {
  const large = stateOf(2040 * 5_000);
  let turns = 0;
  let isDone = false;
  const count = (): void => {
    turns++;
    if (!isDone) setImmediate(count);
  };
  setImmediate(count);
  const one = await seal(large);
  const whileSealing = turns;
  await open(one, { chunkBytes: one.body.length });
  isDone = true;
  assert.ok(whileSealing >= 4, `${whileSealing} turns while sealing`);
  assert.ok(turns - whileSealing >= 4, `${turns - whileSealing} turns while opening`);
});

// ---- helpers

function fixedInput() {
  return { backupId: BACKUP_ID, roots: makeRoots(), random: fixedRandom('luck') };
}

function toText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

function plaintextLength(body: Uint8Array): number {
  return Number(new DataView(body.buffer).getBigUint64(16));
}

/** A state whose archive plaintext has exactly this length: a sample with data objects as padding. */
function stateOf(plaintextBytes: number, content?: Uint8Array): State {
  const base = sampleState({ paddingBytes: 0 });
  const bytesOf = (one: State) => plaintextLength(sealState({ ...one, ...fixedInput() }).header);
  const [template] = base.shared.objects.values();
  assert.ok(template !== undefined);
  const objects = new Map(base.shared.objects);
  const withObjects = (): State => ({ ...base, shared: { ...base.shared, objects } });
  for (let i = 0; ; i++) {
    const id = i.toString(16).padStart(32, '0');
    const add = (length: number) => {
      const value = content?.subarray(0, length) ?? fixedRandom(id).bytes(length);
      objects.set(id, { ...template, id, attributes: new Map([[0x11, { type: 'bytes', value }]]) });
    };
    add(0);
    const missing = plaintextBytes - bytesOf(withObjects());
    assert.ok(missing >= 0, 'the state is too large already');
    // What stays missing must still hold one more empty object.
    const part = missing <= 500_000 ? missing : 400_000;
    add(part);
    if (part === missing) return withObjects();
  }
}

/** A body's header for a plaintext of this length, right in itself but of another backup. */
async function consistentHeader(plaintextBytes: number): Promise<{ header: Uint8Array }> {
  const segments = Math.ceil(plaintextBytes / 2040);
  const last = plaintextBytes - 2040 * (segments - 1);
  const bodyBytes = headerBytes + 2056 * (segments - 1) + 8 * (Math.ceil((last + 8) / 8) + 1);
  const header = sealed.body.slice(0, headerBytes);
  const view = new DataView(header.buffer);
  view.setUint32(12, segments);
  view.setBigUint64(16, BigInt(plaintextBytes));
  view.setBigUint64(24, BigInt(bodyBytes));
  return { header };
}
