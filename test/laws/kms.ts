/** What every key service promises, whatever it is made of. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Failed } from '../../src/kernel/errors.ts';
import type { EncryptionContext, Kms, WrappedDataKey } from '../../src/kms/kms.ts';

export interface KmsUnderTest extends AsyncDisposable {
  readonly kms: Kms;
  /** The same keys, as after a restart. */
  reopen(): Promise<Kms>;
}

const CONTEXT: EncryptionContext = {
  backupId: 'backup-keyark2ab3cd4ef5',
  clusterId: 'cluster-keyark2ab3cd4ef5',
  region: 'us-east-1',
  account: '000000000000',
};

export function kmsLaws(name: string, make: () => Promise<KmsUnderTest>): void {
  describe(`${name} keeps the key service's laws`, () => {
    let world: KmsUnderTest;
    let kms: Kms;
    beforeEach(async () => {
      world = await make();
      kms = world.kms;
    });
    afterEach(async () => {
      await world[Symbol.asyncDispose]();
    });

    it('unwraps what it wrapped, also after a restart', async () => {
      const { key, wrapped } = await kms.generateDataKey(CONTEXT);
      assert.equal(key.length, 32);
      assert.equal(wrapped.kmsKeyId, await kms.currentKeyId());
      const again = await world.reopen();
      assert.deepEqual((await again.unwrapDataKey(wrapped, CONTEXT)).expose(), key.expose());
      assert.equal(await again.currentKeyId(), wrapped.kmsKeyId);
    });

    it('never makes the same key or the same wrapping twice', async () => {
      const one = await kms.generateDataKey(CONTEXT);
      const two = await kms.generateDataKey(CONTEXT);
      assert.notDeepEqual(one.key.expose(), two.key.expose());
      assert.notDeepEqual(one.wrapped.wrapped, two.wrapped.wrapped);
      assert.ok(!Buffer.from(one.wrapped.wrapped).includes(Buffer.from(one.key.expose())));
    });

    it('keeps working with its keys after callers wiped theirs', async () => {
      const { key, wrapped } = await kms.generateDataKey(CONTEXT);
      const bytes = key.expose().slice();
      key.wipe();
      (await kms.unwrapDataKey(wrapped, CONTEXT)).wipe();
      assert.deepEqual((await kms.unwrapDataKey(wrapped, CONTEXT)).expose(), bytes);
    });

    it('refuses another context, an unknown key and every damaged bit in the same words', async () => {
      const { wrapped } = await kms.generateDataKey(CONTEXT);
      const words = new Set<string>();
      const refuses = async (text: WrappedDataKey, context = CONTEXT): Promise<void> => {
        const cause = await kms.unwrapDataKey(text, context).then(
          () => undefined,
          (thrown: unknown) => thrown,
        );
        assert.ok(cause instanceof Failed && cause.code === 'KMS');
        words.add(cause.message);
      };
      await refuses(wrapped, { ...CONTEXT, backupId: 'backup-keyarkzzzzzzzzzz' });
      await refuses(wrapped, { ...CONTEXT, clusterId: 'cluster-keyarkzzzzzzzzzz' });
      await refuses(wrapped, { ...CONTEXT, region: 'eu-west-1' });
      await refuses(wrapped, { ...CONTEXT, account: '000000000001' });
      await refuses({ ...wrapped, kmsKeyId: 'somebody:else' });
      await refuses({ ...wrapped, kmsKeyId: '__proto__' });
      for (let bit = 0; bit < wrapped.wrapped.length * 8; bit += 1) {
        const damaged = wrapped.wrapped.slice();
        damaged[bit >> 3]! ^= 1 << (bit & 7);
        await refuses({ ...wrapped, wrapped: damaged });
      }
      for (let length = 0; length < wrapped.wrapped.length; length += 1) {
        await refuses({ ...wrapped, wrapped: wrapped.wrapped.subarray(0, length) });
      }
      await refuses({ ...wrapped, wrapped: Buffer.concat([wrapped.wrapped, Buffer.alloc(1)]) });
      assert.equal(words.size, 1);
      await kms.unwrapDataKey(wrapped, CONTEXT);
    });
  });
}
