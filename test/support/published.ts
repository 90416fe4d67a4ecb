/**
 * What AWS publishes of the API's shapes, as facts: bounds, patterns, enumerations, filter names, errors. Written
 * from the public model and apart from `src/api/shapes.ts`, so that a wrong bound there has somebody to contradict
 * it on every machine; `published.test.ts` compares both with each other, with the models that the SDKs ship, and
 * with botocore's where it is installed. Patterns are spelled as the model spells them, without its anchors.
 */
export interface Fact {
  readonly pattern?: string;
  readonly min?: number;
  readonly max?: number;
  readonly oneOf?: readonly string[];
}

const TAIL = '[2-7a-zA-Z]{11,16}';
const PLACE = '(east|west|north|south|central){1,2}';
const ARN = `arn:aws(-(us-gov))?:cloudhsm:([a-z]{2}(-(gov|isob|iso))?-${PLACE}-[0-9]{1}):[0-9]{12}:`;
const TAG = '([\\p{L}\\p{Z}\\p{N}_.:/=+\\-@]*)';

/** By the model's own names. */
export const FACTS = {
  BackupArn: { pattern: `(${ARN}backup/)?backup-${TAIL}` },
  BackupId: { pattern: `backup-${TAIL}` },
  BackupPolicy: { oneOf: ['DEFAULT'] },
  BackupRetentionType: { oneOf: ['DAYS'] },
  BackupRetentionValue: { pattern: '[0-9]+', min: 1, max: 3 },
  BackupState: { oneOf: ['CREATE_IN_PROGRESS', 'READY', 'DELETED', 'PENDING_DELETION'] },
  BackupsMaxSize: { min: 1, max: 50 },
  Boolean: {},
  Cert: { pattern: '[a-zA-Z0-9+-/=\\s]*', max: 20_000 },
  CloudHsmArn: { pattern: `${ARN}(backup/backup|cluster/cluster|hsm/hsm)-${TAIL}` },
  ClusterId: { pattern: `cluster-${TAIL}` },
  ClusterMode: { oneOf: ['FIPS', 'NON_FIPS'] },
  ClusterState: {
    oneOf: [
      'CREATE_IN_PROGRESS',
      'UNINITIALIZED',
      'INITIALIZE_IN_PROGRESS',
      'INITIALIZED',
      'ACTIVE',
      'UPDATE_IN_PROGRESS',
      'MODIFY_IN_PROGRESS',
      'ROLLBACK_IN_PROGRESS',
      'DELETE_IN_PROGRESS',
      'DELETED',
      'DEGRADED',
    ],
  },
  ClustersMaxSize: { min: 1, max: 25 },
  EniId: { pattern: 'eni-[0-9a-fA-F]{8,17}' },
  ExternalAz: { pattern: `[a-z]{2}(-(gov))?-${PLACE}-\\d[a-z]` },
  HsmId: { pattern: `hsm-${TAIL}` },
  HsmState: {
    oneOf: ['CREATE_IN_PROGRESS', 'ACTIVE', 'DEGRADED', 'DELETE_IN_PROGRESS', 'DELETED'],
  },
  HsmType: { pattern: '((p|)hsm[0-9][a-z.]*\\.[a-zA-Z]+)', max: 32 },
  IpAddress: { pattern: '\\d{1,3}\\.\\d{1,3}\\.\\d{1,3}\\.\\d{1,3}' },
  IpV6Address: { max: 100 },
  MaxSize: { min: 1, max: 100 },
  NetworkType: { oneOf: ['IPV4', 'DUALSTACK'] },
  NextToken: { pattern: '.*', max: 256 },
  Region: { pattern: `[a-z]{2}(-(gov))?-${PLACE}-\\d` },
  ResourceId: { pattern: `(?:cluster|backup)-${TAIL}` },
  ResourcePolicy: { min: 1, max: 20_000 },
  SecurityGroup: { pattern: 'sg-[0-9a-fA-F]{8,17}' },
  StateMessage: { pattern: '.*', max: 300 },
  SubnetId: { pattern: 'subnet-[0-9a-fA-F]{8,17}' },
  SubnetIds: { min: 1, max: 10 },
  TagKey: { pattern: TAG, min: 1, max: 128 },
  TagKeyList: { min: 1, max: 50 },
  TagList: { min: 1, max: 50 },
  TagValue: { pattern: TAG, max: 256 },
  VpcId: { pattern: 'vpc-[0-9a-fA-F]' },
} as const satisfies Record<string, Fact>;
export type FactName = keyof typeof FACTS;

interface Operation {
  /** Beyond the four that every operation lists: N not found, T tags, L limit. */
  readonly errors: '' | 'N' | 'T' | 'NT' | 'NTL';
  /** `*` for required; a structure's members and a list's items by dots and brackets. */
  readonly members: Readonly<Record<string, FactName>>;
  /** By the members' texts: the model itself names none. */
  readonly filters?: readonly string[];
}

const RETENTION = {
  'BackupRetentionPolicy.Type': 'BackupRetentionType',
  'BackupRetentionPolicy.Value': 'BackupRetentionValue',
} as const;
const TAGS = { 'TagList[].Key*': 'TagKey', 'TagList[].Value*': 'TagValue' } as const;

export const PUBLISHED = {
  CopyBackupToRegion: {
    errors: 'NT',
    members: {
      'DestinationRegion*': 'Region',
      'BackupId*': 'BackupId',
      TagList: 'TagList',
      ...TAGS,
    },
  },
  CreateCluster: {
    errors: 'NT',
    members: {
      'HsmType*': 'HsmType',
      'SubnetIds*': 'SubnetIds',
      'SubnetIds[]': 'SubnetId',
      SourceBackupId: 'BackupArn',
      Mode: 'ClusterMode',
      NetworkType: 'NetworkType',
      TagList: 'TagList',
      ...TAGS,
      ...RETENTION,
    },
  },
  CreateHsm: {
    errors: 'N',
    members: {
      'ClusterId*': 'ClusterId',
      'AvailabilityZone*': 'ExternalAz',
      IpAddress: 'IpAddress',
    },
  },
  DeleteBackup: { errors: 'N', members: { 'BackupId*': 'BackupId' } },
  DeleteCluster: { errors: 'NT', members: { 'ClusterId*': 'ClusterId' } },
  DeleteHsm: {
    errors: 'N',
    members: { 'ClusterId*': 'ClusterId', HsmId: 'HsmId', EniId: 'EniId', EniIp: 'IpAddress' },
  },
  DeleteResourcePolicy: { errors: 'N', members: { ResourceArn: 'CloudHsmArn' } },
  DescribeBackups: {
    errors: 'NT',
    members: {
      MaxResults: 'BackupsMaxSize',
      NextToken: 'NextToken',
      Shared: 'Boolean',
      SortAscending: 'Boolean',
    },
    filters: ['backupIds', 'sourceBackupIds', 'clusterIds', 'states', 'neverExpires'],
  },
  DescribeClusters: {
    errors: 'T',
    members: { MaxResults: 'ClustersMaxSize', NextToken: 'NextToken' },
    filters: ['clusterIds', 'vpcIds', 'states'],
  },
  GetResourcePolicy: { errors: 'N', members: { ResourceArn: 'CloudHsmArn' } },
  InitializeCluster: {
    errors: 'N',
    members: { 'ClusterId*': 'ClusterId', 'SignedCert*': 'Cert', 'TrustAnchor*': 'Cert' },
  },
  ListTags: {
    errors: 'NT',
    members: { 'ResourceId*': 'ResourceId', MaxResults: 'MaxSize', NextToken: 'NextToken' },
  },
  ModifyBackupAttributes: {
    errors: 'N',
    members: { 'BackupId*': 'BackupId', 'NeverExpires*': 'Boolean' },
  },
  ModifyCluster: {
    errors: 'N',
    members: { 'ClusterId*': 'ClusterId', HsmType: 'HsmType', ...RETENTION },
  },
  PutResourcePolicy: {
    errors: 'N',
    members: { ResourceArn: 'CloudHsmArn', Policy: 'ResourcePolicy' },
  },
  RestoreBackup: { errors: 'N', members: { 'BackupId*': 'BackupId' } },
  TagResource: {
    errors: 'NTL',
    members: { 'ResourceId*': 'ResourceId', 'TagList*': 'TagList', ...TAGS },
  },
  UntagResource: {
    errors: 'NT',
    members: {
      'ResourceId*': 'ResourceId',
      'TagKeyList*': 'TagKeyList',
      'TagKeyList[]': 'TagKey',
    },
  },
} as const satisfies Record<string, Operation>;

/** What the values of each filter are. */
export const FILTER_FACTS: Readonly<Record<string, Readonly<Record<string, FactName>>>> = {
  DescribeBackups: {
    backupIds: 'BackupId',
    sourceBackupIds: 'BackupId',
    clusterIds: 'ClusterId',
    states: 'BackupState',
  },
  DescribeClusters: { clusterIds: 'ClusterId', vpcIds: 'VpcId', states: 'ClusterState' },
};
