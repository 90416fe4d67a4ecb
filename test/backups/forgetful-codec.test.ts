/**
 * A codec that forgets a field would make backups that lie. Whatever field it is, the proof must fail:
 * no such backup ever becomes READY.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type RecordName, SCHEMA } from '../../src/hsm/backup/records.ts';
import type { HsmId } from '../../src/kernel/ids.ts';
import { World } from '../support/world.ts';

/** Kinds of the HSM's own log, which stand in no archive. */
const NOT_ARCHIVED: readonly RecordName[] = ['audit', 'removedUser', 'removedObject'];

/** One record of every kind that an archive has. */
async function fill(world: World, hsmId: HsmId): Promise<void> {
  await world.asAdmin(hsmId, async (call) => {
    await call('user-create', {
      username: 'app',
      role: 'crypto-user',
      password: 'some-password-1',
    });
    await call('policy-set', { name: 'lockout-limit', value: 7 });
  });
  await world.officer(hsmId, async (call) => {
    const wrong = { username: 'app', role: 'crypto-user', password: 'another-password' };
    await assert.rejects(call('login', wrong));
  });
  await world.officer(hsmId, async (call) => {
    await call('login', { username: 'app', role: 'crypto-user', password: 'some-password-1' });
    const { key } = await call('key-generate-symmetric', { type: 'aes', bytes: 32, label: 'gone' });
    // The officers' protocol answers this shape (src/hsm/calls.ts).
    await call('key-delete', { key: (key as { key: string }).key });
    await call('key-generate-pair', { type: 'ec', curve: 'P-256', label: 'kept' });
  });
  await world.officer(hsmId, async (call) => {
    const wrong = { username: 'admin', role: 'admin', password: 'another-password' };
    await assert.rejects(call('login', wrong));
  });
  await world.settle(hsmId);
}

test('the proof fails for every field that the codec forgets', async (t) => {
  await using world = await World.open();
  const { clusterId, hsmId } = await world.activeCluster();
  await fill(world, hsmId);
  const { id: whole } = await world.backups.take(clusterId, 'manual');
  const readyBefore = world.ready(clusterId).length;
  for (const [kind, { fields }] of Object.entries(SCHEMA)) {
    // Object.entries of a record over all RecordNames gives exactly those.
    const name = kind as RecordName;
    if (NOT_ARCHIVED.includes(name)) continue;
    for (const field of fields) {
      await t.test(`${kind}.${field.name}`, async () => {
        const others = fields.filter((other) => other !== field);
        await world.fleet.restartWith(hsmId, {
          ...SCHEMA,
          [name]: { ...SCHEMA[name], fields: others },
        });
        await assert.rejects(world.backups.take(clusterId, 'manual'));
        assert.equal(world.ready(clusterId).length, readyBefore);
      });
    }
  }
  await world.fleet.restartWith(hsmId, SCHEMA);
  assert.notEqual((await world.backups.take(clusterId, 'manual')).id, whole);
});
