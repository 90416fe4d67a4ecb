import assert from 'node:assert/strict';
import { appendFile, readdir, readFile, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { lookupTrail, type TrailQuery } from '../../src/audit/lookup.ts';
import { verifyTrail } from '../../src/audit/verify.ts';
import { Refused } from '../../src/kernel/errors.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { FailingDisk, HOME, Rig } from './rig.ts';

const EVERYTHING: TrailQuery = { scope: undefined, withStarted: true };

/** Oldest first. */
async function records(rig: Rig, query: TrailQuery = EVERYTHING): Promise<readonly JsonObject[]> {
  const { records: found } = await lookupTrail(rig.files, query, { limit: 10_000 });
  return [...found].reverse();
}
const names = async (rig: Rig): Promise<readonly unknown[]> =>
  (await records(rig)).map(({ eventName }) => eventName);
const lastFile = async (rig: Rig): Promise<string> =>
  join(rig.folder, (await readdir(rig.folder)).sort().at(-1) ?? '');

describe('Trail', () => {
  it('has a changing call on the disk before it begins and again before it is answered', async () => {
    await using rig = await Rig.make();
    const trail = await rig.open();
    await trail.begin(rig.call());
    assert.deepEqual(rig.kept?.sequence, 1);
    await trail.end(rig.call(), {});
    assert.deepEqual(rig.kept?.sequence, 2);
    const phases = (await records(rig)).map(({ additionalEventData }) => additionalEventData);
    assert.deepEqual(phases, [{ phase: 'started' }, { phase: 'ended' }]);
  });

  it('goes on where it was after a restart', async () => {
    await using rig = await Rig.make();
    for (let i = 0; i < 3; i += 1) {
      const trail = await rig.open();
      trail.act({ name: 'ClusterState', details: { i } });
      await trail.close();
    }
    assert.equal((await readdir(rig.folder)).length, 1);
    assert.deepEqual((await verifyTrail(rig.files, rig.kept)).problems, []);
  });

  it('cuts a torn last line off, at whatever byte it was torn, and says so', async () => {
    await using rig = await Rig.make();
    const first = await rig.open();
    first.act({ name: 'BackupProven', details: { keys: 1 } });
    await first.close();
    const whole = (await readFile(await lastFile(rig))).length;
    const kept = rig.kept;
    const before = await rig.open();
    before.act({ name: 'BackupFailed', details: {} });
    const all = await readFile(await lastFile(rig));
    for (let size = whole + 1; size < all.length; size += 13) {
      await truncate(await lastFile(rig), whole);
      await appendFile(await lastFile(rig), all.subarray(whole, size));
      rig.kept = kept;
      const trail = await rig.open();
      await trail.close();
      assert.deepEqual(await names(rig), ['BackupProven', 'TrailMended'], `${size} bytes`);
      assert.deepEqual((await verifyTrail(rig.files, rig.kept)).problems, []);
      await truncate(await lastFile(rig), whole);
    }
  });

  it('notices at its start that its end was cut off, and verification finds it ever after', async () => {
    await using rig = await Rig.make();
    const first = await rig.open();
    for (let i = 0; i < 4; i += 1) first.act({ name: 'BackupProven', details: { i } });
    await first.close();
    const file = await lastFile(rig);
    const lines = (await readFile(file, 'utf8')).split('\n');
    await truncate(file, Buffer.byteLength(`${lines.slice(0, 2).join('\n')}\n`));
    await (await rig.open()).close();
    assert.deepEqual(await names(rig), ['BackupProven', 'BackupProven', 'TrailRecordsMissing']);
    const { problems, notices } = await verifyTrail(rig.files, rig.kept);
    assert.match(problems.join(), /record 5 follows record 2/);
    assert.match(notices.join(), /"expectedSequence":4,"foundSequence":2/);
  });

  it('does not build on a last line that does not hold', async () => {
    await using rig = await Rig.make();
    const first = await rig.open();
    first.act({ name: 'BackupProven', details: { keys: 1 } });
    await first.close();
    const file = await lastFile(rig);
    const text = await readFile(file, 'utf8');
    await truncate(file, 0);
    await appendFile(file, text.replace('"keys":1', '"keys":9'));
    await (await rig.open()).close();
    assert.equal((await readdir(rig.folder)).length, 2);
    assert.deepEqual(await names(rig), ['TrailDamaged']);
    assert.match((await verifyTrail(rig.files, rig.kept)).problems.join(), /does not fit its hash/);
  });

  it('tells of calls that were begun and never answered, once', async () => {
    await using rig = await Rig.make();
    const first = await rig.open();
    await first.begin(rig.call({ requestId: 'answered' }));
    await first.end(rig.call({ requestId: 'answered' }), {});
    await first.begin(rig.call({ requestId: 'cut off', name: 'CreateCluster' }));
    for (let i = 0; i < 2; i += 1) await (await rig.open()).close();
    const told = (await names(rig)).filter((name) => /Unended/.test(String(name)));
    assert.deepEqual(told, ['CreateClusterUnended']);
  });

  it('begins a new file when one is full, and removes old ones, telling before it does', async () => {
    await using rig = await Rig.make();
    rig.settings = { fileBytes: 2_000, keepMs: 86_400_000 };
    const trail = await rig.open();
    for (let i = 0; i < 8; i += 1) trail.act({ name: 'BackupProven', details: { i } });
    const many = (await readdir(rig.folder)).length;
    await trail.removeOld();
    assert.equal((await readdir(rig.folder)).length, many, 'nothing is old yet');
    rig.clock.advance(2 * 86_400_000);
    trail.act({ name: 'ClusterState', details: {} });
    rig.isClockTrusted = false;
    await trail.removeOld();
    assert.ok((await readdir(rig.folder)).length >= many, 'by a clock that stepped nothing is old');
    rig.isClockTrusted = true;
    await trail.removeOld();
    assert.ok((await readdir(rig.folder)).length <= 3);
    assert.ok((await names(rig)).includes('TrailFilesRemoved'));
    assert.deepEqual((await verifyTrail(rig.files, rig.kept)).problems, []);
    await trail.close();
  });

  it('holds after a loss of power at any step', async () => {
    for (const leaves of [0, 30]) {
      for (let passes = 0; ; passes += 1) {
        await using rig = await Rig.make();
        rig.settings = { fileBytes: 2_000, keepMs: 1 };
        const disk = new FailingDisk(rig.files);
        Object.assign(disk, { passes, leaves, isForGood: true });
        let answered = 0;
        let begun = 0;
        try {
          const trail = await rig.open(disk);
          for (let i = 0; i < 3; i += 1) {
            await trail.begin(rig.call({ requestId: `r${i}` }));
            begun += 1;
            await trail.end(rig.call({ requestId: `r${i}` }), {});
            if (trail.state().problem === undefined) answered += 1;
            rig.clock.advance(10_000);
            await trail.removeOld();
          }
        } catch {
          // The power is gone.
        }
        const wasEnough = disk.passes !== undefined && disk.passes > 0;
        const again = await rig.open();
        await again.close();
        const { problems, head } = await verifyTrail(rig.files, rig.kept);
        assert.deepEqual(problems, [], `${passes} steps, ${leaves} bytes left`);
        // What was begun was on the disk; what was answered as recorded, twice.
        assert.ok(head.sequence >= begun + answered, `${passes} steps, ${leaves} bytes left`);
        if (wasEnough) break;
      }
    }
  });
});

describe('a full disk', () => {
  it('lets nothing begin that changes anything, keeps the rest, and writes it down when there is room', async () => {
    await using rig = await Rig.make();
    const disk = new FailingDisk(rig.files);
    const trail = await rig.open(disk);
    trail.act({ name: 'ClusterState', details: {} });
    Object.assign(disk, { passes: 0, leaves: 10, isForGood: true });
    await assert.rejects(
      trail.begin(rig.call()),
      (cause) =>
        cause instanceof Refused &&
        cause.code === 'TrailUnavailable' &&
        /no space left on device.*this request was not started/.test(cause.message),
    );
    trail.note(rig.call({ isReadOnly: true, name: 'DescribeBackups' }), {});
    trail.act({ name: 'BackupProven', details: {} });
    assert.match(trail.state().problem ?? '', /ENOSPC|EIO/);
    assert.equal(trail.state().waiting, 2);
    for (let i = 0; i < 1_003; i += 1) trail.act({ name: 'BackupProven', details: { i } });
    assert.deepEqual([trail.state().waiting, trail.state().missed], [1_000, 5]);

    disk.passes = undefined;
    await trail.begin(rig.call());
    assert.deepEqual([trail.state().problem, trail.state().waiting], [undefined, 0]);
    const found = await names(rig);
    assert.deepEqual(found.slice(0, 3), ['ClusterState', 'DescribeBackups', 'BackupProven']);
    assert.deepEqual(found.slice(-2), ['TrailRecordsNotKept', 'DeleteBackup']);
    assert.deepEqual((await verifyTrail(rig.files, rig.kept)).problems, []);
  });

  it('takes nothing more after a sync that failed: nobody knows what is on the disk', async () => {
    await using rig = await Rig.make();
    const disk = new FailingDisk(rig.files);
    const trail = await rig.open(disk);
    trail.act({ name: 'ClusterState', details: {} });
    disk.passes = 1;
    await assert.rejects(trail.begin(rig.call()), /EIO/);
    await assert.rejects(trail.begin(rig.call()), Refused);
    const again = await rig.open();
    await again.begin(rig.call());
    assert.deepEqual((await verifyTrail(rig.files, rig.kept)).problems, []);
  });
});

describe('requests that nobody signed rightly', () => {
  it('are recorded one by one up to a bound, and counted beyond it', async () => {
    await using rig = await Rig.make();
    const trail = await rig.open();
    const unknown = rig.call({ actor: { kind: 'unknown', keyId: 'AKIAIOSFODNN7EXAMPLE' } });
    const outcome = { error: { code: 'UnrecognizedClientException', message: 'no' } };
    for (let i = 0; i < 25; i += 1) trail.noteUnaccepted(unknown, outcome);
    assert.equal((await names(rig)).length, 10);
    rig.clock.advance(61_000);
    trail.noteUnaccepted(unknown, outcome);
    const counted = (await records(rig)).find((r) => r['eventName'] === 'UnacceptedCallsCounted');
    const details = counted?.['serviceEventDetails'];
    assert.ok(typeof details === 'object' && details !== null && 'counts' in details);
    assert.deepEqual(details.counts, { unrecognizedClientException: 15 });
    assert.equal((await names(rig)).length, 12);
  });
});

describe('lookupTrail()', () => {
  it('pages through everything, newest first, each record once', async () => {
    await using rig = await Rig.make();
    rig.settings = { ...rig.settings, fileBytes: 5_000 };
    const trail = await rig.open();
    for (let i = 0; i < 60; i += 1) trail.act({ name: 'BackupProven', details: { i } });
    const found: unknown[] = [];
    let nextToken: string | undefined;
    do {
      const page = await lookupTrail(rig.files, EVERYTHING, {
        limit: 7,
        ...(nextToken === undefined ? {} : { nextToken }),
      });
      found.push(...page.records.map(({ serviceEventDetails }) => serviceEventDetails));
      nextToken = page.nextToken;
      if (nextToken !== undefined) assert.ok(nextToken.length <= 256);
    } while (nextToken !== undefined);
    assert.deepEqual(
      found,
      Array.from({ length: 60 }, (_, i) => ({ i: 59 - i })),
    );
  });

  it('shows an account its own records in its own region only', async () => {
    await using rig = await Rig.make();
    const trail = await rig.open();
    const other = { account: '000000000002', region: 'us-east-1' };
    const elsewhere = { ...HOME, region: 'eu-west-1' };
    for (const scope of [HOME, other, elsewhere]) trail.act({ name: 'X', details: {}, ...scope });
    for (const scope of [HOME, other, elsewhere]) {
      const [one, ...more] = await records(rig, { scope, withStarted: false });
      assert.deepEqual(
        [one?.['recipientAccountId'], one?.['awsRegion'], more],
        [scope.account, scope.region, []],
      );
    }
  });

  it('refuses tokens that it did not make', async () => {
    await using rig = await Rig.make();
    await rig.open();
    for (const nextToken of [
      'x',
      '..',
      Buffer.from('1.x').toString('base64url'),
      'a'.repeat(300),
    ]) {
      await assert.rejects(lookupTrail(rig.files, EVERYTHING, { limit: 1, nextToken }), Refused);
    }
  });
});
