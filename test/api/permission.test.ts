/** Every operation under every kind of policy: what is denied reaches nobody, changes nothing, and is in the trail. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type AccessKey, addUser, putPolicy } from '../../src/access/accounts.ts';
import { NATIVE_OPERATIONS } from '../../src/api/native.ts';
import { SERVED } from '../../src/api/operations.ts';
import { awsNeeds, nativeNeeds } from '../../src/api/permission.ts';
import { OPERATIONS, type OperationName, type OperationShape } from '../../src/api/shapes.ts';
import type { EpochMs, JsonObject } from '../../src/kernel/types.ts';
import { FakeClock } from '../support/world.ts';
import { ACCOUNT, BACKUP, CLUSTER, call, REGION, type Reply, type Stand, stand } from './stand.ts';

const SCOPE = { account: ACCOUNT, region: REGION };
const ADA = { ...SCOPE, principal: `arn:aws:iam::${ACCOUNT}:user/ada` };
// The beginning of time: when a user was made does not matter here.
const THEN = 0 as EpochMs;

/** Required members with their examples: the smallest right request. */
function smallest({ input }: OperationShape): Record<string, unknown> {
  const members = Object.entries(input.members).filter(([, { isRequired }]) => isRequired);
  return Object.fromEntries(
    members.map(([name, { shape }]) => {
      if (shape.kind === 'text') {
        return [name, shape.example.endsWith('…') ? 'MIIB' : shape.example];
      }
      if (shape.kind === 'boolean') return [name, true];
      if (shape.kind === 'integer') return [name, shape.min];
      if (name === 'SubnetIds') return [name, ['subnet-0123456789abcdef0']];
      return [name, name === 'TagList' ? [{ Key: 'team', Value: 'hr' }] : ['team']];
    }),
  );
}

const MORE: Readonly<Record<string, Record<string, unknown>>> = {
  CreateCluster: { SourceBackupId: BACKUP.id },
  DeleteHsm: { HsmId: 'hsm-keyark2ab3cd4ef5' },
  ModifyCluster: { BackupRetentionPolicy: { Type: 'DAYS', Value: '90' } },
  PutResourcePolicy: { ResourceArn: arnOf('backup', BACKUP.id), Policy: '{}' },
  GetResourcePolicy: { ResourceArn: arnOf('backup', BACKUP.id) },
  DeleteResourcePolicy: { ResourceArn: arnOf('backup', BACKUP.id) },
};

function arnOf(kind: string, id: string): string {
  return `arn:aws:cloudhsm:${REGION}:${ACCOUNT}:${kind}/${id}`;
}

interface Case {
  readonly name: string;
  readonly target: string;
  readonly action: string;
  readonly request: Record<string, unknown>;
  readonly resource: string;
  /** All that the action is done to; the first is what a denial names. */
  readonly resources: readonly string[];
  readonly isReadOnly: boolean;
}

const CASES: readonly Case[] = [
  ...Object.entries(OPERATIONS)
    .filter(([name]) => Object.hasOwn(SERVED, name))
    .map(([name, shape]): Case => {
      const request = { ...smallest(shape), ...MORE[name] };
      // A key of the table is one of its names.
      const { needs, isReadOnly } = awsNeeds(name as OperationName, request, SCOPE);
      const [[action, resource] = ['', '']] = needs;
      const resources = needs.map(([, each]) => each);
      const target = `BaldrApiService.${name}`;
      return { name, target, action, request, resource, resources, isReadOnly };
    }),
  ...Object.entries(NATIVE_OPERATIONS).map(([name, shape]): Case => {
    const request = smallest(shape);
    const { needs, isReadOnly } = nativeNeeds(name, request, ADA);
    const [[action, resource] = ['', '']] = needs;
    const resources = needs.map(([, each]) => each);
    const target = `KeyarkService.${name}`;
    return { name, target, action, request, resource, resources, isReadOnly };
  }),
];

describe('every operation, asked by a user', () => {
  let api: Stand;
  let key: AccessKey;
  before(async () => {
    api = await stand();
    api.catalog.transact((writer) => {
      writer.createCluster(CLUSTER);
      writer.createBackup({ ...BACKUP, tags: new Map([['team', 'payments']]) });
    });
    const { credentials } = api;
    const ada = { account: ACCOUNT, name: 'ada', createdAt: THEN };
    await credentials.change((accounts) =>
      addUser(accounts, { ...ada, policies: new Map(), managed: new Set() }),
    );
    key = await credentials.createKey({ account: ACCOUNT, user: 'ada', now: THEN });
  });
  after(() => api[Symbol.asyncDispose]());

  const under = async (statements: readonly object[], asked: Case): Promise<Reply> => {
    api.calls.length = 0;
    const document = JSON.stringify({ Version: '2012-10-17', Statement: statements });
    const of = { account: ACCOUNT, user: 'ada' };
    await api.credentials.change((accounts) => putPolicy(accounts, of, { name: 'p', document }));
    return call(api, asked.target, asked.request, { key });
  };
  const lastRecord = async (): Promise<JsonObject> => {
    const [file = ''] = await readdir(api.trail);
    const lines = (await readFile(join(api.trail, file), 'utf8')).trimEnd().split('\n');
    return JSON.parse(lines.at(-1) ?? '');
  };
  const isDenied = (reply: Reply): boolean =>
    reply.json['__type'] === 'CloudHsmAccessDeniedException';
  const assertDenied = async (reply: Reply, asked: Case, why: RegExp): Promise<void> => {
    assert.equal(reply.status, 400);
    assert.ok(isDenied(reply), reply.text);
    const start = `User: ${ADA.principal} is not authorized to perform: ${asked.action} on resource: ${asked.resource} `;
    const text = String(reply.json['Message']);
    assert.ok(text.startsWith(start), text);
    assert.match(text, why);
    assert.deepEqual(api.calls, [], 'nobody was called');
    const record = await lastRecord();
    assert.deepEqual(
      [record['eventName'], record['errorCode'], record['readOnly'], record['errorMessage']],
      [asked.name, 'CloudHsmAccessDeniedException', asked.isReadOnly, text],
    );
    assert.deepEqual(record['userIdentity'], {
      type: 'IAMUser',
      principalId: 'ada',
      arn: ADA.principal,
      accountId: ACCOUNT,
      accessKeyId: key.accessKeyId,
      userName: 'ada',
    });
  };

  const ALLOW = { Effect: 'Allow', Action: '*', Resource: '*' };
  for (const asked of CASES) {
    it(`${asked.name} is done only as policies say`, async () => {
      const { accounts } = api.credentials;
      const allow = { ...ALLOW, Action: asked.action };
      const none = /because no identity-based policy allows the/;
      await assertDenied(await under([{ ...allow, Action: 's3:*' }], asked), asked, none);
      const deny = { ...ALLOW, Effect: 'Deny', Action: asked.action };
      await assertDenied(
        await under([ALLOW, deny], asked),
        asked,
        /with an explicit deny in an id/,
      );
      const other = { ...allow, Resource: arnOf('cluster', 'cluster-keyark5fe4dc3ba2') };
      await assertDenied(await under([other], asked), asked, none);
      const tagged = { StringEquals: { 'aws:ResourceTag/team': 'hr' } };
      await assertDenied(await under([{ ...allow, Condition: tagged }], asked), asked, none);
      assert.deepEqual(
        [...api.credentials.accounts.accounts.keys(), ...api.credentials.accounts.keys.keys()],
        [...accounts.accounts.keys(), ...accounts.keys.keys()],
        'no account and no key came or went',
      );

      // Behind the policy stands one more rule: the owner's accounts and trail, a root's keys.
      const owners = [
        'CreateAccount',
        'ListAccounts',
        'GetTrailHead',
        'UpdateAccessKey',
        'DeleteAccessKey',
      ];
      if (asked.name === 'DeleteIamUser') return;
      const right = { StringEquals: { 'aws:ResourceTag/team': 'payments' } };
      const isTagged = /:(cluster|backup)\//.test(asked.resource);
      const reply = await under(
        [{ ...allow, Resource: asked.resources, ...(isTagged && { Condition: right }) }],
        asked,
      );
      assert.ok(owners.includes(asked.name) || !isDenied(reply), reply.text);
      assert.deepEqual((await lastRecord())['eventName'], asked.name);
    });
  }

  it('covers every operation that is served', () => {
    assert.equal(CASES.length, Object.keys(SERVED).length + Object.keys(NATIVE_OPERATIONS).length);
  });
});

describe('tags and shared backups', () => {
  it('need the right to tag, judged by the tags that would be set', async () => {
    const request = {
      ...smallest(OPERATIONS.CreateCluster),
      TagList: [{ Key: 'team', Value: 'hr' }],
    };
    const { needs, requestTags, tagKeys } = awsNeeds('CreateCluster', request, SCOPE);
    assert.deepEqual(needs, [
      ['cloudhsm:CreateCluster', '*'],
      ['cloudhsm:TagResource', arnOf('cluster', '*')],
    ]);
    assert.deepEqual([[...requestTags], tagKeys], [[['team', 'hr']], ['team']]);
  });

  it('name a copy by where it goes', () => {
    const request = {
      DestinationRegion: 'eu-west-1',
      BackupId: BACKUP.id,
      TagList: [{ Key: 'team', Value: 'hr' }],
    };
    const copies = `arn:aws:cloudhsm:eu-west-1:${ACCOUNT}:backup/*`;
    assert.deepEqual(awsNeeds('CopyBackupToRegion', request, SCOPE).needs, [
      ['cloudhsm:CopyBackupToRegion', arnOf('backup', BACKUP.id)],
      ['cloudhsm:TagResource', copies],
      ['cloudhsm:UntagResource', copies],
    ]);
  });

  it('let another account restore what its owner shares, and nothing else', async () => {
    const owner = '000000000002';
    const arn = (id: string) => `arn:aws:cloudhsm:${REGION}:${owner}:backup/${id}`;
    const policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: [
        {
          Effect: 'Allow',
          Principal: { AWS: ACCOUNT },
          Action: 'cloudhsm:CreateCluster',
          Resource: arn(BACKUP.id),
        },
      ],
    });
    await using api = await stand();
    const ask = (SourceBackupId: string) =>
      call(api, 'CreateCluster', { ...smallest(OPERATIONS.CreateCluster), SourceBackupId });
    assert.match((await ask(arn(BACKUP.id))).text, /no resource-based policy allows/);
    api.catalog.transact((writer) => writer.createBackup({ ...BACKUP, account: owner, policy }));
    assert.equal((await ask(arn(BACKUP.id))).status, 200);
    assert.match((await ask(arn('backup-keyark5fe4dc3ba2'))).text, /no resource-based policy/);
    const elsewhere = arn(BACKUP.id).replace(REGION, 'eu-west-1');
    assert.match((await ask(elsewhere)).text, /no resource-based policy/);
    assert.equal(api.calls.length, 1);
  });
});

describe('temporary credentials', () => {
  it('may do what both their parent and their own policy allow, and change no credentials', async () => {
    await using api = await stand();
    const Policy = JSON.stringify({
      Version: '2012-10-17',
      Statement: { Effect: 'Allow', Action: ['cloudhsm:Describe*', 'keyark:*'], Resource: '*' },
    });
    const made = await call(api, 'KeyarkService.GetSessionToken', { Policy, DurationSeconds: 900 });
    const { AccessKeyId, SecretAccessKey, SessionToken } = made.json['Credentials'] as Record<
      string,
      string
    >;
    const key = {
      accessKeyId: String(AccessKeyId),
      secretAccessKey: String(SecretAccessKey),
      sessionToken: String(SessionToken),
    };
    assert.equal((await call(api, 'DescribeClusters', {}, { key })).status, 200);
    const denied = await call(api, 'DeleteBackup', { BackupId: BACKUP.id }, { key });
    assert.match(denied.text, /no session policy allows/);
    for (const [name, request] of [
      ['CreateAccessKey', {}],
      ['CreateIamUser', { UserName: 'eve' }],
      ['CreateAccount', {}],
      ['GetSessionToken', {}],
    ] as const) {
      const reply = await call(api, `KeyarkService.${name}`, request, { key });
      assert.equal(reply.json['__type'], 'CloudHsmAccessDeniedException', reply.text);
    }
    const wrong = await call(api, 'DescribeClusters', {}, { key: { ...key, sessionToken: 'x' } });
    assert.deepEqual([wrong.status, wrong.json['__type']], [403, 'UnrecognizedClientException']);

    const [file = ''] = await readdir(api.trail);
    const text = await readFile(join(api.trail, file), 'utf8');
    for (const secret of [key.secretAccessKey, key.sessionToken]) {
      assert.ok(!text.includes(secret) && !JSON.stringify(api.events).includes(secret));
    }
    assert.match(text, /"secretAccessKey":"HIDDEN_DUE_TO_SECURITY_REASONS"/);
    assert.match(text, /"sessionContext":\{"attributes":\{"creationDate":/);
  });

  it('are expired when their time is over, and say so', async () => {
    const clock = new FakeClock();
    await using api = await stand({ clock });
    const made = await call(
      api,
      'KeyarkService.GetSessionToken',
      { DurationSeconds: 900 },
      { clock },
    );
    const { AccessKeyId, SecretAccessKey, SessionToken } = made.json['Credentials'] as Record<
      string,
      string
    >;
    const key = {
      accessKeyId: String(AccessKeyId),
      secretAccessKey: String(SecretAccessKey),
      sessionToken: String(SessionToken),
    };
    clock.advance(899_000);
    assert.equal((await call(api, 'DescribeClusters', {}, { key, clock })).status, 200);
    clock.advance(1_000);
    const late = await call(api, 'DescribeClusters', {}, { key, clock });
    assert.deepEqual([late.status, late.json['__type']], [403, 'ExpiredTokenException']);
  });
});

describe('accounts', () => {
  it('cannot reach each other: neither keys nor users nor the trail', async () => {
    await using api = await stand();
    const made = await call(api, 'KeyarkService.CreateAccount', { Account: '000000000002' });
    const { AccessKeyId, SecretAccessKey } = made.json['AccessKey'] as Record<string, string>;
    const key = { accessKeyId: String(AccessKeyId), secretAccessKey: String(SecretAccessKey) };
    const mine = await call(api, 'KeyarkService.CreateIamUser', { UserName: 'ada' });
    assert.equal(mine.status, 200);
    const ask = (name: string, request: object) =>
      call(api, `KeyarkService.${name}`, request, { key });
    assert.deepEqual((await ask('ListIamUsers', {})).json['Users'], []);
    assert.equal((await ask('DeleteIamUser', { UserName: 'ada' })).status, 400);
    const [owners] = api.credentials.list();
    const off = { AccessKeyId: owners?.accessKeyId, Status: 'Inactive' };
    assert.match((await ask('UpdateAccessKey', off)).text, /There is no access key/);
    for (const [name, request] of [
      ['ListAccounts', {}],
      ['CreateAccount', {}],
      ['GetTrailHead', {}],
      ['LookupEvents', { AllAccounts: true }],
      ['CreateAccessKey', { Account: ACCOUNT }],
    ] as const) {
      const reply = await ask(name, request);
      assert.equal(reply.json['__type'], 'CloudHsmAccessDeniedException', name);
    }
    const seen = (await ask('LookupEvents', {})).json['Events'] as readonly JsonObject[];
    assert.ok(seen.length > 5);
    assert.ok(seen.every((record) => record['recipientAccountId'] === '000000000002'));
  });

  it('have bad signatures with their keys in their trail, without the secret or the body', async () => {
    await using api = await stand();
    const key = { accessKeyId: 'KEYARKABCDEFGHIJKLMN', secretAccessKey: 'planted-wrong-secret' };
    const reply = await call(api, 'DeleteBackup', { BackupId: BACKUP.id }, { key });
    assert.equal(reply.json['__type'], 'InvalidSignatureException');
    const found = await call(api, 'KeyarkService.LookupEvents', { EventName: 'DeleteBackup' });
    const [record] = found.json['Events'] as readonly JsonObject[];
    assert.deepEqual(
      [record?.['errorCode'], record?.['userIdentity'], record?.['requestParameters']],
      ['InvalidSignatureException', { type: 'Unknown', accessKeyId: key.accessKeyId }, null],
    );
    assert.ok(!found.text.includes('planted-wrong-secret'));
  });
});
