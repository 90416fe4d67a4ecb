/** What an SDK's own retries see, and what they cannot do: make a second resource, or storm the service. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Once, REMEMBERED_MS, type Remember } from '../../src/api/once.ts';
import { Throttle } from '../../src/api/throttle.ts';
import { openCatalog } from '../../src/catalog/sqlite.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import type { EpochMs, JsonObject } from '../../src/kernel/types.ts';
import { tempFolder } from '../support/temp-folder.ts';
import { call, stand } from './stand.ts';

const CALLER = { account: '000012345678', region: 'us-east-1', principal: 'arn:aws:iam::0:root' };
const ID = '2f1b7c0e-9d4e-4f3a-8f7e-6a5b4c3d2e1f';

/** Time that a test moves. */
class HandClock implements Clock {
  at = 1_800_000_000_000;
  // A plain number of milliseconds is what EpochMs brands.
  now = (): EpochMs => this.at as EpochMs;
  sleep = async (): Promise<void> => {};
}

async function withOnce(
  use: (world: {
    again: () => Once;
    once: Once;
    clock: HandClock;
    create: Creates;
  }) => Promise<void>,
): Promise<void> {
  await using folder = await tempFolder();
  const clock = new HandClock();
  let catalog = openCatalog({ folder: folder.path });
  let made = 0;
  const create = async (remember: Remember): Promise<JsonObject> => {
    const answer = { Made: ++made };
    catalog.transact((writer) => remember(writer, answer));
    return answer;
  };
  const again = (): Once => {
    catalog[Symbol.dispose]();
    catalog = openCatalog({ folder: folder.path });
    return new Once(catalog, clock);
  };
  await use({ again, once: new Once(catalog, clock), clock, create });
  catalog[Symbol.dispose]();
}
type Creates = (remember: Remember) => Promise<JsonObject>;

const attempt = (changes: object = {}) => ({
  caller: CALLER,
  operation: 'CreateCluster',
  invocationId: ID,
  body: Buffer.from('{}'),
  ...changes,
});

describe('a create that is sent again', () => {
  it('gets the first answer, also at the same time and after a restart', async () => {
    await withOnce(async ({ once, again, create }) => {
      const answers = await Promise.all([once.run(attempt(), create), once.run(attempt(), create)]);
      assert.deepEqual(answers, [{ Made: 1 }, { Made: 1 }]);
      assert.deepEqual(await again().run(attempt(), create), { Made: 1 });
    });
  });

  const OTHERS = {
    'no id': { invocationId: undefined },
    'an id that no SDK makes': { invocationId: 'x' },
    'another id': { invocationId: ID.replace('2f', '3f') },
    'another body': { body: Buffer.from('{ }') },
    'another operation': { operation: 'CreateHsm' },
    'another principal': { caller: { ...CALLER, principal: 'arn:aws:iam::0:user/b' } },
    'another account': { caller: { ...CALLER, account: '000087654321' } },
    'another region': { caller: { ...CALLER, region: 'eu-west-1' } },
  };
  for (const [name, changes] of Object.entries(OTHERS)) {
    it(`is a new wish with ${name}`, async () => {
      await withOnce(async ({ once, create }) => {
        await once.run(attempt(), create);
        assert.deepEqual(await once.run(attempt(changes), create), { Made: 2 });
      });
    });
  }

  it('is two wishes without an id, however equal', async () => {
    await withOnce(async ({ once, create }) => {
      const bare = attempt({ invocationId: undefined });
      const answers = await Promise.all([once.run(bare, create), once.run(bare, create)]);
      assert.deepEqual(answers, [{ Made: 1 }, { Made: 2 }]);
    });
  });

  it('is a new wish after some minutes', async () => {
    await withOnce(async ({ once, clock, create }) => {
      await once.run(attempt(), create);
      clock.at += REMEMBERED_MS;
      assert.deepEqual(await once.run(attempt(), create), { Made: 1 });
      clock.at += 1;
      assert.deepEqual(await once.run(attempt(), create), { Made: 2 });
    });
  });

  it('is tried again when the first try failed before it made anything', async () => {
    await withOnce(async ({ once, create }) => {
      const fails = async (): Promise<never> => {
        throw new Error('the disk is full');
      };
      await assert.rejects(once.run(attempt(), fails));
      assert.deepEqual(await once.run(attempt(), create), { Made: 1 });
    });
  });
});

describe('throttling', () => {
  it('answers as documented, lets nothing through, and ends by itself', async () => {
    const clock = new HandClock();
    await using api = await stand({ clock, rates: { readsPerSecond: 1, writesPerSecond: 1 } });
    const describeOnce = () => call(api, 'DescribeClusters', {}, { clock });
    for (let i = 0; i < 4; i += 1) assert.equal((await describeOnce()).status, 200);
    const reply = await describeOnce();
    assert.equal(reply.status, 400);
    assert.equal(reply.json['__type'], 'ThrottlingException');
    assert.equal(reply.headers['x-amzn-errortype'], 'ThrottlingException');
    assert.equal(api.calls.length, 4);
    // Changing calls have their own measure.
    const deletion = { ClusterId: 'cluster-keyark2ab3cd4ef5' };
    assert.equal((await call(api, 'DeleteCluster', deletion, { clock })).status, 200);
    clock.at += 1_000;
    assert.equal((await describeOnce()).status, 200);
    assert.equal((await describeOnce()).status, 400);
  });

  it('gives nothing for a clock that goes backwards, and forgets nothing', () => {
    const clock = new HandClock();
    const throttle = new Throttle({ readsPerSecond: 1, writesPerSecond: 1 }, clock);
    for (let i = 0; i < 4; i += 1) throttle.take(CALLER, 'read');
    clock.at -= 3_600_000;
    assert.throws(() => throttle.take(CALLER, 'read'), /more than 1 reading calls a second/);
    clock.at += 1_000;
    throttle.take(CALLER, 'read');
    assert.throws(() => throttle.take(CALLER, 'read'));
  });

  it('keeps accounts and regions apart', () => {
    const throttle = new Throttle({ readsPerSecond: 1, writesPerSecond: 1 }, new HandClock());
    for (let i = 0; i < 4; i += 1) throttle.take(CALLER, 'write');
    assert.throws(() => throttle.take(CALLER, 'write'));
    throttle.take({ ...CALLER, account: '000087654321' }, 'write');
    throttle.take({ ...CALLER, region: 'eu-west-1' }, 'write');
  });
});
