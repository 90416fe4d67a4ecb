import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { upgrade } from '../../src/catalog/schema.ts';
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

describe('the SQLite catalog on a full disk', () => {
  it('fails the transaction that does not fit, and keeps everything before it', async () => {
    await using folder = await tempFolder();
    const writer = fileURLToPath(new URL('../support/children/fill-catalog.ts', import.meta.url));
    // The limit is in blocks of 512 or 1,024 bytes; a write past it fails as on a full disk.
    const { stdout } = await promisify(execFile)('/bin/sh', [
      '-c',
      'ulimit -f 8192; exec "$0" "$1" "$2"',
      process.execPath,
      writer,
      folder.path,
    ]);
    const outcome = JSON.parse(stdout);
    assert.ok(outcome.stored > 10);
    assert.deepEqual(
      { ...outcome, stored: 0 },
      { stored: 0, code: 'CATALOG', last: 'READY', failed: null },
    );
    using catalog = openCatalog({ folder: folder.path });
    const kept = catalog.read((reader) => reader.backupsIn(['READY']));
    assert.equal(kept.length, outcome.stored);
  });
});

describe('upgrade()', () => {
  it('walks an older file up step by step, once', () => {
    using db = new DatabaseSync(':memory:');
    const steps = ['create table t (a)', 'create table u (b)'];
    upgrade(db, steps.slice(0, 1));
    db.exec('insert into t values (1)');
    upgrade(db, steps);
    upgrade(db, steps);
    assert.deepEqual(
      db
        .prepare('select version from migrations')
        .all()
        .map(({ version }) => version),
      [1, 2],
    );
    assert.equal(db.prepare('select a from t').get()?.['a'], 1);
    db.exec('insert into u values (2)');
  });

  it('changes nothing when a step fails', () => {
    using db = new DatabaseSync(':memory:');
    upgrade(db, ['create table t (a)']);
    assert.throws(() => upgrade(db, ['create table t (a)', 'create table u (b)', 'nonsense']));
    assert.equal(db.prepare('select count(*) as n from migrations').get()?.['n'], 1);
    assert.throws(() => db.prepare('select * from u'));
  });
});
