import assert from 'node:assert/strict';
import { it } from 'node:test';
import { fromUtf8, toUtf8 } from '../../src/kernel/bytes.ts';
import { encodeOuterRecord, parseOuterRecord } from '../../src/kms/records.ts';

const RECORD = {
  dataKey: { kmsKeyId: 'embedded:us-east-1:1', wrapped: new Uint8Array([1, 2, 3]) },
  context: { backupId: 'b', clusterId: 'c', region: 'r', account: 'a' },
};
const TEXT =
  '{"algorithm":"AES-256-GCM-STREAM-64K","context":{"account":"a","backupId":"b","clusterId":"c",' +
  '"region":"r"},"kmsKeyId":"embedded:us-east-1:1","version":1,"wrappedKey":"AQID"}';

it('encodeOuterRecord() has one spelling, and parseOuterRecord() reads it back', () => {
  assert.equal(toUtf8(encodeOuterRecord(RECORD)), TEXT);
  assert.deepEqual(parseOuterRecord(fromUtf8(TEXT)), RECORD);
});

it('parseOuterRecord() refuses every other text', () => {
  const others = [
    '',
    'null',
    '[]',
    '{}',
    ` ${TEXT}`,
    `${TEXT}\n`,
    TEXT.replace('AQID', 'AQIE='),
    TEXT.replace('AQID', '!'),
    TEXT.replace('"AQID"', '1'),
    TEXT.replace('"version":1', '"version":"1"'),
    TEXT.replace('"version":1', '"version":0'),
    TEXT.replace('64K', '65K'),
    TEXT.replace('"account":"a",', ''),
    TEXT.replace('"account":"a"', '"account":null'),
    TEXT.replace('"account"', '"__proto__":{},"account"'),
    TEXT.replace('{"algorithm"', '{"added":1,"algorithm"'),
    TEXT.replace(/"context":\{[^}]*\}/, '"context":[]'),
    JSON.stringify({ ...JSON.parse(TEXT), kmsKeyId: 'x'.repeat(20_000) }),
  ];
  for (const text of others) {
    assert.throws(() => parseOuterRecord(fromUtf8(text)), { code: 'VAULT_READ' }, text);
  }
  assert.throws(() => parseOuterRecord(Uint8Array.of(0xff)), { code: 'VAULT_READ' });
});

it('parseOuterRecord() says it when a record is from a newer Keyark', () => {
  assert.throws(() => parseOuterRecord(fromUtf8(TEXT.replace('"version":1', '"version":2'))), {
    code: 'VAULT_READ',
    message: 'the outer record has version 2; this Keyark reads up to 1',
  });
});
