import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { gatherAttributes } from '../../src/hsm/gather.ts';
import {
  flawOf,
  MAX_ATTRIBUTE_BYTES,
  MAX_ATTRIBUTES,
  PackedAttributes,
  wipeAttributes,
} from '../../src/hsm/packed-attributes.ts';
import type { Attributes, AttributeValue, ObjectRecord } from '../../src/hsm/state.ts';
import { Broken } from '../../src/kernel/errors.ts';
import { arbitraryAttributes } from './backup/sample.ts';

const inOrder = (attributes: Attributes) => [...attributes].sort(([a], [b]) => a - b);

function bytesOf(packed: PackedAttributes): Buffer {
  const bytes = Buffer.alloc(packed.byteLength);
  packed.copyTo(bytes, 0);
  return bytes;
}

function visited(packed: PackedAttributes): [number, AttributeValue][] {
  const seen: [number, AttributeValue][] = [];
  packed.visit({
    bool: (type, value) => seen.push([type, { type: 'bool', value }]),
    ulong: (type, value) => seen.push([type, { type: 'ulong', value }]),
    bytes: (type, source, from, end) =>
      seen.push([type, { type: 'bytes', value: new Uint8Array(source.subarray(from, end)) }]),
  });
  return seen;
}

test('packed attributes are the map they were made of, seen from every side', () => {
  fc.assert(
    fc.property(arbitraryAttributes, fc.nat(0xffff_ffff), (map, other) => {
      const packed = PackedAttributes.of(map);
      const expected = inOrder(map);
      assert.equal(packed.size, map.size);
      assert.deepEqual([...packed], expected);
      assert.deepEqual([...packed.entries()], expected);
      assert.deepEqual(
        [...packed.keys()],
        expected.map(([type]) => type),
      );
      assert.deepEqual(
        [...packed.values()],
        expected.map(([, value]) => value),
      );
      assert.deepEqual(visited(packed), expected);
      const each: [number, AttributeValue][] = [];
      packed.forEach((value, type) => {
        each.push([type, value]);
      });
      assert.deepEqual(each, expected);
      for (const type of [...map.keys(), other, 0, 0xffff_ffff]) {
        assert.deepEqual(packed.get(type), map.get(type));
        assert.equal(packed.has(type), map.has(type));
      }
    }),
  );
});

test('packing what is packed changes nothing, and one map has one form', () => {
  fc.assert(
    fc.property(arbitraryAttributes, (map) => {
      const packed = PackedAttributes.of(map);
      assert.equal(PackedAttributes.of(packed), packed);
      const back = PackedAttributes.of(new Map([...map].reverse()));
      assert.deepEqual(bytesOf(back), bytesOf(packed));
    }),
  );
});

test('packed attributes read the same from the middle of other bytes', () => {
  fc.assert(
    fc.property(arbitraryAttributes, fc.nat(20), fc.nat(20), (map, before, after) => {
      const form = bytesOf(PackedAttributes.of(map));
      const memory = Buffer.concat([Buffer.alloc(before, 0xff), form, Buffer.alloc(after, 0xff)]);
      const end = before + form.length;
      assert.equal(flawOf(memory, before, end), undefined);
      assert.deepEqual([...PackedAttributes.over(memory, before, end)], inOrder(map));
    }),
  );
});

test('bytes that are no attributes have a flaw: cut, extended, or changed into another form', () => {
  fc.assert(
    fc.property(
      arbitraryAttributes,
      fc.nat(),
      fc.integer({ min: 1, max: 255 }),
      (map, at, mask) => {
        const form = bytesOf(PackedAttributes.of(map));
        for (let end = 0; end < form.length; end += 1) assert.ok(flawOf(form, 0, end));
        assert.ok(flawOf(Buffer.concat([form, Buffer.alloc(1)]), 0, form.length + 1));
        const changed = Buffer.from(form);
        changed[at % form.length]! ^= mask;
        if (flawOf(changed, 0, changed.length) !== undefined) return;
        // Whatever else is accepted is the one form of what it says.
        const read = PackedAttributes.over(changed, 0, changed.length);
        assert.deepEqual(bytesOf(PackedAttributes.of(new Map(read))), changed);
      },
    ),
  );
});

test('what the form cannot hold is our mistake, never clipped', () => {
  const long: AttributeValue = { type: 'bytes', value: new Uint8Array(MAX_ATTRIBUTE_BYTES + 1) };
  const flag: AttributeValue = { type: 'bool', value: true };
  const many = new Map(Array.from({ length: MAX_ATTRIBUTES + 1 }, (_, type) => [type, flag]));
  const wrong: Attributes[] = [
    new Map([[1, long]]),
    many,
    ...[-1, 0.5, 2 ** 53].map((value): Attributes => new Map([[1, { type: 'ulong', value }]])),
  ];
  for (const attributes of wrong) assert.throws(() => PackedAttributes.of(attributes), Broken);
});

test('values are views: what is wiped through them is gone from the one place it is in', () => {
  const secret = Uint8Array.from({ length: 32 }, (_, i) => i + 1);
  const packed = PackedAttributes.of(
    new Map<number, AttributeValue>([
      [0x11, { type: 'bytes', value: secret }],
      [0x161, { type: 'ulong', value: 32 }],
    ]),
  );
  assert.ok(bytesOf(packed).includes(secret));
  wipeAttributes(packed);
  assert.ok(!bytesOf(packed).includes(secret.subarray(0, 4)));
  assert.deepEqual(packed.get(0x11), { type: 'bytes', value: new Uint8Array(32) });
  assert.deepEqual(packed.get(0x161), { type: 'ulong', value: 32 });
});

// ---- gathered

function objectsOf(maps: readonly Attributes[]): ObjectRecord[] {
  return maps.map((map, i) => ({
    id: i.toString(16).padStart(32, '0'),
    handle: i + 1,
    owner: 'zoë',
    sharedWith: [],
    attributes: PackedAttributes.of(map),
    createdGeneration: 1,
  }));
}

const memoriesOf = (objects: readonly ObjectRecord[]) =>
  new Set(
    objects.map(({ attributes }) => {
      assert.ok(attributes instanceof PackedAttributes);
      return attributes.memory;
    }),
  );

test('gathered attributes say what they said, from one piece of memory', () => {
  fc.assert(
    fc.property(fc.array(arbitraryAttributes, { minLength: 1, maxLength: 8 }), (maps) => {
      const objects = objectsOf(maps);
      gatherAttributes(objects);
      assert.deepEqual(
        objects.map(({ attributes }) => [...attributes]),
        maps.map(inOrder),
      );
      assert.equal(memoriesOf(objects).size, 1);
    }),
  );
});

test('gathering leaves nothing where the attributes were', () => {
  const secret = Uint8Array.from({ length: 32 }, (_, i) => i + 1);
  const maps = [1, 2].map((n): Attributes => new Map([[n, { type: 'bytes', value: secret }]]));
  const objects = objectsOf(maps);
  const memory = Buffer.alloc(200);
  const [first] = objects;
  assert.ok(first?.attributes instanceof PackedAttributes);
  first.attributes.moveTo(memory, 60);
  assert.ok(memory.includes(secret));
  // Two hundred bytes for the one object in them: they are given up.
  gatherAttributes(objects);
  assert.ok(memory.every((byte) => byte === 0));
  assert.equal(memoriesOf(objects).size, 1);
});

test('gathered memory stays under twice what lives in it, however much is deleted', () => {
  const value = new Uint8Array(500);
  let objects: ObjectRecord[] = [];
  for (let round = 0; round < 50; round += 1) {
    const maps = Array.from(
      { length: 20 },
      (): Attributes => new Map([[1, { type: 'bytes', value }]]),
    );
    objects = [...objects.filter((_, i) => i % 3 === 0), ...objectsOf(maps)];
    gatherAttributes(objects);
    const held = [...memoriesOf(objects)].reduce((sum, { byteLength }) => sum + byteLength, 0);
    const [one] = objects;
    assert.ok(one?.attributes instanceof PackedAttributes);
    assert.ok(held <= 2 * objects.length * one.attributes.byteLength);
  }
});
