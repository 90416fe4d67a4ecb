/** ModifyCluster on the wire: what reaches `clusters`, what is refused before, and what a move looks like. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { seconds } from '../../src/api/render.ts';
import type { Cluster } from '../../src/clusters/cluster.ts';
import type { EpochMs } from '../../src/kernel/types.ts';
import { backupId, hsmId } from '../support/catalog-samples.ts';
import { CLUSTER, call, stand } from './stand.ts';

const ID = { ClusterId: CLUSTER.id };
const RETENTION = { BackupRetentionPolicy: { Type: 'DAYS', Value: '30' } };
// A plain number of milliseconds is what EpochMs brands.
const rollbackUntil = 1_700_000_000_250 as EpochMs;
const way = {
  from: 'hsm1.medium',
  to: 'hsm2m.medium',
  startedAt: 1_699_913_600_250 as EpochMs,
  rollbackUntil,
} as const;
const swap = { oldHsmId: hsmId(1), newHsmId: hsmId(2), backHsmId: hsmId(3) };

describe('ModifyCluster', () => {
  it('hands over the type, or the retention', async () => {
    await using on = await stand();
    for (const wanted of [{ HsmType: 'hsm2m.medium' }, RETENTION]) {
      assert.equal((await call(on, 'ModifyCluster', { ...ID, ...wanted })).status, 200);
    }
    assert.deepEqual(
      on.calls.map(({ method, args }) => [method, ...args.slice(1)]),
      [
        ['migrate', CLUSTER.id, 'hsm2m.medium'],
        ['modifyRetention', CLUSTER.id, 30],
      ],
    );
  });

  const WRONG: readonly [string, object, RegExp][] = [
    ['both at once', { HsmType: 'hsm2m.medium', ...RETENTION }, /two calls; nothing was changed/],
    ['neither', {}, /nothing to modify: give HsmType, or BackupRetentionPolicy/],
    ['a type that is not offered', { HsmType: 'hsm3.large' }, /hsm3/],
    ['a Mode', { HsmType: 'hsm2m.medium', Mode: 'FIPS' }, /Mode/],
  ];
  for (const [what, wanted, text] of WRONG) {
    it(`refuses ${what}, and nothing is asked of the cluster`, async () => {
      await using on = await stand();
      const { status, json } = await call(on, 'ModifyCluster', { ...ID, ...wanted });
      assert.deepEqual([status, json['__type']], [400, 'CloudHsmInvalidRequestException']);
      assert.match(String(json['Message']), text);
      assert.deepEqual(on.calls, []);
    });
  }
});

describe('HsmTypeRollbackExpiration', () => {
  const shown = async (cluster: Cluster): Promise<unknown> => {
    const view = { cluster, hsms: [] };
    await using on = await stand({ clusters: { describe: () => ({ items: [view] }) } });
    // Every answer of a modelled operation is checked against the public model.
    const { json } = await call(on, 'DescribeClusters', {});
    const [first] = json['Clusters'] as { HsmTypeRollbackExpiration?: unknown }[];
    assert.ok(first !== undefined);
    return first.HsmTypeRollbackExpiration;
  };

  it('is a time in seconds from the first answer on, while the way back is open', async () => {
    const { id } = CLUSTER;
    const moving = {
      ...way,
      writer: swap,
      followers: [],
      migratedIds: [],
      state: 'PREPARING',
    } as const;
    const done = { ...way, state: 'DONE', oldBackupId: backupId(1) } as const;
    for (const migration of [moving, done]) {
      assert.equal(await shown({ ...CLUSTER, id, migration }), seconds(rollbackUntil));
    }
  });

  it('is absent for every other cluster', async () => {
    assert.equal(await shown(CLUSTER), undefined);
  });
});
