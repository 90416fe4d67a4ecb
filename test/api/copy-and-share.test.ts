/** Copy and share over the wire: two accounts, two regions, signed calls and commands, real parts behind. */
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { AccessKey } from '../../src/access/accounts.ts';
import { type Api, createApi } from '../../src/api/server.ts';
import { createRuleBook } from '../../src/backups/rule-book.ts';
import { createSharing } from '../../src/backups/sharing.ts';
import { EXIT } from '../../src/cli/exit-codes.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import type { BackupId } from '../../src/kernel/ids.ts';
import { systemRandom } from '../../src/kernel/random.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { protectionOf } from '../../src/ops/protection.ts';
import { Rehearsal } from '../../src/ops/rehearsal.ts';
import { createStatus } from '../../src/ops/status.ts';
import { createTimeFacts } from '../../src/ops/time-facts.ts';
import { type Entrance, entrance } from '../support/entrance.ts';
import { inProcess } from '../support/in-process-command.ts';
import { statusFacts } from '../support/status-facts.ts';
import { REGIONS, SCOPE, World } from '../support/world.ts';
import { call } from './stand.ts';

const [HERE, THERE] = REGIONS;
const keyOf = (account: string, accessKeyId: string): AccessKey =>
  new AccessKey({
    accessKeyId,
    account,
    secretAccessKey: 'wJalrXUtnFEMIK7MDENGbPxRfiCYexamplekey00',
  });
const OWNER = keyOf(SCOPE.account, 'KEYARKAAAAAAAAAAAAAA');
const CONSUMER = keyOf('000000000002', 'KEYARKBBBBBBBBBBBBBB');

describe('copies and shares over the API and the command line', () => {
  let world: World;
  let api: Api;
  let door: Entrance;
  let url: URL;
  let backupId: BackupId;
  let arn: string;

  before(async () => {
    world = await World.open();
    const { catalog, clock, backups, clusters, fleet } = world;
    const quiet = { emit: () => {} };
    const rehearsal = new Rehearsal({ catalog, events: quiet, clock: undefined });
    door = await entrance({
      folder: join(world.folder, 'entrance'),
      keys: [OWNER, CONSUMER],
      catalog,
      clock: systemClock,
      region: HERE,
    });
    api = createApi({
      backups,
      clusters,
      restores: world.restores,
      sharing: createSharing({ catalog, organization: [] }),
      copyRules: createRuleBook({
        catalog,
        clock,
        random: systemRandom,
        regions: REGIONS,
        profile: 'own',
      }),
      // Commands sign by the machine's clock, and so is what they are compared with.
      ...door.parts,
      events: { emit: (event) => void world.events.push(event) },
      regions: REGIONS,
      readiness: async () => [],
      native: {
        ...createStatus({
          ...statusFacts(world),
          plans: { forecast: () => ({}), generation: async () => ({}) },
          protection: () => protectionOf({ catalog, fleet, clock, isChangeDriven: true }),
          rehearsal,
          trail: () => door.trail.state(),
        }),
        time: createTimeFacts({ clock, watch: world.watch, rehearsal }),
      },
    });
    const listening = await api.listen({ host: '127.0.0.1', port: 0 });
    url = new URL(listening.url);
    const { clusterId } = await world.activeCluster();
    const [backup] = world.ready(clusterId);
    assert.ok(backup !== undefined);
    backupId = backup.id;
    arn = `arn:aws:cloudhsm:${HERE}:${SCOPE.account}:backup/${backupId}`;
    for (const [name, key] of Object.entries({ owner: OWNER, consumer: CONSUMER })) {
      await mkdir(join(world.folder, name));
      const variables = {
        AWS_ENDPOINT_URL_CLOUDHSM_V2: url.href,
        AWS_REGION: HERE,
        AWS_ACCESS_KEY_ID: key.accessKeyId,
        AWS_SECRET_ACCESS_KEY: key.secretAccessKey,
      };
      const lines = Object.entries(variables).map(([variable, value]) => `${variable}=${value}\n`);
      await writeFile(join(world.folder, name, 'env'), lines.join(''));
    }
  });

  after(async () => {
    await api.close();
    await door[Symbol.asyncDispose]();
    await world[Symbol.asyncDispose]();
  });

  const ask = async (
    key: AccessKey,
    operation: string,
    input: JsonObject,
    region: string = HERE,
  ): Promise<Record<string, unknown>> => {
    const reply = await call({ url }, operation, input, { key, region });
    return { ...reply.json, status: reply.status };
  };
  const run = (who: 'owner' | 'consumer', ...args: string[]) =>
    inProcess([...args, '--data', join(world.folder, who)]);
  const runJson = async (who: 'owner' | 'consumer', ...args: string[]): Promise<JsonObject> => {
    const { code, stdout, stderr } = await run(who, ...args, '--json');
    assert.equal(code, EXIT.OK, stderr);
    // Every command with --json prints an object.
    return JSON.parse(stdout) as JsonObject;
  };

  it('CopyBackupToRegion names the source only; the copy is found in its region, by its source', async () => {
    const answer = await ask(OWNER, 'CopyBackupToRegion', {
      BackupId: backupId,
      DestinationRegion: THERE,
      TagList: [{ Key: 'why', Value: 'drill' }],
    });
    const source = world.catalog.read((reader) => reader.backup(backupId));
    assert.deepEqual(answer, {
      DestinationBackup: {
        CreateTimestamp: (source?.createdAt ?? 0) / 1000,
        SourceRegion: HERE,
        SourceBackup: backupId,
        SourceCluster: source?.clusterId,
      },
      status: 200,
    });
    await world.background.idle();
    const filter = { Filters: { sourceBackupIds: [backupId] } };
    assert.deepEqual((await ask(OWNER, 'DescribeBackups', filter))['Backups'], []);
    const { Backups: found } = await ask(OWNER, 'DescribeBackups', filter, THERE);
    assert.ok(Array.isArray(found) && found.length === 1);
    const [copy] = found;
    assert.equal(copy.BackupState, 'READY');
    assert.equal(copy.ClusterId, source?.clusterId);
    assert.equal(copy.SourceRegion, HERE);
    assert.equal(copy.NeverExpires, false);
    assert.deepEqual(copy.TagList, [{ Key: 'why', Value: 'drill' }]);
    assert.ok(typeof copy.CopyTimestamp === 'number');
    const proof = await ask(
      OWNER,
      'KeyarkService.GetBackupProof',
      { BackupId: copy.BackupId },
      THERE,
    );
    assert.equal(proof['status'], 200);
  });

  it('refusals have the documented types', async () => {
    const cases: readonly [AccessKey, string, JsonObject, string][] = [
      [
        OWNER,
        'CopyBackupToRegion',
        { BackupId: backupId, DestinationRegion: HERE },
        'InvalidRequest',
      ],
      [
        OWNER,
        'CopyBackupToRegion',
        { BackupId: backupId, DestinationRegion: 'us-gov-west-1' },
        'InvalidRequest',
      ],
      [
        CONSUMER,
        'CopyBackupToRegion',
        { BackupId: backupId, DestinationRegion: THERE },
        'ResourceNotFound',
      ],
      [OWNER, 'PutResourcePolicy', {}, 'InvalidRequest'],
      [OWNER, 'PutResourcePolicy', { ResourceArn: arn, Policy: '{}' }, 'InvalidRequest'],
      [CONSUMER, 'GetResourcePolicy', { ResourceArn: arn }, 'AccessDenied'],
      [CONSUMER, 'DeleteResourcePolicy', { ResourceArn: arn }, 'AccessDenied'],
      [
        CONSUMER,
        'CreateCluster',
        { HsmType: 'hsm2m.medium', SubnetIds: ['subnet-00000009'], SourceBackupId: arn },
        'AccessDenied',
      ],
    ];
    for (const [key, operation, input, type] of cases) {
      const answer = await ask(key, operation, input);
      assert.equal(
        answer['__type'],
        `CloudHsm${type}Exception`,
        `${operation} ${JSON.stringify(input)}`,
      );
      assert.equal(answer['status'], 400);
    }
  });

  it('a share goes from policy to list, and back, by commands', async () => {
    const shared = { Shared: true };
    await runJson('owner', 'share', 'create', backupId, '--with', CONSUMER.account);
    const { Policy: policy } = await ask(OWNER, 'GetResourcePolicy', { ResourceArn: arn });
    assert.match(String(policy), new RegExp(CONSUMER.account));
    const made = await ask(CONSUMER, 'CreateCluster', {
      HsmType: 'hsm2m.medium',
      SubnetIds: ['subnet-00000009'],
      SourceBackupId: arn,
    });
    assert.equal(made['status'], 200);
    assert.deepEqual((await ask(CONSUMER, 'DescribeBackups', shared))['Backups'], []);

    await runJson('owner', 'share', 'promote', backupId);
    const offered = await run('consumer', 'share', 'list');
    assert.match(offered.stdout, new RegExp(`${backupId} .*${CONSUMER.account} +INVITED`));
    await runJson('consumer', 'share', 'accept', arn);
    const { Backups: seen } = await ask(CONSUMER, 'DescribeBackups', shared);
    assert.ok(Array.isArray(seen) && seen.length === 1);
    assert.equal(seen[0].BackupArn, arn);
    assert.ok(!('TagList' in seen[0]));
    assert.deepEqual((await ask(CONSUMER, 'DescribeBackups', {}))['Backups'], []);

    const unasked = await run('owner', 'share', 'remove', backupId);
    assert.equal(unasked.code, EXIT.USAGE);
    assert.match(unasked.stderr, new RegExp(`ends for: ${CONSUMER.account}`));
    assert.deepEqual(await ask(OWNER, 'GetResourcePolicy', { ResourceArn: arn }), {
      Policy: policy,
      status: 200,
    });
    await runJson('owner', 'share', 'remove', backupId, '--yes');
    assert.deepEqual((await ask(CONSUMER, 'DescribeBackups', shared))['Backups'], []);
    assert.deepEqual(await ask(OWNER, 'GetResourcePolicy', { ResourceArn: arn }), { status: 200 });
    assert.deepEqual(await ask(OWNER, 'DeleteResourcePolicy', { ResourceArn: arn }), {
      ResourceArn: arn,
      status: 200,
    });
  });

  it('keyark backup copy waits for the proof, and keeps the copy as long as it was told', async () => {
    const { code, stdout, stderr } = await run(
      'owner',
      'backup',
      'copy',
      backupId,
      '--to',
      THERE,
      '--days',
      '30',
    );
    assert.equal(code, EXIT.OK, stderr);
    const [, id] = /^(backup-\w+) is proven/.exec(stdout) ?? [];
    const copy = world.allBackups().find((backup) => backup.id === id);
    assert.equal(copy?.ownRetention?.days, 30);
    assert.equal(copy?.region, THERE);
    const refused = await run('owner', 'backup', 'copy', backupId, '--to', 'ap-south-1');
    assert.equal(refused.code, EXIT.REFUSED);
    assert.match(refused.stderr, /ap-south-1 is not served here; copies can go to eu-west-1/);
  });

  it('keyark copy-rule adds, lists and removes rules', async () => {
    const add = ['copy-rule', 'add', '--from', HERE, '--to', THERE];
    const made = await runJson('owner', ...add, '--causes', 'manual,scheduled', '--days', '90');
    const twice = await run('owner', ...add);
    assert.equal(twice.code, EXIT.REFUSED);
    const listed = await run('owner', 'copy-rule', 'list');
    assert.match(listed.stdout, /us-east-1 +eu-west-1 +all +manual,scheduled +90/);
    const other = await runJson('consumer', 'copy-rule', 'list');
    assert.deepEqual(other['CopyRules'], []);
    await runJson('owner', 'copy-rule', 'remove', String(made['CopyRuleId']));
    assert.deepEqual((await runJson('owner', 'copy-rule', 'list'))['CopyRules'], []);
  });
});
