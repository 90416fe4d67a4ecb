import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  ATTRIBUTES,
  attributeRow,
  defaultsOf,
  flag,
  isSecret,
  parseChange,
  parseCreation,
  renderAttributes,
} from '../../src/hsm/attributes.ts';
import { CKA, CKO } from '../../src/hsm/constants.ts';
import type { AttributeValue } from '../../src/hsm/state.ts';

const CLASSES = Object.values(CKO);

function privateKey(changed: Record<number, boolean> = {}): Map<number, AttributeValue> {
  const attributes = defaultsOf(CKO.PRIVATE_KEY);
  for (const [type, value] of Object.entries(changed)) attributes.set(Number(type), flag(value));
  return attributes;
}

test('numbers and names in the table are unique, and each number has its row', () => {
  const rows = Object.values(ATTRIBUTES);
  assert.equal(new Set(rows.map(({ name }) => name)).size, rows.length);
  for (const [name, type] of Object.entries(CKA))
    assert.equal(attributeRow(type)?.type, type, name);
});

const ONE_WAY = [
  ['sensitive', CKA.SENSITIVE, true],
  ['wrap-with-trusted', CKA.WRAP_WITH_TRUSTED, true],
  ['extractable', CKA.EXTRACTABLE, false],
  ['copyable', CKA.COPYABLE, false],
  ['modifiable', CKA.MODIFIABLE, false],
] as const;

for (const [name, type, end] of ONE_WAY) {
  test(`${name} goes to ${String(end)} and never back`, () => {
    const before = privateKey({ [type]: !end });
    assert.deepEqual(parseChange({ [name]: end }, before, 'owner').get(type), flag(end));
    const after = privateKey({ [type]: end });
    assert.throws(() => parseChange({ [name]: !end }, after, 'owner'), {
      code: name === 'modifiable' ? 'WrongState' : 'InvalidRequest',
    });
  });
}

test('trusted is the admin’s to set, and the only thing an admin sets', () => {
  const wrapping = defaultsOf(CKO.SECRET_KEY);
  assert.throws(() => parseChange({ trusted: true }, wrapping, 'owner'), { code: 'AccessDenied' });
  assert.equal(parseChange({ trusted: true }, wrapping, 'admin').size, 1);
  assert.throws(() => parseChange({ label: 'x' }, wrapping, 'admin'), { code: 'AccessDenied' });
  assert.throws(() => parseCreation({ trusted: true }, CKO.SECRET_KEY), { code: 'InvalidRequest' });
});

test('what only the HSM knows is given by nobody, at creation or later', () => {
  const names = [
    'class',
    'key-type',
    'token',
    'local',
    'always-sensitive',
    'never-extractable',
    'key-gen-mechanism',
    'check-value',
    'value',
    'modulus',
    'private-exponent',
    'ec-point',
    'unique-id',
    'key-length-bytes',
  ];
  for (const name of names) {
    for (const value of [true, 1, 'AAAA']) {
      for (const objectClass of CLASSES) {
        assert.throws(() => parseCreation({ [name]: value }, objectClass), {
          code: 'InvalidRequest',
        });
        for (const by of ['owner', 'admin'] as const) {
          assert.throws(() => parseChange({ [name]: value }, defaultsOf(objectClass), by), {
            code: 'InvalidRequest',
          });
        }
      }
    }
  }
});

test('one refused attribute refuses them all', () => {
  const current = privateKey();
  assert.throws(() => parseChange({ label: 'new', extractable: true }, current, 'owner'));
  assert.throws(() => parseChange({ label: 'new', nonsense: 1 }, current, 'owner'), {
    code: 'InvalidRequest',
  });
});

test('values of the wrong form are refused, with the form that works', () => {
  const wrong: [string, unknown][] = [
    ['sign', 1],
    ['sign', 'true'],
    ['sign', null],
    ['label', 7],
    ['label', 'x'.repeat(128)],
    ['label', '\ud800'],
    ['id', 'not base64!'],
    ['id', 'AA'],
    ['id', true],
    ['id', 'A'.repeat(8_000)],
    ['start-date', '20261301'],
    ['start-date', 'soon'],
    ['__proto__', true],
    ['constructor', true],
  ];
  for (const [name, value] of wrong) {
    const given = JSON.parse(`{${JSON.stringify(name)}:${JSON.stringify(value)}}`);
    assert.throws(() => parseCreation(given, CKO.PRIVATE_KEY), { code: 'InvalidRequest' }, name);
  }
  assert.equal(
    parseCreation({ 'start-date': '20261124', 'end-date': '', label: '🔑' }, CKO.PRIVATE_KEY).size,
    3,
  );
});

test('a usage that a class does not have can’t be given to it', () => {
  assert.throws(() => parseCreation({ sign: true }, CKO.PUBLIC_KEY), { code: 'InvalidRequest' });
  assert.throws(() => parseCreation({ wrap: true }, CKO.PRIVATE_KEY), { code: 'InvalidRequest' });
  assert.throws(() => parseCreation({ unwrap: true }, CKO.PUBLIC_KEY), { code: 'InvalidRequest' });
  assert.throws(() => parseChange({ sign: true }, defaultsOf(CKO.CERTIFICATE), 'owner'), {
    code: 'InvalidRequest',
  });
});

test('a rendering shows no key material and nothing this version does not know', () => {
  for (const objectClass of [CKO.PRIVATE_KEY, CKO.SECRET_KEY]) {
    const attributes = defaultsOf(objectClass);
    for (const type of [...Object.values(CKA), 0x8000_0001]) {
      if (!attributes.has(type))
        attributes.set(type, { type: 'bytes', value: new Uint8Array([0xab, 0xcd, 0xef]) });
    }
    const shown = Object.keys(renderAttributes(attributes));
    for (const name of [
      'value',
      'private-exponent',
      'prime-1',
      'prime-2',
      'exponent-1',
      'exponent-2',
      'coefficient',
    ]) {
      assert.ok(!shown.includes(name), name);
    }
    assert.equal(isSecret(attributes, 0x8000_0001), true);
    assert.ok(shown.every((name) => !name.startsWith('0x')));
  }
});

test('a new key is sensitive and can’t leave unless its creator says so', () => {
  for (const objectClass of [CKO.PRIVATE_KEY, CKO.SECRET_KEY]) {
    const attributes = defaultsOf(objectClass);
    assert.deepEqual(attributes.get(CKA.SENSITIVE), flag(true));
    assert.deepEqual(attributes.get(CKA.EXTRACTABLE), flag(false));
    assert.deepEqual(attributes.get(CKA.PRIVATE), flag(true));
  }
});
