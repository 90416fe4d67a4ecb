import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Backup } from '../../src/backups/backup.ts';
import type { EpochMs, JsonObject } from '../../src/kernel/types.ts';
import { BACKUP, call, type Stand, stand } from './stand.ts';

const ID = { BackupId: BACKUP.id };
// A plain number of milliseconds is what EpochMs brands.
const at = (ms: number): EpochMs => ms as EpochMs;

async function own(on: Stand, name: string, params: JsonObject) {
  const { status, json } = await call(on, `KeyarkService.${name}`, params);
  return { status, body: json };
}

describe('SetHold', () => {
  const WRONG: readonly [string, JsonObject][] = [
    ['neither a date nor Legal', {}],
    ['both', { Until: 2_000_000_000, Legal: true }],
    ['a date and Legal false only', { Legal: false }],
    ['no reason', { Legal: true, Why: null }],
    ['an empty reason', { Legal: true, Why: '' }],
    ['a reason with a line end', { Legal: true, Why: 'a\nb' }],
    ['a date as text', { Until: '2027-01-31' }],
    ['half a second', { Until: 2_000_000_000.5 }],
    ['an unknown member', { Legal: true, Forever: true }],
    ['an id of something else', { Legal: true, BackupId: 'cluster-keyark2ab3cd4ef5' }],
  ];
  for (const [what, params] of WRONG) {
    it(`refuses ${what}, and nothing is held`, async () => {
      await using on = await stand();
      const { status, body } = await own(on, 'SetHold', { ...ID, Why: 'audit', ...params });
      assert.equal(status, 400);
      assert.equal(body['__type'], 'CloudHsmInvalidRequestException');
      assert.deepEqual(on.calls, []);
    });
  }

  it('hands over a date in milliseconds, or a legal hold, with the reason', async () => {
    await using on = await stand();
    await own(on, 'SetHold', { ...ID, Until: 2_000_000_000, Why: 'audit' });
    await own(on, 'SetHold', { ...ID, Legal: true, Why: 'case 7' });
    assert.deepEqual(
      on.calls.map(({ args }) => args.slice(1)),
      [
        [BACKUP.id, { kind: 'compliance', until: 2_000_000_000_000 }, 'audit'],
        [BACKUP.id, { kind: 'legal' }, 'case 7'],
      ],
    );
  });
});

describe('GetDeletionRecord', () => {
  const { state: _state, ...facts } = BACKUP;
  const deleted: Backup = {
    ...facts,
    state: 'DELETED',
    deletedAt: at(3_000),
    why: 'purged',
    record: {
      profile: 'aws-exact',
      parts: [{ name: 'body', removedAt: at(1_000), absentAt: at(2_500) }],
    },
  };
  const showing = (items: readonly Backup[]) => stand({ backups: { describe: () => ({ items }) } });

  it('shows what was removed and when it was found absent, in seconds', async () => {
    await using on = await showing([deleted]);
    const { body } = await own(on, 'GetDeletionRecord', ID);
    assert.deepEqual(body, {
      BackupId: BACKUP.id,
      ClusterId: BACKUP.clusterId,
      Profile: 'aws-exact',
      AnsweredBy: { Profile: 'own' },
      DeletedAt: 3,
      Why: 'purged',
      Parts: [{ Name: 'body', RemovedAt: 1, AbsentAt: 2.5 }],
    });
  });

  it('names no profile for a record from before profiles were kept in them', async () => {
    const { profile: _none, ...record } = deleted.record ?? assert.fail();
    await using on = await showing([{ ...deleted, record }]);
    const { body } = await own(on, 'GetDeletionRecord', ID);
    assert.equal(body['Profile'], undefined);
    assert.deepEqual(body['AnsweredBy'], { Profile: 'own' });
  });

  it('claims nothing for a backup that is not DELETED, and knows no other', async () => {
    await using on = await showing([BACKUP]);
    const { status, body } = await own(on, 'GetDeletionRecord', ID);
    assert.equal(status, 400);
    assert.match(String(body['Message']), /CREATE_IN_PROGRESS/);
    await using empty = await showing([]);
    const { body: missing } = await own(empty, 'GetDeletionRecord', ID);
    assert.equal(missing['__type'], 'CloudHsmResourceNotFoundException');
  });
});

describe('AdvanceClock', () => {
  it('takes whole seconds, forward only, at most ten years', async () => {
    await using on = await stand();
    for (const seconds of [0, -1, 1.5, '8d', 3_652 * 86_400 + 1]) {
      const { status } = await own(on, 'AdvanceClock', { Seconds: seconds });
      assert.equal(status, 400, String(seconds));
    }
  });
});
