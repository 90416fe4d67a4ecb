import assert from 'node:assert/strict';
import { test } from 'node:test';
import { flag } from '../../src/hsm/attributes.ts';
import { CKA, CKK, CKO } from '../../src/hsm/constants.ts';
import { generateEc, generateRsa, generateSecret } from '../../src/hsm/generate.ts';
import { KeyCache } from '../../src/hsm/key-material.ts';
import { MECHANISMS, type MechanismName, type MechanismRow } from '../../src/hsm/mechanisms.ts';
import type { Newborn } from '../../src/hsm/objects.ts';
import { decrypt, encrypt, type OperationNeeds, sign, verify } from '../../src/hsm/operations.ts';
import type { HsmMode } from '../../src/hsm/protocol.ts';
import type { ObjectRecord } from '../../src/hsm/state.ts';
import { fromUtf8 } from '../../src/kernel/bytes.ts';
import { systemRandom } from '../../src/kernel/random.ts';

const MESSAGE = fromUtf8('one message for all mechanisms');
const wishes = { label: 'k' };
let handle = 0;

function record(attributes: Newborn): ObjectRecord {
  handle += 1;
  return {
    id: String(handle),
    handle,
    owner: 'a',
    sharedWith: [],
    attributes,
    createdGeneration: 1,
  };
}

const needs = (mode: HsmMode = 'NON_FIPS'): OperationNeeds => ({
  keys: new KeyCache(),
  random: systemRandom,
  mode,
});

const [rsaPublic, rsaPrivate] = (await generateRsa(systemRandom, 2048, wishes)).map(record);
const [ecPublic, ecPrivate] = (await generateEc(systemRandom, 'P-384', wishes)).map(record);
const aes = record(generateSecret(systemRandom, 'aes', 32, wishes));
const generic = record(generateSecret(systemRandom, 'generic-secret', 64, wishes));
assert.ok(rsaPublic && rsaPrivate && ecPublic && ecPrivate);
const KEYS = new Map<number, { out: ObjectRecord; in: ObjectRecord }>([
  [CKK.RSA, { out: rsaPublic, in: rsaPrivate }],
  [CKK.EC, { out: ecPublic, in: ecPrivate }],
  [CKK.AES, { out: aes, in: aes }],
  [CKK.GENERIC_SECRET, { out: generic, in: generic }],
]);
// Entries of a table whose keys are MechanismName by definition.
const ROWS = Object.entries(MECHANISMS) as [MechanismName, MechanismRow][];

function keysOf(row: MechanismRow) {
  const keys = KEYS.get(row.keyTypes[0] ?? -1);
  assert.ok(keys);
  return keys;
}

for (const [name, row] of ROWS) {
  const keys = keysOf(row);
  if (row.usages.some((usage) => usage === 'sign')) {
    test(`${name} verifies what it signed and nothing else`, async () => {
      const signature = await sign(needs(), keys.in, name, MESSAGE, 'raw');
      const check = (data: Uint8Array, bytes: Uint8Array) =>
        verify(needs(), keys.out, name, data, bytes, 'raw');
      assert.equal(await check(MESSAGE, signature), true);
      assert.equal(await check(fromUtf8('another'), signature), false);
      for (const at of [0, signature.length >> 1, signature.length - 1]) {
        const bent = signature.slice();
        bent[at] = (bent[at] ?? 0) ^ 1;
        assert.equal(await check(MESSAGE, bent), false);
      }
      assert.equal(await check(MESSAGE, signature.subarray(1)), false);
      assert.equal(await check(MESSAGE, new Uint8Array(0)), false);
    });
  } else {
    test(`${name} decrypts what it encrypted; everything else gets one refusal`, () => {
      const { data, iv } = encrypt(needs(), keys.out, name, MESSAGE);
      assert.deepEqual(decrypt(needs(), keys.in, name, data, { iv }), MESSAGE);
      if (name === 'RSA_PKCS') return; // Implicit rejection: a wrong padding gives random bytes, not an error.
      const messages = new Set<string>();
      const wrong = [
        data.subarray(1),
        data.subarray(0, -1),
        new Uint8Array(0),
        systemRandom.bytes(data.length),
      ];
      for (const bytes of wrong) {
        try {
          const opened = decrypt(needs(), keys.in, name, bytes, { iv });
          // CBC has no tag: one random padding in 256 looks right, and the bytes are then noise.
          assert.equal(name, 'AES_CBC_PAD');
          assert.notDeepEqual(opened, MESSAGE);
        } catch (cause) {
          assert.ok(cause instanceof Error && 'code' in cause);
          assert.equal(cause.code, 'DoesNotOpen');
          messages.add(cause.message);
        }
      }
      assert.ok(messages.size <= 1);
    });
  }

  test(`${name} refuses keys of every other type and the wrong half`, async () => {
    for (const [type, other] of KEYS) {
      if (row.keyTypes.some((one) => one === type)) continue;
      await assert.rejects(sign(needs(), other.in, name, MESSAGE, 'raw'), {
        code: 'InvalidRequest',
      });
      assert.throws(() => encrypt(needs(), other.out, name, MESSAGE), { code: 'InvalidRequest' });
    }
    if (keys.in === keys.out) return;
    await assert.rejects(sign(needs(), keys.out, name, MESSAGE, 'raw'), { code: 'InvalidRequest' });
    assert.throws(() => decrypt(needs(), keys.out, name, MESSAGE), { code: 'InvalidRequest' });
  });
}

test('FIPS mode refuses RSA PKCS#1 v1.5 encryption and keeps everything else', async () => {
  for (const [name, row] of ROWS) {
    const keys = keysOf(row);
    const work = row.usages.some((usage) => usage === 'sign')
      ? sign(needs('FIPS'), keys.in, name, MESSAGE, 'raw')
      : Promise.resolve().then(() => encrypt(needs('FIPS'), keys.out, name, MESSAGE));
    if (name === 'RSA_PKCS') await assert.rejects(work, { code: 'InvalidRequest' });
    else await work;
  }
  assert.throws(() => decrypt(needs('FIPS'), rsaPrivate, 'RSA_PKCS', new Uint8Array(256)), {
    code: 'InvalidRequest',
  });
});

test('each use asks for its own attribute', async () => {
  const without = (key: ObjectRecord, type: number) =>
    record(new Map([...key.attributes, [type, flag(false)]]));
  await assert.rejects(
    sign(needs(), without(ecPrivate, CKA.SIGN), 'ECDSA_SHA256', MESSAGE, 'raw'),
    { code: 'AccessDenied' },
  );
  await assert.rejects(
    verify(needs(), without(ecPublic, CKA.VERIFY), 'ECDSA_SHA256', MESSAGE, MESSAGE, 'raw'),
    { code: 'AccessDenied' },
  );
  assert.throws(() => encrypt(needs(), without(aes, CKA.ENCRYPT), 'AES_GCM', MESSAGE), {
    code: 'AccessDenied',
  });
  assert.throws(
    () =>
      decrypt(needs(), without(aes, CKA.DECRYPT), 'AES_GCM', MESSAGE, { iv: new Uint8Array(12) }),
    { code: 'AccessDenied' },
  );
});

test('AES-GCM makes a new iv each time, binds its aad, and takes none from callers', () => {
  const [a, b] = [
    encrypt(needs(), aes, 'AES_GCM', MESSAGE, { aad: MESSAGE }),
    encrypt(needs(), aes, 'AES_GCM', MESSAGE, { aad: MESSAGE }),
  ];
  assert.notDeepEqual(a.iv, b.iv);
  assert.deepEqual(decrypt(needs(), aes, 'AES_GCM', a.data, { iv: a.iv, aad: MESSAGE }), MESSAGE);
  assert.throws(() => decrypt(needs(), aes, 'AES_GCM', a.data, { iv: a.iv }), {
    code: 'DoesNotOpen',
  });
  assert.throws(() => decrypt(needs(), aes, 'AES_GCM', a.data, { iv: b.iv, aad: MESSAGE }), {
    code: 'DoesNotOpen',
  });
  assert.throws(() => encrypt(needs(), aes, 'AES_GCM', MESSAGE, { iv: new Uint8Array(12) }), {
    code: 'InvalidRequest',
  });
  assert.throws(() => decrypt(needs(), aes, 'AES_GCM', a.data, { iv: new Uint8Array(16) }), {
    code: 'InvalidRequest',
  });
  assert.throws(() => decrypt(needs(), aes, 'AES_GCM', a.data), { code: 'InvalidRequest' });
  assert.throws(() => encrypt(needs(), aes, 'AES_CBC_PAD', MESSAGE, { aad: MESSAGE }), {
    code: 'InvalidRequest',
  });
  assert.throws(() => encrypt(needs(), rsaPublic, 'RSA_PKCS', MESSAGE, { hash: 'sha256' }), {
    code: 'InvalidRequest',
  });
});

test('RSA says how much fits', () => {
  assert.throws(() => encrypt(needs(), rsaPublic, 'RSA_PKCS_OAEP', new Uint8Array(191)), {
    code: 'InvalidRequest',
  });
  const { data } = encrypt(needs(), rsaPublic, 'RSA_PKCS_OAEP', new Uint8Array(190));
  assert.equal(decrypt(needs(), rsaPrivate, 'RSA_PKCS_OAEP', data).length, 190);
  assert.throws(() => decrypt(needs(), rsaPrivate, 'RSA_PKCS_OAEP', data, { hash: 'sha512' }), {
    code: 'DoesNotOpen',
  });
});

test('unknown mechanisms are refused with those that work', async () => {
  for (const name of ['', 'SHA1_RSA_PKCS', 'toString', '__proto__', 'ECDSA']) {
    await assert.rejects(sign(needs(), ecPrivate, name, MESSAGE, 'raw'), /ECDSA_SHA256/);
  }
  await sign(needs(), ecPrivate, 'CKM_ECDSA_SHA256', MESSAGE, 'raw');
});

test('certificates and data compute nothing', async () => {
  for (const objectClass of [CKO.CERTIFICATE, CKO.DATA]) {
    const thing = record(new Map([[CKA.CLASS, { type: 'ulong', value: objectClass }]]));
    await assert.rejects(sign(needs(), thing, 'SHA256_HMAC', MESSAGE, 'raw'), {
      code: 'InvalidRequest',
    });
  }
});
