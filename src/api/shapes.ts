/**
 * What each operation accepts, as data: members, types, lengths, patterns, enumerations. `validate.ts`
 * interprets it, `operations.ts` and the command line get their request types from it.
 *
 * Patterns hold for the whole text. `example` is what a refusal shows as something that would work.
 */

export interface TextShape {
  readonly kind: 'text';
  /** For people: `a cluster id`. */
  readonly what: string;
  readonly example: string;
  readonly pattern?: RegExp;
  /** In characters (code points). */
  readonly min?: number;
  readonly max?: number;
  readonly oneOf?: readonly string[];
  /** Not worth repeating to the caller, or too long. */
  readonly isQuoted?: false;
}
export interface IntegerShape {
  readonly kind: 'integer';
  readonly min: number;
  readonly max: number;
}
export interface BooleanShape {
  readonly kind: 'boolean';
}
export interface ListShape {
  readonly kind: 'list';
  readonly of: Shape;
  readonly min: number;
  readonly max: number;
}
/** Known names only; each value is a list. */
export interface FiltersShape {
  readonly kind: 'filters';
  readonly names: Readonly<Record<string, Shape>>;
}
export interface StructureShape {
  readonly kind: 'structure';
  readonly members: Readonly<Record<string, Member>>;
}
export interface Member {
  readonly shape: Shape;
  readonly isRequired?: true;
}
export type Shape =
  | TextShape
  | IntegerShape
  | BooleanShape
  | ListShape
  | FiltersShape
  | StructureShape;

/** The TypeScript type of what passed the check. */
export type ValueOf<S> = S extends { kind: 'text'; oneOf: readonly (infer Choice)[] }
  ? Choice
  : S extends { kind: 'text' }
    ? string
    : S extends { kind: 'integer' }
      ? number
      : S extends { kind: 'boolean' }
        ? boolean
        : S extends { kind: 'list'; of: infer Item }
          ? readonly ValueOf<Item>[]
          : S extends { kind: 'filters'; names: infer Names }
            ? { readonly [Name in keyof Names]?: ValueOf<Names[Name]> }
            : S extends { kind: 'structure'; members: infer Members }
              ? {
                  readonly [Name in keyof Members as Members[Name] extends { isRequired: true }
                    ? Name
                    : never]: Members[Name] extends { shape: infer Inner } ? ValueOf<Inner> : never;
                } & {
                  readonly [Name in keyof Members as Members[Name] extends { isRequired: true }
                    ? never
                    : Name]?: Members[Name] extends { shape: infer Inner } ? ValueOf<Inner> : never;
                }
              : never;

const ID_TAIL = '[2-7a-zA-Z]{11,16}';
const REGION = '[a-z]{2}(?:-gov)?-(?:east|west|north|south|central){1,2}-\\d';
const ARN_START =
  'arn:aws(?:-us-gov)?:cloudhsm:[a-z]{2}(?:-(?:gov|isob|iso))?-(?:east|west|north|south|central){1,2}-\\d:\\d{12}:';

export const clusterId = {
  kind: 'text',
  what: 'a cluster id',
  example: 'cluster-keyark2ab3cd4ef5',
  pattern: new RegExp(`^cluster-${ID_TAIL}$`),
} as const satisfies Shape;
export const hsmId = {
  kind: 'text',
  what: 'an HSM id',
  example: 'hsm-keyark2ab3cd4ef5',
  pattern: new RegExp(`^hsm-${ID_TAIL}$`),
} as const satisfies Shape;
export const backupId = {
  kind: 'text',
  what: 'a backup id',
  example: 'backup-keyark2ab3cd4ef5',
  pattern: new RegExp(`^backup-${ID_TAIL}$`),
} as const satisfies Shape;
export const backupReference = {
  kind: 'text',
  what: 'a backup id or ARN',
  example: 'backup-keyark2ab3cd4ef5',
  pattern: new RegExp(`^(?:${ARN_START}backup/)?backup-${ID_TAIL}$`),
} as const satisfies Shape;
const resourceId = {
  kind: 'text',
  what: 'a cluster or backup id',
  example: 'cluster-keyark2ab3cd4ef5',
  pattern: new RegExp(`^(?:cluster|backup)-${ID_TAIL}$`),
} as const satisfies Shape;
const resourceArn = {
  kind: 'text',
  what: 'an ARN of this service',
  example: 'arn:aws:cloudhsm:us-east-1:000012345678:backup/backup-keyark2ab3cd4ef5',
  pattern: new RegExp(`^${ARN_START}(?:backup/backup|cluster/cluster|hsm/hsm)-${ID_TAIL}$`),
} as const satisfies Shape;
const eniId = {
  kind: 'text',
  what: 'a network interface id',
  example: 'eni-0123456789abcdef0',
  pattern: /^eni-[0-9a-fA-F]{8,17}$/,
} as const satisfies Shape;
const subnetId = {
  kind: 'text',
  what: 'a subnet id',
  example: 'subnet-0123456789abcdef0',
  pattern: /^subnet-[0-9a-fA-F]{8,17}$/,
} as const satisfies Shape;
const vpcId = {
  kind: 'text',
  what: 'a VPC id',
  example: 'vpc-0123456789abcdef0',
  pattern: /^vpc-[0-9a-fA-F]{1,17}$/,
} as const satisfies Shape;
export const region = {
  kind: 'text',
  what: 'a region',
  example: 'eu-central-1',
  pattern: new RegExp(`^${REGION}$`),
} as const satisfies Shape;
const availabilityZone = {
  kind: 'text',
  what: 'an availability zone',
  example: 'eu-central-1a',
  pattern: new RegExp(`^${REGION}[a-z]$`),
} as const satisfies Shape;
const ipAddress = {
  kind: 'text',
  what: 'an IPv4 address',
  example: '10.0.1.17',
  pattern: /^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$/,
} as const satisfies Shape;
const hsmType = {
  kind: 'text',
  what: 'an HSM type',
  example: 'hsm2m.medium',
  max: 32,
  pattern: /^p?hsm[0-9][a-z.]*\.[a-zA-Z]+$/,
} as const satisfies Shape;
const mode = {
  kind: 'text',
  what: 'a cluster mode',
  example: 'FIPS',
  oneOf: ['FIPS', 'NON_FIPS'],
} as const satisfies Shape;
const networkType = {
  kind: 'text',
  what: 'a network type',
  example: 'IPV4',
  oneOf: ['IPV4', 'DUALSTACK'],
} as const satisfies Shape;
const certificate = {
  kind: 'text',
  what: 'a certificate in PEM without text before it',
  example: '-----BEGIN CERTIFICATE-----…',
  max: 20_000,
  // `+-/` is a range on purpose: it admits the comma and the dot, and with the dash PEM's own lines.
  pattern: /^[a-zA-Z0-9+-/=\s]*$/,
  isQuoted: false,
} as const satisfies Shape;
const resourcePolicy = {
  kind: 'text',
  what: 'a policy document',
  example: '{"Version":"2012-10-17","Statement":[]}',
  min: 1,
  max: 20_000,
  isQuoted: false,
} as const satisfies Shape;
const retentionPolicy = {
  kind: 'structure',
  members: {
    Type: {
      shape: { kind: 'text', what: 'a retention type', example: 'DAYS', oneOf: ['DAYS'] },
    },
    Value: {
      shape: {
        kind: 'text',
        what: 'a number of days, written as text',
        example: '90',
        min: 1,
        max: 3,
        pattern: /^[0-9]+$/,
      },
    },
  },
} as const satisfies Shape;
const nextToken = {
  kind: 'text',
  what: 'a token from the previous answer',
  example: 'the NextToken as it was given',
  max: 256,
  pattern: /^.*$/,
} as const satisfies Shape;
const tagKey = {
  kind: 'text',
  what: 'a tag key',
  example: 'team',
  min: 1,
  max: 128,
  pattern: /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u,
} as const satisfies Shape;
const tagValue = {
  kind: 'text',
  what: 'a tag value',
  example: 'payments',
  max: 256,
  pattern: /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u,
} as const satisfies Shape;
export const tagList = {
  kind: 'list',
  min: 1,
  max: 50,
  of: {
    kind: 'structure',
    members: {
      Key: { shape: tagKey, isRequired: true },
      Value: { shape: tagValue, isRequired: true },
    },
  },
} as const satisfies Shape;
const boolean = { kind: 'boolean' } as const satisfies Shape;
const maxResults = (max: number) => ({ kind: 'integer', min: 1, max }) as const;

/** AWS names no bound for a filter's values; ours keeps one question one small query, as the catalog does. */
const MAX_FILTER_VALUES = 100;
const anyOf = <const Item extends Shape>(
  of: Item,
): { readonly kind: 'list'; readonly of: Item; readonly min: 1; readonly max: number } => ({
  kind: 'list',
  of,
  min: 1,
  max: MAX_FILTER_VALUES,
});

const clusterFilters = {
  kind: 'filters',
  names: {
    clusterIds: anyOf(clusterId),
    vpcIds: anyOf(vpcId),
    states: anyOf({
      kind: 'text',
      what: 'a cluster state',
      example: 'ACTIVE',
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
    }),
  },
} as const satisfies Shape;
const backupFilters = {
  kind: 'filters',
  names: {
    backupIds: anyOf(backupId),
    sourceBackupIds: anyOf(backupId),
    clusterIds: anyOf(clusterId),
    states: anyOf({
      kind: 'text',
      what: 'a backup state',
      example: 'READY',
      oneOf: ['CREATE_IN_PROGRESS', 'READY', 'DELETED', 'PENDING_DELETION'],
    }),
    neverExpires: anyOf({
      kind: 'text',
      what: 'true or false, written as text',
      example: 'true',
      oneOf: ['true', 'false'],
    }),
  },
} as const satisfies Shape;

const required = <const S extends Shape>(
  shape: S,
): { readonly shape: S; readonly isRequired: true } => ({
  shape,
  isRequired: true,
});
const optional = <const S extends Shape>(shape: S): { readonly shape: S } => ({ shape });
const structure = <const Members extends Readonly<Record<string, Member>>>(
  members: Members,
): { readonly kind: 'structure'; readonly members: Members } => ({ kind: 'structure', members });

/** Errors that not every operation may answer with; the other four it may. */
type ListedError = 'NotFound' | 'Tag' | 'Limit';

export interface OperationShape {
  readonly input: StructureShape;
  readonly errors: readonly ListedError[];
}

// No `satisfies` here: its contextual type would widen what `structure` infers. Users of the table
// take its rows as `OperationShape`, which checks the same.
export const OPERATIONS = {
  CreateCluster: {
    errors: ['NotFound', 'Tag'],
    input: structure({
      HsmType: required(hsmType),
      SubnetIds: required({ kind: 'list', of: subnetId, min: 1, max: 10 }),
      SourceBackupId: optional(backupReference),
      BackupRetentionPolicy: optional(retentionPolicy),
      Mode: optional(mode),
      NetworkType: optional(networkType),
      TagList: optional(tagList),
    }),
  },
  DescribeClusters: {
    errors: ['Tag'],
    input: structure({
      Filters: optional(clusterFilters),
      MaxResults: optional(maxResults(25)),
      NextToken: optional(nextToken),
    }),
  },
  InitializeCluster: {
    errors: ['NotFound'],
    input: structure({
      ClusterId: required(clusterId),
      SignedCert: required(certificate),
      TrustAnchor: required(certificate),
    }),
  },
  ModifyCluster: {
    errors: ['NotFound'],
    input: structure({
      ClusterId: required(clusterId),
      BackupRetentionPolicy: optional(retentionPolicy),
      HsmType: optional(hsmType),
    }),
  },
  DeleteCluster: {
    errors: ['NotFound', 'Tag'],
    input: structure({ ClusterId: required(clusterId) }),
  },
  CreateHsm: {
    errors: ['NotFound'],
    input: structure({
      ClusterId: required(clusterId),
      AvailabilityZone: required(availabilityZone),
      IpAddress: optional(ipAddress),
    }),
  },
  DeleteHsm: {
    errors: ['NotFound'],
    input: structure({
      ClusterId: required(clusterId),
      HsmId: optional(hsmId),
      EniId: optional(eniId),
      EniIp: optional(ipAddress),
    }),
  },
  DescribeBackups: {
    errors: ['NotFound', 'Tag'],
    input: structure({
      Filters: optional(backupFilters),
      Shared: optional(boolean),
      SortAscending: optional(boolean),
      MaxResults: optional(maxResults(50)),
      NextToken: optional(nextToken),
    }),
  },
  DeleteBackup: { errors: ['NotFound'], input: structure({ BackupId: required(backupId) }) },
  RestoreBackup: { errors: ['NotFound'], input: structure({ BackupId: required(backupId) }) },
  ModifyBackupAttributes: {
    errors: ['NotFound'],
    input: structure({ BackupId: required(backupId), NeverExpires: required(boolean) }),
  },
  CopyBackupToRegion: {
    errors: ['NotFound', 'Tag'],
    input: structure({
      DestinationRegion: required(region),
      BackupId: required(backupId),
      TagList: optional(tagList),
    }),
  },
  TagResource: {
    errors: ['NotFound', 'Tag', 'Limit'],
    input: structure({ ResourceId: required(resourceId), TagList: required(tagList) }),
  },
  UntagResource: {
    errors: ['NotFound', 'Tag'],
    input: structure({
      ResourceId: required(resourceId),
      TagKeyList: required({ kind: 'list', of: tagKey, min: 1, max: 50 }),
    }),
  },
  ListTags: {
    errors: ['NotFound', 'Tag'],
    input: structure({
      ResourceId: required(resourceId),
      MaxResults: optional(maxResults(100)),
      NextToken: optional(nextToken),
    }),
  },
  PutResourcePolicy: {
    errors: ['NotFound'],
    input: structure({
      ResourceArn: optional(resourceArn),
      Policy: optional(resourcePolicy),
    }),
  },
  GetResourcePolicy: {
    errors: ['NotFound'],
    input: structure({ ResourceArn: optional(resourceArn) }),
  },
  DeleteResourcePolicy: {
    errors: ['NotFound'],
    input: structure({ ResourceArn: optional(resourceArn) }),
  },
} as const;

export type OperationName = keyof typeof OPERATIONS;
export type RequestOf<Name extends OperationName> = ValueOf<(typeof OPERATIONS)[Name]['input']>;
