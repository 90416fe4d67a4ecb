/**
 * What sealing HSM and drill HSM say of one backup, and how the drill judges the sealer's word: it
 * builds the statement anew from what it opened itself and compares the whole, so that no field can be
 * forgotten.
 */
import { signStatement, verifyStatement } from '../crypto/sign.ts';
import { checkIssued, readCertificate } from '../crypto/x509.ts';
import { canonicalJson } from '../kernel/canonical-json.ts';
import { assert, Refused } from '../kernel/errors.ts';
import type { BackupId, ClusterId } from '../kernel/ids.ts';
import type { EpochMs, JsonObject } from '../kernel/types.ts';
import type { DeviceRecord } from './device-record.ts';
import { deviceKey, sameSubjectAndKey } from './identity.ts';
import type {
  Counts,
  ExerciseOutcome,
  OpenOutcome,
  RestoreDomain,
  SealStatement,
} from './protocol.ts';
import type { Partition } from './state.ts';

/** What the drill saw with its own eyes. */
export interface OpenedArchiveFacts {
  readonly backupId: BackupId;
  readonly outcome: OpenOutcome;
  /** As sealed, before it became this HSM's. */
  readonly partition: Partition;
  readonly domain: RestoreDomain;
  readonly bodyBytes: number;
  readonly sealRecordSha256: string;
}

export interface GivenSeal {
  readonly statement: JsonObject;
  readonly signature: string;
  readonly manufacturerHardwareCertificate: string;
  readonly ownerHardwareCertificate: string;
}

/** Said of every proof: a drill does not show these. */
const NEVER_EXERCISED = [
  'the platter: the drill read the backup through the storage, once',
  'passwords: verifiers were restored and compared, nobody logged in',
  'generic secrets: they have no counterpart to be checked against',
] as const;

/**
 * @throws Refused `InvalidRequest` when the seal is not the one that was opened, or is not signed by a
 *   device of this maker and owner; CryptoError `CERTIFICATE`.
 */
export function checkSeal(
  seal: GivenSeal,
  opened: OpenedArchiveFacts,
  trust: { makerRoot: string; ownerRoot: string },
): void {
  const { manufacturerHardwareCertificate: maker, ownerHardwareCertificate: owner } = seal;
  checkIssued(maker, trust.makerRoot);
  checkIssued(owner, trust.ownerRoot);
  if (!sameSubjectAndKey(maker, owner)) {
    throw new Refused('InvalidRequest', 'The hardware certificates are of two devices.');
  }
  if (!verifyStatement(readCertificate(maker).publicKey, seal.statement, seal.signature)) {
    throw new Refused('InvalidRequest', 'The seal is not signed by the device that it names.');
  }
  // What only the sealer can know is taken from its word; everything else is this HSM's own.
  const { serial, codeSha256, sealedAt } = seal.statement;
  const expected: JsonObject = { ...statementOf(opened), serial, codeSha256, sealedAt };
  if (canonicalJson(expected) !== canonicalJson(seal.statement)) {
    throw new Refused('InvalidRequest', 'The seal does not describe the backup that was opened.');
  }
}

function statementOf(opened: OpenedArchiveFacts): JsonObject {
  const { backupId, outcome, partition, domain, bodyBytes, sealRecordSha256 } = opened;
  const statement = sealStatement({
    backupId,
    partition,
    domain,
    epochs: outcome.epochs,
    generation: outcome.generation,
    counts: outcome.counts,
    bodyBytes,
    headerSha256: outcome.headerSha256,
    bodySha256: outcome.bodySha256,
    sealRecordSha256,
    stateDigest: outcome.stateDigest,
    serial: '',
    codeSha256: '',
    // Replaced by the sealer's word.
    sealedAt: 0 as EpochMs,
  });
  return asJson(statement);
}

export type SealFacts = Omit<
  SealStatement,
  'kind' | 'clusterId' | 'incarnation' | 'type' | 'mode'
> & { readonly partition: Partition };

/** One maker for both sides, so that sealer and drill can't spell it differently. */
export function sealStatement({ partition, ...facts }: SealFacts): SealStatement {
  const { incarnation, type, mode } = partition;
  // The partition's cluster id was parsed when it was certified or opened.
  const clusterId = partition.clusterId as ClusterId;
  return { kind: 'keyark.seal.v1', clusterId, incarnation, type, mode, ...facts };
}

export function notExercised(
  { tried }: ExerciseOutcome,
  { tombstones, objects }: Counts,
): readonly string[] {
  const untried = tried
    .filter((row) => row.tried < row.present)
    .map((row) => `${row.kind}: ${row.present - row.tried} of ${row.present} keys`);
  const still =
    objects + tombstones > 0 ? ['certificates, data and tombstones: compared only'] : [];
  return [...untried, ...still, ...NEVER_EXERCISED];
}

/** The device's word, with the certificates of both who vouch for it. */
export function signedBy<Statement extends object>(device: DeviceRecord, statement: Statement) {
  assert(device.maker !== null && device.owner !== null, 'only an enrolled device signs');
  return {
    statement,
    signature: signStatement(deviceKey(device), asJson(statement)),
    manufacturerHardwareCertificate: device.maker.hardwareCertificate,
    ownerHardwareCertificate: device.owner.hardwareCertificate,
  };
}

/** Statements are plain data: numbers, texts and objects of them. */
export function asJson(statement: object): JsonObject {
  // Interfaces have no index signature; their members here are JSON by their types.
  return statement as JsonObject;
}
