import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const FOLDER = join(import.meta.dirname, '..', 'vectors');

test('vectors are the files that the README describes', () => {
  const readme = readFileSync(join(FOLDER, 'README.md'), 'utf8');
  const rows = [...readme.matchAll(/^\| `([0-9a-f]{64})` \| `([^`]+)` \|$/gm)];
  assert.ok(rows.length >= 5, 'the table was found');
  for (const [, hash, file = ''] of rows) {
    const bytes = readFileSync(join(FOLDER, file));
    assert.equal(createHash('sha256').update(bytes).digest('hex'), hash, file);
  }
});
