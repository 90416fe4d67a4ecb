/** Writes backups into a catalog, one transaction each, and acknowledges each: `write-catalog.ts FOLDER COUNT FROM`. */
import { writeSync } from 'node:fs';
import { openCatalog } from '../../../src/catalog/sqlite.ts';
import { deletedBackup, readyBackup, sampleCluster, unfinishedBackup } from '../catalog-samples.ts';

const [folder = '', count = '0', from = '0'] = process.argv.slice(2);

using catalog = openCatalog({ folder });
for (let n = Number(from); n < Number(from) + Number(count); n += 1) {
  catalog.transact((writer) => {
    writer.createBackup(unfinishedBackup(n));
    writer.putCluster(sampleCluster(1, { backupFailures: n }));
  });
  catalog.transact((writer) => writer.putBackup(n % 7 === 0 ? deletedBackup(n) : readyBackup(n)));
  writeSync(1, `ACK ${n}\n`);
}
