/** Debian's boto3 against the API: what a script sees. */
import assert from 'node:assert/strict';
import { execFile, execFileSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { BACKUP, CLUSTER, KEY, REGION, stand } from '../api/stand.ts';

const PYTHON = '/usr/bin/python3';
const hasBoto3 = ((): boolean => {
  try {
    execFileSync(PYTHON, ['-c', 'import boto3'], { stdio: 'ignore' });
    return true;
  } catch {
    // No such Python, or no boto3 in it: the answer is no.
    return false;
  }
})();

const SCRIPT = `
import boto3, json, os
client = boto3.client("cloudhsmv2", endpoint_url=os.environ["ENDPOINT"])
cluster = client.describe_clusters(Filters={"states": ["UNINITIALIZED"]})["Clusters"][0]
backup = client.describe_backups(SortAscending=True)["Backups"][0]
codes = []
for bad in ("cluster-0", "backup-keyark2ab3cd4ef5"):
    try:
        client.delete_cluster(ClusterId=bad)
    except client.exceptions.CloudHsmInvalidRequestException as refused:
        codes.append(refused.response["ResponseMetadata"]["HTTPStatusCode"])
print(json.dumps([cluster["CreateTimestamp"].timestamp(), backup["BackupId"], codes]))
`;

describe('boto3', {
  skip: hasBoto3 ? false : 'boto3 is not installed (Debian package python3-boto3)',
}, () => {
  it('reads our answers and raises the modelled exceptions', async () => {
    await using api = await stand();
    const { stdout } = await promisify(execFile)(PYTHON, ['-c', SCRIPT], {
      env: {
        PATH: '/usr/bin:/bin',
        HOME: '/nonexistent',
        ENDPOINT: api.url.origin,
        AWS_ACCESS_KEY_ID: KEY.accessKeyId,
        AWS_SECRET_ACCESS_KEY: KEY.secretAccessKey,
        AWS_DEFAULT_REGION: REGION,
      },
    });
    assert.deepEqual(JSON.parse(stdout), [CLUSTER.createdAt / 1000, BACKUP.id, [400, 400]]);
    assert.deepEqual(
      api.calls.map(({ method }) => method),
      ['describeClusters', 'describeBackups'],
    );
  });
});
