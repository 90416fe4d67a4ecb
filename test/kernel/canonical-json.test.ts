import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { canonicalJson } from '../../src/kernel/canonical-json.ts';
import type { JsonValue } from '../../src/kernel/types.ts';

test('canonicalJson() does not depend on the order members were set in', () => {
  assert.equal(canonicalJson({ b: 1, a: [true, null] }), '{"a":[true,null],"b":1}');
  assert.equal(canonicalJson({ a: [true, null], b: 1, c: undefined }), '{"a":[true,null],"b":1}');
});

test('canonicalJson() says the same as JSON: parsing gives the value back', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      const plain = JSON.parse(JSON.stringify(value)) as JsonValue;
      assert.deepEqual(JSON.parse(canonicalJson(plain)), plain);
    }),
  );
});
