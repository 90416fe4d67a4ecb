/** Each seed is another power cut; a failure prints it, and `KEYARK_SEED=n` repeats it. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openCatalog } from '../../src/catalog/sqlite.ts';
import { FolderVault } from '../../src/vault/folder.ts';
import { parseObjectName } from '../../src/vault/names.ts';
import { backupId, clusterId } from '../support/catalog-samples.ts';
import { seedOfThisRun } from '../support/luck.ts';
import { cannotCutPower, recordWrites } from '../support/power-cut.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { HELD_UNTIL, vaultSample } from '../support/vault-sample.ts';

const SEED = seedOfThisRun();
const IMAGES = 60;

const child = (name: string): string =>
  fileURLToPath(new URL(`../support/children/${name}`, import.meta.url));

describe(`after a power cut (seed ${SEED})`, { skip: cannotCutPower ?? false }, () => {
  it('the catalog is whole and has every acknowledged transaction', async () => {
    await using folder = await tempFolder();
    const recording = await recordWrites({
      command: process.execPath,
      args: [child('write-catalog.ts'), folder.path, '150', '0'],
      folder: folder.path,
    });
    assert.equal(recording.acknowledgements.length, 150);
    for await (const image of recording.images(SEED, IMAGES)) {
      using catalog = openCatalog({ folder: image.folder });
      using db = new DatabaseSync(join(image.folder, 'keyark.sqlite'), { readOnly: true });
      assert.equal(
        db.prepare('pragma integrity_check').get()?.['integrity_check'],
        'ok',
        image.name,
      );
      catalog.read((reader) => {
        for (const id of image.acknowledged) {
          const state = reader.backup(backupId(Number(id)))?.state;
          assert.equal(state, Number(id) % 7 === 0 ? 'DELETED' : 'READY', `${id}, ${image.name}`);
        }
        const rows = Number(db.prepare('select count(*) as n from backups').get()?.['n']);
        const last = reader.cluster(clusterId(1))?.backupFailures ?? -1;
        assert.equal(rows, last + 1, `transactions in order and whole, ${image.name}`);
      });
    }
  });

  it('the vault has every acknowledged object whole and every hold, and nothing half', async () => {
    await using folder = await tempFolder();
    const recording = await recordWrites({
      command: process.execPath,
      args: [child('write-vault.ts'), folder.path, '12'],
      folder: folder.path,
    });
    for await (const image of recording.images(SEED, IMAGES)) {
      const vault = new FolderVault({ folder: image.folder });
      await vault.recover();
      const whole = new Set<string>();
      for await (const { name } of vault.list('')) {
        const bytes = Buffer.concat(await Array.fromAsync(vault.get(name)));
        const expected = Buffer.concat(await Array.fromAsync(vaultSample(name)));
        assert.ok(bytes.equals(expected), `${name}, ${image.name}`);
        whole.add(name);
      }
      for (const id of image.acknowledged) {
        const [step, text = ''] = id.split(' ');
        const name = parseObjectName(text);
        const isGoing = image.acknowledged.has(`removing ${name}`);
        if (step === 'put' && !isGoing) assert.ok(whole.has(name), `${name}, ${image.name}`);
        if (step === 'removed') assert.ok(!whole.has(name), `${name} is back, ${image.name}`);
        if (step === 'held' && !image.acknowledged.has(`lifting ${name}`)) {
          const hold = { isLegal: true, until: HELD_UNTIL };
          assert.deepEqual(await vault.heldBy(name), hold, `${name}, ${image.name}`);
          await assert.rejects(vault.remove(name), { code: 'WrongState' });
        }
        if (step === 'lifted') {
          const hold = { isLegal: false, until: HELD_UNTIL };
          assert.deepEqual(await vault.heldBy(name), hold, `${name}, ${image.name}`);
        }
      }
      await vault.put(parseObjectName('after/restart'), vaultSample('after/restart'));
    }
  });
});
