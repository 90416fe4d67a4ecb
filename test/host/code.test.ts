/** The one program that HSMs run: built from its sources, installed under its hash, changed by nobody. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { chmod, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { bundle, hashCode, install } from '../../src/host/code.ts';
import { Failed } from '../../src/kernel/errors.ts';
import { tempFolder } from '../support/temp-folder.ts';

const CHECKOUT = join(import.meta.dirname, '../..');

async function smallCheckout(path: string): Promise<void> {
  await mkdir(join(path, 'bin'));
  await mkdir(join(path, 'src', 'hsm'), { recursive: true });
  await writeFile(join(path, 'bin', 'hsm.ts'), "import { a } from '../src/hsm/a.ts'; a();\n");
  await writeFile(
    join(path, 'src', 'hsm', 'a.ts'),
    "export const a = () => process.title = 'one';\n",
  );
}

describe('bundle()', () => {
  it('gives the same bytes for the same sources, and other bytes when one changed', async () => {
    await using temp = await tempFolder();
    await smallCheckout(temp.path);
    const first = await bundle(temp.path, 'hsm');
    assert.deepEqual(await bundle(temp.path, 'hsm'), first);
    assert.match(Buffer.from(first).toString(), /one/);
    await writeFile(
      join(temp.path, 'src', 'hsm', 'a.ts'),
      "export const a = () => process.title = 'two';\n",
    );
    assert.match(Buffer.from(await bundle(temp.path, 'hsm')).toString(), /two/);
  });

  it('is content with a ready bundle where there are no sources, and says when there is neither', async () => {
    await using temp = await tempFolder();
    await mkdir(join(temp.path, 'dist'));
    await writeFile(join(temp.path, 'dist', 'hsm.mjs'), 'ready');
    assert.equal(Buffer.from(await bundle(temp.path, 'hsm')).toString(), 'ready');
    await assert.rejects(bundle(temp.path, 'host'), Failed);
  });

  it('puts nothing but node’s own modules beside the HSM', async () => {
    const text = Buffer.from(await bundle(CHECKOUT, 'hsm')).toString();
    const imported = [...text.matchAll(/^import .*? from "(.+?)";$/gm)].map((match) => match[1]);
    const allowed = ['node:crypto', 'node:fs', 'node:net', 'node:path', 'node:stream', 'node:tls'];
    const others = [...new Set(imported)].filter(
      (name) =>
        !allowed.includes(name ?? '') && !/^node:(util|buffer|timers\/promises)$/.test(name ?? ''),
    );
    assert.deepEqual(others, []);
    assert.doesNotMatch(text, /node:(child_process|http|sqlite|worker_threads|ffi|vm)/);
  });
});

describe('install()', () => {
  it('makes a read-only file under its own hash, and repairs one that was changed', async () => {
    await using temp = await tempFolder();
    const text = Buffer.from('a program');
    const installed = await install(temp.path, 'hsm.mjs', text);
    assert.equal(installed.sha256, createHash('sha256').update(text).digest('hex'));
    assert.equal(hashCode(installed.file), installed.sha256);
    assert.equal((await stat(installed.file)).mode & 0o777, 0o444);
    assert.equal((await stat(installed.folder)).mode & 0o777, 0o755);
    await chmod(installed.folder, 0o755);
    await chmod(installed.file, 0o644);
    await writeFile(installed.file, 'another program');
    assert.deepEqual(await install(temp.path, 'hsm.mjs', text), installed);
    assert.equal(await readFile(installed.file, 'utf8'), 'a program');
    await chmod(installed.folder, 0o755);
  });
});
