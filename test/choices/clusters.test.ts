/** What clusters do where AWS's documents do not say: modes, states, certificates, lists. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseJson } from '../../src/api/json.ts';
import { OPERATIONS } from '../../src/api/shapes.ts';
import { parseInput } from '../../src/api/validate.ts';
import { newAuthority, signRequestOfCluster } from '../../src/cli/customer.ts';
import { listOf, objectOf, textOf } from '../../src/cli/json.ts';
import { handleFleetEvent } from '../../src/clusters/hsm-events.ts';
import { DAY_MS } from '../../src/kernel/clock.ts';
import { parseClusterId } from '../../src/kernel/ids.ts';
import { systemRandom as random } from '../../src/kernel/random.ts';
import { World } from '../support/world.ts';
import { asking, INVALID, NEW } from './rig.ts';

test('a cluster is made in FIPS mode unless the request or its backup says otherwise', async () => {
  await using world = await World.open();
  const { clusterId } = await world.activeCluster({ mode: 'NON_FIPS' });
  const ask = asking(world);
  const [backup] = world.ready(clusterId);
  const modeOf = async (more: object) =>
    objectOf(await ask('CreateCluster', { ...NEW, ...more }), 'Cluster')['Mode'];
  assert.equal(await modeOf({}), 'FIPS');
  assert.equal(await modeOf({ Mode: 'NON_FIPS' }), 'NON_FIPS');
  assert.equal(await modeOf({ SourceBackupId: backup?.id }), 'NON_FIPS');
  await world.background.idle();
});

test('no cluster is ever DEGRADED: its HSMs say so, and the filter finds nothing', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const ask = asking(world);
  handleFleetEvent(world.deps, { kind: 'down', hsmId, reason: 'killed.' }, () => {});
  const [cluster = {}] = listOf(await ask('DescribeClusters', {}), 'Clusters');
  assert.equal(cluster['ClusterId'], clusterId);
  assert.equal(cluster['State'], 'ACTIVE');
  assert.equal(listOf(cluster, 'Hsms')[0]?.['State'], 'DEGRADED');
  const degraded = await ask('DescribeClusters', { Filters: { states: ['DEGRADED'] } });
  assert.deepEqual(degraded['Clusters'], []);
});

test('PENDING_ROLLBACK is no state: a filter that names it is refused', () => {
  const filter = (state: string) =>
    parseInput(
      OPERATIONS.DescribeClusters.input,
      parseJson(JSON.stringify({ Filters: { states: [state] } })),
    );
  assert.throws(() => filter('PENDING_ROLLBACK'), { code: 'InvalidRequest' });
  filter('ROLLBACK_IN_PROGRESS');
});

test('a certificate for the request of an HSM that was replaced is refused, one for the new request is taken', async () => {
  await using world = await World.open();
  const ask = asking(world);
  const ClusterId = textOf(objectOf(await ask('CreateCluster', NEW), 'Cluster'), 'ClusterId');
  const id = parseClusterId(ClusterId);
  await world.background.idle();
  const first = await world.addHsm(id);
  const oldCsr = world.cluster(id).certificates.clusterCsr ?? '';
  await ask('DeleteHsm', { ClusterId, HsmId: first.id });
  await world.background.idle();
  await world.addHsm(id);
  const newCsr = world.cluster(id).certificates.clusterCsr ?? '';
  const authority = newAuthority({ clock: world.clock, random });
  const initialize = (csr: string) =>
    ask('InitializeCluster', {
      ClusterId,
      SignedCert: signRequestOfCluster(csr, authority, { clock: world.clock, random }),
      TrustAnchor: authority.certificate,
    });
  assert.deepEqual(await initialize(oldCsr), { __type: INVALID });
  assert.equal(world.cluster(id).state, 'UNINITIALIZED');
  assert.equal((await initialize(newCsr))['State'], 'INITIALIZE_IN_PROGRESS');
  await world.background.idle();
  assert.equal(world.cluster(id).state, 'INITIALIZED');
});

test('deleted clusters and backups stay in the lists for ever', async () => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  const ask = asking(world);
  const [backup] = world.ready(clusterId);
  assert.ok(backup !== undefined);
  await ask('DeleteHsm', { ClusterId: clusterId, HsmId: hsmId });
  await world.background.idle();
  await ask('DeleteCluster', { ClusterId: clusterId });
  await ask('DeleteBackup', { BackupId: backup.id });
  for (let years = 0; years < 3; years += 1) {
    world.clock.advance(365 * DAY_MS);
    await world.backups.purgeDue();
    await world.background.idle();
  }
  const clusters = listOf(await ask('DescribeClusters', {}), 'Clusters');
  assert.deepEqual(
    clusters.map(({ ClusterId, State, Hsms }) => [ClusterId, State, Hsms]),
    [[clusterId, 'DELETED', []]],
  );
  const backups = listOf(await ask('DescribeBackups', {}), 'Backups');
  const found = backups.find(({ BackupId }) => BackupId === backup.id);
  assert.equal(found?.['BackupState'], 'DELETED');
  assert.equal(found['DeleteTimestamp'], undefined);
});
