/**
 * Makes the vectors of docs/formats/backup-v1.md: `node test/vectors/backup/make.ts` rewrites the JSON
 * files beside it, always to the same bytes. A released vector never changes; new ones are added.
 *
 * The good ones come from the real sealer. The bad ones are cut, patched, or sealed by the small sealer
 * below, which makes authentic files with any mistake one likes.
 */
import { createHash, createSecretKey } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { wrapKwp } from '../../../src/crypto/kwp.ts';
import { stateDigest } from '../../../src/hsm/backup/digest.ts';
import { encodeHeader, encodeSealRecord, layoutOf } from '../../../src/hsm/backup/format.ts';
import { encodeRecord, encodeState, SCHEMA, StateEncoder } from '../../../src/hsm/backup/records.ts';
import { concat, toBase64, toHex, u32, u64 } from '../../../src/kernel/bytes.ts';
import type { RefusalCode } from '../../../src/kernel/errors.ts';
import {
  BACKUP_ID,
  fixedRandom,
  makeRoots,
  type RootsOptions,
  type Sealed,
  type State,
  sampleState,
  seal,
} from '../../hsm/backup/sample.ts';
import { stateToJson, type Vector, type VectorRoots } from '../../hsm/backup/vector.ts';

type Parts = Pick<Sealed, 'body' | 'sealRecord'>;
const FIPS2: Vector['target'] = { type: 'hsm2m.medium', mode: 'FIPS' };

function write(name: string, vector: Vector): void {
  writeFileSync(new URL(`${name}.json`, import.meta.url), `${JSON.stringify(vector, null, 1)}\n`);
}

function rootsJson(options: RootsOptions = {}): VectorRoots {
  const { mkbks, akbks } = makeRoots(options).entries();
  const keys = (roots: typeof mkbks | typeof akbks) =>
    roots.map(({ epoch, key }) => ({ epoch, key: toHex(key.expose()) }));
  return { ...makeRoots(options).domain(), mkbk: keys(mkbks), akbk: keys(akbks) };
}

async function good(
  name: string,
  about: string,
  state: State,
  more: { roots?: RootsOptions; target?: Vector['target'] } = {},
): Promise<void> {
  const sealed = await seal(state, { roots: makeRoots(more.roots), random: fixedRandom(name) });
  write(`good-${name}`, {
    about,
    roots: rootsJson(more.roots),
    target: more.target ?? FIPS2,
    ebk: toHex(fixedRandom(name).bytes(32)),
    body: toBase64(sealed.body),
    sealRecord: toBase64(sealed.sealRecord),
    verdict: 'opens',
    backupId: BACKUP_ID,
    headerSha256: sealed.headerSha256,
    bodySha256: sealed.bodySha256,
    stateDigest: await stateDigest(state.shared),
    state: stateToJson(state),
  });
}

function bad(
  name: string,
  about: string,
  parts: Parts,
  more: { verdict?: RefusalCode; roots?: RootsOptions; target?: Vector['target'] } = {},
): void {
  write(`bad-${name}`, {
    about,
    roots: rootsJson(more.roots),
    target: more.target ?? FIPS2,
    body: toBase64(parts.body),
    sealRecord: toBase64(parts.sealRecord),
    verdict: more.verdict ?? 'DoesNotOpen',
  });
}

// ---- good

const sample = sampleState({ paddingBytes: 7_000 });
const small = sampleState({ paddingBytes: 0 });
const { partition } = small.shared;
const bare: State = {
  shared: {
    partition: { ...partition, clusterCertificate: null, trustAnchor: null },
    generation: 0,
    nextHandle: 1,
    users: new Map(),
    objects: new Map(),
    tombstones: new Map(),
    policies: new Map(),
  },
  local: { failures: new Map(), auditSequence: 0 },
};

await good('bare', 'No users, objects, policies or certificates: one short segment.', bare);
await good('sample', 'Every field of every record; five segments.', sample);
await good('lanes', 'Twelve segments.', sampleState({ paddingBytes: 21_500 }));
await good('epochs', 'Sealed under MKBK epoch 2 and AKBK epoch 3.', small, {
  roots: { epochs: { mkbk: 2, akbk: 3 } },
});
await good('full-last', 'The last segment is a full one.', fullLast());
await good(
  'hsm1',
  'Taken from hsm1.medium FIPS, which restores to hsm2m.medium FIPS.',
  withPartition({ type: 'hsm1.medium' }),
);

function withPartition(change: Partial<State['shared']['partition']>): State {
  return { ...small, shared: { ...small.shared, partition: { ...partition, ...change } } };
}

function fullLast(): State {
  const bytes = new StateEncoder(small.shared, small.local).bytes;
  return sampleState({ paddingBytes: Math.ceil(bytes / 2040) * 2040 - bytes });
}

/** The pieces are one memory again and again. */
function encoded({ shared, local }: State): Uint8Array {
  return concat(...Array.from(encodeState(shared, local), (piece) => piece.slice()));
}

// ---- bad: cut and patched

const luck = fixedRandom('bad');
const one = await seal(sample, { random: luck });
const two = await seal(sample, { random: luck });
const [H, W] = [new DataView(one.body.buffer).getUint16(10), 2056];
const { body, sealRecord } = one;
if (new DataView(body.buffer).getUint32(12) !== 5) throw new Error('the sample has five segments');
const header = body.subarray(0, H);
const segment = (of: Uint8Array, i: number) => of.subarray(H + i * W, H + (i + 1) * W);
const segments = [0, 1, 2, 3].map((i) => segment(body, i));

function patched(bytes: Uint8Array, at: number, ...octets: number[]): Uint8Array {
  const copy = bytes.slice();
  copy.set(octets, at);
  return copy;
}
const flipped = (bytes: Uint8Array, at: number) => patched(bytes, at, (bytes[at] ?? 0) ^ 1);

bad('empty', 'No body at all.', { body: new Uint8Array(0), sealRecord });
bad('cut-header', 'The header alone.', { body: header, sealRecord });
bad('cut-octet', 'The last octet is missing.', { body: body.subarray(0, -1), sealRecord });
bad('cut-segment', 'The last segment is missing.', {
  body: body.subarray(0, H + 4 * W),
  sealRecord,
});
bad('extended', 'One octet follows.', { body: concat(body, Uint8Array.of(0)), sealRecord });
bad('flip-id', 'One bit of the backup id.', { body: flipped(body, 41), sealRecord });
bad('flip-segment', 'One bit of the second segment.', {
  body: flipped(body, H + W + 99),
  sealRecord,
});
bad('flip-record', 'One bit of the wrapped EBK.', { body, sealRecord: flipped(sealRecord, 50) });
bad('swapped', 'Segments 1 and 2 changed places.', {
  body: concat(header, ...[0, 2, 1, 3].map((i) => segment(body, i)), segment(body, 4)),
  sealRecord,
});
bad('doubled', 'Segment 1 stands in the place of 2 as well.', {
  body: concat(header, ...[0, 1, 1, 3].map((i) => segment(body, i)), segment(body, 4)),
  sealRecord,
});
bad('missing', 'Segment 1 is missing.', {
  body: concat(header, ...[0, 2, 3].map((i) => segment(body, i)), segment(body, 4)),
  sealRecord,
});
bad('foreign-segment', 'Segment 1 of another backup of the same state.', {
  body: concat(header, ...segments.with(1, segment(two.body, 1)), segment(body, 4)),
  sealRecord,
});
bad('foreign-record', 'The seal record of another backup of the same state.', {
  body,
  sealRecord: two.sealRecord,
});
bad('magic', 'Another magic.', { body: patched(body, 0, 0x6b), sealRecord });
bad('record-magic', 'A body magic on the seal record.', {
  body,
  sealRecord: patched(sealRecord, 7, 0x42),
});
bad('record-long', 'A seal record with eight octets more.', {
  body,
  sealRecord: concat(sealRecord, new Uint8Array(8)),
});
bad('header-short', 'A header length too small for what it holds.', {
  body: patched(body, 10, 0, H - 1),
  sealRecord,
});
bad('header-count', 'One segment more than the length needs.', {
  body: patched(body, 12, 0, 0, 0, 6),
  sealRecord,
});
bad(
  'version',
  'Format version 2.',
  { body: patched(body, 8, 0, 2), sealRecord },
  {
    verdict: 'InvalidRequest',
  },
);
bad(
  'record-version',
  'Seal record version 2.',
  { body, sealRecord: patched(sealRecord, 11, 2) },
  {
    verdict: 'InvalidRequest',
  },
);

// ---- bad: other keys and targets

for (const [name, roots] of [
  ['maker', { makerSeed: 'another maker' }],
  ['owner', { ownerSeed: 'another owner' }],
] as const) {
  bad(`key-${name}`, `The same names, another ${name}'s key.`, one, { roots });
}
for (const roots of [{ vendor: 'Example Work' }, { line: 'ark-2' }, { owner: 'Müller' }]) {
  const [name] = Object.keys(roots);
  bad(`domain-${name}`, `An HSM of another ${name}.`, one, { roots, verdict: 'InvalidRequest' });
}
const later: RootsOptions = { epochs: { mkbk: 2, akbk: 3 } };
const sealedLater = await seal(small, { roots: makeRoots(later), random: luck });
bad(
  'epoch-changed',
  'Sealed under epochs 2 and 3, says 2 and 2.',
  {
    body: sealedLater.body,
    sealRecord: patched(sealedLater.sealRecord, 19, 2),
  },
  { roots: later },
);
bad('epoch-unknown', 'Sealed under epochs 2 and 3, of which only 1 and 1 are here.', sealedLater);
bad('mode', 'FIPS onto NON_FIPS.', one, {
  verdict: 'WrongState',
  target: { type: 'hsm2m.medium', mode: 'NON_FIPS' },
});
bad('type', 'hsm2m.medium onto hsm1.medium.', one, {
  verdict: 'WrongState',
  target: { type: 'hsm1.medium', mode: 'FIPS' },
});
bad(
  'non-fips',
  'NON_FIPS onto FIPS.',
  await seal(withPartition({ mode: 'NON_FIPS' }), { random: luck }),
  {
    verdict: 'WrongState',
  },
);

// ---- bad: authentic, and still not what the format says

interface Mistakes {
  /** What segment `i` holds, before it is wrapped. */
  readonly segment?: (i: number, plain: Uint8Array) => Uint8Array;
  readonly headerDigest?: Uint8Array;
  readonly plaintextDigest?: Uint8Array;
}

function sealPlaintext(plaintext: Uint8Array, mistakes: Mistakes = {}): Parts {
  const sha256 = (bytes: Uint8Array) => new Uint8Array(createHash('sha256').update(bytes).digest());
  const roots = makeRoots();
  const layout = layoutOf(plaintext.length);
  const ebk = fixedRandom('authentic').bytes(32);
  const key = createSecretKey(ebk);
  const clear = encodeHeader({ backupId: BACKUP_ID, domain: roots.domain(), layout });
  const wrapped: Uint8Array[] = [];
  for (let i = 0; i < layout.segmentCount; i++) {
    const piece = plaintext.subarray(i * 2040, (i + 1) * 2040);
    const plain = concat(u32(i), u32(layout.segmentCount), piece);
    wrapped.push(wrapKwp(key, mistakes.segment?.(i, plain) ?? plain));
  }
  const secret = concat(
    ebk,
    mistakes.headerDigest ?? sha256(clear),
    mistakes.plaintextDigest ?? sha256(plaintext),
  );
  const epochs = roots.epochs();
  const record = encodeSealRecord({ epochs, wrapped: wrapKwp(roots.pbk(epochs), secret) });
  return { body: concat(clear, ...wrapped), sealRecord: record };
}

const whole = encoded(sample);
const zeros = new Uint8Array(32);
bad(
  'seal-index',
  'Segment 1 says that it is 2.',
  sealPlaintext(whole, {
    segment: (i, plain) => (i === 1 ? patched(plain, 3, 2) : plain),
  }),
);
bad(
  'seal-count',
  'The last segment says that there are six.',
  sealPlaintext(whole, {
    segment: (i, plain) => (i === 4 ? patched(plain, 7, 6) : plain),
  }),
);
bad(
  'seal-short',
  'A segment one octet short; its wrapped length is the same.',
  sealPlaintext(whole, {
    segment: (i, plain) => (i === 1 ? plain.subarray(0, -1) : plain),
  }),
);
bad(
  'seal-header-digest',
  'The digest of another header.',
  sealPlaintext(whole, { headerDigest: zeros }),
);
bad(
  'seal-plaintext-digest',
  'The digest of another plaintext.',
  sealPlaintext(whole, {
    plaintextDigest: zeros,
  }),
);

type Records = readonly Uint8Array[];

/** The records of a plaintext, one by one. */
function recordsOf(plaintext: Uint8Array): Uint8Array[] {
  const view = new DataView(plaintext.buffer, plaintext.byteOffset);
  const records: Uint8Array[] = [];
  for (let at = 0; at < plaintext.length; ) {
    const end = at + 5 + view.getUint32(at + 1);
    records.push(plaintext.slice(at, end));
    at = end;
  }
  return records;
}

/** A field appended to a record, right or wrong. */
function withField(record: Uint8Array, tag: number, value: Uint8Array): Uint8Array {
  const fields = concat(record.subarray(5), Uint8Array.of(tag), u32(value.length), value);
  return concat(record.subarray(0, 1), u32(fields.length), fields);
}

const records = recordsOf(encoded(small));
const [MANIFEST, PARTITION, ADMIN, APP_USER, , OBJECT] = [0, 1, 2, 3, 4, 5];
const archive = (name: string, about: string, list: Records) =>
  bad(`archive-${name}`, about, sealPlaintext(concat(...list)));
const record = (i: number): Uint8Array => records[i] ?? new Uint8Array(0);

archive('trailing', 'One octet behind the last record.', [...records, Uint8Array.of(0)]);
archive('trailing-record', 'A tombstone more than the manifest says, at the end.', [
  ...records,
  encodeRecord('tombstone', { id: 'f'.repeat(32), generation: 1 }),
]);
archive('short', 'The last record is missing.', records.slice(0, -1));
archive('no-manifest', 'The manifest is missing.', records.slice(1));
archive('partition-first', 'Partition and manifest changed places.', [
  record(PARTITION),
  record(MANIFEST),
  ...records.slice(2),
]);
archive(
  'order',
  'Two users changed places.',
  records.with(ADMIN, record(APP_USER)).with(APP_USER, record(ADMIN)),
);
archive(
  'twice',
  'One object stands there twice, in place of another.',
  records.with(OBJECT + 1, record(OBJECT)),
);
archive(
  'version',
  'Version 2 of the tables.',
  records.with(MANIFEST, patched(record(MANIFEST), 17, 2)),
);
archive(
  'number',
  'A generation of 2^53.',
  records.with(MANIFEST, patched(record(MANIFEST), 23, 0, 0x20, 0, 0, 0, 0, 0, 0)),
);
archive(
  'local-digest',
  'The local digest of another local state.',
  records.with(MANIFEST, flipped(record(MANIFEST), record(MANIFEST).length - 1)),
);
archive(
  'unknown-tag',
  'A user with a field of tag 6.',
  records.with(ADMIN, withField(record(ADMIN), 6, Uint8Array.of(1))),
);
archive(
  'doubled-tag',
  'A user with its last field twice.',
  records.with(ADMIN, withField(record(ADMIN), 5, new Uint8Array(8))),
);
archive(
  'missing-field',
  'A policy without value.',
  records.with(
    records.length - 3,
    encodeRecord(
      'policy',
      { name: 'lock-out', value: 5 },
      {
        ...SCHEMA,
        policy: { ...SCHEMA.policy, fields: SCHEMA.policy.fields.slice(0, 1) },
      },
    ),
  ),
);
archive('role', 'A user of role 9.', records.with(ADMIN, patched(record(ADMIN), 20, 9)));
archive(
  'utf8',
  'A user name that is not UTF-8.',
  records.with(ADMIN, patched(record(ADMIN), 10, 0xff)),
);
/** `u32 type ‖ u8 sort ‖ u32 length ‖ value` of CKA_CLASS (number) and CKA_TOKEN (boolean), in this order. */
const CLASS = concat(u32(0), Uint8Array.of(2), u32(8), u64(4));
const TOKEN = concat(u32(1), Uint8Array.of(1), u32(1), Uint8Array.of(1));

function replaced(bytes: Uint8Array, from: Uint8Array, to: Uint8Array): Uint8Array {
  const at = Buffer.from(bytes).indexOf(from);
  if (at < 0 || from.length !== to.length) throw new Error('nothing to replace');
  return patched(bytes, at, ...to);
}

archive(
  'attribute-bool',
  'A boolean of 2.',
  records.with(OBJECT, replaced(record(OBJECT), TOKEN, patched(TOKEN, 9, 2))),
);
archive(
  'attribute-sort',
  'An attribute of sort 4.',
  records.with(OBJECT, replaced(record(OBJECT), TOKEN, patched(TOKEN, 4, 4))),
);
archive(
  'attribute-order',
  'Two attributes changed places.',
  records.with(OBJECT, replaced(record(OBJECT), concat(CLASS, TOKEN), concat(TOKEN, CLASS))),
);
