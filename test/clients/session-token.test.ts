/** Temporary credentials as AWS's own clients send them: Debian's AWS CLI, and its boto3. */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { call, REGION, type Stand, stand } from '../api/stand.ts';

const AWS = '/usr/bin/aws';
const PYTHON = '/usr/bin/python3';
const BOTO3 = '/usr/lib/python3/dist-packages/boto3/__init__.py';
const run = promisify(execFile);

const SCRIPT = `
import boto3, os, botocore.exceptions
client = boto3.client("cloudhsmv2", endpoint_url=os.environ["ENDPOINT"])
try:
    print(len(client.describe_clusters()["Clusters"]))
except botocore.exceptions.ClientError as refused:
    print(refused.response["Error"]["Code"])
`;

async function session(api: Stand): Promise<Record<string, string>> {
  const made = await call(api, 'KeyarkService.GetSessionToken', {});
  assert.equal(made.status, 200, made.text);
  const { AccessKeyId, SecretAccessKey, SessionToken } = made.json['Credentials'] as Record<
    string,
    string
  >;
  return {
    PATH: '/usr/bin:/bin',
    HOME: '/nonexistent',
    ENDPOINT: api.url.origin,
    AWS_ACCESS_KEY_ID: String(AccessKeyId),
    AWS_SECRET_ACCESS_KEY: String(SecretAccessKey),
    AWS_SESSION_TOKEN: String(SessionToken),
    AWS_DEFAULT_REGION: REGION,
    AWS_EC2_METADATA_DISABLED: 'true',
    AWS_MAX_ATTEMPTS: '1',
    AWS_PAGER: '',
  };
}

describe('temporary credentials', () => {
  it('work in the AWS CLI with their token, and not without', {
    skip: existsSync(AWS) ? false : `${AWS} is not installed (Debian package awscli)`,
  }, async () => {
    await using api = await stand();
    const env = await session(api);
    const words = ['--endpoint-url', api.url.origin, '--output', 'json', 'cloudhsmv2'];
    const { stdout } = await run(AWS, [...words, 'describe-clusters'], { env });
    assert.equal(JSON.parse(stdout).Clusters.length, 1);
    const { AWS_SESSION_TOKEN: _, ...bare } = env;
    await assert.rejects(
      run(AWS, [...words, 'describe-clusters'], { env: bare }),
      /UnrecognizedClientException.*needs its session token/s,
    );
  });

  it('work in boto3 with their token, and not with another', {
    skip: existsSync(BOTO3) ? false : 'boto3 is not installed (Debian package python3-boto3)',
  }, async () => {
    await using api = await stand();
    const env = await session(api);
    const other = await session(api);
    const ask = async (token: string | undefined): Promise<string> =>
      (await run(PYTHON, ['-c', SCRIPT], { env: { ...env, AWS_SESSION_TOKEN: token } })).stdout;
    assert.equal(await ask(env['AWS_SESSION_TOKEN']), '1\n');
    assert.equal(await ask(other['AWS_SESSION_TOKEN']), 'UnrecognizedClientException\n');
  });
});
