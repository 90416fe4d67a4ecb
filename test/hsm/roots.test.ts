import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import { Roots } from '../../src/hsm/roots.ts';
import { concat, fromUtf8, u32 } from '../../src/kernel/bytes.ts';
import { Broken, type RefusalCode, Refused } from '../../src/kernel/errors.ts';
import { Secret } from '../../src/kernel/secret.ts';

const keyOf = (fill: number, length = 32) => new Secret(new Uint8Array(length).fill(fill));
const mkbk = (epoch: number, fill = 1) => ({ vendor: 'V', line: 'L', epoch, key: keyOf(fill) });
const akbk = (epoch: number, fill = 2) => ({ owner: 'O', epoch, key: keyOf(fill) });

function rootsWith(mkbks: number, akbks: number): Roots {
  const roots = new Roots();
  for (let epoch = 1; epoch <= mkbks; epoch++) roots.addMkbk(mkbk(epoch));
  for (let epoch = 1; epoch <= akbks; epoch++) roots.addAkbk(akbk(epoch));
  return roots;
}

function assertRefused(code: RefusalCode, add: () => void): void {
  assert.throws(add, (error) => error instanceof Refused && error.code === code);
}

const exported = (roots: Roots, epochs: { mkbk: number; akbk: number }) =>
  roots.pbk(epochs).export().toString('hex');

test('pbk() is one HMAC over what the format page says', () => {
  const part = (bytes: Uint8Array) => concat(u32(bytes.length), bytes);
  const context = [fromUtf8('V'), fromUtf8('L'), fromUtf8('O'), u32(2), u32(1)].map(part);
  const expected = createHmac('sha256', concat(keyOf(1).expose(), keyOf(2).expose()))
    .update(
      concat(u32(1), fromUtf8('keyark backup PBK v1'), Uint8Array.of(0), ...context, u32(256)),
    )
    .digest('hex');
  assert.equal(exported(rootsWith(2, 1), { mkbk: 2, akbk: 1 }), expected);
});

test('pbk() differs with each key, each epoch and each name of the domain', () => {
  const both = { mkbk: 1, akbk: 1 };
  const made = (maker = {}, owner = {}) => {
    const roots = new Roots();
    roots.addMkbk({ ...mkbk(1), ...maker });
    roots.addAkbk({ ...akbk(1), ...owner });
    return exported(roots, both);
  };
  const all = [
    made(),
    made({ key: keyOf(3) }),
    made({}, { key: keyOf(3) }),
    made({ key: keyOf(2) }, { key: keyOf(1) }),
    made({ vendor: 'W' }),
    made({ line: 'M' }),
    made({}, { owner: 'P' }),
    made({ vendor: 'VL', line: 'L' }),
    made({ vendor: 'V', line: 'LL' }),
    exported(rootsWith(2, 2), { mkbk: 2, akbk: 1 }),
    exported(rootsWith(2, 2), { mkbk: 1, akbk: 2 }),
  ];
  assert.equal(new Set(all).size, all.length);
});

test('epochs() are the newest, and older ones stay', () => {
  const roots = rootsWith(3, 2);
  assert.deepEqual(roots.epochs(), { mkbk: 3, akbk: 2 });
  assert.deepEqual(roots.domain(), { vendor: 'V', line: 'L', owner: 'O' });
  assert.ok(roots.has({ mkbk: 1, akbk: 2 }));
  assert.ok(!roots.has({ mkbk: 4, akbk: 2 }));
  assert.throws(() => roots.pbk({ mkbk: 4, akbk: 2 }), Broken);
});

test('epochs only grow; the same root again changes nothing', () => {
  const roots = new Roots();
  roots.addMkbk(mkbk(2));
  roots.addAkbk(akbk(2));
  roots.addMkbk(mkbk(2));
  roots.addAkbk(akbk(2));
  assertRefused('Conflict', () => roots.addMkbk(mkbk(1)));
  assertRefused('Conflict', () => roots.addAkbk(akbk(1)));
  assertRefused('Conflict', () => roots.addMkbk(mkbk(2, 9)));
  assertRefused('Conflict', () => roots.addAkbk(akbk(2, 9)));
  assert.deepEqual(roots.epochs(), { mkbk: 2, akbk: 2 });
  assert.equal(roots.entries().mkbks.length, 1);
});

test('a device stays with its line and its owner', () => {
  const roots = rootsWith(1, 1);
  assertRefused('Conflict', () => roots.addMkbk({ ...mkbk(2), vendor: 'W' }));
  assertRefused('Conflict', () => roots.addMkbk({ ...mkbk(2), line: 'M' }));
  assertRefused('Conflict', () => roots.addAkbk({ ...akbk(2), owner: 'P' }));
});

test('impossible roots are refused', () => {
  const roots = new Roots();
  for (const epoch of [0, -1, 1.5, 2 ** 32, Number.NaN]) {
    assertRefused('InvalidRequest', () => roots.addMkbk(mkbk(epoch)));
    assertRefused('InvalidRequest', () => roots.addAkbk(akbk(epoch)));
  }
  for (const length of [0, 16, 31, 33]) {
    assertRefused('InvalidRequest', () => roots.addMkbk({ ...mkbk(1), key: keyOf(1, length) }));
  }
  for (const owner of ['', 'x'.repeat(65), 'ü'.repeat(33), 'a\nb', '\u0085', '\ud800']) {
    assertRefused('InvalidRequest', () => roots.addAkbk({ ...akbk(1), owner }));
  }
});

test('an unenrolled device has neither domain nor epochs', () => {
  const roots = rootsWith(1, 0);
  assert.throws(() => roots.domain(), Broken);
  assert.throws(() => roots.epochs(), Broken);
  assert.ok(!roots.has({ mkbk: 1, akbk: 1 }));
});

test('disposing wipes the keys', () => {
  const { key } = mkbk(1);
  const bytes = key.expose();
  const roots = new Roots();
  roots.addMkbk({ ...mkbk(1), key });
  roots[Symbol.dispose]();
  assert.ok(bytes.every((octet) => octet === 0));
});
