import assert from 'node:assert/strict';
import { chmod, readdir, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { machineFiles, type VaultFiles } from '../../src/vault/files.ts';
import { FolderVault } from '../../src/vault/folder.ts';
import { objectName, splitObjectName } from '../../src/vault/names.ts';
import type { ObjectName } from '../../src/vault/vault.ts';
import { from, names, read, text, vaultLaws } from '../laws/vault.ts';
import { blockingFiles } from '../support/blocking-files.ts';
import { failingFiles } from '../support/failing-files.ts';
import { flipBitInFile } from '../support/flip-bit.ts';
import { tempFolder } from '../support/temp-folder.ts';

const OLD = objectName('backup-1', 'body');
const NEW = objectName('backup-2', 'body');

function pathOf(folder: string, name: ObjectName): string {
  const parts = splitObjectName(name);
  return join(folder, 'objects', parts.folder, parts.part);
}

for (const [how, files] of [
  ['', machineFiles],
  [' on blocking files', blockingFiles],
] as const) {
  vaultLaws(`the folder vault${how}`, async (clock) => {
    const temp = await tempFolder();
    const folder = join(temp.path, 'region', 'vault');
    return {
      vault: new FolderVault({ folder, clock, files }),
      clock,
      reopen: async () => new FolderVault({ folder, clock, files }),
      flipBit: async (name, at) => flipBitInFile(pathOf(folder, name), at),
      cutShort: async (name) => {
        await chmod(pathOf(folder, name), 0o600);
        await truncate(pathOf(folder, name), 1_000);
      },
      [Symbol.asyncDispose]: () => temp[Symbol.asyncDispose](),
    };
  });
}

describe('FolderVault', () => {
  it('keeps objects 0400 in folders 0700, and no empty folder of a removed backup', async () => {
    await using temp = await tempFolder();
    const vault = new FolderVault({ folder: temp.path });
    await vault.put(OLD, from(text('x')));
    assert.equal((await stat(pathOf(temp.path, OLD))).mode & 0o777, 0o400);
    assert.equal((await stat(join(temp.path, 'objects'))).mode & 0o777, 0o700);
    assert.deepEqual(await readdir(join(temp.path, 'incoming')), []);
    await vault.remove(OLD);
    assert.deepEqual(await readdir(join(temp.path, 'objects')), []);
  });

  it('refuses to read when any byte of object or trailer is damaged', async () => {
    await using temp = await tempFolder();
    const vault = new FolderVault({ folder: temp.path });
    const stored = await vault.put(OLD, from(text('twelve bytes')));
    for (let at = 0; at < stored.sizeBytes + 48; at += 1) {
      await flipBitInFile(pathOf(temp.path, OLD), at);
      await assert.rejects(read(vault, OLD), { code: 'VAULT_READ' }, `byte ${at}`);
      await flipBitInFile(pathOf(temp.path, OLD), at);
    }
    assert.deepEqual(await read(vault, OLD), text('twelve bytes'));
    for (let length = 0; length < 12 + 48; length += 7) {
      await vault.remove(NEW);
      await vault.put(NEW, from(text('twelve bytes')));
      await chmod(pathOf(temp.path, NEW), 0o600);
      await truncate(pathOf(temp.path, NEW), length);
      await assert.rejects(read(vault, NEW), { code: 'VAULT_READ' }, `cut to ${length}`);
    }
  });

  it('removes at the start what a dead process left half-written', async () => {
    await using temp = await tempFolder();
    const files = dyingBeforeLink();
    const dying = new FolderVault({ folder: temp.path, files });
    await assert.rejects(dying.put(NEW, from(text('x'))));
    assert.equal((await readdir(join(temp.path, 'incoming'))).length, 1);
    const vault = new FolderVault({ folder: temp.path });
    assert.deepEqual(await vault.recover(), { removed: 1 });
    assert.deepEqual(await readdir(join(temp.path, 'incoming')), []);
    assert.deepEqual(await names(vault, ''), []);
  });

  it('says how full the disk is', async () => {
    await using temp = await tempFolder();
    const files = failingFiles({ failAt: (call) => call.startsWith('append'), code: 'ENOSPC' });
    const full = new FolderVault({
      folder: temp.path,
      files: { ...files.files, freeBytes: async () => 1_234 },
    });
    await assert.rejects(full.put(NEW, from(new Uint8Array(10))), {
      code: 'VAULT_FULL',
      message: /1234 bytes free, and storing backup-2\/body needed more than the 0 bytes/,
    });
    assert.deepEqual(await readdir(join(temp.path, 'incoming')), []);
  });

  it('says VAULT_WRITE when what it reads back is not what it wrote', async () => {
    await using temp = await tempFolder();
    const files: VaultFiles = {
      ...machineFiles,
      open: async (path) => {
        const file = await machineFiles.open(path);
        return {
          ...file,
          read: async (into, position) => {
            const count = await file.read(into, position);
            if (position === 0 && count > 0) into[0]! ^= 1;
            return count;
          },
        };
      },
    };
    const vault = new FolderVault({ folder: temp.path, files });
    await assert.rejects(vault.put(NEW, from(text('x'))), { code: 'VAULT_WRITE' });
    assert.deepEqual(await names(new FolderVault({ folder: temp.path }), ''), []);
  });

  for (const code of ['EIO', 'ENOSPC']) {
    it(`stores wholly or not at all when any one file call fails with ${code}`, async () => {
      for (let n = 1, wasReached = true; wasReached; n += 1) {
        await using temp = await tempFolder();
        const healthy = new FolderVault({ folder: temp.path });
        await healthy.put(OLD, from(text('old')));
        const { files, calls } = failingFiles({ failAt: (_call, count) => count === n, code });
        const vault = new FolderVault({ folder: temp.path, files });
        const outcome = await vault.put(NEW, from(text('new'))).then(
          () => 'stored',
          (cause) => cause,
        );
        wasReached = calls.length >= n;
        const why = `call ${n}: ${calls[n - 1]}`;
        if (outcome === 'stored') {
          assert.deepEqual(await read(healthy, NEW), text('new'), why);
        } else {
          assert.match(outcome.code, /^VAULT_(WRITE|FULL|READ)$/, why);
          assert.equal(await healthy.stat(NEW), undefined, why);
          await healthy.recover();
          await healthy.put(NEW, from(text('new')));
        }
        assert.deepEqual(await read(healthy, OLD), text('old'), why);
        assert.deepEqual(await names(healthy, ''), [OLD, NEW], why);
      }
    });
  }

  it('removes or says that it did not when any one file call fails', async () => {
    for (let n = 1, wasReached = true; wasReached; n += 1) {
      await using temp = await tempFolder();
      const healthy = new FolderVault({ folder: temp.path });
      await healthy.put(OLD, from(text('old')));
      await healthy.put(NEW, from(text('new')));
      const { files, calls } = failingFiles({ failAt: (_call, count) => count === n, code: 'EIO' });
      const vault = new FolderVault({ folder: temp.path, files });
      const outcome = await vault.remove(NEW).then(
        () => 'removed',
        (cause) => cause,
      );
      wasReached = calls.length >= n;
      if (outcome === 'removed') {
        assert.equal(await healthy.stat(NEW), undefined);
      } else {
        assert.equal(outcome.code, 'VAULT_WRITE');
        await healthy.remove(NEW);
      }
      assert.deepEqual(await names(healthy, ''), [OLD]);
      assert.deepEqual(await read(healthy, OLD), text('old'));
    }
  });

  it('holds or says that it does not when any one file call fails', async () => {
    for (let n = 1, wasReached = true; wasReached; n += 1) {
      await using temp = await tempFolder();
      const healthy = new FolderVault({ folder: temp.path });
      await healthy.put(NEW, from(text('new')));
      const { files, calls } = failingFiles({ failAt: (_call, count) => count === n, code: 'EIO' });
      const vault = new FolderVault({ folder: temp.path, files });
      const outcome = await vault.hold(NEW, 'legal').then(
        () => 'held',
        (cause) => cause,
      );
      wasReached = calls.length >= n;
      if (outcome === 'held') {
        await assert.rejects(healthy.remove(NEW), { code: 'WrongState' });
      } else {
        assert.match(outcome.code, /^VAULT_(WRITE|READ)$/, `call ${n}: ${calls[n - 1]}`);
        await healthy.hold(NEW, 'legal');
      }
      assert.deepEqual(await read(healthy, NEW), text('new'));
    }
  });

  it('removes nothing while it cannot know whether it is held', async () => {
    await using temp = await tempFolder();
    await new FolderVault({ folder: temp.path }).put(OLD, from(text('old')));
    const isHolds = (call: string): boolean => call.startsWith('names ') && call.includes('holds');
    const { files } = failingFiles({ failAt: isHolds, code: 'EIO' });
    const blind = new FolderVault({ folder: temp.path, files });
    await assert.rejects(blind.remove(OLD), { code: 'VAULT_WRITE' });
    assert.deepEqual(await read(blind, OLD), text('old'));
  });

  it('streams: a body larger than its buffers is never held whole', async () => {
    await using temp = await tempFolder();
    const vault = new FolderVault({ folder: temp.path });
    const chunk = new Uint8Array(1024 * 1024);
    let largest = 0;
    async function* body(): AsyncIterable<Uint8Array> {
      for (let i = 0; i < 64; i += 1) {
        largest = Math.max(largest, process.memoryUsage().arrayBuffers);
        yield chunk;
      }
    }
    await vault.put(OLD, body());
    for await (const _each of vault.get(OLD)) {
      largest = Math.max(largest, process.memoryUsage().arrayBuffers);
    }
    assert.ok(largest < 48 * 1024 * 1024, `${largest} bytes of buffers for a 64 MiB body`);
  });
});

/** A process that dies just before the object gets its name: nothing after that is done either. */
function dyingBeforeLink(): VaultFiles {
  const dead = async (): Promise<never> => {
    throw new Error('the process is dead');
  };
  return { ...machineFiles, link: dead, unlink: dead };
}
