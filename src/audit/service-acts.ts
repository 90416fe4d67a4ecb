/**
 * What the service does by itself, as records of the trail: every event but those that are calls (which have
 * records of their own) or troubles (which are the log's). The event's name becomes the record's.
 */
import type { Events, ServiceEvent } from '../ops/events.ts';
import type { Act, Trail } from './trail.ts';

/** Where a cluster or backup is; undefined for what is not in the catalog. */
export type WhereIs = (
  id: string,
) => { readonly account: string; readonly region: string; readonly arn: string } | undefined;

const LEFT_OUT: ReadonlySet<ServiceEvent['kind']> = new Set([
  'apiCall',
  'internalError',
  'serviceStarted',
]);
const ID = /^(cluster|backup)-[2-7a-zA-Z]{11,16}$/;

export function serviceActs(trail: Pick<Trail, 'act'>, whereIs: WhereIs): Events {
  return {
    emit: (event) => {
      if (!LEFT_OUT.has(event.kind)) trail.act(actOf(event, whereIs));
    },
  };
}

function actOf(event: ServiceEvent, whereIs: WhereIs): Act {
  const { kind, ...members } = event;
  const places = Object.values(members)
    .filter((value) => typeof value === 'string' && ID.test(value))
    .map((id) => whereIs(String(id)))
    .filter((place) => place !== undefined);
  const [first] = places;
  return {
    name: kind.slice(0, 1).toUpperCase() + kind.slice(1),
    // Events hold ids, counts and words; their contract leaves secrets no place.
    details: members as Act['details'],
    resources: [...new Set(places.map(({ arn }) => arn))],
    ...(first && { account: first.account, region: first.region }),
  };
}
