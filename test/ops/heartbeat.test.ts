/** The heartbeat against real servers on loopback: what arrives, and what never does. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { type Clock, systemClock } from '../../src/kernel/clock.ts';
import type { ServiceEvent } from '../../src/ops/events.ts';
import { type Health, healthOf } from '../../src/ops/health.ts';
import { beat, runHeartbeat } from '../../src/ops/heartbeat.ts';
import { at } from '../support/catalog-samples.ts';
import { FakeClock } from '../support/world.ts';

const FACTS = {
  now: at(0),
  clusters: 1,
  withoutProof: 0,
  unproven: 0,
  isChangeDriven: true,
  failedDrills: 0,
  overdueDrills: 0,
  areRootsLocked: false,
};
const GOOD = healthOf(FACTS);
const LATE = healthOf({ ...FACTS, overdueDrills: 1 });

async function monitor(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<{ url: string; seen: IncomingMessage[] } & AsyncDisposable> {
  const seen: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    seen.push(request);
    answer(request, response);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // A listening TCP server has an AddressInfo.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/ping/secret-path`,
    seen,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function parts(health: Health | Error, clock: Clock = systemClock) {
  const events: ServiceEvent[] = [];
  const deps = {
    clock,
    events: { emit: (event: ServiceEvent) => void events.push(event) },
    health: async () => {
      if (health instanceof Error) throw health;
      return health;
    },
  };
  return { deps, events };
}
const EVERY_MS = 60_000;
const never = new AbortController().signal;

test('while all is well the monitor is asked with a bare GET', async () => {
  await using at = await monitor((_, response) => response.end('ok'));
  assert.equal((await beat(parts(GOOD).deps, at.url, never)).state, 'sent');
  const [request] = at.seen;
  assert.equal(request?.method, 'GET');
  assert.equal(request?.url, '/ping/secret-path');
  for (const name of ['authorization', 'cookie', 'referer']) {
    assert.equal(request?.headers[name], undefined, name);
  }
});

for (const [what, health] of [
  ['anything is late', LATE],
  ['the state cannot be told', new Error('no catalog')],
] as const) {
  test(`the heartbeat is silent when ${what}`, async () => {
    await using at = await monitor((_, response) => response.end());
    assert.equal((await beat(parts(health).deps, at.url, never)).state, 'withheld');
    assert.equal(at.seen.length, 0);
  });
}

test('a redirect is not followed, and does not count as heard', async () => {
  await using elsewhere = await monitor((_, response) => response.end());
  await using at = await monitor((_, response) =>
    response.writeHead(302, { location: elsewhere.url }).end(),
  );
  assert.equal((await beat(parts(GOOD).deps, at.url, never)).state, 'unreachable');
  assert.equal(elsewhere.seen.length, 0);
});

test('a monitor that never answers is given up after ten seconds of our time', async () => {
  await using at = await monitor(() => {});
  const clock = new FakeClock();
  const beating = beat(parts(GOOD, clock).deps, at.url, never);
  while (at.seen.length === 0) await new Promise(setImmediate);
  clock.advance(10_000);
  assert.deepEqual(await beating, {
    state: 'unreachable',
    why: `${new URL(at.url).host}: no answer in 10 s`,
  });
});

test('what is told about the monitor never holds the path, which may be a secret', async () => {
  await using at = await monitor((_, response) => response.writeHead(500).end());
  const gone = at.url.replace(/:\d+\//, ':1/');
  for (const url of [at.url, gone]) {
    const { state, why } = await beat(parts(GOOD).deps, url, never);
    assert.equal(state, 'unreachable');
    assert.doesNotMatch(why, /secret-path/);
  }
});

test('runHeartbeat() beats again and again, tells each change once, and ends with its signal', async () => {
  const answers = [200, 200, 500, 500, 200];
  await using at = await monitor((_, response) => response.writeHead(answers.shift() ?? 200).end());
  const stop = new AbortController();
  let rests = 0;
  const clock: Clock = {
    now: systemClock.now,
    // A rest between beats is over at once; after the fifth beat the service ends.
    sleep: async (ms, signal) => {
      if (ms !== EVERY_MS) return systemClock.sleep(ms, signal);
      rests += 1;
      if (rests === 5) stop.abort();
    },
  };
  const { deps, events } = parts(GOOD, clock);
  await runHeartbeat(deps, { url: at.url, everyMs: EVERY_MS }, stop.signal);
  assert.equal(at.seen.length, 5);
  assert.deepEqual(
    events.map((event) => event.kind === 'heartbeat' && event.state),
    ['sent', 'unreachable', 'sent'],
  );
});
