import assert from 'node:assert/strict';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { openCatalog } from '../../src/catalog/sqlite.ts';
import { catalogLaws } from '../laws/catalog.ts';
import { sampleCluster } from '../support/catalog-samples.ts';
import { tempFolder } from '../support/temp-folder.ts';

catalogLaws('the SQLite catalog', async () => {
  const folder = await tempFolder();
  let catalog = openCatalog({ folder: folder.path });
  return {
    catalog,
    reopen: async () => {
      catalog[Symbol.dispose]();
      catalog = openCatalog({ folder: folder.path });
      return catalog;
    },
    [Symbol.asyncDispose]: async () => {
      catalog[Symbol.dispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
});

describe('openCatalog()', () => {
  it('makes a private folder and private files', async () => {
    await using folder = await tempFolder();
    const inner = join(folder.path, 'data');
    using catalog = openCatalog({ folder: inner });
    catalog.transact((writer) => writer.createCluster(sampleCluster(1)));
    assert.equal((await stat(inner)).mode & 0o777, 0o700);
    for (const name of ['keyark.sqlite', 'keyark.sqlite-wal', 'keyark.sqlite-shm']) {
      assert.equal((await stat(join(inner, name))).mode & 0o777, 0o600, name);
    }
  });

  it('refuses a file of another program, a damaged one, and one from a newer Keyark', async () => {
    const failed = { name: 'Failed', code: 'CATALOG' };
    await using foreign = await tempFolder();
    using db = new DatabaseSync(join(foreign.path, 'keyark.sqlite'));
    db.exec('create table theirs (a)');
    assert.throws(() => openCatalog({ folder: foreign.path }), failed);

    await using damaged = await tempFolder();
    await writeFile(join(damaged.path, 'keyark.sqlite'), 'not a database, whatever its name says');
    assert.throws(() => openCatalog({ folder: damaged.path }), failed);

    await using newer = await tempFolder();
    openCatalog({ folder: newer.path })[Symbol.dispose]();
    using future = new DatabaseSync(join(newer.path, 'keyark.sqlite'));
    future.exec('insert into migrations (version) values (99)');
    assert.throws(() => openCatalog({ folder: newer.path }), {
      ...failed,
      message: /version 99, this Keyark knows \d+; start the newer/,
    });
  });
});
