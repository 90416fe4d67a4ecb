/** Tags on the wire: pages by key, and the keys nobody may set. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { pageOfTags, parseTags } from '../../src/api/tags.ts';
import { call, stand } from './stand.ts';

const RESOURCES = ['cluster-keyark2ab3cd4ef5', 'backup-keyark2ab3cd4ef5'];

describe('ListTags', () => {
  it('shows every tag once over all pages, in the order of their keys', () => {
    const tags = fc.dictionary(fc.string({ minLength: 1, maxLength: 128 }), fc.string(), {
      maxKeys: 50,
    });
    fc.assert(
      fc.property(tags, fc.integer({ min: 1, max: 60 }), (given, limit) => {
        const all = new Map(Object.entries(given));
        const seen: unknown[] = [];
        let nextToken: string | undefined;
        do {
          const page = pageOfTags(all, {
            limit,
            ...(nextToken === undefined ? {} : { nextToken }),
          });
          // The shape of ListTags' answer; a wrong guess fails the comparison below.
          const { TagList, NextToken } = page as { TagList: unknown[]; NextToken?: string };
          seen.push(...TagList);
          nextToken = NextToken;
          assert.ok((nextToken ?? '').length <= 256);
        } while (nextToken !== undefined);
        const sorted = [...all].sort(([a], [b]) => (a < b ? -1 : 1));
        assert.deepEqual(
          seen,
          sorted.map(([Key, Value]) => ({ Key, Value })),
        );
      }),
    );
  });

  it('refuses a token of another list', () => {
    assert.throws(
      () => pageOfTags(new Map([['a', '']]), { limit: 1, nextToken: 'b' }),
      /does not continue a list of these tags/,
    );
  });
});

describe('TagResource and UntagResource', () => {
  for (const ResourceId of RESOURCES) {
    it(`answer {} for ${ResourceId.split('-')[0]}s`, async () => {
      await using api = await stand();
      const TagList = [{ Key: 'team', Value: '' }];
      assert.equal((await call(api, 'TagResource', { ResourceId, TagList })).text, '{}');
      const TagKeyList = ['team'];
      assert.equal((await call(api, 'UntagResource', { ResourceId, TagKeyList })).text, '{}');
      const kind = ResourceId.startsWith('cluster') ? 'retagCluster' : 'retagBackup';
      assert.deepEqual(
        api.calls.map(({ method, args }) => [method, args.at(-1)]),
        [
          [kind, { put: new Map([['team', '']]) }],
          [kind, { remove: ['team'] }],
        ],
      );
    });

    it(`refuse keys that begin aws: on ${ResourceId.split('-')[0]}s`, async () => {
      await using api = await stand();
      const TagList = [{ Key: 'AWS:x', Value: '' }];
      for (const [operation, input] of [
        ['TagResource', { ResourceId, TagList }],
        ['UntagResource', { ResourceId, TagKeyList: ['aws:x'] }],
      ] as const) {
        const reply = await call(api, operation, input);
        assert.equal(reply.json['__type'], 'CloudHsmTagException', reply.text);
      }
      assert.deepEqual(api.calls, []);
    });
  }

  it('never lose an order or a strange key', () => {
    const list = [
      { Key: '__proto__', Value: 'a' },
      { Key: 'constructor', Value: 'b' },
    ];
    assert.deepEqual([...parseTags(list).keys()], ['__proto__', 'constructor']);
  });
});
