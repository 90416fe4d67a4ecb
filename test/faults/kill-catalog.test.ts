import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { DatabaseSync } from 'node:sqlite';
import { it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openCatalog } from '../../src/catalog/sqlite.ts';
import { backupId } from '../support/catalog-samples.ts';
import { tempFolder } from '../support/temp-folder.ts';

const ROUNDS = 10;
const WRITER = fileURLToPath(new URL('../support/children/write-catalog.ts', import.meta.url));

it('the catalog has every acknowledged transaction after kill -9, again and again', async () => {
  await using folder = await tempFolder();
  const acknowledged: number[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    // Each round kills a little later: in the first transactions, in checkpoints, in between.
    const from = round * 100_000;
    acknowledged.push(...(await killedAfter(folder.path, from, 1 + round * round * 12)));
    using catalog = openCatalog({ folder: folder.path });
    catalog.read((reader) => {
      for (const n of acknowledged) {
        assert.equal(reader.backup(backupId(n))?.state, n % 7 === 0 ? 'DELETED' : 'READY');
      }
    });
  }
  using db = new DatabaseSync(join(folder.path, 'keyark.sqlite'), { readOnly: true });
  assert.equal(db.prepare('pragma integrity_check').get()?.['integrity_check'], 'ok');
});

/** Starts a writer and kills it as soon as it has acknowledged `count` rows; returns all it acknowledged. */
async function killedAfter(folder: string, from: number, count: number): Promise<number[]> {
  const child = spawn(process.execPath, [WRITER, folder, '99999', String(from)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = new Promise<NodeJS.Signals | null>((done) => {
    child.on('close', (_code, signal) => done(signal));
  });
  const acknowledged: number[] = [];
  for await (const line of createInterface(child.stdout)) {
    acknowledged.push(Number(line.replace('ACK ', '')));
    if (acknowledged.length === count) child.kill('SIGKILL');
  }
  assert.equal(await ended, 'SIGKILL');
  return acknowledged;
}
