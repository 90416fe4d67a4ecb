/**
 * What a request needs to be allowed: one row an operation, with the actions and where in the request the
 * resources are named. Section by section as AWS's authorisation reference; our own operations follow one
 * rule, so that a new one is never without.
 */
import type { Wish } from '../access/authorize.ts';
import { readResourcePolicy } from '../access/shared.ts';
import { resourceArn } from '../aws/arn.ts';
import type { Catalog, Scope } from '../catalog/catalog.ts';
import type { BackupId, ClusterId } from '../kernel/ids.ts';
import type { OperationName, RequestOf } from './shapes.ts';

/** An action and the ARN it is done to, or `*`. */
export type Need = readonly [action: string, resource: string];

interface Row<Name extends OperationName> {
  readonly isReadOnly: boolean;
  /** Besides the operation's own action on the operation's own resources. */
  readonly resource: (request: RequestOf<Name>, scope: Scope) => string;
  readonly more?: (request: RequestOf<Name>, scope: Scope) => readonly Need[];
}

const cluster = ({ ClusterId: id }: { readonly ClusterId: string }, scope: Scope): string =>
  resourceArn(scope, 'cluster', id);
const backup = ({ BackupId: id }: { readonly BackupId: string }, scope: Scope): string =>
  resourceArn(scope, 'backup', id);
const either = ({ ResourceId: id }: { readonly ResourceId: string }, scope: Scope): string =>
  resourceArn(scope, id.startsWith('backup-') ? 'backup' : 'cluster', id);
const named = ({ ResourceArn: arn }: { readonly ResourceArn?: string }): string => arn ?? '*';
const none = (): string => '*';

const ROWS: { readonly [Name in OperationName]: Row<Name> } = {
  CreateCluster: {
    isReadOnly: false,
    resource: ({ SourceBackupId: source }, scope) => {
      if (source === undefined) return '*';
      return source.startsWith('arn:') ? source : resourceArn(scope, 'backup', source);
    },
    more: ({ TagList }, scope) =>
      TagList === undefined ? [] : [['cloudhsm:TagResource', resourceArn(scope, 'cluster', '*')]],
  },
  DescribeClusters: { isReadOnly: true, resource: none },
  InitializeCluster: { isReadOnly: false, resource: cluster },
  ModifyCluster: { isReadOnly: false, resource: cluster },
  DeleteCluster: { isReadOnly: false, resource: cluster },
  CreateHsm: { isReadOnly: false, resource: cluster },
  DeleteHsm: { isReadOnly: false, resource: none },
  DescribeBackups: { isReadOnly: true, resource: none },
  DeleteBackup: { isReadOnly: false, resource: backup },
  RestoreBackup: { isReadOnly: false, resource: backup },
  ModifyBackupAttributes: { isReadOnly: false, resource: backup },
  CopyBackupToRegion: {
    isReadOnly: false,
    resource: backup,
    more: ({ TagList, DestinationRegion }, scope) => {
      const copies = resourceArn({ ...scope, region: DestinationRegion }, 'backup', '*');
      return TagList === undefined
        ? []
        : [
            ['cloudhsm:TagResource', copies],
            ['cloudhsm:UntagResource', copies],
          ];
    },
  },
  TagResource: { isReadOnly: false, resource: either },
  UntagResource: { isReadOnly: false, resource: either },
  ListTags: { isReadOnly: true, resource: either },
  PutResourcePolicy: { isReadOnly: false, resource: named },
  GetResourcePolicy: { isReadOnly: true, resource: named },
  DeleteResourcePolicy: { isReadOnly: false, resource: named },
};

export interface Needs {
  readonly isReadOnly: boolean;
  readonly needs: readonly Need[];
  readonly requestTags: ReadonlyMap<string, string>;
  readonly tagKeys: readonly string[] | undefined;
}

/** @param request as the operation's shape let it through. */
export function awsNeeds(name: OperationName, request: object, scope: Scope): Needs {
  // One row of a table whose rows fit their own shape: request and row belong together by name.
  const row = ROWS[name] as Row<OperationName>;
  const typed = request as RequestOf<OperationName>;
  const own: Need = [`cloudhsm:${name}`, row.resource(typed, scope)];
  return {
    isReadOnly: row.isReadOnly,
    needs: [own, ...(row.more?.(typed, scope) ?? [])],
    ...tagsIn(request),
  };
}

/** Our own operations that change nothing; the trail and the read-only policies go by the same names. */
const READS = /^(Describe|List|Lookup|Forecast|Get(?!SessionToken))/;
const RESOURCE_ID = /^(cluster|backup)-[2-7a-zA-Z]{11,16}$/;

/**
 * Every cluster, backup and user that the request names, whatever the member is called; `*` when it names
 * none. Of a user who is not named the resource is the caller himself.
 */
export function nativeNeeds(
  name: string,
  request: object,
  caller: Scope & { readonly principal: string },
): Needs {
  const action = `keyark:${name}`;
  const found = new Set<string>();
  for (const [member, value] of Object.entries(request)) {
    if (member === 'UserName' && typeof value === 'string') {
      found.add(`arn:aws:iam::${caller.account}:user/${value}`);
    }
    for (const text of Array.isArray(value) ? value : [value]) {
      const arn = typeof text === 'string' ? resourceNamed(text, caller) : undefined;
      if (arn === undefined) continue;
      const isOthers = arn.split(':')[4] !== caller.account;
      found.add(isOthers && CALLERS_LIST.has(name) ? '*' : arn);
    }
  }
  if (found.size === 0 && CALLERS_OWN.has(name)) found.add(caller.principal);
  return {
    isReadOnly: READS.test(name),
    needs: found.size === 0 ? [[action, '*']] : [...found].map((arn) => [action, arn]),
    ...tagsIn(request),
  };
}

const CALLERS_OWN = new Set(['CreateAccessKey', 'ListAccessKeys', 'GetSessionToken']);
/** What others share is named by their ARN, but it is the caller's own list that changes. */
const CALLERS_LIST = new Set(['AcceptShare', 'RemoveShare']);

function resourceNamed(text: string, scope: Scope): string | undefined {
  if (/^arn:aws(-us-gov)?:cloudhsm:/.test(text)) return text;
  const kind = RESOURCE_ID.exec(text)?.[1];
  if (kind !== 'cluster' && kind !== 'backup') return undefined;
  return resourceArn(scope, kind, text);
}

function tagsIn(request: object): Pick<Needs, 'requestTags' | 'tagKeys'> {
  const { TagList, TagKeyList } = { TagList: undefined, TagKeyList: undefined, ...request };
  if (TagList !== undefined) {
    // The shape of every TagList: checked before.
    const tags = new Map(
      (TagList as readonly { Key: string; Value: string }[]).map(({ Key, Value }) => [Key, Value]),
    );
    return { requestTags: tags, tagKeys: [...tags.keys()] };
  }
  // The shape of every TagKeyList, as above.
  return { requestTags: new Map(), tagKeys: TagKeyList as readonly string[] | undefined };
}

/** What is known of the resources now, before anything happens. Of one that does not exist, nothing. */
export function wishesOf(needs: readonly Need[], catalog: Catalog): readonly Wish[] {
  return needs.map(([action, resource]) => ({ action, resource, ...factsOf(resource, catalog) }));
}

function factsOf(arn: string, catalog: Catalog): Pick<Wish, 'resourceTags' | 'resourcePolicy'> {
  const [, region, account, kind, id] =
    /^arn:[^:]+:cloudhsm:([^:]+):(\d{12}):(cluster|backup)\/(.+)$/.exec(arn) ?? [];
  if (id === undefined) return {};
  return catalog.read((reader) => {
    // Ids in ARNs went through the shapes' patterns, which are those of the brands.
    const found =
      kind === 'cluster' ? reader.cluster(id as ClusterId) : reader.backup(id as BackupId);
    if (found === undefined || found.account !== account || found.region !== region) return {};
    const policy = readResourcePolicy('policy' in found ? found.policy : undefined);
    return {
      resourceTags: found.tags,
      ...(policy === undefined ? {} : { resourcePolicy: policy }),
    };
  });
}
