import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ProtocolError, toWireError } from '../../src/api/errors.ts';
import { renderBackup, renderCluster, renderHsm } from '../../src/api/render.ts';
import { OPERATIONS } from '../../src/api/shapes.ts';
import type { Cluster } from '../../src/clusters/cluster.ts';
import { Broken, Failed, type RefusalCode, Refused } from '../../src/kernel/errors.ts';
import { parseBackupId } from '../../src/kernel/ids.ts';
import type { EpochMs } from '../../src/kernel/types.ts';
import { BACKUP, CLUSTER, HSM } from './stand.ts';

/** As the wire sees it: absent members are gone. */
const wire = (value: unknown) => JSON.parse(JSON.stringify(value));

describe('renderCluster()', () => {
  it('writes times as seconds with a fraction and the retention as text', () => {
    const text = JSON.stringify(renderCluster({ cluster: CLUSTER, hsms: [] }));
    assert.match(text, /"CreateTimestamp":1504903546\.035,/);
    assert.match(text, /"BackupRetentionPolicy":\{"Type":"DAYS","Value":"90"\}/);
  });

  it('shows CSR and hardware certificates in UNINITIALIZED only', () => {
    const states: readonly Cluster['state'][] = [
      'CREATE_IN_PROGRESS',
      'INITIALIZE_IN_PROGRESS',
      'INITIALIZED',
      'ACTIVE',
      'DEGRADED',
      'DELETE_IN_PROGRESS',
      'DELETED',
    ];
    const certificates = {
      ...CLUSTER.certificates,
      clusterCertificate: 'CLUSTER',
      trustAnchor: 'CA',
    };
    const shown = (state: Cluster['state']) =>
      wire(renderCluster({ cluster: { ...CLUSTER, certificates, state }, hsms: [] })).Certificates;
    assert.deepEqual(shown('UNINITIALIZED'), {
      ClusterCsr: 'CSR',
      HsmCertificate: 'HSM',
      AwsHardwareCertificate: 'OWNER',
      ManufacturerHardwareCertificate: 'MAKER',
    });
    for (const state of states) assert.deepEqual(shown(state), { ClusterCertificate: 'CLUSTER' });
  });

  it('leaves out what is absent and repeats the source backup as it was asked for', () => {
    const bare = wire(renderCluster({ cluster: CLUSTER, hsms: [] }));
    for (const name of ['SourceBackupId', 'StateMessage', 'PreCoPassword']) {
      assert.ok(!(name in bare), name);
    }
    const asRequested = 'arn:aws:cloudhsm:us-east-1:000012345678:backup/backup-keyark2ab3cd4ef5';
    const sourceBackup = { id: parseBackupId('backup-keyark2ab3cd4ef5'), asRequested };
    const made = wire(renderCluster({ cluster: { ...CLUSTER, sourceBackup }, hsms: [] }));
    assert.equal(made.SourceBackupId, asRequested);
  });

  it('cuts a state message to what clients accept', () => {
    const stateMessage = '🔑'.repeat(400);
    const { StateMessage } = wire(
      renderCluster({ cluster: { ...CLUSTER, stateMessage }, hsms: [] }),
    );
    assert.ok(StateMessage.length <= 300 && StateMessage.endsWith('…'));
    assert.ok(StateMessage.isWellFormed());
  });
});

describe('renderHsm()', () => {
  it('has the members of the model and no other', () => {
    assert.deepEqual(Object.keys(wire(renderHsm(HSM))).sort(), [
      'AvailabilityZone',
      'ClusterId',
      'EniId',
      'EniIp',
      'HsmId',
      'HsmType',
      'State',
      'SubnetId',
    ]);
  });
});

describe('renderBackup()', () => {
  it('has an ARN in the region it lies in, and source members on copies only', () => {
    const plain = wire(renderBackup(BACKUP));
    assert.equal(plain.BackupArn, `arn:aws:cloudhsm:us-east-1:000012345678:backup/${BACKUP.id}`);
    for (const name of ['CopyTimestamp', 'SourceRegion', 'SourceBackup', 'DeleteTimestamp']) {
      assert.ok(!(name in plain), name);
    }
    const copy = wire(
      renderBackup({
        ...BACKUP,
        region: 'us-gov-west-1',
        copy: {
          // A plain number of milliseconds is what EpochMs brands.
          copiedAt: 1_600_000_000_250 as EpochMs,
          sourceRegion: 'us-gov-east-1',
          sourceBackup: BACKUP.id,
          sourceCluster: BACKUP.clusterId,
        },
      }),
    );
    assert.match(copy.BackupArn, /^arn:aws-us-gov:cloudhsm:us-gov-west-1:/);
    assert.deepEqual([copy.CopyTimestamp, copy.SourceRegion], [1_600_000_000.25, 'us-gov-east-1']);
  });
});

describe('toWireError()', () => {
  const type = (code: RefusalCode, operation: keyof typeof OPERATIONS) =>
    toWireError(new Refused(code, 'why'), OPERATIONS[operation], 'id').type;

  it('keeps to the errors that the operation lists', () => {
    assert.equal(type('NotFound', 'CreateHsm'), 'CloudHsmResourceNotFoundException');
    assert.equal(type('NotFound', 'DescribeClusters'), 'CloudHsmInvalidRequestException');
    assert.equal(type('LimitExceeded', 'CreateHsm'), 'CloudHsmInvalidRequestException');
    assert.equal(type('LimitExceeded', 'TagResource'), 'CloudHsmResourceLimitExceededException');
    assert.equal(type('TagFailure', 'CreateCluster'), 'CloudHsmTagException');
    assert.equal(type('TagFailure', 'CreateHsm'), 'CloudHsmInvalidRequestException');
    assert.equal(type('AccessDenied', 'CreateHsm'), 'CloudHsmAccessDeniedException');
    assert.equal(type('RootsLocked', 'CreateHsm'), 'CloudHsmServiceException');
    assert.equal(type('WrongState', 'DeleteBackup'), 'CloudHsmInvalidRequestException');
  });

  it('answers every refusal with 400 and its own words', () => {
    const answer = toWireError(new Refused('AccessDenied', 'why not'), undefined, 'id');
    assert.deepEqual([answer.status, answer.message], [400, 'why not']);
  });

  it('tells nothing of what is wrong with us but the id', () => {
    for (const cause of [new Failed('KMS', 'hidden'), new Broken('hidden'), 'hidden', undefined]) {
      const answer = toWireError(cause, undefined, 'the-id');
      assert.deepEqual([answer.status, answer.type], [500, 'CloudHsmInternalFailureException']);
      assert.ok(answer.message.includes('the-id') && !answer.message.includes('hidden'));
    }
  });

  it('gives protocol errors their documented status', () => {
    const status = (name: ProtocolError['type']) =>
      toWireError(new ProtocolError(name, 'x'), undefined, 'id').status;
    assert.equal(status('RequestEntityTooLargeException'), 413);
    assert.equal(status('UnknownOperationException'), 404);
    assert.equal(status('RequestTimeoutException'), 408);
  });
});
