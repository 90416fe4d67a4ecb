import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, verify as verifyWith } from 'node:crypto';
import { test } from 'node:test';
import type { Officer } from '../../src/cli/officer.ts';
import { CKA } from '../../src/hsm/constants.ts';
import { CURVE_NAMES, keyObject } from '../../src/hsm/key-material.ts';
import { fromBase64, fromUtf8, toBase64, toHex } from '../../src/kernel/bytes.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { keyOf, makeRoot, member, OfficersRig } from '../support/officers-rig.ts';

const DATA = toBase64(fromUtf8('what is signed and encrypted'));
const refusedAs = (code: string) => ({ name: 'Refused', code });

async function stage(options: Parameters<typeof OfficersRig.make>[0] = {}) {
  const rig = await OfficersRig.make(options);
  const admin = await rig.activated();
  const alice = await rig.cryptoUser(admin, 'alice');
  const bob = await rig.cryptoUser(admin, 'bob');
  return { rig, admin, alice, bob, [Symbol.asyncDispose]: () => rig[Symbol.asyncDispose]() };
}

const aes = (officer: Officer, attributes: JsonObject = {}, bytes = 32) =>
  officer.call('key-generate-symmetric', { type: 'aes', bytes, label: 'a', attributes });
const ec = (officer: Officer, curve = 'P-256') =>
  officer.call('key-generate-pair', { type: 'ec', curve, label: 'e' });

test('every kind of key is made, computes, and is rebuilt from its attributes alone', async () => {
  await using world = await stage();
  const { alice, rig } = world;
  const kinds = [
    'aes-128',
    'aes-192',
    'aes-256',
    'generic-secret',
    'rsa-2048',
    'ec-p224',
    'ec-p256',
    'ec-p384',
    'ec-p521',
    'ec-secp256k1',
  ];
  const { keys } = await alice.call('key-generate-many', { kinds, labelPrefix: 'demo-' });
  // The answer's form is this call's contract.
  const list = keys as { kind: string; key: string; publicKey?: string }[];
  assert.deepEqual(
    list.map(({ kind }) => kind),
    kinds,
  );
  for (const { kind, key, publicKey } of list) {
    if (kind.startsWith('aes')) {
      const sealed = await alice.call('encrypt', { key, mechanism: 'AES_GCM', data: DATA });
      const opened = await alice.call('decrypt', { key, mechanism: 'AES_GCM', ...sealed });
      assert.equal(opened['data'], DATA, kind);
      continue;
    }
    const mechanism = kind.startsWith('rsa')
      ? 'SHA256_RSA_PKCS'
      : kind.startsWith('ec')
        ? 'ECDSA_SHA256'
        : 'SHA256_HMAC';
    const { signature } = await alice.call('sign', { key, mechanism, data: DATA });
    const verifier = publicKey ?? key;
    const check = (data: string) =>
      alice.call('verify', { key: verifier, mechanism, data, signature });
    assert.deepEqual(await check(DATA), { isValid: true }, kind);
    assert.deepEqual(await check(toBase64(fromUtf8('something else'))), { isValid: false }, kind);
  }
  for (const record of rig.store.shared.objects.values()) keyObject(record);
});

test('pairs carry one id, the right PKCS#11 attributes and a public key that OpenSSL reads', async () => {
  await using world = await stage();
  for (const curve of CURVE_NAMES) {
    const pair = await ec(world.alice, curve);
    const view = member(member(pair, 'publicKey'), 'attributes');
    const hidden = member(member(pair, 'privateKey'), 'attributes');
    assert.equal(view['id'], hidden['id']);
    assert.equal(view['check-value'], hidden['check-value']);
    assert.equal(hidden['local'], true);
    assert.equal(hidden['always-sensitive'], true);
    assert.equal(hidden['never-extractable'], true);
    assert.ok(!('value' in hidden));
    const key = createPublicKey({
      key: Buffer.from(String(view['public-key-info']), 'base64'),
      format: 'der',
      type: 'spki',
    });
    const signed = await world.alice.call('sign', {
      key: keyOf(pair, 'privateKey'),
      mechanism: 'ECDSA_SHA384',
      data: DATA,
    });
    assert.ok(
      verifyWith('sha384', fromBase64(DATA), key, fromBase64(String(signed['signature']))),
      curve,
    );
    const raw = await world.alice.call('sign', {
      key: keyOf(pair, 'privateKey'),
      mechanism: 'ECDSA_SHA384',
      data: DATA,
      format: 'raw',
    });
    assert.ok(
      verifyWith(
        'sha384',
        fromBase64(DATA),
        { key, dsaEncoding: 'ieee-p1363' },
        fromBase64(String(raw['signature'])),
      ),
    );
  }
});

test('the check value of an AES key is the start of its encrypted zero block', async () => {
  await using world = await stage();
  // FIPS 197 C.3's key; the block is AES-256 of sixteen zero bytes, as OpenSSL computes it.
  const value = Buffer.from(
    '000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f',
    'hex',
  );
  const block = execFileSync(
    'openssl',
    ['enc', '-aes-256-ecb', '-nopad', '-K', value.toString('hex')],
    { input: Buffer.alloc(16) },
  );
  const made = await world.alice.call('key-import', {
    format: 'raw',
    type: 'aes',
    value: toBase64(value),
    label: 'v',
  });
  const attributes = member(member(made, 'key'), 'attributes');
  assert.equal(
    toHex(fromBase64(String(attributes['check-value']))),
    block.subarray(0, 3).toString('hex'),
  );
  assert.equal(attributes['local'], false);
  assert.equal(attributes['always-sensitive'], false);
  assert.equal(attributes['never-extractable'], false);
});

test('an imported pair signs as it did outside; anything but one clean key is refused', async () => {
  await using world = await stage();
  const { alice } = world;
  const take = (pem: string) => alice.call('key-import', { format: 'pkcs8-pem', pem, label: 'i' });
  const pkcs8 = { type: 'pkcs8', format: 'pem' } as const;
  for (const { privateKey, publicKey } of [
    generateKeyPairSync('rsa', { modulusLength: 2048 }),
    generateKeyPairSync('ec', { namedCurve: 'secp521r1' }),
  ]) {
    const made = await take(String(privateKey.export(pkcs8)));
    const mechanism = privateKey.asymmetricKeyType === 'rsa' ? 'SHA512_RSA_PKCS' : 'ECDSA_SHA512';
    const { signature } = await alice.call('sign', {
      key: keyOf(made, 'privateKey'),
      mechanism,
      data: DATA,
    });
    assert.ok(verifyWith('sha512', fromBase64(DATA), publicKey, fromBase64(String(signature))));
    const spki = String(publicKey.export({ type: 'spki', format: 'pem' }));
    const alone = await alice.call('key-import', { format: 'spki-pem', pem: spki, label: 's' });
    assert.deepEqual(
      await alice.call('verify', { key: keyOf(alone), mechanism, data: DATA, signature }),
      { isValid: true },
    );
    await assert.rejects(take(spki), refusedAs('InvalidRequest'));
    await assert.rejects(
      take(String(privateKey.export({ ...pkcs8, cipher: 'aes-256-cbc', passphrase: 'x' }))),
      refusedAs('InvalidRequest'),
    );
  }
  const odd = [
    generateKeyPairSync('ed25519').privateKey,
    generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey,
    generateKeyPairSync('rsa', { modulusLength: 2048, publicExponent: 3 }).privateKey,
    generateKeyPairSync('rsa-pss', { modulusLength: 2048 }).privateKey,
    generateKeyPairSync('ec', { namedCurve: 'brainpoolP256r1' }).privateKey,
  ];
  for (const key of odd)
    await assert.rejects(take(String(key.export(pkcs8))), refusedAs('InvalidRequest'));
  await assert.rejects(
    take('-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n'),
    refusedAs('InvalidRequest'),
  );
});

test('lengths, curves and sizes that a type does not have are refused', async () => {
  await using world = await stage();
  const wrong: [string, JsonObject][] = [
    ['key-generate-symmetric', { type: 'aes', bytes: 20, label: 'x' }],
    ['key-generate-symmetric', { type: 'generic-secret', bytes: 801, label: 'x' }],
    ['key-generate-symmetric', { type: 'generic-secret', bytes: 0, label: 'x' }],
    ['key-generate-symmetric', { type: 'des3', bytes: 24, label: 'x' }],
    ['key-generate-symmetric', { type: 'aes', bytes: 16 }],
    ['key-generate-symmetric', { type: 'aes', bytes: 16, label: 'x', owner: 'bob' }],
    ['key-generate-pair', { type: 'rsa', bits: 1024, label: 'x' }],
    ['key-generate-pair', { type: 'rsa', bits: 2049, label: 'x' }],
    ['key-generate-pair', { type: 'rsa', bits: 8192, label: 'x' }],
    ['key-generate-pair', { type: 'rsa', curve: 'P-256', label: 'x' }],
    ['key-generate-pair', { type: 'ec', curve: 'P-192', label: 'x' }],
    ['key-generate-pair', { type: 'ec', bits: 2048, label: 'x' }],
    ['key-generate-many', { kinds: [], labelPrefix: 'x' }],
    [
      'key-generate-many',
      { kinds: Array.from({ length: 257 }, () => 'aes-128'), labelPrefix: 'x' },
    ],
    ['key-generate-many', { kinds: ['toString'], labelPrefix: 'x' }],
    ['key-import', { format: 'raw', type: 'aes', value: 'AAAA', label: 'x' }],
    ['key-import', { format: 'raw', value: 'AAAA', label: 'x' }],
    ['key-import', { format: 'raw', type: 'aes', pem: '-----', label: 'x' }],
    [
      'key-generate-symmetric',
      { type: 'aes', bytes: 16, label: 'x', attributes: { private: false } },
    ],
    ['object-import', { type: 'certificate', pem: '-----BEGIN CERTIFICATE-----\n', label: 'x' }],
    ['object-import', { type: 'data', label: 'x' }],
    ['key-get', { key: '1' }],
    ['key-list', { limit: 501 }],
  ];
  for (const [call, params] of wrong) {
    await assert.rejects(
      world.alice.call(call, params),
      refusedAs('InvalidRequest'),
      `${call} ${JSON.stringify(params)}`,
    );
  }
  assert.equal(world.rig.store.shared.objects.size, 0);
});

test('a private key is seen and used by owner and sharees, changed by the owner alone', async () => {
  await using world = await stage();
  const { alice, bob, admin } = world;
  const pair = await ec(alice);
  const key = keyOf(pair, 'privateKey');
  const sign = (officer: Officer) =>
    officer.call('sign', { key, mechanism: 'ECDSA_SHA256', data: DATA });
  await assert.rejects(sign(bob), refusedAs('NotFound'));
  await assert.rejects(bob.call('key-get', { key: '0x00000000000000ff' }), refusedAs('NotFound'));
  await bob.call('verify', {
    key: keyOf(pair, 'publicKey'),
    mechanism: 'ECDSA_SHA256',
    data: DATA,
    signature: 'AAAA',
  });
  await assert.rejects(
    alice.call('key-share', { key: keyOf(pair, 'publicKey'), username: 'bob' }),
    refusedAs('InvalidRequest'),
  );
  await assert.rejects(alice.call('key-share', { key, username: 'admin' }), refusedAs('NotFound'));
  await assert.rejects(alice.call('key-share', { key, username: 'alice' }), refusedAs('Conflict'));
  await alice.call('key-share', { key, username: 'BOB' });
  await sign(bob);
  for (const [call, params] of [
    ['key-delete', {}],
    ['key-share', { username: 'bob' }],
    ['key-unshare', { username: 'bob' }],
    ['key-set-attribute', { attributes: { label: 'mine' } }],
  ] as [string, JsonObject][]) {
    await assert.rejects(bob.call(call, { key, ...params }), refusedAs('AccessDenied'), call);
  }
  await alice.call('key-unshare', { key, username: 'bob' });
  await assert.rejects(sign(bob), refusedAs('NotFound'));
  assert.equal(member(await admin.call('key-get', { key }), 'key')['owner'], 'alice');
  await assert.rejects(sign(admin), refusedAs('AccessDenied'));
});

test('a deleted key leaves a tombstone and nothing else; its reference never comes back', async () => {
  await using world = await stage();
  const { alice, rig } = world;
  const made = await aes(alice);
  const key = keyOf(made);
  const [id] = rig.store.shared.objects.keys();
  await alice.call('encrypt', { key, mechanism: 'AES_GCM', data: DATA });
  await alice.call('key-set-attribute', { key, attributes: { destroyable: false } });
  await assert.rejects(alice.call('key-delete', { key }), refusedAs('WrongState'));
  await alice.call('key-set-attribute', { key, attributes: { destroyable: true } });
  await alice.call('key-delete', { key });
  assert.equal(rig.store.shared.objects.size, 0);
  assert.deepEqual([...rig.store.shared.tombstones.keys()], [id]);
  for (const call of ['key-get', 'key-delete'])
    await assert.rejects(alice.call(call, { key }), refusedAs('NotFound'));
  await assert.rejects(
    alice.call('encrypt', { key, mechanism: 'AES_GCM', data: DATA }),
    refusedAs('NotFound'),
  );
  assert.notEqual(keyOf(await aes(alice)), key);
});

test('a usage flag turned off stops the very next use', async () => {
  await using world = await stage();
  const key = keyOf(await aes(world.alice));
  await world.alice.call('encrypt', { key, mechanism: 'AES_GCM', data: DATA });
  await world.alice.call('key-set-attribute', { key, attributes: { encrypt: false } });
  await assert.rejects(
    world.alice.call('encrypt', { key, mechanism: 'AES_GCM', data: DATA }),
    refusedAs('AccessDenied'),
  );
});

test('extractable and sensitive remember what they were', async () => {
  await using world = await stage();
  const made = await aes(world.alice, { extractable: true, sensitive: false });
  const change = { key: keyOf(made), attributes: { extractable: false, sensitive: true } };
  const changed = member(
    member(await world.alice.call('key-set-attribute', change), 'key'),
    'attributes',
  );
  assert.equal(changed['never-extractable'], false);
  assert.equal(changed['always-sensitive'], false);
});

test('limits of the type hold for one call and for many, pairs counted once', async () => {
  await using world = await stage({ type: 'hsm1.medium', mode: 'FIPS' });
  const { alice, rig } = world;
  const batch = { kinds: Array.from({ length: 256 }, () => 'aes-128'), labelPrefix: 'k' };
  for (let i = 0; i < 12; i += 1) await alice.call('key-generate-many', batch);
  await assert.rejects(alice.call('key-generate-many', batch), refusedAs('LimitExceeded'));
  assert.equal(rig.store.shared.objects.size, 12 * 256);
  const kinds = Array.from({ length: 228 }, (_, i) => (i < 4 ? 'ec-p256' : 'aes-128'));
  await alice.call('key-generate-many', { kinds, labelPrefix: 'last' });
  await assert.rejects(ec(alice), refusedAs('LimitExceeded'));
});

test('listing pages through everything once, filtered or not', async () => {
  await using world = await stage();
  const { alice } = world;
  const kinds = Array.from({ length: 25 }, (_, i) => (i % 5 === 0 ? 'ec-p256' : 'aes-256'));
  await alice.call('key-generate-many', { kinds, labelPrefix: 'n' });
  const seen: string[] = [];
  for (let after: string | undefined; ; ) {
    const page = await alice.call('key-list', {
      limit: 7,
      ...(after === undefined ? {} : { after }),
    });
    // The answer's form is this call's contract.
    seen.push(...(page['keys'] as { key: string }[]).map(({ key }) => key));
    if (page['next'] === null) break;
    after = String(page['next']);
  }
  assert.equal(seen.length, 30);
  assert.equal(new Set(seen).size, 30);
  const some = await alice.call('key-list', { class: 'private-key', type: 'ec', label: 'n5' });
  assert.equal((some['keys'] as unknown[]).length, 1);
});

test('certificates are everybody’s to see, data objects their owner’s', async () => {
  await using world = await stage();
  const { alice, bob } = world;
  const { certificate } = makeRoot('somebody');
  const shown = keyOf(
    await alice.call('object-import', { type: 'certificate', pem: certificate, label: 'c' }),
  );
  const hidden = keyOf(
    await alice.call('object-import', { type: 'data', value: DATA, label: 'd' }),
  );
  await bob.call('key-get', { key: shown });
  await assert.rejects(bob.call('key-get', { key: hidden }), refusedAs('NotFound'));
  const own = member(member(await alice.call('key-get', { key: hidden }), 'key'), 'attributes');
  assert.equal(own['value'], DATA);
});

test('compare lists everything, gives no secret away, and is equal for equal states', async () => {
  await using world = await stage();
  const { alice, admin, rig } = world;
  await alice.call('key-generate-many', {
    kinds: ['aes-256', 'rsa-2048', 'ec-p256', 'generic-secret'],
    labelPrefix: 'k',
  });
  await alice.call('object-import', { type: 'data', value: DATA, label: 'd' });
  const lines = await admin.lines('compare');
  assert.equal(lines.filter((line) => line['kind'] === 'object').length, 7);
  assert.deepEqual(await admin.lines('compare'), lines);
  const text = JSON.stringify(lines);
  for (const record of rig.store.shared.objects.values()) {
    for (const type of [CKA.VALUE, CKA.PRIVATE_EXPONENT, CKA.PRIME_1, CKA.COEFFICIENT]) {
      const secret = record.attributes.get(type);
      if (secret?.type !== 'bytes') continue;
      assert.ok(!text.includes(toBase64(secret.value)) && !text.includes(toHex(secret.value)));
    }
  }
  await alice.call('key-delete', { key: keyOf(await aes(alice)) });
  assert.notDeepEqual(await admin.lines('compare'), lines);
});
