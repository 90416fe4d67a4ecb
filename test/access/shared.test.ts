import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ConditionContext } from '../../src/access/context.ts';
import { judgeResource } from '../../src/access/evaluate.ts';
import { readResourcePolicy } from '../../src/access/shared.ts';

const ARN = 'arn:aws:cloudhsm:us-east-1:000000008228:backup/backup-keyark2ab3cd4ef5';
const OTHER = 'arn:aws:cloudhsm:us-east-1:000000008228:backup/backup-keyark5fe4dc3ba2';
const FRIEND = {
  account: '000000000002',
  principal: 'arn:aws:iam::000000000002:user/ada',
};

function document(changes: Readonly<Record<string, unknown>> = {}): string {
  const statement = {
    Effect: 'Allow',
    Principal: { AWS: FRIEND.account },
    Action: ['cloudhsm:CreateCluster', 'cloudhsm:DescribeBackups'],
    Resource: ARN,
    ...changes,
  };
  return JSON.stringify({ Version: '2012-10-17', Statement: [statement] });
}

/** As `authorize` asks: without a policy, and with one that cannot be read, the answer is no. */
function mayUseShared(
  text: string | undefined,
  who: typeof FRIEND,
  action: string,
  resource: string,
  context: ConditionContext = new Map(),
): boolean {
  const policy = readResourcePolicy(text);
  return (
    policy !== undefined && judgeResource(policy, { action, resource, context }, who) === 'allow'
  );
}

describe('a backup’s resource policy', () => {
  it('opens a backup to the account, its root or the one principal that is named', () => {
    for (const named of [
      FRIEND.account,
      `arn:aws:iam::${FRIEND.account}:root`,
      FRIEND.principal,
      '*',
      ['000000000009', FRIEND.account],
    ]) {
      const policy = document({ Principal: { AWS: named } });
      assert.ok(mayUseShared(policy, FRIEND, 'cloudhsm:CreateCluster', ARN), String(named));
    }
    assert.ok(mayUseShared(document({ Principal: '*' }), FRIEND, 'cloudhsm:DescribeBackups', ARN));
  });

  it('opens it to nobody else, for nothing else', () => {
    const ask = (
      policy: string | undefined,
      { who = FRIEND, arn = ARN }: { who?: typeof FRIEND; arn?: string } = {},
    ) => mayUseShared(policy, who, 'cloudhsm:CreateCluster', arn);
    const bob = { ...FRIEND, principal: 'arn:aws:iam::000000000002:user/bob' };
    const stranger = {
      account: '000000000003',
      principal: 'arn:aws:iam::000000000003:root',
    };
    assert.equal(ask(undefined), false);
    assert.equal(ask('not JSON'), false);
    assert.equal(ask(document({ Principal: { AWS: FRIEND.principal } }), { who: bob }), false);
    assert.equal(ask(document(), { who: stranger }), false);
    assert.equal(ask(document(), { arn: OTHER }), false);
    assert.equal(ask(document({ Action: 'cloudhsm:DescribeBackups' })), false);
    assert.equal(ask(document({ Effect: 'Deny' })), false);
  });

  it('lets a Deny outweigh an Allow, and conditions narrow it', () => {
    const allow = {
      Effect: 'Allow',
      Principal: '*',
      Action: 'cloudhsm:CreateCluster',
      Resource: ARN,
    };
    const deny = { ...allow, Effect: 'Deny', Principal: { AWS: FRIEND.principal } };
    const both = JSON.stringify({ Version: '2012-10-17', Statement: [allow, deny] });
    assert.equal(mayUseShared(both, FRIEND, 'cloudhsm:CreateCluster', ARN), false);
    const inside = document({ Condition: { IpAddress: { 'aws:SourceIp': '10.0.0.0/8' } } });
    const from = (address: string) =>
      mayUseShared(
        inside,
        FRIEND,
        'cloudhsm:CreateCluster',
        ARN,
        new Map([['aws:sourceip', address]]),
      );
    assert.deepEqual([from('10.1.2.3'), from('192.0.2.1')], [true, false]);
  });
});
