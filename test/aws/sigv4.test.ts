import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { signRequest } from '../../src/aws/sign.ts';
import {
  type ArrivedRequest,
  type SignatureProblem,
  SignatureRefused,
  type SigningKey,
  verifySignature,
} from '../../src/aws/sigv4.ts';
import { fromUtf8 } from '../../src/kernel/bytes.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import type { EpochMs } from '../../src/kernel/types.ts';

const KEY: SigningKey = {
  accessKeyId: 'KEYARKABCDEFGHIJKLMN',
  secretAccessKey: 'wJalrXUtnFEMIK7MDENGbPxRfiCYexamplekey00',
};
const NOW = Date.parse('2026-11-23T09:14:10Z');
const ENDPOINT = new URL('http://127.0.0.1:8228');
const BODY = '{"MaxResults":5}';

/** A clock that stands. */
const clockAt = (ms: number): Clock => ({
  // A plain number of milliseconds is what EpochMs brands.
  now: () => ms as EpochMs,
  sleep: () => Promise.reject(new Error('nothing sleeps here')),
});

const SESSION_KEY = { ...KEY, accessKeyId: 'KEYARKTMPABCDEFGHIJK', sessionToken: 'a-token' };

type Headers = Readonly<Record<string, string>>;

function arrived(headers: Headers, body = BODY, method = 'POST'): ArrivedRequest {
  return {
    method,
    rawHeaders: Object.entries(headers).flat(),
    body: fromUtf8(body),
    landedAt: '127.0.0.1:8228',
  };
}

const verify = (request: ArrivedRequest, now = NOW) =>
  verifySignature(request, {
    findKey: (id, token) => {
      if (id === KEY.accessKeyId) return token === undefined ? KEY : 'WRONG_TOKEN';
      if (id !== SESSION_KEY.accessKeyId) return 'UNKNOWN_KEY';
      return token === SESSION_KEY.sessionToken ? SESSION_KEY : 'MISSING_TOKEN';
    },
    regions: ['us-east-1', 'eu-central-1'],
    clock: clockAt(now),
  });

const signed = (changes: Partial<Parameters<typeof signRequest>[0]> = {}): Promise<Headers> =>
  signRequest({
    endpoint: ENDPOINT,
    target: 'BaldrApiService.DescribeClusters',
    body: BODY,
    region: 'us-east-1',
    key: KEY,
    clock: clockAt(NOW),
    ...changes,
  });

async function refused(
  request: ArrivedRequest,
  code: SignatureProblem,
  words = /\S/,
  now = NOW,
): Promise<void> {
  await assert.rejects(verify(request, now), (cause) => {
    assert.ok(cause instanceof SignatureRefused, String(cause));
    assert.equal(cause.code, code, cause.message);
    assert.match(cause.message, words);
    assert.ok(!cause.message.includes(KEY.secretAccessKey));
    return true;
  });
}

const change = (headers: Headers, name: string, edit: (value: string) => string): Headers => ({
  ...headers,
  [name]: edit(headers[name] ?? ''),
});

describe('verifySignature()', () => {
  it('names key and region of a request that our own client signed', async () => {
    const signer = await verify(arrived(await signed({ region: 'eu-central-1' })));
    assert.deepEqual(signer, { key: KEY, region: 'eu-central-1' });
  });

  it('refuses every one-bit change of the body and of the signature', async () => {
    const headers = await signed();
    for (let bit = 0; bit < BODY.length * 8; bit += 1) {
      const body = fromUtf8(BODY);
      body[bit >> 3] = (body[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      await refused({ ...arrived(headers), body }, 'MISMATCH');
    }
    for (let i = 1; i <= 64; i += 1) {
      const edit = (value: string): string => {
        const digit = value.at(-i) === '0' ? '1' : '0';
        return value.slice(0, value.length - i) + digit + value.slice(value.length - i + 1);
      };
      await refused(arrived(change(headers, 'authorization', edit)), 'MISMATCH');
    }
  });

  it('refuses a change of every signed header and of the method', async () => {
    const headers = await signed();
    await refused(arrived(change(headers, 'host', () => 'elsewhere:1')), 'MISMATCH');
    await refused(arrived(change(headers, 'content-type', () => 'text/plain')), 'MISMATCH');
    const other = change(headers, 'x-amz-target', () => 'BaldrApiService.DeleteCluster');
    await refused(arrived(other), 'MISMATCH');
    const later = change(headers, 'x-amz-date', (value) => value.replace('10Z', '11Z'));
    await refused(arrived(later), 'MISMATCH');
    await refused(arrived(headers, BODY, 'PUT'), 'MISMATCH');
  });

  it('lets headers that are not signed be', async () => {
    await verify(arrived({ ...(await signed()), 'x-forwarded-for': '10.0.0.1', via: 'proxy' }));
  });

  it('computes the hash of the body itself', async () => {
    const headers = await signed();
    const wrong = { ...headers, 'x-amz-content-sha256': 'UNSIGNED-PAYLOAD' };
    await refused(arrived(wrong), 'MISMATCH');
  });

  it('refuses clocks more than 5 minutes apart, in either direction, and no earlier', async () => {
    const headers = await signed();
    const words = /^\[CLOCK_SKEW\] Your request is dated 2026-11-23T09:14:10Z, this server says/;
    await verify(arrived(headers), NOW + 300_000);
    await verify(arrived(headers), NOW - 300_000);
    await refused(arrived(headers), 'CLOCK_SKEW', words, NOW + 301_000);
    await refused(arrived(headers), 'CLOCK_SKEW', words, NOW - 301_000);
  });

  it('says where a request with an unknown key landed', async () => {
    const strange = { ...KEY, accessKeyId: 'AKIAIOSFODNN7EXAMPLE' };
    await refused(
      arrived(await signed({ key: strange })),
      'UNKNOWN_KEY',
      /^\[UNKNOWN_ACCESS_KEY\] This is Keyark at 127\.0\.0\.1:8228 .*"AKIA…MPLE", which looks like a real AWS key\. Nothing was done\./,
    );
    const other = { ...KEY, accessKeyId: 'KEYARKZZZZZZZZZZZZZZ' };
    await assert.rejects(
      verify(arrived(await signed({ key: other }))),
      /know access key "KEYA…ZZZZ"\./,
    );
  });

  it('refuses the right key id with another secret', async () => {
    const key = { ...KEY, secretAccessKey: `${KEY.secretAccessKey.slice(0, -1)}1` };
    await refused(arrived(await signed({ key })), 'MISMATCH');
  });

  it('refuses a region that is not served, and says which are', async () => {
    const headers = await signed({ region: 'eu-west-3' });
    const words = /^\[REGION_NOT_SERVED\].*eu-west-3; this Keyark serves us-east-1, eu-central-1/;
    await refused(arrived(headers), 'UNKNOWN_REGION', words);
  });

  it('takes a request of temporary credentials with their token, which must be signed', async () => {
    const headers = await signed({ key: SESSION_KEY });
    assert.equal((await verify(arrived(headers))).key.accessKeyId, SESSION_KEY.accessKeyId);
    const { 'x-amz-security-token': _, ...without } = headers;
    await refused(arrived(without), 'INCOMPLETE');
    const unsigned = await signed({ key: { ...SESSION_KEY, sessionToken: undefined } });
    await refused(arrived(unsigned), 'BAD_TOKEN', /needs its session token/);
    const added = { ...unsigned, 'x-amz-security-token': SESSION_KEY.sessionToken };
    await refused(arrived(added), 'INCOMPLETE');
  });

  it('refuses a session token that is not the one of the key', async () => {
    const headers = await signed();
    const withToken = change(
      { ...headers, 'x-amz-security-token': 'FwoGZXIvYXdzE' },
      'authorization',
      (value) => value.replace('x-amz-target', 'x-amz-security-token;x-amz-target'),
    );
    await refused(arrived(withToken), 'BAD_TOKEN', /security token .* is invalid/);
  });

  it('refuses a request without a signature', async () => {
    const { authorization: _, ...bare } = await signed();
    await refused(arrived(bare), 'MISSING', /not signed/);
  });

  it('refuses Authorization headers that are not whole', async () => {
    const headers = await signed();
    const edits: readonly ((value: string) => string)[] = [
      () => '',
      () => 'Basic dXNlcjpwYXNz',
      (value) => value.replace('AWS4-HMAC-SHA256', 'AWS4-ECDSA-P256-SHA256'),
      (value) => value.replace(/Signature=.*/, ''),
      (value) => value.replace(/Signature=.*/, 'Signature=00'),
      (value) => value.replace(/Signature=(.*)/, (_, hex) => `Signature=${hex.toUpperCase()}`),
      (value) => `${value}, Signature=${'0'.repeat(64)}`,
      (value) => value.replace('aws4_request', 'aws4'),
      (value) => value.replace('/us-east-1/', '/'),
      (value) => value.replace('/20261123/', '/20261124/'),
      (value) => value.replace('host;', ''),
      (value) => value.replace('x-amz-date;', ''),
      (value) => value.replace(';x-amz-target', ''),
      (value) => value.replace('host;', 'host;nobody;'),
      (value) => value.replace('host;', 'Host;'),
      (value) => value.replace('host;', 'host;__proto__;'),
      (value) => value.replace('host;', 'authorization;host;'),
      (value) => value.replace(/SignedHeaders=[^,]*/, `SignedHeaders=${'a;'.repeat(5_000)}host`),
    ];
    for (const edit of edits) {
      const request = arrived(change(headers, 'authorization', edit));
      await refused(request, 'INCOMPLETE');
    }
    for (const date of ['', '2026-11-23T09:14:10Z', '20261345T250000Z']) {
      await refused(arrived(change(headers, 'x-amz-date', () => date)), 'INCOMPLETE');
    }
  });

  it('refuses a signed header that came twice', async () => {
    const request = arrived(await signed());
    const twice = [...request.rawHeaders, 'X-Amz-Target', 'BaldrApiService.DeleteCluster'];
    await refused({ ...request, rawHeaders: twice }, 'INCOMPLETE', /x-amz-target exactly once/);
  });

  it('refuses a request signed for another service', async () => {
    const headers = change(await signed(), 'authorization', (value) =>
      value.replace('/cloudhsm/', '/cloudhsmv2/'),
    );
    await refused(
      arrived(headers),
      'MISMATCH',
      /"cloudhsmv2"; this one is signed for as "cloudhsm"/,
    );
  });
});

const PYTHON = '/usr/bin/python3';
const hasBotocore = ((): boolean => {
  if (!existsSync(PYTHON)) return false;
  try {
    execFileSync(PYTHON, ['-c', 'import botocore.auth'], { stdio: 'ignore' });
    return true;
  } catch {
    // Python without botocore: the answer is no.
    return false;
  }
})();

describe('botocore, an independent signer', {
  skip: hasBotocore ? false : 'botocore is not installed (Debian package python3-botocore)',
}, () => {
  it('signs requests that are accepted, and that no change survives', async () => {
    const asks = ['{}', BODY, '{"TagList":[{"Key":"ключ","Value":"a  b 🔑"}]}'].flatMap((body) =>
      ['plain', '  two   spaces ', 'tab\tinside'].map((extra) => ({
        body,
        headers: {
          Host: ENDPOINT.host,
          'Content-Type': 'application/x-amz-json-1.1',
          'X-Amz-Target': 'BaldrApiService.CreateCluster',
          'X-Amz-Extra': extra,
        },
      })),
    );
    const lines = asks.map((ask) =>
      JSON.stringify({
        ...ask,
        url: ENDPOINT.href,
        id: KEY.accessKeyId,
        secret: KEY.secretAccessKey,
        service: 'cloudhsm',
        region: 'us-east-1',
      }),
    );
    const script = join(import.meta.dirname, 'sign-with-botocore.py');
    const answers = execFileSync(PYTHON, [script], { input: `${lines.join('\n')}\n` }).toString();
    const replies = answers.trim().split('\n');
    assert.equal(replies.length, asks.length);
    for (const [i, reply] of replies.entries()) {
      const headers: Headers = JSON.parse(reply);
      const body = asks[i]?.body ?? '';
      // node's parser takes the white space around a value away before we see it.
      const onWire = change(headers, 'X-Amz-Extra', (value) => value.trim());
      // botocore signs with the machine's time, so it is checked against that.
      assert.equal((await verify(arrived(onWire, body), Date.now())).region, 'us-east-1');
      await refused(arrived(onWire, `${body} `), 'MISMATCH', /\S/, Date.now());
    }
  });
});
