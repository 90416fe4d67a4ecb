/** What the schedule has to say, beside the eighteen operations: what comes next, and what is proven by now. */
import type { Caller } from '../access/caller.ts';
import type { Scope } from '../catalog/catalog.ts';
import { type ClusterId, parseClusterId } from '../kernel/ids.ts';
import type { JsonObject } from '../kernel/types.ts';
import { clusterId, type OperationShape, type ValueOf } from './shapes.ts';

export interface ScheduleFacts {
  /** @throws Refused `NotFound`. */
  forecast(scope: Scope, asked: { clusterId: ClusterId | undefined; most: number }): JsonObject;
  /** Asked of the HSM itself. @throws Refused `NotFound`, `WrongState` without one to ask. */
  generation(scope: Scope, clusterId: ClusterId): Promise<JsonObject>;
}

const MOST_BY_DEFAULT = 3;

export const SCHEDULE_OPERATIONS = {
  /** The next backups, removals and drills: of one cluster, or of the newest 25 here, 25 that are gone and 25 with copies here. */
  Forecast: {
    errors: ['NotFound'],
    input: {
      kind: 'structure',
      members: {
        ClusterId: { shape: clusterId },
        MaxResults: { shape: { kind: 'integer', min: 1, max: 100 } },
      },
    },
  },
  /** What an HSM holds now beside what is proven. */
  GetGeneration: {
    errors: ['NotFound'],
    input: { kind: 'structure', members: { ClusterId: { shape: clusterId, isRequired: true } } },
  },
} as const satisfies Readonly<Record<string, OperationShape>>;

type Name = keyof typeof SCHEDULE_OPERATIONS;

export const SCHEDULE: {
  readonly [Each in Name]: (
    faces: { readonly native: ScheduleFacts },
    caller: Caller,
    request: ValueOf<(typeof SCHEDULE_OPERATIONS)[Each]['input']>,
  ) => Promise<JsonObject>;
} = {
  Forecast: async ({ native }, caller, request) =>
    native.forecast(caller, {
      clusterId: request.ClusterId === undefined ? undefined : parseClusterId(request.ClusterId),
      most: request.MaxResults ?? MOST_BY_DEFAULT,
    }),

  GetGeneration: ({ native }, caller, request) =>
    native.generation(caller, parseClusterId(request.ClusterId)),
};
