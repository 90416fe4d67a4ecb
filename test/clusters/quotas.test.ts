/** Quotas, addresses and tags: what an account may have, and what it is called. */
import assert from 'node:assert/strict';
import { isIPv6 } from 'node:net';
import { test } from 'node:test';
import { type ClusterId, parseClusterId } from '../../src/kernel/ids.ts';
import { SCOPE, World } from '../support/world.ts';

const SUBNETS = ['subnet-0123456789abcdef0'];
const NEW = { hsmType: 'hsm2m.medium', subnetIds: SUBNETS, tags: new Map() } as const;
const ZONE = 'us-east-1a';

const isRefused = (code: string, words: RegExp) => (cause: unknown) => {
  assert.ok(cause instanceof Error && 'code' in cause, String(cause));
  assert.equal(cause.code, code);
  assert.match(cause.message, words);
  return true;
};

test('two callers who race for the last cluster of a quota make one', async () => {
  await using world = await World.open();
  world.quotas.clusters = 2;
  await world.clusters.create(SCOPE, NEW);
  const outcomes = await Promise.allSettled([
    world.clusters.create(SCOPE, NEW),
    world.clusters.create(SCOPE, NEW),
  ]);
  assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
  await assert.rejects(
    world.clusters.create(SCOPE, NEW),
    isRefused('LimitExceeded', /has 2 clusters in us-east-1; its quota is 2\. Nothing was created/),
  );
});

test('a deleted cluster gives its place back, and another region has its own', async () => {
  await using world = await World.open();
  world.quotas.clusters = 1;
  const { cluster } = await world.clusters.create(SCOPE, NEW);
  await world.clusters.create({ ...SCOPE, region: 'eu-west-1' }, NEW);
  await world.background.idle();
  await world.clusters.remove(SCOPE, cluster.id);
  await world.background.idle();
  await world.clusters.create(SCOPE, NEW);
});

test('HSMs of all clusters of an account count against one quota', async () => {
  await using world = await World.open();
  world.quotas.hsms = 1;
  const [first, second] = await Promise.all([
    world.clusters.create(SCOPE, NEW),
    world.clusters.create(SCOPE, NEW),
  ]);
  await world.background.idle();
  await world.clusters.createHsm(SCOPE, { clusterId: first.cluster.id, availabilityZone: ZONE });
  await assert.rejects(
    world.clusters.createHsm(SCOPE, { clusterId: second.cluster.id, availabilityZone: ZONE }),
    isRefused('LimitExceeded', /has 1 HSMs in us-east-1; its quota is 1/),
  );
  await world.background.idle();
});

test('an HSM of a dual-stack cluster has both addresses, of an IPv4 cluster one', async () => {
  await using world = await World.open();
  const addressesIn = async (networkType: 'IPV4' | 'DUALSTACK') => {
    const { cluster } = await world.clusters.create(SCOPE, { ...NEW, networkType });
    await world.background.idle();
    const where = { clusterId: cluster.id, availabilityZone: ZONE };
    const { eniIp, eniIpV6 } = await world.clusters.createHsm(SCOPE, where);
    await world.background.idle();
    return { eniIp, eniIpV6 };
  };
  const dual = await addressesIn('DUALSTACK');
  assert.equal(isIPv6(dual.eniIpV6 ?? ''), true);
  assert.match(dual.eniIpV6 ?? '', /^fd/);
  assert.equal((await addressesIn('IPV4')).eniIpV6, undefined);
});

test('tags are overwritten and removed, and more than 50 are refused whole', async () => {
  await using world = await World.open();
  const { cluster } = await world.clusters.create(SCOPE, NEW);
  const retag = (put: readonly (readonly [string, string])[]) =>
    world.clusters.retag(SCOPE, cluster.id, { put: new Map(put) });
  retag([
    ['team', 'a'],
    ['__proto__', 'x'],
  ]);
  retag([['team', 'b']]);
  assert.deepEqual(
    [...world.clusters.tagsOf(SCOPE, cluster.id)],
    [
      ['team', 'b'],
      ['__proto__', 'x'],
    ],
  );
  world.clusters.retag(SCOPE, cluster.id, { remove: ['__proto__', 'never there'] });
  assert.throws(
    () => retag(Array.from({ length: 50 }, (_, i) => [`k${i}`, ''] as const)),
    isRefused('LimitExceeded', /has 1 tags and would have 51; 50 are possible/),
  );
  assert.deepEqual([...world.clusters.tagsOf(SCOPE, cluster.id)], [['team', 'b']]);
  const nobodys: ClusterId = parseClusterId('cluster-keyarkaaaaaaaaaa');
  assert.throws(() => world.clusters.tagsOf(SCOPE, nobodys), isRefused('NotFound', /no cluster/));
});

test('a deleted cluster keeps its tags, and takes no new ones', async () => {
  await using world = await World.open();
  const tags = new Map([['team', 'a']]);
  const { cluster } = await world.clusters.create(SCOPE, { ...NEW, tags });
  await world.background.idle();
  await world.clusters.remove(SCOPE, cluster.id);
  await world.background.idle();
  assert.deepEqual(world.clusters.tagsOf(SCOPE, cluster.id), tags);
  assert.throws(
    () => world.clusters.retag(SCOPE, cluster.id, { remove: ['team'] }),
    isRefused('WrongState', /is DELETED; its tags stay/),
  );
});
