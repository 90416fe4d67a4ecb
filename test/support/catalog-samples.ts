/** Clusters, HSMs and backups as the catalog sees them, with whatever a test cares about set. */
import type { Backup, Proof, ReadyBackup, SealedArchive } from '../../src/backups/backup.ts';
import type { Cluster, Hsm } from '../../src/clusters/cluster.ts';
import type { Restore, RestoreIn } from '../../src/clusters/restore.ts';
import type { BackupId, ClusterId, HsmId, RestoreId } from '../../src/kernel/ids.ts';
import { parseBackupId, parseClusterId, parseHsmId } from '../../src/kernel/ids.ts';
import type { EpochMs } from '../../src/kernel/types.ts';

const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';

function tail(n: number): string {
  let text = '';
  for (let i = 0, rest = n; i < 10; i += 1, rest = Math.floor(rest / 32)) {
    text = `${ALPHABET[rest % 32]}${text}`;
  }
  return `keyark${text}`;
}

export const clusterId = (n: number): ClusterId => parseClusterId(`cluster-${tail(n)}`);
export const hsmId = (n: number): HsmId => parseHsmId(`hsm-${tail(n)}`);
export const backupId = (n: number): BackupId => parseBackupId(`backup-${tail(n)}`);
// A plain number is what EpochMs brands.
export const at = (ms: number): EpochMs => ms as EpochMs;

export const SCOPE = { account: '000000000000', region: 'us-east-1' };

export function sampleCluster(n: number, changes: Partial<Cluster> = {}): Cluster {
  return {
    id: clusterId(n),
    ...SCOPE,
    state: 'ACTIVE',
    type: 'hsm2m.medium',
    mode: 'FIPS',
    networkType: 'IPV4',
    createdAt: at(1_000 + n),
    retentionDays: 90,
    vpcId: 'vpc-1',
    securityGroup: 'sg-1',
    subnets: new Map([['us-east-1a', 'subnet-1']]),
    certificates: {},
    tags: new Map(),
    backupFailures: 0,
    ...changes,
  };
}

export function sampleHsm(n: number, changes: Partial<Hsm> = {}): Hsm {
  return {
    id: hsmId(n),
    clusterId: clusterId(1),
    state: 'ACTIVE',
    type: 'hsm2m.medium',
    availabilityZone: 'us-east-1a',
    subnetId: 'subnet-1',
    eniId: `eni-${n}`,
    eniIp: '10.0.0.1',
    createdAt: at(1_000 + n),
    takesWrites: true,
    ...changes,
  };
}

export const restoreId = (n: number): RestoreId => `restore-${tail(n)}` as RestoreId;

export function sampleRestore(n: number, changes: Partial<RestoreIn<'PREPARING'>> = {}) {
  return {
    id: restoreId(n),
    ...SCOPE,
    clusterId: clusterId(1),
    backupId: backupId(n),
    oldHsmId: hsmId(n),
    newHsmId: hsmId(n + 100),
    startedAt: at(1_000 + n),
    by: 'arn:aws:iam::000000000000:root',
    undoMs: 5,
    state: 'PREPARING',
    ...changes,
  } as const satisfies Restore;
}

type BackupFacts = Omit<Extract<Backup, { state: 'CREATE_IN_PROGRESS' }>, 'state'>;

function backupFacts(n: number, changes: Partial<BackupFacts>): BackupFacts {
  return {
    id: backupId(n),
    ...SCOPE,
    clusterId: clusterId(1),
    cause: 'scheduled',
    type: 'hsm2m.medium',
    mode: 'FIPS',
    createdAt: at(1_000 + n),
    neverExpires: false,
    holds: [],
    tags: new Map(),
    ...changes,
  };
}

export function unfinishedBackup(n: number, changes: Partial<BackupFacts> = {}): Backup {
  return { ...backupFacts(n, changes), state: 'CREATE_IN_PROGRESS' };
}

export function readyBackup(n: number, changes: Partial<BackupFacts> = {}): ReadyBackup {
  return { ...backupFacts(n, changes), state: 'READY', archive: sampleArchive(n), proof: PROOF };
}

export function pendingBackup(n: number, purgeAt: number, changes: Partial<BackupFacts> = {}) {
  return {
    ...readyBackup(n, changes),
    state: 'PENDING_DELETION',
    purgeAt: at(purgeAt),
    removal: { kind: 'asked', why: 'a test', by: 'keyark' },
  } as const satisfies Backup;
}

export function deletedBackup(n: number, changes: Partial<BackupFacts> = {}): Backup {
  return { ...backupFacts(n, changes), state: 'DELETED', deletedAt: at(5_000), why: 'a test' };
}

const DOMAIN = { vendor: 'vendor', line: 'line', owner: 'owner' };
const COUNTS = { users: 3, keys: 1_000, objects: 2, tombstones: 0 };
const PEM = `-----BEGIN CERTIFICATE-----\n${`${'A'.repeat(64)}\n`.repeat(14)}-----END CERTIFICATE-----\n`;
const HASH = '0'.repeat(64);
const SIGNED = {
  signature: 'B'.repeat(96),
  manufacturerHardwareCertificate: PEM,
  ownerHardwareCertificate: PEM,
};

function sampleArchive(n: number): SealedArchive {
  return {
    seal: {
      statement: {
        kind: 'keyark.seal.v1',
        backupId: backupId(n),
        clusterId: clusterId(1),
        incarnation: '0'.repeat(32),
        generation: n,
        domain: DOMAIN,
        epochs: { mkbk: 1, akbk: 1 },
        type: 'hsm2m.medium',
        mode: 'FIPS',
        counts: COUNTS,
        bodyBytes: 1_000,
        headerSha256: HASH,
        bodySha256: HASH,
        sealRecordSha256: HASH,
        stateDigest: HASH,
        serial: 'serial',
        codeSha256: HASH,
        sealedAt: at(1_000 + n),
      },
      ...SIGNED,
    },
    storedBytes: 1_234,
    storedBodySha256: HASH,
  };
}

const PROOF: Proof = {
  statement: {
    kind: 'keyark.proof.v1',
    claims: { backupId: backupId(1), storedBodySha256: HASH, storedBytes: 1_234, region: 'r' },
    opened: {
      stateDigest: HASH,
      counts: COUNTS,
      generation: 1,
      sealedIncarnation: '0'.repeat(32),
      incarnation: '0'.repeat(32),
      headerSha256: HASH,
      bodySha256: HASH,
      epochs: { mkbk: 1, akbk: 1 },
    },
    exercised: { passed: true, tried: [{ kind: 'aes', present: 1, tried: 1, failed: 0 }] },
    sealSignatureVerified: true,
    notExercised: [],
    drillSerial: 'drill',
    codeSha256: HASH,
    provenAt: at(2_000),
  },
  ...SIGNED,
};
