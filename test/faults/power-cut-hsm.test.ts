/** `KEYARK_SEED=n` repeats a failure. */
import assert from 'node:assert/strict';
import { createSecretKey } from 'node:crypto';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { openFolder } from '../../src/hsm/disk.ts';
import { DurableStore } from '../../src/hsm/durable-store.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import { seedOfThisRun } from '../support/luck.ts';
import { cannotCutPower, recordWrites } from '../support/power-cut.ts';
import { tempFolder } from '../support/temp-folder.ts';

const SEED = seedOfThisRun();
const COMMITS = 120;
const IMAGES = 150;
const WRITER = fileURLToPath(new URL('../support/children/write-hsm-disk.ts', import.meta.url));

async function open(folder: string): Promise<DurableStore> {
  return await DurableStore.open({
    disk: openFolder(folder),
    storageKey: createSecretKey(new Uint8Array(32).fill(7)),
    random: systemRandom,
    onChanged: () => {},
    onFailed: (cause) => {
      throw cause;
    },
  });
}

/** Policy values in order; nothing before there is a partition. */
function valuesOf(store: DurableStore): readonly number[] {
  if (!store.hasPartition) return [];
  return [...store.shared.policies.values()].map(({ value }) => value).sort((a, b) => a - b);
}

describe(`after a power cut (seed ${SEED})`, { skip: cannotCutPower ?? false }, () => {
  it('the HSM has every acknowledged commit, and goes on', async () => {
    await using folder = await tempFolder();
    const recording = await recordWrites({
      command: process.execPath,
      args: [WRITER, folder.path, String(COMMITS)],
      folder: folder.path,
    });
    assert.equal(recording.acknowledgements.length, COMMITS + 1);
    for await (const image of recording.images(SEED, IMAGES)) {
      // Before the host has made the files there is no HSM that could have acknowledged anything.
      if (!image.acknowledged.has('made')) continue;
      const store = await open(image.folder);
      const values = valuesOf(store);
      const acknowledged = [...image.acknowledged].filter((id) => id !== 'made').map(Number);
      for (const value of acknowledged)
        assert.ok(values.includes(value), `${value}, ${image.name}`);
      assert.deepEqual(values, [...values.keys()], `in order and without gaps, ${image.name}`);
      if (!store.hasPartition) continue;
      await store.commit([{ kind: 'put-policy', policy: { name: 'after', value: COMMITS } }]);
      await store.close();
      assert.deepEqual(valuesOf(await open(image.folder)), [...values, COMMITS], image.name);
    }
  });
});
