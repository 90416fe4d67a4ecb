/** The trail for who may see it: an account sees its own part, in the region it asks in; the owner sees all. */
import type { SignedCaller } from '../access/caller.ts';
import type { Head } from '../audit/chain.ts';
import type { TrailPage, TrailQuery } from '../audit/lookup.ts';
import type { TrailState } from '../audit/trail.ts';
import { Refused } from '../kernel/errors.ts';
import type { JsonObject } from '../kernel/types.ts';
import type { OperationShape, ValueOf } from './shapes.ts';

/** What looks into the trail. */
export interface AuditFaces {
  lookup(query: TrailQuery, page: { limit: number; nextToken?: string }): Promise<TrailPage>;
  /** Everything so far is durable when it resolves. */
  settled(): Promise<Head>;
  state(): TrailState;
  /** The account that owns the service. */
  readonly owner: string;
}

const EVENTS_A_PAGE = 50;
const LATEST_S = 4_102_444_800;

export const AUDIT_OPERATIONS = {
  LookupEvents: {
    errors: [],
    input: {
      kind: 'structure',
      members: {
        Since: { shape: { kind: 'integer', min: 0, max: LATEST_S } },
        Until: { shape: { kind: 'integer', min: 0, max: LATEST_S } },
        EventName: {
          shape: {
            kind: 'text',
            what: 'the name of an event',
            example: 'DeleteBackup',
            min: 1,
            max: 64,
            pattern: /^[A-Za-z]+$/,
          },
        },
        ResourceName: {
          shape: {
            kind: 'text',
            what: 'an id or ARN',
            example: 'backup-keyark2ab3cd4ef5',
            min: 8,
            max: 256,
            pattern: /^[\w:/.+=,@-]+$/,
          },
        },
        /** Of every account and region: for the service's own account. */
        AllAccounts: { shape: { kind: 'boolean' } },
        /** Also the records that were written before changing calls began. */
        WithStarted: { shape: { kind: 'boolean' } },
        AfterSequence: {
          shape: { kind: 'integer', min: 0, max: Number.MAX_SAFE_INTEGER },
        },
        MaxResults: { shape: { kind: 'integer', min: 1, max: EVENTS_A_PAGE } },
        NextToken: {
          shape: {
            kind: 'text',
            what: 'a token from the previous answer',
            example: 'the NextToken as it was given',
            max: 256,
          },
        },
      },
    },
  },
  GetTrailHead: { errors: [], input: { kind: 'structure', members: {} } },
} as const satisfies Readonly<Record<string, OperationShape>>;

type AuditName = keyof typeof AUDIT_OPERATIONS;

export const AUDIT: {
  readonly [Name in AuditName]: (
    faces: { readonly audit: AuditFaces },
    caller: SignedCaller,
    request: ValueOf<(typeof AUDIT_OPERATIONS)[Name]['input']>,
  ) => Promise<JsonObject>;
} = {
  LookupEvents: async ({ audit }, caller, request) => {
    if (request.AllAccounts === true) ownerOnly(audit, caller);
    const { Since, Until, EventName, ResourceName, AfterSequence, NextToken } = request;
    const query: TrailQuery = {
      scope: request.AllAccounts === true ? undefined : caller,
      withStarted: request.WithStarted === true,
      ...(Since !== undefined && { since: Since }),
      ...(Until !== undefined && { until: Until }),
      ...(EventName !== undefined && { eventName: EventName }),
      ...(ResourceName !== undefined && { resource: ResourceName }),
      ...(AfterSequence !== undefined && { afterSequence: AfterSequence }),
    };
    const page = await audit.lookup(query, {
      limit: request.MaxResults ?? EVENTS_A_PAGE,
      ...(NextToken !== undefined && NextToken !== '' && { nextToken: NextToken }),
    });
    return { Events: page.records, DamagedRecords: page.damaged, NextToken: page.nextToken };
  },

  GetTrailHead: async ({ audit }, caller) => {
    ownerOnly(audit, caller);
    const { sequence, hash } = await audit.settled();
    const { problem, waiting, missed } = audit.state();
    return { Sequence: sequence, Hash: hash, Problem: problem, Waiting: waiting, Missed: missed };
  },
};

function ownerOnly({ owner }: AuditFaces, caller: SignedCaller): void {
  if (caller.account === owner) return;
  throw new Refused(
    'AccessDenied',
    `User: ${caller.principal} is not authorized: only account ${owner}, which owns this Keyark, sees the whole trail.`,
  );
}
