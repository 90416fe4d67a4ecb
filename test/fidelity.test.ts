/** docs/fidelity.md is complete where completeness can be counted, and leads nowhere that is not there. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { OPERATIONS } from '../src/api/shapes.ts';
import { FEATURES } from '../src/profile.ts';

const PAGE = readFileSync(join(import.meta.dirname, '..', 'docs', 'fidelity.md'), 'utf8');

/** How a test's title begins and ends in a source. */
const TITLE = /\b(?:test|it)\(\s*(['"`])(.*?)\1,/gs;

/** The cells of the first table under a heading, row by row, without its head. */
function cellsUnder(heading: string): readonly (readonly string[])[] {
  const [, section = ''] = PAGE.split(`\n## ${heading}\n`);
  const lines = section.split('\n## ')[0]?.split('\n') ?? [];
  const rows = lines.filter((line) => line.startsWith('|')).slice(2);
  return rows.map((row) =>
    row
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

test('every operation of the API has its row', () => {
  assert.deepEqual(
    cellsUnder('The eighteen operations').map(([name]) => name),
    Object.keys(OPERATIONS),
  );
});

test('every difference between the profiles has its row', () => {
  const rows = cellsUnder('The profile aws-exact').map(([name]) => name);
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

/** Every point on which AWS's documents are silent, as far as they were read, and the choices made for it. */
const SILENT: Readonly<Record<string, readonly string[]>> = {
  'order of DescribeBackups': ['default-order'],
  'error of each situation': ['wrong-state', 'hsms-meanwhile'],
  'unknown cluster, backup or HSM': ['unknown-id', 'unknown-id-in-filter'],
  'more than 50 tags': ['tags-past-50'],
  'quotas of clusters and HSMs': ['quota-error'],
  'what may be repeated': ['same-value', 'repeated-change'],
  'triggers of UPDATE_IN_PROGRESS, DEGRADED, PENDING_ROLLBACK': [
    'cluster-update',
    'cluster-degraded',
    'pending-rollback',
  ],
  'daily backup without HSMs': ['no-live-hsm'],
  'DeleteBackup of the last one': ['last-by-hand'],
  'NeverExpires and ClusterId of copies': ['never-expires-of-copy'],
  'copies across accounts': ['copy-by-consumer'],
  'tags of automatic backups': ['tags-of-backups'],
  'trail of service-made backups': ['service-acts'],
  'certificate for an old CSR': ['old-request'],
  'ModifyCluster with both': ['type-and-retention'],
  'passwords and locks after a restore': ['passwords-restored'],
  'deleted keys after a restore': ['tombstones'],
  'shared backup deleted by its owner': ['shared-and-deleted'],
  'backups after the deletion of their cluster': ['backups-outlive'],
  'default mode': ['default-mode'],
  'permission rows that were not seen': ['unseen-permissions'],
  'how long what is deleted is listed': ['deleted-rows'],
};
const CHOICES = "Where AWS's documents say nothing";

test('every silence of AWS has its choice, and every choice a situation, a reason and a key of its own', () => {
  const rows = cellsUnder(CHOICES);
  const keys = rows.map(([key = '']) => key.replaceAll('`', ''));
  assert.deepEqual([...keys].sort(), Object.values(SILENT).flat().sort());
  for (const row of rows) {
    assert.equal(row.length, 5, String(row));
    assert.ok(!row.includes(''), String(row));
  }
});

test('every choice names a test that exists', () => {
  for (const [key, , , , shown = ''] of cellsUnder(CHOICES)) {
    const [, file = '', title = ''] = /^`(\S+?): (.+)`$/.exec(shown) ?? [];
    const path = join(import.meta.dirname, `${file}.test.ts`);
    assert.ok(existsSync(path), `${key}: no ${path}`);
    const titles = [...readFileSync(path, 'utf8').matchAll(TITLE)].map(([, , found]) => found);
    assert.ok(titles.includes(title), `${key}: ${file} has no test "${title}"`);
  }
});
