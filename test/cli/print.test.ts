import assert from 'node:assert/strict';
import test from 'node:test';
import { duration, tableLines } from '../../src/cli/print.ts';

test('tableLines() makes columns as wide as their widest cell, numbers to the right', () => {
  assert.deepEqual(
    tableLines(
      ['name', 'keys'],
      [
        ['a', '5'],
        ['longer', '1000'],
      ],
    ),
    ['name    keys', 'a          5', 'longer  1000'],
  );
});

test('duration() speaks in the unit that people would use', () => {
  const SECOND = 1000;
  assert.equal(duration(400), '0 s');
  assert.equal(duration(59 * SECOND), '59 s');
  assert.equal(duration(3 * 60 * SECOND), '3 min');
  assert.equal(duration((21 * 60 + 40) * 60 * SECOND), '21 h 40 min');
  assert.equal(duration(5 * 24 * 3600 * SECOND), '5 d');
});
