import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Field, MalformedRecord } from '../../../src/hsm/backup/fields.ts';
import {
  decodeChange,
  decodeRecord,
  decodeState,
  encodeChange,
  encodeRecord,
  encodeState,
  type RecordName,
  type Records,
  SCHEMA,
  type Schema,
} from '../../../src/hsm/backup/records.ts';
import { CKA } from '../../../src/hsm/constants.ts';
import type { Change } from '../../../src/hsm/store.ts';
import { concat, u32 } from '../../../src/kernel/bytes.ts';
import { Broken } from '../../../src/kernel/errors.ts';
import { arbitraryState, packed, reversed, type State, sampleState, withMaps } from './sample.ts';

const sample = sampleState();
const encode = ({ shared, local }: State, schema?: Schema) =>
  concat(...Array.from(encodeState(shared, local, schema), (piece) => piece.slice()));

const samples: { readonly [Name in RecordName]: Records[Name] } = {
  manifest: {
    version: 1,
    generation: 2,
    nextHandle: 3,
    auditSequence: 4,
    users: 5,
    objects: 6,
    tombstones: 7,
    policies: 8,
    failures: 9,
    localDigest: new Uint8Array(32).fill(1),
  },
  partition: sample.shared.partition,
  user: first(sample.shared.users),
  object: first(sample.shared.objects),
  tombstone: first(sample.shared.tombstones),
  policy: first(sample.shared.policies),
  failures: { name: 'zoë', count: 6 },
  audit: { at: 1, opcode: 'CN_LOGIN', response: 0, session: 2, user: 'zoë', details: 'x' },
  removedUser: { name: 'zoë' },
  removedObject: { id: '0123456789abcdef0123456789abcdef' },
  verifier: { salt: new Uint8Array(16), memoryKiB: 8, passes: 2, hash: new Uint8Array(32) },
};
// Object.keys of a record over all RecordNames gives exactly those.
const kinds = Object.keys(samples) as RecordName[];

function first<V>(map: ReadonlyMap<string, V>): V {
  const [value] = map.values();
  assert.ok(value !== undefined);
  return value;
}

/** A record taken apart, to be put together wrongly. */
function fieldsOf(record: Uint8Array): { tag: number; value: Uint8Array }[] {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const fields: { tag: number; value: Uint8Array }[] = [];
  for (let at = 5; at < record.length; ) {
    const length = view.getUint32(at + 1);
    fields.push({ tag: view.getUint8(at), value: record.subarray(at + 5, at + 5 + length) });
    at += 5 + length;
  }
  return fields;
}

function recordOf(kind: number, fields: readonly { tag: number; value: Uint8Array }[]): Uint8Array {
  const body = concat(
    ...fields.flatMap(({ tag, value }) => [Uint8Array.of(tag), u32(value.length), value]),
  );
  return concat(Uint8Array.of(kind), u32(body.length), body);
}

test('a state comes back as it was, whatever is in it', () => {
  fc.assert(
    fc.property(arbitraryState, (state) => {
      assert.deepEqual(withMaps(decodeState(encode(state))), state);
    }),
  );
});

test('a state with a record larger than a piece comes back as it was', () => {
  const state = sampleState({ paddingBytes: 300_000 });
  assert.deepEqual(withMaps(decodeState(encode(state))), state);
});

test('one state has one encoding, in whatever order its maps were filled', () => {
  fc.assert(
    fc.property(arbitraryState, (state) => {
      assert.deepEqual(encode(reversed(state)), encode(state));
      assert.deepEqual(encode(packed(state)), encode(state));
    }),
  );
});

test('what decodes is what would be encoded: no two byte strings mean one state', () => {
  const encoded = encode(sampleState({ paddingBytes: 9 }));
  for (let bit = 0; bit < encoded.length * 8; bit++) {
    const flipped = encoded.slice();
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    const given = flipped.slice();
    let state: State;
    try {
      state = decodeState(flipped);
    } catch (error) {
      assert.ok(error instanceof MalformedRecord, `bit ${bit}: ${error}`);
      continue;
    }
    assert.deepEqual(encode(state), given, `bit ${bit}`);
  }
});

test('decodeState() leaves nothing of what it read but attributes, and what it refuses as it was', () => {
  const encoded = encode(sample);
  const { partition, users } = sample.shared;
  const found = (octets: Uint8Array) => Buffer.from(encoded).indexOf(octets) >= 0;
  const verifier = [...users.values()].find((user) => user.verifier !== null)?.verifier;
  assert.ok(verifier);
  const others = [partition.partitionKey, partition.maskingKey, verifier.hash, verifier.salt];
  assert.ok(others.every(found));

  const damaged = concat(encoded, Uint8Array.of(0));
  assert.throws(() => decodeState(damaged), MalformedRecord);
  assert.deepEqual(damaged, concat(encoded, Uint8Array.of(0)));

  const { shared } = decodeState(encoded);
  for (const [i, octets] of others.entries())
    assert.ok(!found(octets), `secret ${i} is still there`);
  // The objects' own secrets are in that memory and nowhere else: wiping the one wipes the other.
  for (const { attributes } of shared.objects.values()) {
    for (const attribute of attributes.values()) {
      if (attribute.type === 'bytes') attribute.value.fill(0);
    }
  }
  for (const { attributes } of sample.shared.objects.values()) {
    const key = attributes.get(CKA.VALUE);
    assert.ok(key?.type === 'bytes');
    if (key.value.length >= 16) assert.ok(!found(key.value));
  }
});

test('an encoded state that is cut or extended anywhere is refused', () => {
  const encoded = encode(sampleState({ paddingBytes: 9 }));
  for (let length = 0; length < encoded.length; length++) {
    assert.throws(() => decodeState(encoded.subarray(0, length)), MalformedRecord);
  }
  assert.throws(() => decodeState(concat(encoded, Uint8Array.of(0))), MalformedRecord);
  assert.throws(() => decodeState(concat(encoded, encoded)), MalformedRecord);
});

test('arbitrary bytes are refused in no other way', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      assert.throws(() => decodeState(bytes), MalformedRecord);
    }),
  );
});

test('a manifest that announces more than the format allows is refused before anything is read', () => {
  const partition = encodeRecord('partition', sample.shared.partition);
  for (const group of ['users', 'objects', 'tombstones', 'policies', 'failures'] as const) {
    const zero = { users: 0, objects: 0, tombstones: 0, policies: 0, failures: 0 };
    const manifest = { ...samples.manifest, ...zero, [group]: 2 ** 40 };
    assert.throws(
      () => decodeState(concat(encodeRecord('manifest', manifest), partition)),
      (error) => error instanceof MalformedRecord && /more records/.test(error.message),
    );
  }
});

for (const kind of kinds) {
  const encodeOne = (schema?: Schema) => encodeRecord(kind, samples[kind], schema);
  const { kind: code, fields } = SCHEMA[kind];
  const refused = (record: Uint8Array) =>
    assert.throws(() => decodeRecord(kind, record), MalformedRecord);

  test(`a record of ${kind} comes back as it was`, () => {
    assert.deepEqual(withMaps(decodeRecord(kind, encodeOne())), samples[kind]);
  });

  test(`a record of ${kind} without a field is refused, or says that there is nothing`, () => {
    for (const field of fields) {
      const without = recordOf(
        code,
        fieldsOf(encodeOne()).filter(({ tag }) => tag !== field.tag),
      );
      if (field.absent === undefined) refused(without);
      else assert.notDeepEqual(withMaps(decodeRecord(kind, without)), samples[kind]);
    }
  });

  test(`a record of ${kind} with unknown, doubled, moved or extra octets is refused`, () => {
    const parts = fieldsOf(encodeOne());
    const nothing = new Uint8Array(0);
    refused(recordOf(code, [...parts, { tag: 200, value: nothing }]));
    refused(recordOf(code, [...parts, { tag: 0, value: nothing }]));
    refused(recordOf(code, [{ tag: 0, value: nothing }, ...parts]));
    refused(recordOf(code + 100, parts));
    refused(concat(encodeOne(), Uint8Array.of(0)));
    for (const [i, part] of parts.entries()) {
      refused(recordOf(code, parts.toSpliced(i, 0, part)));
      const longer = { ...part, value: concat(part.value, new Uint8Array(2 ** 21)) };
      refused(recordOf(code, parts.with(i, longer)));
      if (i > 0) refused(recordOf(code, [...parts.slice(0, i - 1), part, parts[i - 1]!]));
    }
  });
}

test('tags and kinds are unique, ascend from 1 and never are 0', () => {
  for (const kind of kinds) {
    const tags = SCHEMA[kind].fields.map((field: Field) => field.tag);
    assert.deepEqual(
      tags,
      tags.map((_, i) => i + 1),
    );
  }
  const codes = kinds.filter((kind) => kind !== 'verifier').map((kind) => SCHEMA[kind].kind);
  assert.equal(new Set(codes).size, codes.length);
  assert.ok(!codes.includes(0));
});

test('attributes out of order, doubled or of an impossible value are refused', () => {
  const object = samples.object;
  const encoded = fieldsOf(encodeRecord('object', object));
  const attribute = (type: number, sort: number, value: Uint8Array) =>
    concat(u32(type), Uint8Array.of(sort), u32(value.length), value);
  const one = Uint8Array.of(1);
  const withAttributes = (count: number, ...list: Uint8Array[]) =>
    recordOf(SCHEMA.object.kind, encoded.with(4, { tag: 5, value: concat(u32(count), ...list) }));
  const fine = withAttributes(2, attribute(1, 1, one), attribute(2, 3, one));
  assert.equal(decodeRecord('object', fine).attributes.size, 2);
  const bad = [
    withAttributes(2, attribute(2, 1, one), attribute(1, 3, one)),
    withAttributes(2, attribute(1, 1, one), attribute(1, 1, one)),
    withAttributes(1, attribute(1, 1, Uint8Array.of(2))),
    withAttributes(1, attribute(1, 1, Uint8Array.of(1, 0))),
    withAttributes(1, attribute(1, 2, one)),
    withAttributes(1, attribute(1, 2, new Uint8Array(8).fill(0xff))),
    withAttributes(1, attribute(1, 4, one)),
    withAttributes(1, attribute(1, 0, one)),
    withAttributes(2, attribute(1, 1, one)),
    withAttributes(0, attribute(1, 1, one)),
    withAttributes(0xffff_ffff, attribute(1, 1, one)),
    withAttributes(1, concat(u32(1), Uint8Array.of(3), u32(0xffff_ffff))),
  ];
  for (const record of bad) assert.throws(() => decodeRecord('object', record), MalformedRecord);
});

test('a text that is not UTF-8 is refused, and a replacement character is a character', () => {
  const policy = (name: Uint8Array) =>
    recordOf(SCHEMA.policy.kind, [
      { tag: 1, value: name },
      { tag: 2, value: new Uint8Array(8) },
    ]);
  for (const bad of [[0xff], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xe2, 0x82]]) {
    assert.throws(() => decodeRecord('policy', policy(Uint8Array.from(bad))), MalformedRecord);
  }
  for (const name of ['\ufffd', '\ufeffmarked', '\u{10ffff}']) {
    assert.equal(decodeRecord('policy', encodeRecord('policy', { name, value: 0 })).name, name);
  }
});

test('what the format cannot hold is our mistake, never clipped', () => {
  const { user, object, policy } = samples;
  const tooBig = { type: 'bytes', value: new Uint8Array(2 ** 20 + 1) } as const;
  const cannot: (() => unknown)[] = [
    () => encodeRecord('user', { ...user, name: 'x'.repeat(256) }),
    () => encodeRecord('user', { ...user, name: '\ud800' }),
    () => encodeRecord('policy', { ...policy, value: -1 }),
    () => encodeRecord('policy', { ...policy, value: 0.5 }),
    () => encodeRecord('policy', { ...policy, value: 2 ** 53 }),
    () => encodeRecord('object', { ...object, id: 'A'.repeat(32) }),
    () => encodeRecord('object', { ...object, id: 'short' }),
    () => encodeRecord('object', { ...object, attributes: new Map([[1, tooBig]]) }),
    () => encodeRecord('object', { ...object, sharedWith: Array(4097).fill('x') }),
  ];
  for (const encodeIt of cannot) assert.throws(encodeIt, Broken);
});

test('each change of the log comes back as it was', () => {
  const changes: Change[] = [
    { kind: 'put-user', user: samples.user },
    { kind: 'remove-user', name: 'zoë' },
    { kind: 'put-object', object: samples.object },
    { kind: 'remove-object', id: samples.removedObject.id },
    { kind: 'put-policy', policy: samples.policy },
    { kind: 'put-partition', partition: samples.partition },
    { kind: 'set-failures', name: 'zoë', count: 0 },
    { kind: 'audit', record: samples.audit },
    { kind: 'audit', record: { at: 1, opcode: 'CN_LOGIN', response: 160, session: 2 } },
  ];
  for (const change of changes) {
    const encoded = encodeChange(change);
    assert.deepEqual(withMaps(decodeChange(encoded)), change);
    assert.throws(() => decodeChange(encoded.subarray(0, -1)), MalformedRecord);
    assert.throws(() => decodeChange(concat(encoded, encoded)), MalformedRecord);
  }
  assert.throws(() => decodeChange(new Uint8Array(0)), MalformedRecord);
  assert.throws(() => decodeChange(encodeRecord('manifest', samples.manifest)), MalformedRecord);
});
