import assert from 'node:assert/strict';
import { createPublicKey, X509Certificate } from 'node:crypto';
import { cp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Roots } from '../../src/host/roots.ts';
import { asBuffer, fromUtf8, toBase64 } from '../../src/kernel/bytes.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { Failed, Refused } from '../../src/kernel/errors.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import { tempFolder } from '../support/temp-folder.ts';

const PASSPHRASE = fromUtf8('correct horse battery');
const given = { clock: systemClock, random: systemRandom };

const isRefused = (code: string) => (cause: unknown) =>
  cause instanceof Refused && cause.code === code;

async function allFiles(folder: string): Promise<string[]> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  return names.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
}

describe('evaluation roots', () => {
  it('make one maker and one owner at the first start and find them at the second', async () => {
    await using temp = await tempFolder();
    const first = await Roots.open(temp.path, given);
    const again = await Roots.open(temp.path, given);
    assert.equal(again.isEvaluation, true);
    assert.equal(again.areLocked, false);
    assert.deepEqual(await again.names(), { makers: ['keyark'], owners: ['home'] });
    assert.equal(again.maker().line, 'keyark-hsm-1');
    assert.deepEqual(again.maker().mkbk.key.expose(), first.maker().mkbk.key.expose());
    assert.deepEqual(again.owner().akbk.key.expose(), first.owner().akbk.key.expose());
    assert.deepEqual(again.storageKey('A').expose(), first.storageKey('A').expose());
    assert.notDeepEqual(again.storageKey('A').expose(), again.storageKey('B').expose());
  });

  it('are authorities: self-signed certificates over the key they hold', async () => {
    await using temp = await tempFolder();
    const roots = await Roots.open(temp.path, given);
    for (const { certificate, caKey } of [roots.maker(), roots.owner()]) {
      const read = new X509Certificate(certificate);
      assert.ok(read.ca && read.checkIssued(read) && read.verify(read.publicKey));
      assert.ok(read.publicKey.equals(createPublicKey(caKey)));
    }
    assert.deepEqual(await roots.certificates(), {
      makerRoot: roots.maker().certificate,
      ownerRoot: roots.owner().certificate,
    });
  });

  it('rest in files that only their user can read', async () => {
    await using temp = await tempFolder();
    await Roots.open(join(temp.path, 'roots'), given);
    assert.equal((await stat(join(temp.path, 'roots'))).mode & 0o777, 0o700);
    for (const file of await allFiles(temp.path)) {
      assert.equal((await stat(file)).mode & 0o777, 0o600, file);
    }
  });

  it('grow by name, and refuse a name that is taken or none', async () => {
    await using temp = await tempFolder();
    const roots = await Roots.open(temp.path, given);
    const { line } = await roots.createMaker('other');
    assert.equal(line, 'other-hsm-1');
    await roots.createOwner('other');
    assert.notDeepEqual(roots.maker('other').mkbk.key.expose(), roots.maker().mkbk.key.expose());
    await assert.rejects(roots.createMaker('other'), isRefused('Conflict'));
    for (const name of ['', '../x', 'A', '-', 'a/b', '.new-a', 'a'.repeat(33)]) {
      await assert.rejects(roots.createOwner(name), isRefused('InvalidRequest'), name);
    }
    assert.throws(() => roots.maker('nobody'), isRefused('NotFound'));
    const again = await Roots.open(temp.path, given);
    assert.deepEqual(await again.names(), {
      makers: ['keyark', 'other'],
      owners: ['home', 'other'],
    });
  });
});

describe('roots that are lost', () => {
  const isLost = (cause: unknown) =>
    cause instanceof Failed &&
    cause.code === 'START' &&
    /^\[ROOTS_LOST\].*Nothing was changed.*Put .* back/.test(cause.message);
  const open = (path: string, passphrase?: Uint8Array) =>
    Roots.open(join(path, 'roots'), {
      ...given,
      passphrase,
      made: { file: join(path, 'roots.made'), isInUse: false },
    });

  it('are never made anew once there were some, wholly or in part, and nothing is touched', async () => {
    for (const lost of [
      [''],
      ['makers'],
      ['owners', 'home'],
      ['storage', 'keys.json'],
      ['makers', 'keyark', 'keys.json'],
    ]) {
      await using temp = await tempFolder();
      await open(temp.path);
      await rm(join(temp.path, 'roots', ...lost), { recursive: true });
      const before = (await allFiles(temp.path)).sort();
      for (const passphrase of [undefined, PASSPHRASE]) {
        await assert.rejects(open(temp.path, passphrase), isLost, lost.join('/'));
        assert.deepEqual((await allFiles(temp.path)).sort(), before);
      }
    }
  });

  it('are sealed ones too, when what opens them is missing', async () => {
    await using temp = await tempFolder();
    await open(temp.path, PASSPHRASE);
    await rm(join(temp.path, 'roots', 'lock.json'));
    for (const passphrase of [undefined, PASSPHRASE]) {
      await assert.rejects(open(temp.path, passphrase), isLost);
    }
  });

  it('are noticed where HSMs are, also in a folder from before there was a mark', async () => {
    await using temp = await tempFolder();
    const made = { file: join(temp.path, 'roots.made'), isInUse: true };
    const roots = join(temp.path, 'roots');
    await assert.rejects(Roots.open(roots, { ...given, made }), isLost);
    assert.deepEqual(await allFiles(temp.path), []);

    await Roots.open(roots, given);
    await Roots.open(roots, { ...given, made });
    await rm(roots, { recursive: true });
    await assert.rejects(open(temp.path), isLost);
  });

  it('open again once the folder was put back, and a first start that was cut short goes on', async () => {
    await using temp = await tempFolder();
    const first = await open(temp.path);
    await rename(join(temp.path, 'roots'), join(temp.path, 'away'));
    await assert.rejects(open(temp.path), isLost);
    await rename(join(temp.path, 'away'), join(temp.path, 'roots'));
    const again = await open(temp.path);
    assert.deepEqual(again.maker().mkbk.key.expose(), first.maker().mkbk.key.expose());

    // As if the power had gone before the mark was written.
    await rm(join(temp.path, 'roots.made'));
    await rm(join(temp.path, 'roots', 'storage'), { recursive: true });
    assert.equal((await open(temp.path)).areLocked, false);
  });
});

describe('sealed roots', () => {
  it('start locked, tell who they are, and open for the passphrase only', async () => {
    await using temp = await tempFolder();
    const first = await Roots.open(temp.path, given);
    await first.seal(PASSPHRASE);
    assert.equal(first.isEvaluation, false);

    const roots = await Roots.open(temp.path, given);
    assert.equal(roots.areLocked, true);
    assert.equal((await roots.certificates()).makerRoot, first.maker().certificate);
    assert.throws(() => roots.maker(), isRefused('RootsLocked'));
    assert.throws(() => roots.storageKey('A'), isRefused('RootsLocked'));
    await assert.rejects(roots.createMaker('x'), isRefused('RootsLocked'));
    await assert.rejects(roots.seal(PASSPHRASE), isRefused('RootsLocked'));
    await assert.rejects(roots.unlock(fromUtf8('something else')), isRefused('NotAuthenticated'));
    assert.equal(roots.areLocked, true);
    await roots.unlock(PASSPHRASE);
    assert.deepEqual(roots.maker().mkbk.key.expose(), first.maker().mkbk.key.expose());
    await assert.rejects(roots.unlock(fromUtf8('something else')), isRefused('NotAuthenticated'));
  });

  it('leave no root in the clear on the disk', async () => {
    await using temp = await tempFolder();
    const roots = await Roots.open(temp.path, given);
    const secrets = [
      roots.maker().mkbk.key.expose(),
      roots.owner().akbk.key.expose(),
      roots.maker().caKey.export({ format: 'der', type: 'pkcs8' }),
    ];
    await roots.seal(PASSPHRASE);
    await roots.createOwner('later');
    for (const file of await allFiles(temp.path)) {
      const content = await readFile(file);
      for (const secret of secrets) {
        assert.ok(!content.includes(asBuffer(secret)), file);
        assert.ok(!content.includes(toBase64(secret)), file);
      }
      assert.ok(!content.includes('PRIVATE KEY'), file);
    }
  });

  it('open by a credential at the start; a first start with one never rests in the clear', async () => {
    await using temp = await tempFolder();
    const first = await Roots.open(temp.path, { ...given, passphrase: PASSPHRASE });
    assert.equal(first.isEvaluation, false);
    const again = await Roots.open(temp.path, { ...given, passphrase: PASSPHRASE });
    assert.equal(again.areLocked, false);
  });

  it('take another passphrase, after which the old one is worth nothing', async () => {
    await using temp = await tempFolder();
    const roots = await Roots.open(temp.path, { ...given, passphrase: PASSPHRASE });
    const other = fromUtf8('battery horse correct');
    await roots.seal(other);
    const again = await Roots.open(temp.path, given);
    await assert.rejects(again.unlock(PASSPHRASE), isRefused('NotAuthenticated'));
    await again.unlock(other);
    assert.deepEqual(again.owner().akbk.key.expose(), roots.owner().akbk.key.expose());
  });

  it('finish at the unlock what a power cut left in the clear', async () => {
    await using temp = await tempFolder();
    await using plain = await tempFolder();
    const roots = await Roots.open(temp.path, given);
    await cp(temp.path, plain.path, { recursive: true });
    await roots.seal(PASSPHRASE);
    // As if the power had gone after the lock and before the owner's file.
    const keys = join('owners', 'home', 'keys.json');
    await cp(join(plain.path, keys), join(temp.path, keys));
    const again = await Roots.open(temp.path, given);
    await again.unlock(PASSPHRASE);
    assert.ok(!(await readFile(join(temp.path, keys), 'utf8')).includes('PRIVATE KEY'));
  });

  it('refuse a file that was changed, or put in another’s place', async () => {
    for (const spoil of [
      async (file: string) => {
        const value = JSON.parse(await readFile(file, 'utf8')) as { sealed: string };
        const first = value.sealed.startsWith('A') ? 'B' : 'A';
        await writeFile(file, JSON.stringify({ ...value, sealed: first + value.sealed.slice(1) }));
      },
      async (file: string, other: string) => cp(other, file),
    ]) {
      await using temp = await tempFolder();
      const roots = await Roots.open(temp.path, { ...given, passphrase: PASSPHRASE });
      await roots.createOwner('other');
      const file = (name: string) => join(temp.path, 'owners', name, 'keys.json');
      await spoil(file('home'), file('other'));
      const again = await Roots.open(temp.path, given);
      await assert.rejects(
        again.unlock(PASSPHRASE),
        (cause: unknown) => cause instanceof Failed && cause.code === 'DISK_DAMAGED',
      );
      assert.equal(again.areLocked, true);
    }
  });

  it('refuse a passphrase too short to be one', async () => {
    await using temp = await tempFolder();
    const roots = await Roots.open(temp.path, given);
    await assert.rejects(roots.seal(fromUtf8('short')), isRefused('InvalidRequest'));
    assert.equal(roots.isEvaluation, true);
  });
});
