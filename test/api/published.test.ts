/**
 * Our table of shapes against what AWS publishes: the facts of `support/published.ts` for all of it, the models that the
 * SDKs ship for what those know, botocore's for every bound and pattern where it is installed.
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { OPERATIONS, type OperationShape, type Shape } from '../../src/api/shapes.ts';
import { FACTS, type Fact, FILTER_FACTS, PUBLISHED } from '../support/published.ts';

const MODULES = join(import.meta.dirname, '../../node_modules');
const read = (...path: string[]): string => readFileSync(join(MODULES, ...path), 'utf8');

interface Published {
  readonly errors: string;
  readonly members: Readonly<Record<string, keyof typeof FACTS>>;
  readonly filters?: readonly string[];
}
const published = new Map<string, Published>(Object.entries(PUBLISHED));
const ours = new Map<string, OperationShape>(Object.entries(OPERATIONS));
const factOf = (name: keyof typeof FACTS): Fact => FACTS[name];

/** Ours end after one to 17 digits, as real ids do; the published pattern ends after one. */
const VPC_ID: Fact = { pattern: 'vpc-[0-9a-fA-F]{1,17}' };

/** Every leaf of a request of ours, spelled as the facts spell it. */
function leaves(shape: Shape, path: string): readonly (readonly [path: string, shape: Shape])[] {
  switch (shape.kind) {
    case 'structure':
      return Object.entries(shape.members).flatMap(([name, { shape: inner, isRequired }]) =>
        leaves(inner, `${path}${path === '' ? '' : '.'}${name}${isRequired ? '*' : ''}`),
      );
    case 'list':
      return [[path, shape], ...leaves(shape.of, `${path.replace('*', '')}[]`)];
    case 'filters':
      return [];
    default:
      return [[path, shape]];
  }
}

const leavesOf = (operation: string) => leaves(ours.get(operation)?.input ?? assert.fail(), '');

function compare(shape: Shape, fact: Fact, where: string): void {
  if (shape.kind === 'boolean') {
    assert.deepEqual(fact, {}, where);
    return;
  }
  if (shape.kind === 'integer' || shape.kind === 'list') {
    assert.deepEqual([shape.min, shape.max], [fact.min, fact.max], where);
    return;
  }
  assert.ok(shape.kind === 'text', where);
  assert.deepEqual([shape.min, shape.max], [fact.min, fact.max], where);
  assert.deepEqual([...(shape.oneOf ?? [])].sort(), [...(fact.oneOf ?? [])].sort(), where);
  assert.equal(shape.pattern === undefined, fact.pattern === undefined, where);
  if (shape.pattern !== undefined) mustMeanTheSame(shape.pattern, fact.pattern ?? '', where);
}

/** Both say the same of texts of either, and of what they become with one character more, less or other. */
function mustMeanTheSame(pattern: RegExp, theirs: string, where: string): void {
  const whole = new RegExp(`^(?:${theirs})$`, theirs.includes('\\p') ? 'u' : '');
  const letter = fc.constantFrom(...'abgz-_:/.+=@09189 ABGZ\n(äé#,;sv');
  const texts = fc.oneof(
    fc.stringMatching(generating(whole)),
    fc.stringMatching(generating(pattern)),
  );
  const change = fc.record({
    at: fc.nat(200),
    take: fc.nat(2),
    put: fc.option(letter, { nil: '' }),
  });
  fc.assert(
    fc.property(texts, fc.option(change, { nil: undefined }), (text, edit) => {
      const at = edit === undefined ? 0 : edit.at % (text.length + 1);
      const tried =
        edit === undefined ? text : text.slice(0, at) + edit.put + text.slice(at + edit.take);
      assert.equal(pattern.test(tried), whole.test(tried), `${where}: ${JSON.stringify(tried)}`);
    }),
    { numRuns: 300 },
  );
}

/** fast-check makes texts of neither `\p{…}` nor `u`; these letters are some of each. */
const generating = ({ source }: RegExp): RegExp =>
  new RegExp(
    source.replaceAll('\\p{L}', 'a-zäß').replaceAll('\\p{Z}', ' ').replaceAll('\\p{N}', '0-9'),
  );

describe('the table of shapes', () => {
  it('has the operations, members, bounds, patterns and enumerations that are published, and no other', () => {
    assert.deepEqual([...ours.keys()].sort(), [...published.keys()].sort());
    for (const [operation, { members }] of published) {
      const found = leavesOf(operation);
      assert.deepEqual(found.map(([path]) => path).sort(), Object.keys(members).sort(), operation);
      for (const [path, shape] of found) {
        compare(shape, factOf(members[path] ?? assert.fail(path)), `${operation} ${path}`);
      }
    }
  });

  it('has the filters that are published, with values of their kinds', () => {
    for (const [operation, { filters }] of published) {
      const shape = ours.get(operation)?.input.members['Filters']?.shape;
      const names = shape?.kind === 'filters' ? shape.names : {};
      assert.deepEqual(Object.keys(names), filters ?? [], operation);
      for (const [name, inner] of Object.entries(names)) {
        assert.ok(inner.kind === 'list' && inner.min === 1, name);
        const fact = FILTER_FACTS[operation]?.[name];
        if (fact === undefined) {
          compare(inner.of, { oneOf: ['true', 'false'] }, name);
        } else {
          compare(inner.of, fact === 'VpcId' ? VPC_ID : factOf(fact), name);
        }
      }
    }
  });

  it('lists the errors that are published', () => {
    for (const [operation, { errors }] of published) {
      const letters = { NotFound: 'N', Tag: 'T', Limit: 'L' };
      const found = ours.get(operation)?.errors.map((name) => letters[name]);
      assert.equal(found?.join(''), errors, operation);
    }
  });
});

interface ModelShape {
  readonly shape?: string;
  readonly type?: string;
  readonly members?: Readonly<Record<string, ModelShape>>;
  readonly required?: readonly string[];
  readonly member?: ModelShape;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly min?: number;
  readonly max?: number;
}

describe('the published facts', () => {
  /** Members that came after version 2 of the JavaScript SDK had ended. */
  const NEWER = ['CreateCluster NetworkType', 'ModifyCluster HsmType'];

  it('are those of the model in aws-sdk 2: operations, members, what is required', () => {
    // The file is the SDK's own description of the service.
    const model = JSON.parse(read('aws-sdk/apis/cloudhsmv2-2017-04-28.min.json')) as {
      readonly operations: Readonly<Record<string, { readonly input: ModelShape }>>;
      readonly shapes: Readonly<Record<string, ModelShape>>;
    };
    const own = (given: ModelShape): ModelShape =>
      given.shape === undefined ? given : (model.shapes[given.shape] ?? assert.fail(given.shape));
    const walk = (given: ModelShape, path: string): readonly string[] => {
      const { type, members = {}, required = [], member = {} } = own(given);
      if (type === 'structure') {
        return Object.entries(members).flatMap(([name, inner]) =>
          walk(
            inner,
            `${path}${path === '' ? '' : '.'}${name}${required.includes(name) ? '*' : ''}`,
          ),
        );
      }
      if (type === 'list') return [path, ...walk(member, `${path.replace('*', '')}[]`)];
      return type === 'map' ? [] : [path];
    };
    assert.deepEqual(Object.keys(model.operations).sort(), [...published.keys()].sort());
    for (const [operation, { input }] of Object.entries(model.operations)) {
      // Required until a type could be given instead.
      const found = walk(input, '').map((path) =>
        operation === 'ModifyCluster' ? path.replace('Policy*', 'Policy') : path,
      );
      const expected = Object.keys(published.get(operation)?.members ?? {});
      const known = expected.filter((path) => !NEWER.includes(`${operation} ${path}`));
      assert.deepEqual([...found].sort(), [...known].sort(), operation);
    }
  });

  it('have the enumerations and filter names of the types in aws-sdk 2', () => {
    const types = read('aws-sdk/clients/cloudhsmv2.d.ts');
    const later = ['MODIFY_IN_PROGRESS', 'ROLLBACK_IN_PROGRESS'];
    for (const name of [
      'BackupPolicy',
      'BackupState',
      'ClusterMode',
      'ClusterState',
      'HsmState',
    ] as const) {
      const [, union = ''] = new RegExp(`export type ${name} = (.*)\\|string;`).exec(types) ?? [];
      const expected = FACTS[name].oneOf.filter((value) => !later.includes(value));
      assert.deepEqual(
        union.split('|'),
        expected.map((value) => `"${value}"`),
        name,
      );
    }
    for (const operation of ['DescribeBackups', 'DescribeClusters'] as const) {
      const [, text = ''] =
        new RegExp(`interface ${operation}Request \\{(.*?)\\n  \\}`, 's').exec(types) ?? [];
      const named = [...text.matchAll(/[Uu]se (?:the )?(\w+) filter/g)].map(([, name]) => name);
      assert.deepEqual(named, PUBLISHED[operation].filters, operation);
    }
  });

  it('have the errors that SDK 3 documents', () => {
    const folder = '@aws-sdk/client-cloudhsm-v2/dist-types/commands';
    const letters = [
      ['CloudHsmResourceNotFoundException', 'N'],
      ['CloudHsmTagException', 'T'],
    ] as const;
    let seen = 0;
    for (const [operation, { errors }] of published) {
      if (!existsSync(join(MODULES, folder, `${operation}Command.d.ts`))) continue;
      const text = read(folder, `${operation}Command.d.ts`);
      const found = letters.filter(([name]) => text.includes(`@throws {@link ${name}}`));
      // The limit of tags is newer than this release.
      assert.equal(found.map(([, letter]) => letter).join(''), errors.replace('L', ''), operation);
      seen += 1;
    }
    assert.equal(seen, 15);
  });

  /** Debian's, or one that is newer. */
  const MODEL =
    process.env['KEYARK_AWS_MODEL'] ??
    '/usr/lib/python3/dist-packages/botocore/data/cloudhsmv2/2017-04-28/service-2.json';
  const skip = existsSync(MODEL)
    ? false
    : 'botocore is not installed (Debian package python3-botocore)';

  it('have the bounds and patterns of the model that botocore ships', { skip }, () => {
    // The file is AWS's own description of the service.
    const { shapes } = JSON.parse(readFileSync(MODEL, 'utf8')) as {
      readonly shapes: Readonly<Record<string, ModelShape>>;
    };
    const bare = (pattern: string | undefined) => pattern?.replace(/^\^|\$$/g, '');
    let compared = 0;
    for (const [name, fact] of Object.entries<Fact>(FACTS)) {
      const theirs = shapes[name];
      if (theirs === undefined) continue;
      // Both grew after Debian's release of the model.
      const isOld = theirs.max === 5_000 || theirs.pattern === '(hsm1\\.medium)';
      if (!isOld) {
        assert.deepEqual([fact.min ?? 0, fact.max], [theirs.min ?? 0, theirs.max], name);
        assert.equal(fact.pattern, bare(theirs.pattern), name);
      }
      const missing = (theirs.enum ?? []).filter((value) => !fact.oneOf?.includes(value));
      assert.deepEqual(missing, [], name);
      compared += 1;
    }
    assert.ok(compared >= 25, String(compared));
  });
});
