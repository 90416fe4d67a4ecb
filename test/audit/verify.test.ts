import assert from 'node:assert/strict';
import { readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Head } from '../../src/audit/chain.ts';
import type { TrailFiles } from '../../src/audit/files.ts';
import { verifyTrail } from '../../src/audit/verify.ts';
import { Rig } from './rig.ts';

/** Five records in one file. */
async function small(rig: Rig): Promise<{ path: string; text: Buffer; head: Head }> {
  const trail = await rig.open();
  await trail.begin(rig.call());
  await trail.end(rig.call(), { response: { Backup: { BackupId: 'backup-keyark2ab3cd4ef5' } } });
  trail.note(rig.call({ isReadOnly: true, name: 'DescribeBackups', request: {} }), {});
  trail.act({ name: 'BackupProven', details: { keys: 3 } });
  trail.note(rig.call({ name: 'DeleteCluster' }), { error: { code: 'X', message: 'é\u2028 no' } });
  await trail.close();
  const [name = ''] = await readdir(rig.folder);
  const path = join(rig.folder, name);
  return { path, text: await readFile(path), head: trail.state().head };
}

/** One file of these bytes: thousands of edits need no disk. */
function holding(bytes: Uint8Array): TrailFiles {
  const unused = (): never => assert.fail('verification changes nothing');
  return {
    names: () => ['trail-000000000001.jsonl'],
    sizeBytes: () => bytes.length,
    read: async (_, at, length) => bytes.subarray(at, at + length),
    create: unused,
    append: unused,
    truncate: unused,
    sync: unused,
    remove: unused,
  };
}

/** Several files of a few records each. */
async function several(rig: Rig): Promise<{ names: readonly string[]; head: Head }> {
  rig.settings = { ...rig.settings, fileBytes: 2_000 };
  const trail = await rig.open();
  for (let i = 0; i < 12; i += 1) trail.act({ name: 'BackupProven', details: { i } });
  await trail.close();
  return { names: (await readdir(rig.folder)).sort(), head: trail.state().head };
}

const problemsIn = async (bytes: Uint8Array, head: Head): Promise<readonly string[]> =>
  (await verifyTrail(holding(bytes), head)).problems;

const problems = async (rig: Rig, head?: Head): Promise<readonly string[]> =>
  (await verifyTrail(rig.files, head)).problems;

describe('verifyTrail()', () => {
  it('finds nothing wrong with what was written, over files and restarts', async () => {
    await using rig = await Rig.make();
    const { head } = await several(rig);
    const again = await rig.open();
    again.act({ name: 'ClusterState', details: {} });
    await again.close();
    const found = await verifyTrail(rig.files, rig.kept);
    assert.deepEqual([found.problems, found.notices], [[], []]);
    assert.equal(found.records, head.sequence + 1);
    assert.ok(found.files > 3);
    // An older head is still a record of the trail.
    assert.deepEqual(await problems(rig, head), []);
  });

  it('finds every edit of a single byte, whatever it becomes', async () => {
    await using rig = await Rig.make();
    const { text, head } = await small(rig);
    assert.deepEqual(await problemsIn(text, head), []);
    for (let i = 0; i < text.length; i += 1) {
      for (const change of [1, 0x20, 0x80]) {
        const edited = Buffer.from(text);
        edited[i]! ^= change;
        assert.notDeepEqual(await problemsIn(edited, head), [], `byte ${i} ^ ${change}`);
      }
    }
  });

  it('finds every byte that was taken out or put in', async () => {
    await using rig = await Rig.make();
    const { text, head } = await small(rig);
    for (let i = 0; i < text.length; i += 1) {
      const less = Buffer.concat([text.subarray(0, i), text.subarray(i + 1)]);
      assert.notDeepEqual(await problemsIn(less, head), [], `without byte ${i}`);
      const more = Buffer.concat([text.subarray(0, i), Buffer.from('x'), text.subarray(i)]);
      assert.notDeepEqual(await problemsIn(more, head), [], `more at byte ${i}`);
    }
  });

  it('finds lines deleted, swapped, doubled and cut off', async () => {
    await using rig = await Rig.make();
    const { path, text, head } = await small(rig);
    const lines = text.toString().trimEnd().split('\n');
    const write = (changed: readonly (string | undefined)[]): Promise<void> =>
      writeFile(path, changed.map((line) => `${line}\n`).join(''));
    for (let i = 0; i < lines.length; i += 1) {
      await write(lines.toSpliced(i, 1));
      assert.notDeepEqual(await problems(rig, head), [], `without line ${i}`);
      await write(lines.toSpliced(i, 0, lines[i] ?? ''));
      assert.notDeepEqual(await problems(rig, head), [], `line ${i} twice`);
      for (let j = i + 1; j < lines.length; j += 1) {
        await write(lines.with(i, lines[j] ?? '').with(j, lines[i] ?? ''));
        assert.notDeepEqual(await problems(rig, head), [], `${i} and ${j} swapped`);
      }
      await write(lines.slice(0, i));
      assert.match((await problems(rig, head)).join(), /missing at the end|is not in the trail/);
    }
    await write(lines);
    assert.deepEqual(await problems(rig, head), []);
  });

  it('finds an edit whose chain was computed anew up to the end, by the head', async () => {
    await using rig = await Rig.make();
    const { head } = await small(rig);
    await using forged = await Rig.make();
    const other = await small(forged);
    assert.notEqual(other.head.hash, head.hash);
    assert.deepEqual(await problems(forged, other.head), []);
    assert.match((await problems(forged, head)).join(), /is not the one it was/);
  });

  it('finds whole files removed: in the middle, at the start, and with the head at the end', async () => {
    for (const [which, expected] of [
      ['middle', /record \d+ follows record \d+/],
      ['start', /records 1 to \d+ are missing, and no record tells of their removal/],
      ['end', /missing at the end/],
      ['all', /missing at the end/],
    ] as const) {
      await using rig = await Rig.make();
      const { names, head } = await several(rig);
      const gone = { middle: [names[1]], start: [names[0]], end: [names.at(-1)], all: names }[
        which
      ];
      for (const name of gone) await rm(join(rig.folder, name ?? ''));
      assert.match((await problems(rig, head)).join(), expected, which);
    }
  });

  it('finds a file under the name of another', async () => {
    await using rig = await Rig.make();
    const { names, head } = await several(rig);
    const path = (i: number): string => join(rig.folder, names[i] ?? '');
    await rename(path(1), join(rig.folder, 'x'));
    await rename(path(2), path(1));
    await rename(join(rig.folder, 'x'), path(2));
    assert.match((await problems(rig, head)).join(), /named for another record/);
  });
});
