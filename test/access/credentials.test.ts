import assert from 'node:assert/strict';
import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';
import { Credentials } from '../../src/access/credentials.ts';
import { Failed, Refused } from '../../src/kernel/errors.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import type { EpochMs } from '../../src/kernel/types.ts';

// A plain number of milliseconds is what EpochMs brands.
const NOW = 1_800_000_000_000 as EpochMs;

async function folder() {
  const path = await mkdtemp(join(tmpdir(), 'keyark-access-'));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true }) };
}
const openIn = (path: string) => Credentials.open({ folder: path, random: systemRandom });

describe('Credentials', () => {
  it('make one key on the first start and find it again on the next', async () => {
    await using place = await folder();
    const first = (await openIn(place.path)).default();
    assert.match(first.accessKeyId, /^KEYARK[A-Z2-7]{14}$/);
    assert.match(first.account, /^0000\d{8}$/);
    assert.match(first.secretAccessKey, /^[A-Za-z0-9+/]{40}$/);
    const again = (await openIn(place.path)).default();
    assert.deepEqual(
      [again.accessKeyId, again.account, again.secretAccessKey],
      [first.accessKeyId, first.account, first.secretAccessKey],
    );
  });

  it('belong, the first one, to the account that the configuration names', async () => {
    const path = await mkdtemp(join(tmpdir(), 'keyark-access-'));
    try {
      const given = { folder: path, random: systemRandom, account: '000000008228' };
      assert.equal((await Credentials.open(given)).default().account, '000000008228');
    } finally {
      await rm(path, { recursive: true });
    }
  });

  it('rest in one file that only their user reads', async () => {
    await using place = await folder();
    await openIn(place.path);
    assert.deepEqual(await readdir(place.path), ['credentials.json']);
    assert.equal((await stat(join(place.path, 'credentials.json'))).mode & 0o777, 0o600);
  });

  it('are in a private file also when a careless one was left half-written', async () => {
    await using place = await folder();
    const left = join(place.path, 'credentials.json.new');
    await writeFile(left, 'half');
    await chmod(left, 0o644);
    await openIn(place.path);
    assert.equal((await stat(join(place.path, 'credentials.json'))).mode & 0o777, 0o600);
  });

  it('hold several accounts, made at once, and keep the first as the default', async () => {
    await using place = await folder();
    const credentials = await openIn(place.path);
    const first = credentials.default();
    const made = await Promise.all(
      ['000000000001', '000000000002', '000000000001'].map((account) =>
        credentials.create(account, NOW),
      ),
    );
    const again = await openIn(place.path);
    assert.equal(again.default().accessKeyId, first.accessKeyId);
    for (const key of made) assert.equal(again.find(key.accessKeyId)?.account, key.account);
    assert.equal(again.list().length, 4);
  });

  it('know no other key', async () => {
    await using place = await folder();
    const credentials = await openIn(place.path);
    for (const id of ['', 'AKIAIOSFODNN7EXAMPLE', '__proto__', 'constructor']) {
      assert.equal(credentials.find(id), undefined);
    }
  });

  it('refuse an account that could be a real one', async () => {
    await using place = await folder();
    const credentials = await openIn(place.path);
    for (const account of ['123456789012', '0000', '0000123456789', '00001234567x']) {
      assert.throws(() => credentials.create(account, NOW), Refused);
    }
  });

  it('refuse a damaged file and leave it as it is', async () => {
    await using place = await folder();
    const path = join(place.path, 'credentials.json');
    for (const text of ['', '{"version":1,"keys":[{}]}', '{"version":2,"keys":[]}', '[1']) {
      await writeFile(path, text);
      await assert.rejects(openIn(place.path), (cause) => cause instanceof Failed);
      assert.equal(await readFile(path, 'utf8'), text);
    }
  });

  it('show their secret to no log line', async () => {
    await using place = await folder();
    const key = (await openIn(place.path)).default();
    const shown = [inspect(key, { showHidden: true }), JSON.stringify(key), String(key)].join();
    assert.ok(!shown.includes(key.secretAccessKey));
  });
});
