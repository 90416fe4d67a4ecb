/**
 * Walks the table of shapes and sends every kind of wrong value for every member of every operation. That the table
 * is AWS's is for `published.test.ts`.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { parseJson } from '../../src/api/json.ts';
import { NATIVE_OPERATIONS } from '../../src/api/native.ts';
import { SERVED } from '../../src/api/operations.ts';
import {
  OPERATIONS,
  type OperationShape,
  type Shape,
  type StructureShape,
} from '../../src/api/shapes.ts';
import { parseInput } from '../../src/api/validate.ts';
import { call, KEY, type Stand, stand } from './stand.ts';

type Input = Record<string, unknown>;

interface Variant {
  readonly what: string;
  readonly input: unknown;
  readonly says: RegExp;
}

/** A value that the shape accepts. */
function good(shape: Shape): unknown {
  switch (shape.kind) {
    case 'text':
      // A PEM example ends in an ellipsis for people; any short text of the alphabet will do.
      return shape.example.endsWith('…') ? 'MIIB' : shape.example;
    case 'integer':
      return shape.max;
    case 'boolean':
      return true;
    case 'list':
      return [good(shape.of)];
    case 'filters':
      return Object.fromEntries(
        Object.entries(shape.names).map(([name, inner]) => [name, good(inner)]),
      );
    case 'structure':
      return Object.fromEntries(
        Object.entries(shape.members).map(([name, { shape: inner }]) => [name, good(inner)]),
      );
  }
}

interface Bad {
  readonly what: string;
  readonly value: unknown;
}

/** Every way in which a value of this shape can be wrong. */
function bad(shape: Shape): readonly Bad[] {
  const wrongTypes = [0.5, 'true', true, [], {}, [null]].filter((value) => !fits(shape, value));
  const wrong: Bad[] = wrongTypes.map((value) => ({
    what: `wrong type ${JSON.stringify(value)}`,
    value,
  }));
  switch (shape.kind) {
    case 'boolean':
      break;
    case 'integer':
      wrong.push({ what: 'too small', value: shape.min - 1 });
      wrong.push({ what: 'too large', value: shape.max + 1 });
      wrong.push({ what: 'beyond integers', value: 1e300 });
      break;
    case 'text': {
      const example = String(good(shape));
      if (shape.min !== undefined) wrong.push({ what: 'too short', value: '' });
      if (shape.max !== undefined) {
        wrong.push({ what: 'too long', value: example.repeat(shape.max).slice(0, shape.max + 1) });
      }
      if (shape.oneOf !== undefined) {
        wrong.push({ what: 'unknown enum', value: `${example}_X` });
        wrong.push({ what: 'enum in small letters', value: `${example.toLowerCase()}x` });
      }
      if (shape.pattern !== undefined) {
        wrong.push({ what: 'wrong pattern', value: `\n(${example})` });
        // A line's end is refused by every pattern, also by NextToken's, which takes all else.
        wrong.push({ what: 'pattern at the start only', value: `${example}\n(` });
        wrong.push({ what: 'pattern at the end only', value: `(\n${example}` });
        if (!shape.pattern.test('a\nb')) wrong.push({ what: 'new line', value: `${example}\n` });
      }
      break;
    }
    case 'list': {
      const item = good(shape.of);
      if (shape.min > 0) wrong.push({ what: 'too few entries', value: [] });
      wrong.push({ what: 'too many entries', value: Array(shape.max + 1).fill(item) });
      wrong.push({ what: 'null entry', value: [item, null] });
      for (const { what, value } of bad(shape.of)) {
        wrong.push({ what: `entry: ${what}`, value: [value] });
      }
      break;
    }
    case 'filters':
      wrong.push({ what: 'unknown filter', value: { nobodysFilter: ['x'] } });
      for (const [name, inner] of Object.entries(shape.names)) {
        for (const { what, value } of bad(inner)) {
          wrong.push({ what: `${name}: ${what}`, value: { [name]: value } });
        }
      }
      break;
    case 'structure': {
      // Callers of structure() have members.
      const whole = good(shape) as Input;
      wrong.push({ what: 'unknown member', value: { ...whole, Nobodys: 1 } });
      for (const [name, { shape: inner, isRequired }] of Object.entries(shape.members)) {
        if (isRequired) {
          const { [name]: _, ...rest } = whole;
          wrong.push({ what: `${name} missing`, value: rest });
          wrong.push({ what: `${name} null`, value: { ...whole, [name]: null } });
        }
        for (const { what, value } of bad(inner)) {
          wrong.push({ what: `${name}: ${what}`, value: { ...whole, [name]: value } });
        }
      }
    }
  }
  return wrong;
}

/** Values of the list of wrong types that are right for this shape. */
function fits(shape: Shape, value: unknown): boolean {
  switch (shape.kind) {
    case 'text':
      return typeof value === 'string';
    case 'integer':
      return false;
    case 'boolean':
      return value === true;
    case 'list':
      return Array.isArray(value) && value.length === 0;
    case 'filters':
    case 'structure':
      return typeof value === 'object' && !Array.isArray(value);
  }
}

const withoutConflicts: Readonly<Record<string, Input>> = {
  // Exactly one selector, no move of type and a token of these tags pass beyond the shapes.
  DeleteHsm: { ClusterId: 'cluster-keyark2ab3cd4ef5', HsmId: 'hsm-keyark2ab3cd4ef5' },
  ListTags: { ResourceId: 'cluster-keyark2ab3cd4ef5', MaxResults: 100 },
  ModifyCluster: {
    ClusterId: 'cluster-keyark2ab3cd4ef5',
    BackupRetentionPolicy: { Type: 'DAYS', Value: '90' },
  },
  // Either a date or none.
  SetHold: { BackupId: 'backup-keyark2ab3cd4ef5', Legal: true, Why: 'audit' },
  CreateAccount: { Account: '000000000077', Name: 'payments' },
  CreateIamUser: { UserName: 'bob' },
  DeleteIamUser: { UserName: 'bob' },
  // The key that signs is the last one of the owner's root: it can't be switched off or removed.
  UpdateAccessKey: { AccessKeyId: KEY.accessKeyId, Status: 'Active' },
  LookupEvents: { MaxResults: 50, EventName: 'DescribeBackups', NextToken: '' },
};
/** Right requests that meet something that is not so: the refusal that shows they were understood. */
const meets: Readonly<Record<string, RegExp>> = {
  // The stand's backup is still being taken.
  GetBackupProof: /only a backup that was proven has a proof/,
  GetDeletionRecord: /a deletion record exists once a backup is DELETED/,
  DeleteAccessKey: /is the last working root key/,
};

function variants(input: StructureShape): readonly Variant[] {
  return [
    ...bad(input).map(({ what, value }) => ({ what, input: value, says: /\S/ })),
    { what: 'a list as body', input: [], says: /must be a JSON object/ },
    { what: 'text as body', input: '"x"', says: /must be a JSON object/ },
    { what: 'nothing as body', input: '', says: /not JSON/ },
    { what: 'half a body', input: '{"a"', says: /not JSON/ },
    { what: 'a name twice', input: '{"ClusterId":1,"ClusterId":2}', says: /twice/ },
    { what: 'a deep body', input: `${'{"a":'.repeat(50)}1${'}'.repeat(50)}`, says: /nested/ },
  ];
}

const ALL: readonly (readonly [target: string, shape: OperationShape])[] = [
  ...Object.entries(OPERATIONS).map(([name, shape]) => [`BaldrApiService.${name}`, shape] as const),
  ...Object.entries(NATIVE_OPERATIONS).map(
    ([name, shape]) => [`KeyarkService.${name}`, shape] as const,
  ),
];

describe('every operation', () => {
  let api: Stand;
  before(async () => {
    api = await stand();
    await call(api, 'KeyarkService.CreateIamUser', { UserName: 'ada' });
  });
  after(() => api[Symbol.asyncDispose]());

  for (const [target, shape] of ALL) {
    const name = target.split('.')[1] ?? '';

    it(`${name} refuses every wrong request and calls nobody`, async () => {
      api.calls.length = 0;
      for (const { what, input, says } of variants(shape.input)) {
        const reply = await call(api, target, input);
        assert.equal(reply.status, 400, `${what}: ${reply.text}`);
        assert.equal(reply.json['__type'], 'CloudHsmInvalidRequestException', what);
        assert.equal(reply.headers['x-amzn-errortype'], 'CloudHsmInvalidRequestException', what);
        assert.match(String(reply.json['Message']), says, what);
        assert.ok(String(reply.json['Message']).length < 1_000, what);
      }
      assert.deepEqual(api.calls, []);
    });

    it(`${name} takes a right request`, async () => {
      const reply = await call(api, target, withoutConflicts[name] ?? good(shape.input));
      const isServed = target.startsWith('Keyark') || Object.hasOwn(SERVED, name);
      const met = meets[name];
      if (isServed && met === undefined) {
        assert.equal(reply.status, 200, reply.text);
      } else if (met !== undefined) {
        assert.match(reply.text, met);
      } else {
        assert.equal(reply.status, 404);
        assert.match(reply.text, /UnknownOperationException.*not served by this Keyark yet/);
      }
    });
  }
});

for (const operation of ['DescribeClusters', 'DescribeBackups'] as const) {
  const { input } = OPERATIONS[operation];
  it(`takes a filter of ${operation} that is null for an absent one`, () => {
    const names = Object.keys(input.members.Filters.shape.names);
    const read = (body: object) => parseInput(input, parseJson(JSON.stringify(body)));
    for (const name of names)
      assert.deepEqual(read({ Filters: { [name]: null } }), { Filters: {} });
    assert.throws(() => read({ Filters: { nobodysFilter: null } }), { code: 'InvalidRequest' });
  });
}
