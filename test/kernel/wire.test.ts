import assert from 'node:assert/strict';
import { type Duplex, duplexPair } from 'node:stream';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Failed, Refused } from '../../src/kernel/errors.ts';
import type { JsonObject } from '../../src/kernel/types.ts';
import { CHUNK_BYTES, type WireHandler, type WireLimits, WirePeer } from '../../src/kernel/wire.ts';

const CREDIT_WINDOW_BYTES = 16 * CHUNK_BYTES;

function connected(
  handlers: Record<string, WireHandler>,
  options: { onEvent?: (name: string, params: JsonObject) => void; limits?: WireLimits } = {},
): { client: WirePeer; server: WirePeer; clientEnd: Duplex; serverEnd: Duplex } {
  const [clientEnd, serverEnd] = duplexPair();
  const client = new WirePeer(clientEnd, new Map(), options.onEvent);
  const served = new Map(Object.entries(handlers));
  const server = new WirePeer(serverEnd, served, undefined, options.limits);
  return { client, server, clientEnd, serverEnd };
}

/** A peer made by hand, for what ours would never send. */
function rawClient(handlers: Record<string, WireHandler> = {}): { raw: Duplex; server: WirePeer } {
  const [raw, serverEnd] = duplexPair();
  raw.resume();
  raw.on('error', () => {});
  return { raw, server: new WirePeer(serverEnd, new Map(Object.entries(handlers))) };
}

function frame(kind: number, call: number, payload: Uint8Array | string): Buffer {
  const body = Buffer.from(payload);
  const header = Buffer.alloc(9);
  header.writeUInt32BE(5 + body.length, 0);
  header.writeUInt8(kind, 4);
  header.writeUInt32BE(call, 5);
  return Buffer.concat([header, body]);
}

async function collect(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of body) parts.push(part);
  return Buffer.concat(parts);
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

const echo: WireHandler = async ({ params, body }) => ({
  result: { params },
  body,
  trailer: () => ({ done: true }),
});
const never = () => new Promise<never>(() => {});
const silence: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => ({ next: never }) };
const isFailed = (code: string) => (cause: unknown) =>
  cause instanceof Failed && cause.code === code;
const isRefused = (code: string) => (cause: unknown) =>
  cause instanceof Refused && cause.code === code;

describe('a wire call', () => {
  it('brings params there and the result back', async () => {
    const { client } = connected({ add: async ({ params }) => ({ result: { got: params } }) });
    const reply = await client.call('add', { a: 1, text: 'ä' });
    assert.deepEqual(reply.result, { got: { a: 1, text: 'ä' } });
    assert.equal((await collect(reply.body)).length, 0);
    assert.deepEqual(await reply.trailer, {});
  });

  it('streams bodies of any size both ways, then the trailer', async () => {
    const sizes = fc.array(fc.integer({ min: 0, max: 3 * CHUNK_BYTES }), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(sizes, async (lengths) => {
        const { client } = connected({ echo });
        const parts = lengths.map((length, i) => new Uint8Array(length).fill(i + 1));
        const body = (async function* () {
          yield* parts;
        })();
        const reply = await client.call('echo', {}, { body });
        assert.deepEqual(await collect(reply.body), Buffer.concat(parts));
        assert.deepEqual(await reply.trailer, { done: true });
      }),
      { numRuns: 30 },
    );
  });

  it('ends a body while its trailer is still being made, and tells when that fails', async () => {
    const made = [
      Promise.withResolvers<JsonObject>(),
      Promise.withResolvers<JsonObject>(),
    ] as const;
    const { client } = connected({
      slow: async ({ params }) => ({
        result: {},
        body: once(new Uint8Array(3)),
        trailer: () => made[params['i'] === 0 ? 0 : 1].promise,
      }),
    });
    const replies = await Promise.all([0, 1].map((i) => client.call('slow', { i })));
    for (const reply of replies) assert.equal((await collect(reply.body)).length, 3);
    made[0].resolve({ done: true });
    made[1].reject(new Failed('DISK', 'no trailer'));
    assert.deepEqual(await replies[0]?.trailer, { done: true });
    await assert.rejects(async () => await replies[1]?.trailer, isFailed('DISK'));
  });

  it('carries many at once without mixing them up', async () => {
    const { client } = connected({ echo });
    const all = Array.from({ length: 50 }, async (_, i) => {
      const reply = await client.call(
        'echo',
        { i },
        { body: once(new Uint8Array(100_000).fill(i)) },
      );
      assert.deepEqual(reply.result['params'], { i });
      assert.deepEqual(await collect(reply.body), Buffer.alloc(100_000, i));
    });
    await Promise.all(all);
  });

  it('hangs no listeners on its stream, however many wait for room', async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on('warning', onWarning);
    const { client, clientEnd, serverEnd } = connected({ echo });
    const bodies = Array.from({ length: 40 }, () =>
      client.call('echo', {}, { body: once(new Uint8Array(300_000)) }).then((r) => collect(r.body)),
    );
    assert.ok(clientEnd.listenerCount('drain') <= 2 && serverEnd.listenerCount('drain') <= 2);
    await Promise.all(bodies);
    await new Promise(setImmediate);
    process.off('warning', onWarning);
    assert.deepEqual(warnings, []);
  });

  it('works however the bytes are cut', async () => {
    const [near, far] = duplexPair();
    const { raw } = rawClient();
    raw.destroy();
    const client = new WirePeer(near, new Map());
    // Between the two: a relay that forwards byte by byte.
    const [a, b] = duplexPair();
    far.on('data', (data: Buffer) => {
      for (const byte of data) a.write(Buffer.of(byte));
    });
    a.on('data', (data: Buffer) => {
      for (const byte of data) far.write(Buffer.of(byte));
    });
    new WirePeer(b, new Map(Object.entries({ echo })));
    const reply = await client.call('echo', { x: 1 }, { body: once(Buffer.from('in pieces')) });
    assert.equal((await collect(reply.body)).toString(), 'in pieces');
  });

  it('sends a copy: the caller may reuse its buffer at once', async () => {
    const { client } = connected({ echo });
    const buffer = Buffer.alloc(1_000, 1);
    const body = (async function* () {
      yield buffer;
      buffer.fill(2);
      yield buffer;
    })();
    const reply = await client.call('echo', {}, { body });
    assert.deepEqual(
      await collect(reply.body),
      Buffer.concat([Buffer.alloc(1_000, 1), Buffer.alloc(1_000, 2)]),
    );
  });
});

describe('a wire error', () => {
  it('keeps code and words of what was refused or failed', async () => {
    const { client } = connected({
      refuse: () => Promise.reject(new Refused('WrongState', 'not now')),
      fail: () => Promise.reject(new Failed('VAULT_FULL', 'no room')),
    });
    await assert.rejects(client.call('refuse', {}), (cause: unknown) => {
      return cause instanceof Refused && cause.code === 'WrongState' && cause.message === 'not now';
    });
    await assert.rejects(client.call('fail', {}), isFailed('VAULT_FULL'));
  });

  it('tells nothing about any other trouble', async () => {
    const { client } = connected({ broken: () => Promise.reject(new Error('the key is 1234')) });
    await assert.rejects(client.call('broken', {}), (cause: unknown) => {
      return isFailed('HSM_ERROR')(cause) && !String(cause).includes('1234');
    });
  });

  it('refuses a call that does not exist, also one named like a property of objects', async () => {
    const { client } = connected({});
    for (const method of ['nothing', 'constructor', '__proto__']) {
      await assert.rejects(client.call(method, {}), isRefused('InvalidRequest'));
    }
  });

  it('in the middle of a streamed answer reaches the reader and the trailer', async () => {
    const { client } = connected({
      half: async () => ({
        result: {},
        body: (async function* () {
          yield new Uint8Array(10);
          throw new Failed('DISK', 'lost it');
        })(),
      }),
    });
    const reply = await client.call('half', {});
    await assert.rejects(collect(reply.body), isFailed('DISK'));
    await assert.rejects(reply.trailer, isFailed('DISK'));
  });

  it('of the body that is being sent fails the call and tells the other side', async () => {
    const seen = Promise.withResolvers<unknown>();
    const { client } = connected({
      take: async ({ body }) => {
        await collect(body).then(never, seen.resolve);
        return { result: {} };
      },
    });
    const body = (async function* () {
      yield new Uint8Array(10);
      throw new Failed('VAULT_READ', 'no more');
    })();
    await assert.rejects(client.call('take', {}, { body }), isFailed('VAULT_READ'));
    assert.ok(isFailed('CHANNEL')(await seen.promise));
  });

  it('about a message that fits no frame fails that call only', async () => {
    const large = 'x'.repeat(2 * 1024 * 1024);
    const { client } = connected({ large: async () => ({ result: { large } }), echo });
    await assert.rejects(client.call('large', {}), isFailed('CHANNEL'));
    await assert.rejects(client.call('echo', { large }), isRefused('InvalidRequest'));
    assert.equal(client.isClosed, false);
    assert.deepEqual((await client.call('echo', { ok: 1 })).result, { params: { ok: 1 } });
  });
});

describe('wire back-pressure', () => {
  it('lets a sender run ahead of its reader by one window, no more', async () => {
    const { client } = connected({
      endless: async () => ({
        result: {},
        body: (async function* () {
          for (;;) {
            sent += CHUNK_BYTES;
            yield new Uint8Array(CHUNK_BYTES);
          }
        })(),
      }),
    });
    let sent = 0;
    const reply = await client.call('endless', {});
    for (let i = 0; i < 200; i += 1) await new Promise(setImmediate);
    assert.ok(sent <= CREDIT_WINDOW_BYTES + CHUNK_BYTES, `${sent} bytes ran ahead`);
    let read = 0;
    for await (const part of reply.body) {
      read += part.length;
      if (read >= 4 * CREDIT_WINDOW_BYTES) break;
    }
    assert.ok(sent <= read + CREDIT_WINDOW_BYTES + CHUNK_BYTES);
  });

  it('holds for uploads that nobody reads, and ends them with the call', async () => {
    let sent = 0;
    const isOver = Promise.withResolvers<void>();
    const { client } = connected({
      ignore: async () => {
        for (let i = 0; i < 200; i += 1) await new Promise(setImmediate);
        return { result: {} };
      },
    });
    const body = (async function* () {
      try {
        for (;;) {
          sent += CHUNK_BYTES;
          yield new Uint8Array(CHUNK_BYTES);
        }
      } finally {
        isOver.resolve();
      }
    })();
    await client.call('ignore', {}, { body });
    await isOver.promise;
    assert.ok(sent <= CREDIT_WINDOW_BYTES + CHUNK_BYTES);
  });

  it('ends the sender when the reader breaks off', async () => {
    const isOver = Promise.withResolvers<void>();
    const { client } = connected({
      endless: async ({ signal }) => ({
        result: {},
        body: (async function* () {
          try {
            for (;;) yield new Uint8Array(CHUNK_BYTES);
          } finally {
            assert.ok(signal.aborted);
            isOver.resolve();
          }
        })(),
      }),
    });
    const reply = await client.call('endless', {});
    for await (const _ of reply.body) break;
    await isOver.promise;
    await assert.rejects(reply.trailer, isFailed('TIMEOUT'));
  });
});

describe('a cancelled wire call', () => {
  it('fails here and aborts there', async () => {
    const aborted = Promise.withResolvers<void>();
    const { client } = connected({
      slow: ({ signal }) => {
        signal.addEventListener('abort', () => aborted.resolve());
        return never();
      },
    });
    const cancel = new AbortController();
    const call = client.call('slow', {}, { signal: cancel.signal });
    cancel.abort();
    await assert.rejects(call, isFailed('TIMEOUT'));
    await aborted.promise;
  });

  it('never starts a wait when its signal was aborted before', async () => {
    const { client } = connected({ slow: never });
    const call = client.call('slow', {}, { signal: AbortSignal.abort() });
    await assert.rejects(call, isFailed('TIMEOUT'));
  });

  it('leaves nothing behind on a signal that outlives many calls', async () => {
    const { client } = connected({ echo });
    const { signal } = new AbortController();
    let listeners = 0;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    signal.addEventListener = (...args: Parameters<typeof add>) => {
      listeners += 1;
      add(...args);
    };
    signal.removeEventListener = (...args: Parameters<typeof remove>) => {
      listeners -= 1;
      remove(...args);
    };
    for (let i = 0; i < 20; i += 1) {
      const reply = await client.call('echo', {}, { signal });
      await reply.trailer;
    }
    assert.equal(listeners, 0);
  });
});

describe('a wire connection that goes', () => {
  it('fails calls, uploads and answers under way, and later ones at once', async () => {
    const { client, server } = connected({
      slow: never,
      endless: async () => ({
        result: {},
        body: silence,
      }),
    });
    const slow = client.call('slow', {});
    const reply = await client.call('endless', {});
    server.close();
    await assert.rejects(slow, isFailed('CHANNEL'));
    await assert.rejects(collect(reply.body), isFailed('CHANNEL'));
    await client.closed;
    await assert.rejects(client.call('slow', {}), isFailed('CHANNEL'));
  });

  it('aborts what is served for the one who went', async () => {
    const aborted = Promise.withResolvers<void>();
    const started = Promise.withResolvers<void>();
    const { client } = connected({
      slow: async ({ signal, body }) => {
        signal.addEventListener('abort', () => aborted.resolve());
        started.resolve();
        await assert.rejects(collect(body), isFailed('CHANNEL'));
        return { result: {} };
      },
    });
    const call = client.call(
      'slow',
      {},
      {
        body: silence,
      },
    );
    call.catch(() => {});
    await started.promise;
    client.close();
    await aborted.promise;
  });
});

describe('wire events', () => {
  it('arrive in order, before the answers that were sent after them', async () => {
    const seen: string[] = [];
    const { client, server } = connected(
      {
        ask: async () => {
          server.emit('third', {});
          return { result: {} };
        },
      },
      { onEvent: (name, params) => seen.push(`${name} ${JSON.stringify(params)}`) },
    );
    server.emit('first', { n: 1 });
    server.emit('second', {});
    await client.call('ask', {});
    assert.deepEqual(seen, ['first {"n":1}', 'second {}', 'third {}']);
  });
});

describe('a hostile wire peer', () => {
  const cases: Record<string, Buffer> = {
    'a frame too short for its head': Buffer.from([0, 0, 0, 4, 1, 0, 0, 0]),
    'a frame of 4 GiB': Buffer.from([255, 255, 255, 255, 1, 0, 0, 0, 1]),
    'an unknown kind': frame(99, 1, '{}'),
    'a request that is no JSON': frame(1, 1, '{'),
    'a request that is an array': frame(1, 1, '[]'),
    'a request without params': frame(1, 1, '{"method":"slow"}'),
    'bytes that are no UTF-8': frame(1, 1, Buffer.from([0x7b, 0xff, 0x7d])),
    'an event without params': frame(10, 0, '{"name":"x"}'),
    'the same call twice': Buffer.concat([
      frame(1, 7, '{"method":"slow","params":{}}'),
      frame(1, 7, '{"method":"slow","params":{}}'),
    ]),
    'more chunks than the window': Buffer.concat([
      frame(1, 7, '{"method":"slow","params":{}}'),
      ...Array.from({ length: 17 }, () => frame(4, 7, 'chunk')),
    ]),
  };
  for (const [what, bytes] of Object.entries(cases)) {
    it(`loses the connection for ${what}`, async () => {
      const { raw, server } = rawClient({ slow: never });
      raw.write(bytes);
      await server.closed;
      assert.ok(server.isClosed);
    });
  }

  it('loses the connection for a second answer, or a trailer before the first', async () => {
    for (const bad of [
      [frame(2, 1, '{"result":{},"hasBody":true}'), frame(2, 1, '{"result":{},"hasBody":true}')],
      [frame(7, 1, '{}')],
    ]) {
      const { raw, server } = rawClient();
      const call = server.call('x', {});
      call.catch(() => {});
      raw.write(Buffer.concat(bad));
      await server.closed;
      await call.then(
        (reply) => assert.rejects(reply.trailer, isFailed('CHANNEL')),
        () => {},
      );
    }
  });

  it('may send anything about calls that are over: it is ignored', async () => {
    const { raw, server } = rawClient({ echo });
    for (const kind of [4, 5, 6, 8, 9, 11, 12]) raw.write(frame(kind, 1_234, ''));
    raw.write(frame(3, 1_234, '{"kind":"failed","code":"DISK","message":"?"}'));
    raw.write(frame(1, 1, '{"method":"echo","params":{}}'));
    await new Promise((resolve) => raw.once('data', resolve));
    assert.equal(server.isClosed, false);
  });

  it('that asks and never reads is cut off at the bound of its calls', async () => {
    const large = 'x'.repeat(500_000);
    const [raw, serverEnd] = duplexPair();
    raw.on('error', () => {});
    const answer: WireHandler = async () => ({ result: { large } });
    const limits = { calls: 8 };
    const server = new WirePeer(serverEnd, new Map([['large', answer]]), undefined, limits);
    for (let call = 1; call <= 100; call += 1) {
      raw.write(frame(1, call, '{"method":"large","params":{}}'));
    }
    await server.closed;
    assert.ok(serverEnd.writableLength < 10 * large.length, 'answers piled up');
  });

  it('gets a bounded error text', async () => {
    const { client } = connected({
      long: () => Promise.reject(new Refused('InvalidRequest', 'y'.repeat(2_000_000))),
    });
    await assert.rejects(client.call('long', {}), (cause: unknown) => {
      return cause instanceof Refused && cause.message.length === 4_096;
    });
  });
});
