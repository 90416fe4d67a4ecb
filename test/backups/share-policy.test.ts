/** The resource policy of a backup: what is accepted, and whom it lets in. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Caller } from '../../src/access/caller.ts';
import {
  accountsThatDescribe,
  isGranted,
  readSharePolicy,
  type SharedAction,
} from '../../src/backups/share-policy.ts';

const OWNER = '000000000001';
const FRIEND = '000000000002';
const ARN = `arn:aws:cloudhsm:us-east-1:${OWNER}:backup/backup-keyark2ab3cd4ef5`;
const BACKUP = { arn: ARN, account: OWNER };
const STATEMENT = {
  Effect: 'Allow',
  Principal: { AWS: FRIEND },
  Action: ['cloudhsm:CreateCluster', 'cloudhsm:DescribeBackups'],
  Resource: ARN,
};

const policyOf = (statement: object, rest: object = {}): string =>
  JSON.stringify({ Version: '2012-10-17', Statement: [{ ...STATEMENT, ...statement }], ...rest });
const problemsOf = (text: string): readonly string[] => readSharePolicy(text, BACKUP).problems;
const by = (account: string, name = 'root'): Caller => ({
  account,
  region: 'us-east-1',
  principal: name.startsWith('arn:') ? name : `arn:aws:iam::${account}:${name}`,
});
const lets = (statement: object, caller: Caller, action: SharedAction = 'CreateCluster'): boolean =>
  isGranted(readSharePolicy(policyOf(statement), BACKUP), caller, action);

test('a policy for accounts, users and roles is accepted, in every way IAM writes it', () => {
  for (const statement of [
    {},
    { Sid: 'ShareWithFriends' },
    { Action: 'cloudhsm:createcluster' },
    { Action: ['cloudhsm:DescribeBackups'] },
    { Principal: { AWS: `arn:aws:iam::${FRIEND}:root` } },
    { Principal: { AWS: [`arn:aws:iam::${FRIEND}:role/team/restore`, '000000000003'] } },
    { Resource: [ARN] },
  ]) {
    assert.deepEqual(problemsOf(policyOf(statement)), [], JSON.stringify(statement));
  }
  const single = JSON.stringify({ Version: '2012-10-17', Id: 'x', Statement: STATEMENT });
  assert.deepEqual(problemsOf(single), []);
});

test('whatever would give more than its author wrote is refused, each problem told', () => {
  const wrong: readonly object[] = [
    { Effect: 'Deny' },
    { Effect: undefined },
    { Action: 'cloudhsm:*' },
    { Action: '*' },
    { Action: 'cloudhsm:DeleteBackup' },
    { Action: ['cloudhsm:CreateCluster', 'cloudhsm:CopyBackupToRegion'] },
    { Action: [] },
    { Action: undefined },
    { Principal: '*' },
    { Principal: { AWS: '*' } },
    { Principal: { AWS: [] } },
    { Principal: { Service: 'ec2.amazonaws.com' } },
    { Principal: { AWS: FRIEND, Federated: 'x' } },
    { Principal: { AWS: OWNER } },
    { Principal: { AWS: 'arn:aws:organizations::000000000003:organization/o-1234567890' } },
    { Principal: { AWS: `arn:aws:iam::${FRIEND}:role/*` } },
    { Principal: { AWS: 2 } },
    { Principal: undefined },
    { Resource: '*' },
    { Resource: ARN.replace('us-east-1', 'eu-west-1') },
    { Resource: [ARN, '*'] },
    { Resource: undefined },
    { Condition: { StringEquals: { 'aws:PrincipalOrgID': 'o-1234567890' } } },
    { NotPrincipal: { AWS: FRIEND } },
    { NotAction: 'cloudhsm:CreateCluster' },
  ];
  for (const statement of wrong) {
    assert.equal(problemsOf(policyOf(statement)).length, 1, JSON.stringify(statement));
  }
  assert.match(
    problemsOf(policyOf({ Principal: { AWS: 'arn:aws:organizations::1:ou/x' } })).join(),
    /organisation/,
  );
});

test('texts that are no policy are refused', () => {
  for (const text of ['', 'x', 'null', '[]', '"a"', '{}', '{"Version":"2012-10-17"}']) {
    assert.ok(problemsOf(text).length > 0, text);
  }
  for (const rest of [
    { Statement: [] },
    { Statement: ['x'] },
    { Version: '2020-01-01' },
    { Version: undefined },
    { Extra: 1 },
  ]) {
    assert.ok(problemsOf(policyOf({}, rest)).length > 0, JSON.stringify(rest));
  }
  const two = policyOf({ Effect: 'Deny', Resource: '*', Action: '*' });
  assert.equal(problemsOf(two).length, 3, 'all of them at once');
});

test('an account is let in as a whole, a user or role only itself', () => {
  const role = { Principal: { AWS: `arn:aws:iam::${FRIEND}:role/team/restore` } };
  const user = { Principal: { AWS: `arn:aws:iam::${FRIEND}:user/alice` } };
  const session = `arn:aws:sts::${FRIEND}:assumed-role/restore/now`;
  const cases: readonly [object, Caller, boolean][] = [
    [{}, by(FRIEND), true],
    [{}, by(FRIEND, 'user/alice'), true],
    [{}, by(FRIEND, session), true],
    [{}, by('000000000003'), false],
    [{}, by('000000000003', `arn:aws:iam::${FRIEND}:root`), false],
    [role, by(FRIEND, 'role/team/restore'), true],
    [role, by(FRIEND, session), true],
    [role, by(FRIEND, `arn:aws:sts::${FRIEND}:assumed-role/other/now`), false],
    [role, by(FRIEND, 'user/restore'), false],
    [role, by(FRIEND), false],
    [user, by(FRIEND, 'user/alice'), true],
    [user, by(FRIEND, 'user/malice'), false],
    [user, by(FRIEND, 'user/alice/x'), false],
    [user, by(FRIEND), false],
  ];
  for (const [statement, caller, expected] of cases) {
    const where = `${JSON.stringify(statement)} ${caller.principal}`;
    assert.equal(lets(statement, caller), expected, where);
  }
});

test('an action that is not granted is denied, and a policy that is not sound grants nothing', () => {
  assert.equal(lets({ Action: 'cloudhsm:DescribeBackups' }, by(FRIEND)), false);
  assert.equal(lets({ Action: 'cloudhsm:CreateCluster' }, by(FRIEND), 'DescribeBackups'), false);
  assert.equal(lets({ Condition: {} }, by(FRIEND)), false);
});

test("the right to describe is a whole account's, whomever the statement names", () => {
  const read = (statement: object) =>
    accountsThatDescribe(readSharePolicy(policyOf(statement), BACKUP));
  assert.deepEqual(read({}), [FRIEND]);
  assert.deepEqual(read({ Principal: { AWS: `arn:aws:iam::${FRIEND}:user/alice` } }), [FRIEND]);
  assert.deepEqual(read({ Action: 'cloudhsm:CreateCluster' }), []);
});
