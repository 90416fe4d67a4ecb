/** The socket side: sizes, times, broken requests, probes, TLS and the end. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { get, request as httpRequest } from 'node:http';
import { get as getTls } from 'node:https';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Caller } from '../../src/access/caller.ts';
import { isThisMachine, urlOf } from '../../src/api/server.ts';
import { signRequest } from '../../src/aws/sign.ts';
import { type Clock, systemClock } from '../../src/kernel/clock.ts';
import { Failed, Refused } from '../../src/kernel/errors.ts';
import type { EpochMs } from '../../src/kernel/types.ts';
import { call, KEY, post, REGION, stand, VIEW } from './stand.ts';

/** Everything the server says on one connection until it ends it. */
function raw(url: URL, bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(Number(url.port), url.hostname, () => socket.write(bytes));
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    socket.on('close', () => resolve(text));
    socket.on('error', reject);
  });
}

function fetchText(url: URL): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    get(url, (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    }).on('error', reject);
  });
}

describe('the API server', () => {
  it('answers /metrics to this machine when there are any, and to others only when that was set', async () => {
    const metrics = { text: async () => 'keyark_x 1\n', isRemote: false };
    await using api = await stand({ parts: { metrics } });
    const answer = await fetchText(new URL('/metrics', api.url));
    assert.deepEqual(answer, { status: 200, text: 'keyark_x 1\n' });
    await using without = await stand();
    assert.equal((await fetchText(new URL('/metrics', without.url))).status, 404);
    for (const address of ['127.0.0.1', '127.8.8.8', '::1', '::ffff:127.0.0.1']) {
      assert.equal(isThisMachine(address), true, address);
    }
    for (const address of ['10.0.0.1', '::ffff:10.0.0.1', '2001:db8::1', '', undefined]) {
      assert.equal(isThisMachine(address), false, String(address));
    }
  });

  it('answers a call with id, type and its own time', async () => {
    const now = Date.parse('2030-01-02T03:04:05Z');
    // A plain number of milliseconds is what EpochMs brands.
    const clock: Clock = { now: () => now as EpochMs, sleep: systemClock.sleep };
    await using api = await stand({ clock });
    const reply = await call(api, 'DescribeClusters', {}, { clock });
    assert.equal(reply.status, 200);
    assert.equal(reply.headers['content-type'], 'application/x-amz-json-1.1');
    assert.match(String(reply.headers['x-amzn-requestid']), /^[0-9a-f]{8}-[0-9a-f]{4}-4/);
    assert.equal(reply.headers['date'], 'Wed, 02 Jan 2030 03:04:05 GMT');
    assert.deepEqual(
      api.events.map((event) => event.kind === 'apiCall' && [event.operation, event.status]),
      [['DescribeClusters', 200]],
    );
  });

  it('is told under an address that can be called, wherever it listens', () => {
    const tls = { cert: '', key: '' };
    assert.equal(urlOf({ host: '127.0.0.1', port: 0 }, 8228), 'http://127.0.0.1:8228');
    assert.equal(urlOf({ host: '0.0.0.0', port: 0, tls }, 1), 'https://127.0.0.1:1');
    assert.equal(urlOf({ host: '::', port: 0, tls }, 1), 'https://[::1]:1');
    assert.equal(urlOf({ host: 'keyark.example', port: 0, tls }, 1), 'https://keyark.example:1');
  });

  it('keeps account and region of the signature, whatever the body says', async () => {
    await using api = await stand();
    await call(api, 'DescribeBackups', {});
    // What a face is given is a Caller; the key beside it shows no secret.
    const { account, region, principal } = api.calls[0]!.args[0] as Caller;
    assert.deepEqual(
      { account, region, principal },
      {
        account: KEY.account,
        region: REGION,
        principal: `arn:aws:iam::${KEY.account}:root`,
      },
    );
  });

  it('calls nobody without a right signature', async () => {
    await using api = await stand();
    const body = '{}';
    const headers = await signRequest({
      endpoint: api.url,
      target: 'BaldrApiService.DescribeClusters',
      body,
      region: REGION,
      key: KEY,
      clock: systemClock,
    });
    const altered = await post(api.url, headers, '{"MaxResults":1}');
    assert.deepEqual([altered.status, altered.json['__type']], [400, 'InvalidSignatureException']);
    const { authorization: _, ...bare } = headers;
    const unsigned = await post(api.url, bare, body);
    assert.deepEqual(
      [unsigned.status, unsigned.json['__type']],
      [403, 'MissingAuthenticationTokenException'],
    );
    const region = await call(api, 'DescribeClusters', {}, { region: 'eu-west-3' });
    assert.match(region.text, /REGION_NOT_SERVED/);
    assert.deepEqual(api.calls, []);
  });

  it('names unknown operations as such', async () => {
    await using api = await stand();
    for (const target of [
      'BaldrApiService.Nothing',
      'BaldrApiService.__proto__',
      'BaldrApiService.constructor',
      'KeyarkService.CreateCluster',
      'OtherService.DescribeClusters',
      'BaldrApiService.',
    ]) {
      const reply = await call(api, target, {});
      assert.deepEqual([reply.status, reply.json['__type']], [404, 'UnknownOperationException']);
    }
    const elsewhere = await post(api.url, {}, '{}', '/other');
    assert.equal(elsewhere.json['__type'], 'UnknownOperationException');
  });

  it('refuses other content types and encodings', async () => {
    await using api = await stand();
    for (const change of [
      { 'content-type': 'application/json' },
      { 'content-type': 'application/x-amz-json-1.0' },
      { 'content-encoding': 'gzip' },
    ]) {
      const body = '{}';
      const headers = await signRequest({
        endpoint: api.url,
        target: 'BaldrApiService.DescribeClusters',
        body,
        region: REGION,
        key: KEY,
        clock: systemClock,
      });
      // Signed headers stay; what is changed is signed in the content type's case only.
      const reply = await post(api.url, { ...headers, ...change }, body);
      const isSigned = 'content-type' in change;
      assert.equal(
        reply.json['__type'],
        isSigned ? 'InvalidSignatureException' : 'MalformedHttpRequestException',
      );
    }
    assert.deepEqual(api.calls, []);
  });

  it('reads text that is not UTF-8 as an invalid request', async () => {
    await using api = await stand();
    const bytes = new Uint8Array([0x7b, 0xff, 0x7d]);
    const headers = await signRequest({
      endpoint: api.url,
      target: 'BaldrApiService.DescribeClusters',
      // The signing arithmetic takes bytes as well as text.
      body: bytes as unknown as string,
      region: REGION,
      key: KEY,
      clock: systemClock,
    });
    assert.match((await post(api.url, headers, bytes)).text, /InvalidRequest.*not UTF-8/);
  });

  it('refuses a body beyond its bound, announced or not', async () => {
    await using api = await stand();
    const large = 'x'.repeat(600 * 1024);
    const announced = await post(api.url, {}, large);
    assert.deepEqual(
      [announced.status, announced.json['__type']],
      [413, 'RequestEntityTooLargeException'],
    );
    const chunked = await post(api.url, { 'transfer-encoding': 'chunked' }, large);
    assert.equal(chunked.status, 413);
  });

  it('ends senders that are too slow, in the head and in the body', async () => {
    const patience = { headersMs: 40, requestMs: 80, endMs: 1_000 };
    await using api = await stand({ parts: { patience } });
    const head = await raw(api.url, 'POST / HTTP/1.1\r\nHost: a\r\n');
    assert.match(head, /^HTTP\/1\.1 408 [\s\S]*RequestTimeoutException/);
    const body = await raw(api.url, 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{');
    assert.match(body, /^HTTP\/1\.1 408 [\s\S]*RequestTimeoutException/);
    assert.deepEqual(api.calls, []);
  });

  it('answers what is not HTTP, and headers beyond their bound', async () => {
    await using api = await stand();
    assert.match(await raw(api.url, 'hello\r\n\r\n'), /400 [\s\S]*MalformedHttpRequestException/);
    const long = `POST / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`;
    assert.match(await raw(api.url, long), /413 [\s\S]*RequestEntityTooLargeException/);
  });

  it('survives clients that go away in the middle', async () => {
    await using api = await stand();
    await new Promise<void>((resolve) => {
      const sent = httpRequest({ host: api.url.hostname, port: api.url.port, method: 'POST' });
      sent.setHeader('content-length', '100');
      sent.on('error', () => resolve());
      sent.write('{', () => sent.destroy(new Error('gone')));
    });
    assert.equal((await call(api, 'DescribeClusters', {})).status, 200);
    assert.equal(api.events.filter(({ kind }) => kind === 'internalError').length, 0);
  });

  it('tells a failure of ours by an id only', async () => {
    await using api = await stand({
      clusters: {
        createHsm: async () => {
          throw new Failed('DISK', 'writing the-secret-path', { cause: new Error('ENOSPC') });
        },
      },
    });
    const reply = await call(api, 'CreateHsm', {
      ClusterId: VIEW.cluster.id,
      AvailabilityZone: 'us-east-1a',
    });
    assert.equal(reply.status, 500);
    assert.equal(reply.json['__type'], 'CloudHsmInternalFailureException');
    const id = String(reply.headers['x-amzn-requestid']);
    assert.ok(reply.text.includes(id));
    assert.ok(!/secret-path|ENOSPC|server\.ts/.test(reply.text));
    const [told] = api.events.filter((event) => event.kind === 'internalError');
    assert.equal(told?.requestId, id);
    assert.match(told?.message ?? '', /the-secret-path[\s\S]*ENOSPC/);
  });

  it('says that it lives, and which part is not ready', async () => {
    const parts: { part: string; problem?: string }[] = [{ part: 'catalog' }];
    await using api = await stand({ parts: { readiness: async () => parts } });
    assert.deepEqual(await fetchText(new URL('/livez', api.url)), { status: 200, text: 'ok\n' });
    assert.equal((await fetchText(new URL('/readyz', api.url))).status, 200);
    parts.push({ part: 'roots', problem: 'roots are locked: run `keyark unlock`' });
    const { status, text } = await fetchText(new URL('/readyz', api.url));
    assert.equal(status, 503);
    assert.deepEqual(JSON.parse(text), {
      ready: false,
      parts: [
        { part: 'catalog', ready: true },
        { part: 'roots', ready: false, problem: 'roots are locked: run `keyark unlock`' },
      ],
    });
  });

  it('refuses anything but loopback without TLS', async () => {
    await using api = await stand();
    for (const host of ['0.0.0.0', '::', '192.0.2.1', 'localhost', '127.0.0.1.example']) {
      await assert.rejects(
        api.api.listen({ host, port: 8228 }),
        (cause) =>
          cause instanceof Refused && /^Refusing .*:8228 without TLS: /.test(cause.message),
      );
    }
  });

  it('says which port is taken', async () => {
    await using api = await stand();
    await using other = await stand();
    const port = Number(api.url.port);
    await assert.rejects(
      other.api.listen({ host: '127.0.0.1', port }),
      (cause) =>
        cause instanceof Refused && cause.code === 'InUse' && cause.message.includes(`:${port} is`),
    );
  });

  it('speaks HTTPS with the certificate it is given', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'keyark-tls-'));
    try {
      const paths = { key: join(folder, 'key.pem'), cert: join(folder, 'cert.pem') };
      const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=IP:127.0.0.1'];
      const curve = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
      const files = ['-keyout', paths.key, '-out', paths.cert];
      execFileSync('openssl', ['req', '-x509', ...curve, ...files, ...subject], {
        stdio: 'ignore',
      });
      const cert = readFileSync(paths.cert, 'utf8');
      await using api = await stand();
      const tls = { cert, key: readFileSync(paths.key, 'utf8') };
      const { url } = await api.api.listen({ host: '0.0.0.0', port: 0, tls });
      const at = new URL('/livez', url.replace('0.0.0.0', '127.0.0.1'));
      const status = await new Promise<number | undefined>((resolve, reject) => {
        const sent = getTls(at, { ca: cert, agent: false }, (response) => {
          response.resume();
          resolve(response.statusCode);
        });
        sent.on('error', reject);
      });
      assert.equal(status, 200);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('answers what is under way before it ends', async () => {
    const started = Promise.withResolvers<void>();
    const release = Promise.withResolvers<void>();
    const api = await stand({
      clusters: {
        remove: async () => {
          started.resolve();
          await release.promise;
          return VIEW;
        },
      },
    });
    const reply = call(api, 'DeleteCluster', { ClusterId: VIEW.cluster.id });
    await started.promise;
    const closed = api.api.close();
    release.resolve();
    assert.equal((await reply).status, 200);
    await closed;
    await api.api.close();
    await assert.rejects(call(api, 'DescribeClusters', {}), /ECONNREFUSED/);
  });

  it('does not wait for ever for a call that never ends', async () => {
    const started = Promise.withResolvers<void>();
    const api = await stand({
      parts: { patience: { headersMs: 1_000, requestMs: 1_000, endMs: 20 } },
      clusters: {
        remove: () => {
          started.resolve();
          return new Promise(() => undefined);
        },
      },
    });
    const reply = call(api, 'DeleteCluster', { ClusterId: VIEW.cluster.id });
    const lost = assert.rejects(reply, /hang up|ECONNRESET/);
    await started.promise;
    await api.api.close();
    await lost;
  });
});
