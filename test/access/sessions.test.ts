import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { AccessKey, addUser, enableKey, removeKey, removeUser } from '../../src/access/accounts.ts';
import { Credentials } from '../../src/access/credentials.ts';
import { Failed, Refused } from '../../src/kernel/errors.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import type { EpochMs } from '../../src/kernel/types.ts';

const NOW = 1_800_000_000_000;
// Plain numbers of milliseconds are what EpochMs brands.
const at = (ms: number): EpochMs => (NOW + ms) as EpochMs;
const HOUR = 3_600_000;

async function opened() {
  const folder = await mkdtemp(join(tmpdir(), 'keyark-access-'));
  const credentials = await Credentials.open({ folder, random: systemRandom, now: at(0) });
  const again = () => Credentials.open({ folder, random: systemRandom });
  const { account } = credentials.default();
  const user = {
    account,
    name: 'ada',
    createdAt: at(0),
    policies: new Map(),
    managed: new Set<string>(),
  };
  await credentials.change((accounts) => addUser(accounts, user));
  const key = await credentials.createKey({ account, user: 'ada', now: at(0) });
  const session = () => credentials.createSession(key, { now: at(10), expiresAt: at(HOUR) });
  return {
    folder,
    credentials,
    key,
    account,
    session,
    again,
    [Symbol.asyncDispose]: async () => {
      await credentials.idle();
      await rm(folder, { recursive: true });
    },
  };
}

describe('temporary credentials', () => {
  it('stand for the user they were made by, until they expire, also after a restart', async () => {
    await using place = await opened();
    const { key, sessionToken } = place.session();
    assert.match(key.accessKeyId, /^KEYARKTMP[A-Z2-7]{11}$/);
    for (const credentials of [place.credentials, await place.again()]) {
      const found = credentials.identify(key.accessKeyId, sessionToken, at(HOUR - 1));
      assert.ok(found instanceof AccessKey);
      assert.deepEqual(
        [found.principal, found.secretAccessKey, found.session?.issuedAt],
        [place.key.principal, key.secretAccessKey, at(10)],
      );
      assert.equal(credentials.identify(key.accessKeyId, sessionToken, at(HOUR)), 'EXPIRED_TOKEN');
    }
  });

  it('are nothing without the token, with another one, or with one bit changed', async () => {
    await using place = await opened();
    const { credentials } = place;
    const [one, two] = [place.session(), place.session()];
    const id = one.key.accessKeyId;
    const ask = (token: string | undefined, of = id) => credentials.identify(of, token, at(20));
    assert.equal(ask(undefined), 'MISSING_TOKEN');
    assert.equal(ask(two.sessionToken), 'WRONG_TOKEN');
    assert.equal(ask(one.sessionToken, place.key.accessKeyId), 'WRONG_TOKEN');
    for (const token of ['', 'x', `${one.sessionToken}A`, one.sessionToken.slice(0, -1), 'é']) {
      assert.equal(ask(token), 'WRONG_TOKEN', token);
    }
    const bytes = new Uint8Array(Buffer.from(one.sessionToken, 'base64url'));
    for (let bit = 0; bit < bytes.length * 8; bit += 1) {
      const copy = bytes.slice();
      copy[bit >> 3]! ^= 1 << (bit & 7);
      const changed = Buffer.from(copy).toString('base64url');
      assert.equal(ask(changed), 'WRONG_TOKEN', `bit ${bit}`);
    }
  });

  it('end with their key, when it is switched off, removed, or its user is', async () => {
    for (const end of [
      (key: AccessKey, now: EpochMs) => (a: Parameters<typeof enableKey>[0]) =>
        enableKey(a, key.accessKeyId, { isEnabled: false, now }),
      (key: AccessKey) => (a: Parameters<typeof removeKey>[0]) => removeKey(a, key.accessKeyId),
      (key: AccessKey) => (a: Parameters<typeof removeUser>[0]) =>
        removeUser(a, key.account, 'ada'),
    ]) {
      await using place = await opened();
      const { key, sessionToken } = place.session();
      await place.credentials.change(end(place.key, at(10)));
      const found = place.credentials.identify(key.accessKeyId, sessionToken, at(20));
      assert.ok(found === 'DISABLED_KEY' || found === 'WRONG_TOKEN', String(found));
    }
  });

  it('stay ended when their key is switched on again, and new ones count', async () => {
    await using place = await opened();
    const { credentials, key } = place;
    const old = place.session();
    const set = (isEnabled: boolean) =>
      credentials.change((a) => enableKey(a, key.accessKeyId, { isEnabled, now: at(10) }));
    await set(false);
    assert.equal(credentials.identify(key.accessKeyId, undefined, at(11)), 'DISABLED_KEY');
    await set(true);
    assert.equal(
      credentials.identify(old.key.accessKeyId, old.sessionToken, at(11)),
      'DISABLED_KEY',
    );
    const fresh = credentials.createSession(key, { now: at(20), expiresAt: at(HOUR) });
    assert.ok(
      credentials.identify(fresh.key.accessKeyId, fresh.sessionToken, at(21)) instanceof AccessKey,
    );
  });

  it('make no further ones', async () => {
    await using place = await opened();
    const { key, sessionToken } = place.session();
    const found = place.credentials.identify(key.accessKeyId, sessionToken, at(20));
    assert.ok(found instanceof AccessKey);
    assert.throws(
      () => place.credentials.createSession(found, { now: at(20), expiresAt: at(HOUR) }),
      (cause) => cause instanceof Refused && cause.code === 'AccessDenied',
    );
  });
});

describe('credentials.json', () => {
  it('opens as version 1 left it, and is version 2 from then on', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'keyark-access-'));
    try {
      const keys = [
        {
          accessKeyId: 'KEYARKAAAAAAAAAAAAAA',
          account: '000000008228',
          secretAccessKey: 'a'.repeat(40),
        },
        {
          accessKeyId: 'KEYARKBBBBBBBBBBBBBB',
          account: '000000000002',
          secretAccessKey: 'b'.repeat(40),
        },
      ];
      const path = join(folder, 'credentials.json');
      await writeFile(path, JSON.stringify({ version: 1, keys }));
      const open = () => Credentials.open({ folder, random: systemRandom });
      for (const credentials of [await open(), await open()]) {
        assert.equal(credentials.default().accessKeyId, keys[0]?.accessKeyId);
        assert.equal(credentials.accounts.owner, '000000008228');
        assert.deepEqual(
          [...credentials.accounts.accounts.keys()],
          ['000000008228', '000000000002'],
        );
        for (const { accessKeyId, secretAccessKey } of keys) {
          const found = credentials.identify(accessKeyId, undefined, at(0));
          assert.ok(found instanceof AccessKey && found.secretAccessKey === secretAccessKey);
        }
      }
      assert.equal(JSON.parse(await readFile(path, 'utf8')).version, 2);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('keeps users, policies, switched-off keys and when keys were used', async () => {
    await using place = await opened();
    const { credentials, key } = place;
    credentials.noteUse(key, at(5));
    await credentials.change((a) =>
      enableKey(a, key.accessKeyId, { isEnabled: false, now: at(6) }),
    );
    const again = await place.again();
    assert.equal(again.lastUsedAt(key.accessKeyId), at(5));
    assert.equal(again.identify(key.accessKeyId, undefined, at(7)), 'DISABLED_KEY');
    assert.deepEqual([...again.accounts.users.keys()], [`${place.account}/ada`]);
  });

  it('is left as it is when it is damaged anywhere', async () => {
    await using place = await opened();
    const path = join(place.folder, 'credentials.json');
    const text = await readFile(path, 'utf8');
    for (const broken of [
      text.slice(0, -3),
      text.replace('"version": 2', '"version": 3'),
      text.replace(/"sessionKey": "[^"]*"/, '"sessionKey": "AAAA"'),
      text.replace(/"owner": "[^"]*"/, '"owner": "000000000009"'),
      text.replace('"keys"', '"locks"'),
    ]) {
      await writeFile(path, broken);
      await assert.rejects(place.again(), (cause) => cause instanceof Failed);
      assert.equal(await readFile(path, 'utf8'), broken);
    }
  });

  it('never loses the last working root key of the owner', async () => {
    await using place = await opened();
    const { credentials } = place;
    const id = credentials.default().accessKeyId;
    for (const change of [
      (a: Parameters<typeof removeKey>[0]) => removeKey(a, id),
      (a: Parameters<typeof removeKey>[0]) => enableKey(a, id, { isEnabled: false, now: at(0) }),
    ]) {
      await assert.rejects(credentials.change(change), /last working root key/);
    }
    const second = await credentials.create(place.account, at(1));
    await credentials.change((a) => removeKey(a, id));
    assert.equal(credentials.default().accessKeyId, second.accessKeyId);
  });
});
