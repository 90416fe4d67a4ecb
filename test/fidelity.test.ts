/** docs/fidelity.md is complete where completeness can be counted, and leads nowhere that is not there. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { OPERATIONS } from '../src/api/shapes.ts';
import { FEATURES } from '../src/profile.ts';

const PAGE = readFileSync(join(import.meta.dirname, '..', 'docs', 'fidelity.md'), 'utf8');

/** The first cells of the first table under a heading, without its head. */
function rowsUnder(heading: string): string[] {
  const [, section = ''] = PAGE.split(`\n## ${heading}\n`);
  const lines = section.split('\n## ')[0]?.split('\n') ?? [];
  const rows = lines.filter((line) => line.startsWith('|')).slice(2);
  return rows.map((row) => row.split('|')[1]?.trim() ?? '');
}

test('every operation of the API has its row', () => {
  assert.deepEqual(rowsUnder('The eighteen operations'), Object.keys(OPERATIONS));
});

test('every difference between the profiles has its row', () => {
  const rows = rowsUnder('The profile aws-exact');
  const named = Object.values(FEATURES).map(({ what }) => what);
  assert.deepEqual(
    rows.filter((row) => named.some((what) => what === row)),
    named,
  );
});

test('every link within the page leads to one of its headings', () => {
  const anchors = [...PAGE.matchAll(/^## (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replace(/[^a-z0-9 -]/g, '')
      .replaceAll(' ', '-'),
  );
  const links = [...PAGE.matchAll(/\]\(#([^)]+)\)/g)].map(([, anchor]) => anchor ?? '');
  assert.ok(links.length > 0);
  assert.deepEqual(
    links.filter((link) => !anchors.includes(link)),
    [],
  );
});
