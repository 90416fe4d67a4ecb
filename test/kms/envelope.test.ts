import assert from 'node:assert/strict';
import { createCipheriv, createHmac } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Secret } from '../../src/kernel/secret.ts';
import { decryptStream, encryptStream, openSmall, sealSmall } from '../../src/kms/envelope.ts';

const HEADER = 24;
const CHUNK = 65_536;
const SEALED_CHUNK = CHUNK + 16;
const DOES_NOT_OPEN = {
  name: 'Failed',
  code: 'VAULT_READ',
  message: 'the second layer does not open',
};

const key = () => new Secret(new Uint8Array(32).fill(1));
const otherKey = () => new Secret(new Uint8Array(32).fill(2));

async function* from(...parts: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* parts;
}
const all = async (stream: AsyncIterable<Uint8Array>): Promise<Uint8Array> =>
  new Uint8Array(Buffer.concat(await Array.fromAsync(stream)));
const encrypted = (body: Uint8Array) => all(encryptStream(key(), from(body)));
const decrypted = (sealed: Uint8Array, by = key()) => all(decryptStream(by, from(sealed)));
const patterned = (length: number) => new Uint8Array(length).map((_, i) => (i * 31) >> 4);

describe('the second layer of a body', () => {
  it('opens to what went in, whatever the pieces on either side', async () => {
    const sizes = fc.oneof(
      fc.integer({ min: 0, max: 100 }),
      fc.constantFrom(CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 1),
    );
    const cuts = fc.array(fc.integer({ min: 0, max: 3 * SEALED_CHUNK }), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(sizes, cuts, cuts, async (size, cutsIn, cutsOut) => {
        const body = patterned(size);
        const sealed = await all(encryptStream(key(), from(...cutAt(body, cutsIn))));
        const chunks = Math.max(1, Math.ceil(size / CHUNK));
        assert.equal(sealed.length, HEADER + size + 16 * chunks);
        const opened = await all(decryptStream(key(), from(...cutAt(sealed, cutsOut))));
        assert.deepEqual(opened, body);
      }),
      { numRuns: 60 },
    );
  });

  it('never encrypts the same way twice', async () => {
    const body = patterned(100);
    assert.notDeepEqual(await encrypted(body), await encrypted(body));
  });

  it('refuses every flipped bit, in header, chunks and tags', async () => {
    const sealed = await encrypted(patterned(40));
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const damaged = sealed.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      await assert.rejects(decrypted(damaged), DOES_NOT_OPEN, `bit ${bit}`);
    }
  });

  it('refuses every truncation of a short stream, and cuts at and around chunks of a long one', async () => {
    const short = await encrypted(patterned(40));
    for (let length = 0; length < short.length; length += 1) {
      await assert.rejects(decrypted(short.subarray(0, length)), DOES_NOT_OPEN, `cut to ${length}`);
    }
    for (const size of [2 * CHUNK, 2 * CHUNK + 5]) {
      const long = await encrypted(patterned(size));
      for (const chunks of [0, 1, 2]) {
        for (const around of [-1, 0, 1]) {
          const length = HEADER + chunks * SEALED_CHUNK + around;
          if (length >= long.length) continue;
          await assert.rejects(decrypted(long.subarray(0, length)), DOES_NOT_OPEN, `${length}`);
        }
      }
    }
  });

  it('refuses chunks that were re-ordered, repeated, left out, added or taken from elsewhere', async () => {
    const sealed = await encrypted(patterned(3 * CHUNK));
    const foreign = await encrypted(patterned(3 * CHUNK));
    const header = sealed.subarray(0, HEADER);
    const chunk = (n: number, stream = sealed) =>
      stream.subarray(HEADER + n * SEALED_CHUNK, HEADER + (n + 1) * SEALED_CHUNK);
    const splices = [
      [header, chunk(1), chunk(0), chunk(2)],
      [header, chunk(0), chunk(0), chunk(2)],
      [header, chunk(0), chunk(2)],
      [header, chunk(2)],
      [sealed, chunk(2)],
      [sealed, Uint8Array.of(0)],
      [sealed, sealed],
      [header, chunk(0), chunk(1, foreign), chunk(2)],
      [foreign.subarray(0, HEADER), chunk(0), chunk(1), chunk(2)],
    ];
    for (const [n, splice] of splices.entries()) {
      await assert.rejects(decrypted(Buffer.concat(splice)), DOES_NOT_OPEN, `splice ${n}`);
    }
  });

  it('refuses another key', async () => {
    await assert.rejects(decrypted(await encrypted(patterned(5)), otherKey()), DOES_NOT_OPEN);
  });

  it('passes on what its source throws, and stops its source when its reader leaves', async () => {
    const boom = new Error('boom');
    async function* failing(): AsyncIterable<Uint8Array> {
      yield patterned(2 * CHUNK);
      throw boom;
    }
    await assert.rejects(all(encryptStream(key(), failing())), boom);
    await assert.rejects(all(decryptStream(key(), failing())), DOES_NOT_OPEN);
    let isStopped = false;
    async function* endless(): AsyncIterable<Uint8Array> {
      try {
        for (;;) yield patterned(CHUNK);
      } finally {
        isStopped = true;
      }
    }
    for await (const chunk of encryptStream(key(), endless())) if (chunk.length > HEADER) break;
    assert.ok(isStopped);
  });

  it('asks for no more than it can pass on: memory is flat in the size of the body', async () => {
    let asked = 0;
    async function* source(): AsyncIterable<Uint8Array> {
      for (; asked < 1_000; asked += 1) yield patterned(CHUNK);
    }
    let passedOn = 0;
    for await (const chunk of decryptStream(key(), encryptStream(key(), source()))) {
      passedOn += chunk.length / CHUNK;
      assert.ok(asked - passedOn <= 4);
      if (passedOn === 50) break;
    }
  });
});

describe('the second layer of a small record', () => {
  it('opens under its own name and key only', () => {
    const sealed = sealSmall(key(), 'seal-1', patterned(80));
    assert.deepEqual(openSmall(key(), 'seal-1', sealed), patterned(80));
    assert.throws(() => openSmall(key(), 'seal-2', sealed), DOES_NOT_OPEN);
    assert.throws(() => openSmall(otherKey(), 'seal-1', sealed), DOES_NOT_OPEN);
  });

  it('refuses every flipped bit and every other length', () => {
    const sealed = sealSmall(key(), 'seal-1', patterned(10));
    for (let bit = 0; bit < sealed.length * 8; bit += 1) {
      const damaged = sealed.slice();
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      assert.throws(() => openSmall(key(), 'seal-1', damaged), DOES_NOT_OPEN);
    }
    for (let length = 0; length < sealed.length; length += 1) {
      assert.throws(() => openSmall(key(), 'seal-1', sealed.subarray(0, length)), DOES_NOT_OPEN);
    }
  });

  it('never opens as a body, nor a body as a record', async () => {
    await assert.rejects(decrypted(sealSmall(key(), 'seal-1', patterned(10))), DOES_NOT_OPEN);
    const stream = await encrypted(patterned(10));
    assert.throws(() => openSmall(key(), 'seal-1', stream), DOES_NOT_OPEN);
  });
});

describe('docs/formats/second-layer-v1.md', () => {
  it('describes the bytes: a second implementation from its text gives the same', async () => {
    const salt = patterned(16);
    const body = patterned(CHUNK + 3);
    const random = { bytes: () => salt };
    const sealed = await all(encryptStream(key(), from(body), random));
    const header = Buffer.concat([Buffer.from('KYSTRM1\n'), salt]);
    const streamKey = kdf('keyark second layer v1: stream', [header]);
    const expected = Buffer.concat([
      header,
      gcm(streamKey, Buffer.from('000000000000000000000000', 'hex'), body.subarray(0, CHUNK)),
      gcm(streamKey, Buffer.from('000000000000000000000101', 'hex'), body.subarray(CHUNK)),
    ]);
    assert.deepEqual(Buffer.from(sealed), expected);

    const small = Buffer.concat([Buffer.from('KYSMAL1\n'), salt]);
    const smallKey = kdf('keyark second layer v1: small record', [small, Buffer.from('seal-1')]);
    assert.deepEqual(
      Buffer.from(sealSmall(key(), 'seal-1', patterned(9), random)),
      Buffer.concat([small, gcm(smallKey, Buffer.alloc(12), patterned(9))]),
    );
  });

  it('has vectors, and each gets its verdict', async () => {
    const file = new URL('../vectors/second-layer-v1.json', import.meta.url);
    const vectors = JSON.parse(await readFile(file, 'utf8'));
    assert.ok(vectors.cases.length >= 8);
    for (const { what, dataKey, kind, name, sealed, opens } of vectors.cases) {
      const secret = new Secret(new Uint8Array(Buffer.from(dataKey, 'hex')));
      const bytes = new Uint8Array(Buffer.from(sealed, 'hex'));
      const opening = async () =>
        kind === 'stream' ? await decrypted(bytes, secret) : openSmall(secret, name, bytes);
      if (opens === null) await assert.rejects(opening(), DOES_NOT_OPEN, what);
      else assert.equal(Buffer.from(await opening()).toString('hex'), opens, what);
    }
  });
});

/** SP 800-108r1 counter mode for one block of HMAC-SHA-256, written from the document. */
function kdf(label: string, parts: readonly Buffer[]): Buffer {
  const u32 = (n: number) => Buffer.from([n >>> 24, n >>> 16, n >>> 8, n]);
  const context = Buffer.concat(parts.flatMap((part) => [u32(part.length), part]));
  return createHmac('sha256', Buffer.alloc(32, 1))
    .update(Buffer.concat([u32(1), Buffer.from(label), Buffer.of(0), context, u32(256)]))
    .digest();
}

function gcm(by: Buffer, nonce: Buffer, plaintext: Uint8Array): Buffer {
  const cipher = createCipheriv('aes-256-gcm', by, nonce);
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]);
}

function cutAt(bytes: Uint8Array, cuts: readonly number[]): readonly Uint8Array[] {
  const points = [0, ...[...cuts].sort((a, b) => a - b), bytes.length];
  return points.slice(1).map((end, i) => bytes.slice(points[i], end));
}
