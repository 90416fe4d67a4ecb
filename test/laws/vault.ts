/** What every vault promises, whatever it is made of. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, it } from 'node:test';
import fc from 'fast-check';
import { objectName } from '../../src/vault/names.ts';
import type { ObjectName, Stored, Vault } from '../../src/vault/vault.ts';

export interface VaultUnderTest extends AsyncDisposable {
  readonly vault: Vault;
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

export function vaultLaws(name: string, make: () => Promise<VaultUnderTest>): void {
  describe(`${name} keeps the vault's laws`, () => {
    let world: VaultUnderTest;
    let vault: Vault;
    beforeEach(async () => {
      world = await make();
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
