// biome-ignore-all lint/suspicious/noTemplateCurlyInString: policies have variables of this form
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { ConditionContext, ConditionValue } from '../../src/access/context.ts';
import { tagEntries } from '../../src/access/context.ts';
import { judgeIdentity } from '../../src/access/evaluate.ts';
import { MANAGED_POLICIES, managedPolicy } from '../../src/access/managed-policies.ts';
import { PolicyProblems, parsePolicy } from '../../src/access/policy.ts';

const BACKUP = 'arn:aws:cloudhsm:us-east-1:000012345678:backup/backup-keyark2ab3cd4ef5';
const RULES = { kind: 'identity', maxLength: 20_000 } as const;

function contextOf(values: Readonly<Record<string, ConditionValue>>): ConditionContext {
  return new Map(Object.entries(values).map(([name, value]) => [name.toLowerCase(), value]));
}

function judge(
  statements: readonly Readonly<Record<string, unknown>>[],
  context: Readonly<Record<string, ConditionValue>> = {},
  asked: { action?: string; resource?: string; version?: string } = {},
) {
  const Statement = statements.map((statement) => ({
    Effect: 'Allow',
    Action: '*',
    Resource: '*',
    ...statement,
  }));
  const text = JSON.stringify({ Version: asked.version ?? '2012-10-17', Statement });
  return judgeIdentity([parsePolicy(text, RULES)], {
    action: asked.action ?? 'cloudhsm:DeleteBackup',
    resource: asked.resource ?? BACKUP,
    context: contextOf(context),
  });
}

describe('judgeIdentity()', () => {
  it('answers as another implementation does', () => {
    const file = join(import.meta.dirname, '..', 'vectors', 'iam_evaluation.json');
    const cases: readonly {
      policies: readonly unknown[];
      action: string;
      resource: string;
      context: Readonly<Record<string, ConditionValue>>;
      verdict: string;
    }[] = JSON.parse(readFileSync(file, 'utf8'));
    assert.equal(cases.length, 400);
    for (const [i, { policies, action, resource, context, verdict }] of cases.entries()) {
      const parsed = policies.map((policy) => parsePolicy(JSON.stringify(policy), RULES));
      const question = { action, resource, context: contextOf(context) };
      assert.equal(judgeIdentity(parsed, question), verdict, `case ${i}`);
    }
  });

  it('says none without a policy, and deny whatever allows besides', () => {
    assert.equal(
      judgeIdentity([], { action: 'cloudhsm:DeleteBackup', resource: BACKUP, context: new Map() }),
      'none',
    );
    assert.equal(judge([{}, { Effect: 'Deny', Action: 'cloudhsm:Delete*' }]), 'deny');
    assert.equal(judge([{ Effect: 'Deny', Action: 'cloudhsm:Delete*' }, {}]), 'deny');
  });

  it('grants an action that acts on no resource only where the resource is *', () => {
    const asked = { action: 'cloudhsm:DescribeBackups', resource: '*' };
    assert.equal(judge([{}], {}, asked), 'allow');
    assert.equal(judge([{ Resource: BACKUP }], {}, asked), 'none');
    assert.equal(judge([{ Resource: 'arn:*:*:*:*:*' }], {}, asked), 'none');
  });

  it('takes the value of a variable as text, never as a pattern', () => {
    const resource = BACKUP.replace(/backup-.*/, 'backup-x/bob');
    const mine = { Resource: BACKUP.replace(/backup-.*/, 'backup-x/${aws:username}') };
    assert.equal(judge([mine], { 'aws:username': 'bob' }, { resource }), 'allow');
    assert.equal(judge([mine], { 'aws:username': '*' }, { resource }), 'none');
    assert.equal(judge([mine], {}, { resource }), 'none');
    assert.equal(
      judge([mine], { 'aws:username': 'bob' }, { resource, version: '2008-10-17' }),
      'none',
    );
  });

  it('draws no Allow from a NotResource whose variable has no value, but a Deny', () => {
    const NotResource = BACKUP.replace(/backup-.*/, '${aws:RequestTag/team}');
    const all = { Resource: undefined, NotResource };
    assert.equal(judge([all]), 'none');
    assert.equal(judge([{}, { ...all, Effect: 'Deny' }]), 'deny');
  });

  it('draws no Allow from a value that is not what nobody knows, but a Deny', () => {
    const Condition = { StringNotEquals: { 'aws:username': '${aws:RequestTag/team}' } };
    assert.equal(judge([{ Condition }], { 'aws:username': 'ada' }), 'none');
    assert.equal(judge([{}, { Effect: 'Deny', Condition }], { 'aws:username': 'ada' }), 'deny');
  });

  it('answers no condition on two tags that differ in case only: neither for an Allow nor against a Deny', () => {
    const tags = tagEntries(
      'aws:ResourceTag/',
      new Map([
        ['team', 'a'],
        ['Team', 'b'],
      ]),
    );
    const Condition = { StringEquals: { 'aws:ResourceTag/team': 'a' } };
    assert.equal(judge([{ Condition }], Object.fromEntries(tags)), 'none');
    assert.equal(judge([{}, { Effect: 'Deny', Condition }], Object.fromEntries(tags)), 'deny');
  });

  it('takes time in proportion, also for patterns made to be slow', () => {
    const pattern = `${'*a'.repeat(60)}b`;
    const resource = BACKUP.replace(/backup-.*/, 'a'.repeat(2_000));
    assert.equal(
      judge([{ Resource: BACKUP.replace(/backup-.*/, pattern) }], {}, { resource }),
      'none',
    );
  });
});

describe('parsePolicy()', () => {
  const problemsOf = (value: unknown, more: object = {}): readonly string[] => {
    try {
      const text = typeof value === 'string' ? value : JSON.stringify(value);
      parsePolicy(text, { ...RULES, ...more });
      return [];
    } catch (cause) {
      assert.ok(cause instanceof PolicyProblems);
      return cause.problems;
    }
  };
  const ALLOW = { Effect: 'Allow', Action: '*', Resource: '*' };

  it('names every problem at once, with its place', () => {
    const problems = problemsOf({
      Version: '2012-10-17',
      Extra: 1,
      Statement: [
        { Effect: 'Permit', Action: 'cloudhsm', Resource: 'cluster-keyark2ab3cd4ef5' },
        { ...ALLOW, NotAction: '*' },
        { ...ALLOW, Principal: '*' },
        { ...ALLOW, Condition: { StringEqual: { 'aws:username': 'ada' } } },
        { ...ALLOW, Condition: { Bool: { 'aws:MultiFactorAuthPresent': 'true' } } },
        { ...ALLOW, Condition: { StringEquals: { 'aws:TagKeys': 'team' } } },
        { ...ALLOW, Condition: { IpAddress: { 'aws:SourceIp': '10.0.0.300' } } },
        { ...ALLOW, Condition: { DateLessThan: { 'aws:CurrentTime': 'tomorrow' } } },
        { ...ALLOW, Resource: 'arn:aws:cloudhsm:us-east-1:${aws:PrincipalAccount}:backup/*' },
      ],
    });
    for (const expected of [
      /has no "Extra"/,
      /Statement\[0\]\.Effect/,
      /Statement\[0\]\.Action: "cloudhsm"/,
      /Statement\[0\]\.Resource: "cluster-/,
      /Statement\[1\]: exactly one of Action and NotAction/,
      /Statement\[2\] has no "Principal"/,
      /StringEqual: there is no such operator/,
      /"aws:MultiFactorAuthPresent" is never known here/,
      /aws:TagKeys holds several values/,
      /"10\.0\.0\.300" is not an address/,
      /"tomorrow" is not a time/,
      /variable before the last part/,
    ]) {
      assert.ok(
        problems.some((problem) => expected.test(problem)),
        `${expected}\n${problems.join('\n')}`,
      );
    }
  });

  it('refuses what two readers could read differently', () => {
    assert.match(
      problemsOf(
        '{"Version":"2012-10-17","Statement":{"Effect":"Deny","Effect":"Allow","Action":"*","Resource":"*"}}',
      )[0] ?? '',
      /a name twice/,
    );
    // Colons in text are no members.
    const text = {
      ...ALLOW,
      Action: 'cloudhsm:Describe*',
      Resource: 'arn:aws:cloudhsm:*:*:a:"b:c',
    };
    assert.deepEqual(problemsOf({ Version: '2012-10-17', Statement: text }), []);
  });

  it('knows misspelt actions of its own services, and lets those of others be', () => {
    const actions = new Set(['cloudhsm:DescribeClusters']);
    const of = (Action: string) =>
      problemsOf({ Version: '2012-10-17', Statement: { ...ALLOW, Action } }, { actions }).length;
    assert.deepEqual(
      [
        'cloudhsm:DescribeClusters',
        'CLOUDHSM:describe*',
        's3:GetObject',
        'cloudhsm:DescribeCluster',
        'keyark:Nothing',
      ].map(of),
      [0, 0, 0, 1, 1],
    );
  });

  it('refuses documents that are no documents', () => {
    assert.match(
      problemsOf({ Version: '2020-01-01', Statement: ALLOW })[0] ?? '',
      /Version: "2020/,
    );
    for (const text of ['', '[]', 'null', '1', '{"Statement":[]}', '{"Statement":"x"}', '{']) {
      assert.ok(problemsOf(text).length > 0, text);
    }
    assert.ok(problemsOf(`{"Statement":"${'x'.repeat(20_000)}"}`).length > 0);
  });

  it('reads the policies that come with Keyark', () => {
    for (const name of MANAGED_POLICIES.keys()) assert.ok(managedPolicy(name), name);
    const readOnly = managedPolicy('AWSCloudHSMReadOnlyAccess');
    assert.ok(readOnly);
    const asks = (action: string) =>
      judgeIdentity([readOnly], {
        action: `cloudhsm:${action}`,
        resource: BACKUP,
        context: new Map(),
      });
    assert.deepEqual(['ListTags', 'DeleteBackup'].map(asks), ['allow', 'none']);
  });
});
