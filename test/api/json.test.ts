import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { type Json, parseJson } from '../../src/api/json.ts';
import { Refused } from '../../src/kernel/errors.ts';

/** Maps back to objects, to compare with JSON.parse. */
function plain(value: Json): unknown {
  if (value instanceof Map) {
    return Object.fromEntries([...value].map(([name, member]) => [name, plain(member)]));
  }
  // What is an array is one of Json's arrays.
  return Array.isArray(value) ? value.map((item: Json) => plain(item)) : value;
}

const refuses = (text: string, words: RegExp): void =>
  assert.throws(
    () => parseJson(text),
    (cause) =>
      cause instanceof Refused && cause.code === 'InvalidRequest' && words.test(cause.message),
    text.slice(0, 60),
  );

function platformParses(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    // A SyntaxError is the answer "no".
    return false;
  }
}

describe('parseJson()', () => {
  it('reads what JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 8 }), (value) => {
        const text = JSON.stringify(value);
        assert.deepEqual(plain(parseJson(text)), JSON.parse(text));
      }),
    );
  });

  it('accepts and refuses the same texts as JSON.parse, damaged ones too', () => {
    const alphabet = fc.constantFrom(...'{}[]",:\\ \n\t0123456789.-+eEtrufalsn\u0001é');
    fc.assert(
      fc.property(fc.string({ unit: alphabet, maxLength: 12 }), (text) => {
        let isRead = true;
        try {
          parseJson(text);
        } catch (cause) {
          assert.ok(cause instanceof Refused);
          if (/twice|surrogate/.test(cause.message)) return;
          isRead = false;
        }
        assert.equal(isRead, platformParses(text));
      }),
      { numRuns: 3_000 },
    );
  });

  it('refuses every beginning of a document', () => {
    const text = '{"a": [1, true, {"b": "c\\u0041"}], "d": -1.5e3, "e": null}';
    for (let length = 0; length < text.length; length += 1) {
      refuses(text.slice(0, length), /The body/);
    }
    assert.equal(parseJson(text) instanceof Map, true);
  });

  it('refuses equal names, also when one is written with an escape', () => {
    refuses('{"a":1,"a":1}', /"a" twice/);
    refuses('{"a":1,"\\u0061":2}', /"a" twice/);
    refuses('{"x":{"b":1,"b":2}}', /"b" twice/);
  });

  it('refuses nesting beyond its bound without using the stack', () => {
    refuses('['.repeat(200_000), /nested deeper/);
    refuses('{"a":'.repeat(200_000), /nested deeper/);
  });

  it('refuses half a surrogate pair', () => refuses('"\\ud800"', /surrogate/));

  it('takes no name for anything special', () => {
    const value = parseJson('{"__proto__":{"x":1},"constructor":2}');
    assert.ok(value instanceof Map);
    assert.deepEqual([...value.keys()], ['__proto__', 'constructor']);
  });
});
