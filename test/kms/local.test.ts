import assert from 'node:assert/strict';
import { cp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { EncryptionContext } from '../../src/kms/kms.ts';
import { LocalKms } from '../../src/kms/local.ts';
import { kmsLaws } from '../laws/kms.ts';
import { flipBitInFile } from '../support/flip-bit.ts';
import { tempFolder } from '../support/temp-folder.ts';

const REGION = 'us-east-1';
const CONTEXT: EncryptionContext = {
  backupId: 'backup-keyark2ab3cd4ef5',
  clusterId: 'cluster-keyark2ab3cd4ef5',
  region: REGION,
  account: '000000000000',
};

kmsLaws('the embedded key service', async () => {
  const temp = await tempFolder();
  const open = () => new LocalKms({ folder: join(temp.path, 'kms'), region: REGION });
  return {
    kms: open(),
    reopen: async () => open(),
    [Symbol.asyncDispose]: () => temp[Symbol.asyncDispose](),
  };
});

describe('LocalKms', () => {
  it('keeps its keys in private files, and none of them in the clear beside the root', async () => {
    await using temp = await tempFolder();
    const folder = join(temp.path, 'kms');
    const kms = new LocalKms({ folder, region: REGION });
    assert.match(await kms.currentKeyId(), /^embedded:us-east-1:[0-9a-f]{16}$/);
    assert.deepEqual((await readdir(folder)).sort(), ['root.key', 'us-east-1.json']);
    assert.equal((await stat(folder)).mode & 0o777, 0o700);
    for (const name of await readdir(folder)) {
      assert.equal((await stat(join(folder, name))).mode & 0o777, 0o600, name);
    }
  });

  it('has keys of its own for each region', async () => {
    await using temp = await tempFolder();
    const here = new LocalKms({ folder: temp.path, region: REGION });
    const there = new LocalKms({ folder: temp.path, region: 'eu-west-1' });
    const { wrapped } = await here.generateDataKey(CONTEXT);
    await assert.rejects(there.unwrapDataKey(wrapped, CONTEXT), { code: 'KMS' });
    const renamed = { ...wrapped, kmsKeyId: await there.currentKeyId() };
    await assert.rejects(there.unwrapDataKey(renamed, CONTEXT), { code: 'KMS' });
  });

  it('makes one key when several ask at once, from several instances', async () => {
    await using temp = await tempFolder();
    const services = Array.from(
      { length: 4 },
      () => new LocalKms({ folder: temp.path, region: REGION }),
    );
    const made = await Promise.all(services.map((kms) => kms.generateDataKey(CONTEXT)));
    const fresh = new LocalKms({ folder: temp.path, region: REGION });
    for (const { key, wrapped } of made) {
      assert.deepEqual((await fresh.unwrapDataKey(wrapped, CONTEXT)).expose(), key.expose());
    }
    assert.deepEqual((await readdir(temp.path)).sort(), ['root.key', 'us-east-1.json']);
  });

  it('makes no other keys in the place of marked ones that are gone, and takes them back', async () => {
    await using temp = await tempFolder();
    const folder = join(temp.path, 'kms');
    let marked: string | undefined;
    const mark = {
      get: () => marked,
      put: (keyId: string) => {
        marked = keyId;
      },
    };
    const open = () => new LocalKms({ folder, region: REGION, mark });
    const { key, wrapped } = await open().generateDataKey(CONTEXT);
    assert.equal(marked, wrapped.kmsKeyId);
    const copy = join(temp.path, 'copy');
    await cp(folder, copy, { recursive: true });

    await rm(folder, { recursive: true });
    const lost = { code: 'KMS', message: new RegExp(`KMS_KEY_LOST. ${marked}.*DATA/kms`) };
    await assert.rejects(open().generateDataKey(CONTEXT), lost);
    await assert.rejects(open().currentKeyId(), lost);
    assert.deepEqual(await readdir(folder), []);

    // Another service's folder, with keys that are whole and not these.
    await new LocalKms({ folder, region: REGION }).currentKeyId();
    await assert.rejects(open().unwrapDataKey(wrapped, CONTEXT), lost);

    await rm(folder, { recursive: true });
    await cp(copy, folder, { recursive: true });
    assert.deepEqual((await open().unwrapDataKey(wrapped, CONTEXT)).expose(), key.expose());
  });

  it('refuses to make a new root beside keys whose root is lost, and takes the old one back', async () => {
    await using temp = await tempFolder();
    const folder = join(temp.path, 'kms');
    const { wrapped } = await new LocalKms({ folder, region: REGION }).generateDataKey(CONTEXT);
    const copy = join(temp.path, 'copy-of-root');
    await cp(join(folder, 'root.key'), copy);
    await rm(join(folder, 'root.key'));
    const kms = new LocalKms({ folder, region: REGION });
    await assert.rejects(kms.generateDataKey(CONTEXT), {
      code: 'KMS',
      message: /root\.key.*missing/,
    });
    const other = new LocalKms({ folder, region: 'eu-west-1' });
    await assert.rejects(other.generateDataKey(CONTEXT), { code: 'KMS' });
    assert.deepEqual(await readdir(folder), ['us-east-1.json']);
    await cp(copy, join(folder, 'root.key'));
    await kms.unwrapDataKey(wrapped, CONTEXT);
  });

  it('refuses damaged files and leaves them as they are', async () => {
    await using temp = await tempFolder();
    for (const name of ['root.key', 'us-east-1.json']) {
      const folder = join(temp.path, name);
      await new LocalKms({ folder, region: REGION }).currentKeyId();
      await flipBitInFile(join(folder, name), 20);
      const damaged = await readFile(join(folder, name));
      const kms = new LocalKms({ folder, region: REGION });
      await assert.rejects(kms.generateDataKey(CONTEXT), { name: 'Failed', code: 'KMS' });
      assert.deepEqual(await readFile(join(folder, name)), damaged);
      await writeFile(join(folder, name), '');
      await assert.rejects(kms.generateDataKey(CONTEXT), { code: 'KMS' });
      assert.equal((await stat(join(folder, name))).size, 0);
    }
  });

  it('refuses a region that could be a path', () => {
    for (const region of ['', '../x', 'a/b', '.', 'A']) {
      assert.throws(() => new LocalKms({ folder: '/nowhere', region }), { code: 'InvalidRequest' });
    }
  });
});
