/** What every vault promises, whatever it is made of. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { DAY_MS } from '../../src/kernel/clock.ts';
import type { EpochMs } from '../../src/kernel/types.ts';
import { objectName } from '../../src/vault/names.ts';
import type { ObjectName, Stored, Vault } from '../../src/vault/vault.ts';
import { FakeClock } from '../support/fake-clock.ts';

export interface VaultUnderTest extends AsyncDisposable {
  readonly vault: Vault;
  /** What the vault asks for the time. */
  readonly clock: FakeClock;
  /** A new vault over what this one stored, as after a restart. */
  reopen(): Promise<Vault>;
  /** Flips one bit of the stored object, `at` bytes from its start; past its end, somewhere behind it. */
  flipBit(name: ObjectName, at: number): Promise<void>;
  /** Shortens or loses stored bytes, as a bad disk might. */
  cutShort(name: ObjectName): Promise<void>;
}

const BODY = objectName('backup-keyark2ab3cd4ef5', 'body');
const SEAL = objectName('backup-keyark2ab3cd4ef5', 'seal-1');
const OTHER = objectName('backup-keyarkzzzzzzzzzz', 'body');

export function vaultLaws(name: string, make: (clock: FakeClock) => Promise<VaultUnderTest>): void {
  describe(`${name} keeps the vault's laws`, () => {
    let world: VaultUnderTest;
    let vault: Vault;
    beforeEach(async () => {
      world = await make(new FakeClock());
      vault = world.vault;
    });
    afterEach(async () => {
      await world[Symbol.asyncDispose]();
    });

    it('gives back what was put, in any pieces, also after it was opened again', async () => {
      let n = 0;
      await fc.assert(
        fc.asyncProperty(pieces, async (parts) => {
          const each = objectName('backup-1', `part-${n++}`);
          const bytes = new Uint8Array(Buffer.concat(parts));
          const stored = await vault.put(each, from(...parts));
          assert.deepEqual(
            { name: stored.name, sizeBytes: stored.sizeBytes, sha256: stored.sha256 },
            { name: each, sizeBytes: bytes.length, sha256: sha256(bytes) },
          );
          assert.deepEqual(await vault.stat(each), stored);
          assert.deepEqual(await read(await world.reopen(), each), bytes);
        }),
        { numRuns: 20 },
      );
    });

    it('never overwrites, and reads the old bytes after a refused put', async () => {
      await vault.put(BODY, from(text('first')));
      await assert.rejects(vault.put(BODY, from(text('second'))), { code: 'Conflict' });
      assert.deepEqual(await read(vault, BODY), text('first'));
    });

    it('lets exactly one of two racers win, and keeps the winner whole', async () => {
      for (let round = 0; round < 10; round += 1) {
        const each = objectName('backup-1', `part-${round}`);
        const bodies = [text('one'), text('two'), text('three')];
        const outcomes = await Promise.allSettled(
          bodies.map((body) => vault.put(each, slowly(body))),
        );
        const winners = outcomes.flatMap(({ status }, i) => (status === 'fulfilled' ? [i] : []));
        assert.equal(winners.length, 1);
        for (const outcome of outcomes) {
          if (outcome.status === 'rejected') assert.equal(outcome.reason.code, 'Conflict');
        }
        assert.deepEqual(await read(vault, each), bodies[winners[0] ?? 0]);
      }
    });

    it('leaves nothing under its name when the body fails half-way, and can try again', async () => {
      const boom = new Error('boom');
      async function* failing(): AsyncIterable<Uint8Array> {
        yield new Uint8Array(100_000);
        throw boom;
      }
      await assert.rejects(vault.put(BODY, failing()), boom);
      assert.equal(await vault.stat(BODY), undefined);
      await assert.rejects(read(vault, BODY), { code: 'VAULT_LOST' });
      await vault.put(BODY, from(text('whole')));
      assert.deepEqual(await names(vault, ''), [BODY]);
    });

    it('throws before the end when a stored bit flipped, wherever it is', async () => {
      const bytes = new Uint8Array(150_000).fill(7);
      for (const at of [0, 1, 65_536, 149_999]) {
        await vault.remove(BODY);
        await vault.put(BODY, from(bytes));
        await world.flipBit(BODY, at);
        await assert.rejects(read(vault, BODY), { code: 'VAULT_READ' }, `bit in byte ${at}`);
      }
    });

    it('throws before the end when stored bytes are missing', async () => {
      await vault.put(BODY, from(new Uint8Array(150_000)));
      await world.cutShort(BODY);
      await assert.rejects(read(vault, BODY), { code: 'VAULT_READ' });
    });

    it('lists in order of name, all or one backup', async () => {
      const unsorted = ['a/x', 'a-b/x', 'a.b/x', 'a0/x', 'a/w', 'A/x', 'a-b/.hidden'];
      for (const each of unsorted) {
        const [folder = '', part = ''] = each.split('/');
        await vault.put(objectName(folder, part), from(text(each)));
      }
      assert.deepEqual(await names(vault, ''), [...unsorted].sort());
      assert.deepEqual(await names(vault, 'a'), ['a/w', 'a/x']);
      assert.deepEqual(await names(vault, 'nobody'), []);
    });

    it('removes for good, and removing twice is fine', async () => {
      await vault.put(BODY, from(text('x')));
      await vault.put(SEAL, from(text('y')));
      await vault.put(OTHER, from(text('z')));
      await vault.remove(BODY);
      await vault.remove(BODY);
      await vault.remove(objectName('never', 'stored'));
      vault = await world.reopen();
      assert.equal(await vault.stat(BODY), undefined);
      assert.deepEqual(await names(vault, ''), [SEAL, OTHER]);
      await vault.remove(SEAL);
      assert.deepEqual(await names(vault, ''), [OTHER]);
      await vault.put(BODY, from(text('again')));
      assert.deepEqual(await read(vault, BODY), text('again'));
    });

    it('keeps puts and removals of one backup apart when they race', async () => {
      for (let round = 0; round < 10; round += 1) {
        await vault.put(BODY, from(text('old')));
        await Promise.all([vault.remove(BODY), vault.put(SEAL, from(text('new')))]);
        assert.deepEqual(await names(vault, ''), [SEAL]);
        await vault.remove(SEAL);
      }
    });

    it('removes nothing that is held, also after it was opened again, until the date has come', async () => {
      await vault.put(BODY, from(text('x')));
      await vault.put(SEAL, from(text('y')));
      const until = later(world.clock, DAY_MS);
      await vault.hold(BODY, { until });
      for (const wait of [0, DAY_MS - 1]) {
        world.clock.advance(wait);
        vault = await world.reopen();
        assert.deepEqual(await vault.heldBy(BODY), { until, isLegal: false });
        await assert.rejects(vault.remove(BODY), { code: 'WrongState', message: /\[HELD\]/ });
        assert.deepEqual(await read(vault, BODY), text('x'));
      }
      assert.equal(await vault.heldBy(SEAL), undefined);
      await vault.remove(SEAL);
      world.clock.advance(1);
      assert.equal(await vault.heldBy(BODY), undefined);
      await vault.remove(BODY);
      assert.deepEqual(await names(vault, ''), []);
    });

    it('keeps the later of two dates, in whatever order they come', async () => {
      await vault.put(BODY, from(text('x')));
      const [near, far] = [later(world.clock, DAY_MS), later(world.clock, 2 * DAY_MS)];
      for (const until of [near, far, near]) await vault.hold(BODY, { until });
      assert.deepEqual(await vault.heldBy(BODY), { until: far, isLegal: false });
      world.clock.advance(DAY_MS);
      await assert.rejects(vault.remove(BODY), { code: 'WrongState' });
    });

    it('keeps a legal hold until it is lifted, and lifting leaves a date alone', async () => {
      await vault.put(BODY, from(text('x')));
      const until = later(world.clock, DAY_MS);
      await vault.hold(BODY, 'legal');
      await vault.hold(BODY, { until });
      await vault.hold(BODY, 'legal');
      world.clock.advance(365 * DAY_MS);
      vault = await world.reopen();
      assert.deepEqual(await vault.heldBy(BODY), { isLegal: true });
      await assert.rejects(vault.remove(BODY), { code: 'WrongState' });
      await vault.hold(BODY, { until: later(world.clock, DAY_MS) });
      await vault.lift(BODY);
      await vault.lift(BODY);
      await assert.rejects(vault.remove(BODY), { code: 'WrongState' });
      world.clock.advance(DAY_MS);
      await vault.remove(BODY);
    });

    it('forgets holds with their object: a new one of that name is free', async () => {
      await vault.put(BODY, from(text('x')));
      await vault.hold(BODY, { until: later(world.clock, DAY_MS) });
      world.clock.advance(DAY_MS);
      await vault.remove(BODY);
      await vault.put(BODY, from(text('y')));
      world.clock.advance(-DAY_MS);
      assert.equal(await vault.heldBy(BODY), undefined);
    });

    it('holds nothing that is not there, and lifting nothing is fine', async () => {
      await assert.rejects(vault.hold(BODY, 'legal'), { code: 'VAULT_LOST' });
      await vault.lift(BODY);
      assert.equal(await vault.heldBy(BODY), undefined);
      await vault.put(BODY, from(text('x')));
      await vault.remove(BODY);
    });

    it('says that it lost what is not there', async () => {
      await assert.rejects(read(vault, BODY), { name: 'Failed', code: 'VAULT_LOST' });
      assert.equal(await vault.stat(BODY), undefined);
    });

    it('recovers to exactly what was stored', async () => {
      await vault.put(BODY, from(text('x')));
      vault = await world.reopen();
      assert.deepEqual(await vault.recover(), { removed: 0 });
      assert.deepEqual(await names(vault, ''), [BODY]);
      assert.deepEqual(await read(vault, BODY), text('x'));
    });
  });
}

// A time plus a duration is a time.
const later = (clock: FakeClock, ms: number): EpochMs => (clock.now() + ms) as EpochMs;

export const text = (value: string): Uint8Array => new TextEncoder().encode(value);

export async function* from(...parts: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* parts;
}

/** Lets everybody else run between the bytes. */
async function* slowly(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  for (const byte of bytes) {
    await new Promise((resolve) => setImmediate(resolve));
    yield Uint8Array.of(byte);
  }
}

export async function read(vault: Vault, name: ObjectName): Promise<Uint8Array> {
  return new Uint8Array(Buffer.concat(await Array.fromAsync(vault.get(name))));
}

export async function names(vault: Vault, prefix: string): Promise<readonly string[]> {
  return (await Array.fromAsync(vault.list(prefix))).map((stored: Stored) => stored.name);
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const pieces = fc.oneof(
  fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 5 }),
  fc
    .array(fc.integer({ min: 0, max: 100_000 }), { maxLength: 4 })
    .map((lengths) => lengths.map((length, i) => new Uint8Array(length).fill(i))),
);
