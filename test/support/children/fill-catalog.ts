/**
 * Writes into a catalog whose disk has an end (the parent limits the size of files), then says as JSON
 * what was stored, how the write that did not fit failed, and what there is afterwards.
 */
import { writeSync } from 'node:fs';
import type { Catalog } from '../../../src/catalog/catalog.ts';
import { openCatalog } from '../../../src/catalog/sqlite.ts';
import { Failed } from '../../../src/kernel/errors.ts';
import { backupId, readyBackup } from '../catalog-samples.ts';

const [folder = ''] = process.argv.slice(2);

function fill(catalog: Catalog): { stored: number; failure: unknown } {
  for (let n = 0; ; n += 1) {
    try {
      catalog.transact((writer) => writer.createBackup(readyBackup(n)));
    } catch (failure) {
      return { stored: n, failure };
    }
  }
}

using catalog = openCatalog({ folder });
const { stored, failure } = fill(catalog);
const seen = catalog.read((reader) => ({
  last: reader.backup(backupId(stored - 1))?.state,
  failed: reader.backup(backupId(stored))?.state ?? null,
}));
const code = failure instanceof Failed ? failure.code : String(failure);
writeSync(1, JSON.stringify({ stored, code, ...seen }));
