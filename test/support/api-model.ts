/**
 * AWS's own model of the API, as `aws-sdk` 2 ships it, with the published bounds, patterns and enumerations, which
 * that file leaves out: an independent word on what an answer may hold.
 * Every successful answer that a test gets goes through `checkAnswer`.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FACTS, type Fact, type FactName } from './published.ts';

interface ModelShape {
  readonly shape?: string;
  /** Text when there is none. */
  readonly type?: 'structure' | 'list' | 'map' | 'boolean' | 'integer' | 'timestamp';
  readonly members?: Readonly<Record<string, ModelShape>>;
  readonly required?: readonly string[];
  readonly member?: ModelShape;
  readonly value?: ModelShape;
}

interface Model {
  readonly operations: Readonly<Record<string, { readonly output: ModelShape }>>;
  readonly shapes: Readonly<Record<string, ModelShape>>;
}

const FILE = join(
  import.meta.dirname,
  '../../node_modules/aws-sdk/apis/cloudhsmv2-2017-04-28.min.json',
);
// The file is the SDK's own description of the service; a wrong guess about its form fails every test.
const MODEL = JSON.parse(readFileSync(FILE, 'utf8')) as Model;

export const MODELLED_OPERATIONS: readonly string[] = Object.keys(MODEL.operations);

/** Members that came after this SDK's last release, with their types. */
const NEWER: Readonly<Record<string, ModelShape>> = {
  NetworkType: {},
  EniIpV6: {},
  HsmTypeRollbackExpiration: { type: 'timestamp' },
};
/** `HsmType` of an HSM is newer too; of clusters and backups it is not. */
const NEWER_OF_HSMS: Readonly<Record<string, ModelShape>> = { HsmType: {} };

/** @throws AssertionError for a member that is unknown, missing or of another type. */
export function checkAnswer(operation: string, answer: unknown): void {
  const output = MODEL.operations[operation]?.output;
  assert.ok(output !== undefined, `${operation} is in no model`);
  check(output, answer, operation);
}

function check(given: ModelShape, value: unknown, path: string): void {
  const shape = given.shape === undefined ? given : MODEL.shapes[given.shape];
  assert.ok(shape !== undefined, `${path}: the model has no shape ${given.shape}`);
  switch (shape.type) {
    case 'structure':
      checkStructure(shape, value, path);
      return;
    case 'list':
      assert.ok(Array.isArray(value), `${path} is no list`);
      for (const [i, item] of value.entries()) check(shape.member ?? {}, item, `${path}[${i}]`);
      return;
    case 'map':
      for (const [key, item] of Object.entries(asRecord(value, path))) {
        checkText(FACTS.ExternalAz, key, path);
        checkText(FACTS.SubnetId, item, `${path}.${key}`);
      }
      return;
    case 'boolean':
      assert.equal(typeof value, 'boolean', path);
      return;
    case 'integer':
      assert.ok(Number.isInteger(value), path);
      return;
    case 'timestamp':
      checkTime(value, path);
      return;
    default:
      checkText(factOf(path), value, path);
  }
}

/** Texts of answers by the name of their member; the map of subnets has its own check. */
const TEXTS: Readonly<Record<string, FactName>> = {
  AvailabilityZone: 'ExternalAz',
  AwsHardwareCertificate: 'Cert',
  BackupArn: 'BackupArn',
  BackupId: 'BackupId',
  BackupPolicy: 'BackupPolicy',
  BackupState: 'BackupState',
  ClusterCertificate: 'Cert',
  ClusterCsr: 'Cert',
  ClusterId: 'ClusterId',
  EniId: 'EniId',
  EniIp: 'IpAddress',
  EniIpV6: 'IpV6Address',
  HsmCertificate: 'Cert',
  HsmId: 'HsmId',
  HsmType: 'HsmType',
  Key: 'TagKey',
  ManufacturerHardwareCertificate: 'Cert',
  Mode: 'ClusterMode',
  NetworkType: 'NetworkType',
  NextToken: 'NextToken',
  Policy: 'ResourcePolicy',
  ResourceArn: 'CloudHsmArn',
  SecurityGroup: 'SecurityGroup',
  SourceBackup: 'BackupId',
  // As it was asked for, id or ARN: a choice of ours.
  SourceBackupId: 'BackupArn',
  SourceCluster: 'ClusterId',
  SourceRegion: 'Region',
  State: 'ClusterState',
  StateMessage: 'StateMessage',
  SubnetId: 'SubnetId',
  Type: 'BackupRetentionType',
  Value: 'TagValue',
};

/** @throws AssertionError for a text that nobody wrote down: a new member needs its row. */
function factOf(path: string): Fact {
  if (/\bHsms?(\[\d+\])?\.State$/.test(path)) return FACTS.HsmState;
  if (path.endsWith('BackupRetentionPolicy.Value')) return FACTS.BackupRetentionValue;
  // Unlike the ids, the published pattern ends after one digit of many.
  if (path.endsWith('.VpcId')) return { pattern: 'vpc-[0-9a-f]{8,17}' };
  const name = TEXTS[path.slice(path.lastIndexOf('.') + 1)];
  assert.ok(name !== undefined, `${path} has no row in TEXTS`);
  return FACTS[name];
}

function checkText({ pattern, min = 0, max, oneOf }: Fact, value: unknown, path: string): void {
  assert.ok(typeof value === 'string', `${path}: ${JSON.stringify(value)}`);
  const length = [...value].length;
  assert.ok(length >= min && length <= (max ?? length), `${path} has ${length} characters`);
  assert.ok(oneOf?.includes(value) ?? true, `${path} is ${value}`);
  if (pattern === undefined) return;
  const whole = new RegExp(`^(?:${pattern})$`, pattern.includes('\\p') ? 'u' : '');
  assert.match(value, whole, path);
}

function checkStructure(shape: ModelShape, value: unknown, path: string): void {
  const members = { ...NEWER, ...(path.includes('Hsm') ? NEWER_OF_HSMS : {}), ...shape.members };
  const record = asRecord(value, path);
  for (const [name, item] of Object.entries(record)) {
    const member = members[name];
    assert.ok(member !== undefined, `${path}.${name} is in no model`);
    check(member, item, `${path}.${name}`);
  }
  for (const name of shape.required ?? []) assert.ok(name in record, `${path}.${name} is missing`);
}

/** Seconds with a millisecond fraction; anything before 2017 is another unit or a text. */
function checkTime(value: unknown, path: string): void {
  assert.ok(typeof value === 'number', `${path} is ${JSON.stringify(value)}, no number`);
  assert.ok(value > 1_500_000_000 && value < 4_000_000_000, `${path} is ${value}`);
  assert.equal(Math.round(value * 1_000), Number((value * 1_000).toFixed(3)), path);
}

function asRecord(value: unknown, path: string): Readonly<Record<string, unknown>> {
  assert.ok(typeof value === 'object' && value !== null && !Array.isArray(value), path);
  // Checked the line above; members stay unknown.
  return value as Readonly<Record<string, unknown>>;
}
