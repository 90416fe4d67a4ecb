/** The simulation must find what is missing: programs that forget a sync lose something they acknowledged. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { cannotCutPower, type DiskImage, recordWrites } from './power-cut.ts';
import { tempFolder } from './temp-folder.ts';

const TEXT = 'x'.repeat(5_000);
const PRELUDE = `
  const fs = require('node:fs');
  const folder = process.argv[1];
  const path = folder + '/file';
  const text = '${TEXT}';
  const sync = (what) => { const fd = fs.openSync(what, 'r'); fs.fsyncSync(fd); fs.closeSync(fd); };
  const acknowledge = () => fs.writeSync(1, 'ACK done\\n');
`;

/** How many of 40 images with the acknowledgement lack what it stood for. */
async function lossesOf(
  program: string,
  isThere: (image: DiskImage) => Promise<boolean>,
): Promise<number> {
  await using folder = await tempFolder();
  const recording = await recordWrites({
    command: process.execPath,
    args: ['-e', PRELUDE + program, folder.path],
    folder: folder.path,
  });
  assert.deepEqual(recording.acknowledgements, ['done']);
  let losses = 0;
  for await (const image of recording.images(7, 40)) {
    if (image.acknowledged.has('done') && !(await isThere(image))) losses += 1;
  }
  return losses;
}

async function hasText({ folder }: DiskImage): Promise<boolean> {
  const path = join(folder, 'file');
  return existsSync(path) && (await readFile(path, 'utf8')) === TEXT;
}

const durable = [
  ['file and folder synced', `fs.writeFileSync(path, text, { flush: true }); sync(folder);`],
  [
    'O_DSYNC and folder synced',
    `const fd = fs.openSync(path, fs.constants.O_CREAT | fs.constants.O_RDWR | fs.constants.O_DSYNC);
     sync(folder); fs.writeSync(fd, text);`,
  ],
  [
    'a synced temporary file renamed, folder synced',
    `fs.writeFileSync(path + '.new', text, { flush: true }); fs.renameSync(path + '.new', path);
     sync(folder);`,
  ],
  [
    'a synced temporary file linked from another folder, folder synced',
    `fs.mkdirSync(folder + '/new'); fs.writeFileSync(folder + '/new/a', text, { flush: true });
     fs.linkSync(folder + '/new/a', path); sync(folder); fs.unlinkSync(folder + '/new/a');`,
  ],
] as const;

const forgetful = [
  ['nothing synced', `fs.writeFileSync(path, text);`],
  ['only the file synced', `fs.writeFileSync(path, text, { flush: true });`],
  ['only the folder synced', `fs.writeFileSync(path, text); sync(folder);`],
  [
    'a sync before the write',
    `fs.writeFileSync(path, ''); sync(path); sync(folder); fs.writeFileSync(path, text);`,
  ],
  [
    'a rename that was not synced',
    `fs.writeFileSync(path + '.new', text, { flush: true }); sync(folder);
     fs.renameSync(path + '.new', path);`,
  ],
] as const;

describe('the simulated power cut', { skip: cannotCutPower ?? false }, () => {
  for (const [what, program] of durable) {
    it(`loses nothing: ${what}`, async () => {
      assert.equal(await lossesOf(`${program} acknowledge();`, hasText), 0);
    });
  }
  for (const [what, program] of forgetful) {
    it(`loses something: ${what}`, async () => {
      assert.ok((await lossesOf(`${program} acknowledge();`, hasText)) > 0);
    });
  }

  it('loses rows of an SQLite that does not sync, and brings removed files back', async () => {
    const rows = await lossesOf(
      `const { DatabaseSync } = require('node:sqlite');
       const db = new DatabaseSync(path);
       db.exec('pragma journal_mode = wal; pragma synchronous = off; create table t (a)');
       db.exec('insert into t values (1)'); acknowledge();`,
      async ({ folder }) => hasRow(join(folder, 'file')),
    );
    assert.ok(rows > 0);
    const removals = await lossesOf(
      `fs.writeFileSync(path, text, { flush: true }); sync(folder);
       fs.unlinkSync(path); acknowledge();`,
      async ({ folder }) => !existsSync(join(folder, 'file')),
    );
    assert.ok(removals > 0);
  });
});

function hasRow(path: string): boolean {
  try {
    using db = new DatabaseSync(path);
    return db.prepare('select a from t').get()?.['a'] === 1;
  } catch {
    // Unreadable or without the table: then the row is lost, which is what is counted.
    return false;
  }
}
