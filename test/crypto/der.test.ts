import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  DerReader,
  element,
  objectIdentifier,
  printableString,
  TAG,
  time,
  unsignedInteger,
} from '../../src/crypto/der.ts';
import { CryptoError } from '../../src/crypto/errors.ts';
import { fromHex, toHex, toUtf8 } from '../../src/kernel/bytes.ts';
import type { EpochMs } from '../../src/kernel/types.ts';

const refused = { name: 'CryptoError', code: 'DER' };

test('the writer gives the shortest forms', () => {
  assert.equal(toHex(unsignedInteger(fromHex('000000'))), '020100');
  assert.equal(toHex(unsignedInteger(fromHex('0080'))), '02020080');
  assert.equal(toHex(unsignedInteger(fromHex('00007f'))), '02017f');
  assert.equal(toHex(objectIdentifier('1.2.840.113549.1.1.11')), '06092a864886f70d01010b');
  assert.equal(toHex(element(0x04, new Uint8Array(127))).slice(0, 4), '047f');
  assert.equal(toHex(element(0x04, new Uint8Array(128))).slice(0, 6), '048180');
  assert.equal(toHex(element(0x04, new Uint8Array(256))).slice(0, 8), '04820100');
  assert.throws(() => printableString('a@b'), refused);
});

test('times are UTCTime until 2049 and GeneralizedTime from 2050', () => {
  // Text of a date becomes the number that EpochMs brands.
  const der = (iso: string) => time(Date.parse(iso) as EpochMs);
  const text = (bytes: Uint8Array) => toUtf8(bytes.subarray(2));
  assert.equal(text(der('2049-12-31T23:59:59.999Z')), '491231235959Z');
  assert.equal(der('2049-12-31T23:59:59Z')[0], TAG.UTC_TIME);
  assert.equal(text(der('2050-01-01T00:00:00Z')), '20500101000000Z');
  assert.equal(text(der('9999-12-31T23:59:59Z')), '99991231235959Z');
  assert.throws(() => der('1949-12-31T23:59:59Z'), refused);
  assert.throws(() => der('+010000-01-01T00:00:00Z'), refused);
});

test('the reader refuses whatever has a second spelling or ends too early', () => {
  for (const hex of [
    '',
    '04',
    '0401',
    '0480',
    '048000',
    '048101aa',
    '04820001aa',
    `04820080${'00'.repeat(128)}`,
    '0484000000ff',
    '0500',
  ]) {
    assert.throws(() => new DerReader(fromHex(hex)).next(TAG.OCTET_STRING), refused, hex);
  }
  const reader = new DerReader(fromHex('0401aa00'));
  reader.next(TAG.OCTET_STRING);
  assert.throws(() => reader.end(), refused);
});

test('the reader has a floor: 64 KiB and 16 levels', () => {
  assert.throws(() => new DerReader(new Uint8Array(65_537)), refused);
  let nested = new Uint8Array(0);
  for (let i = 0; i < 20; i += 1) nested = new Uint8Array(element(TAG.SEQUENCE, nested));
  let reader = new DerReader(nested);
  assert.throws(() => {
    for (;;) reader = reader.enter(TAG.SEQUENCE);
  }, /16 levels/);
});

test('the reader gives back what the writer wrote, and never dies of noise', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
      const reader = new DerReader(element(TAG.OCTET_STRING, bytes));
      assert.deepEqual(reader.next(TAG.OCTET_STRING).contents, bytes);
      reader.end();
      try {
        new DerReader(bytes).next(bytes[0] ?? 0);
      } catch (cause) {
        assert.ok(cause instanceof CryptoError && cause.code === 'DER');
      }
    }),
  );
});
