/**
 * The network AWS's shapes ask for, on one machine: names that look right, stay the same and never
 * collide. Nothing is routed; an address tells HSMs apart.
 */
import { createHash } from 'node:crypto';
import { Refused } from '../kernel/errors.ts';
import type { Hsm } from './cluster.ts';

const ZONE_LETTERS = ['a', 'b', 'c', 'd', 'e', 'f'] as const;
const FIRST_HOST = 10;
const LAST_HOST = 250;

export function zonesOf(region: string): readonly string[] {
  return ZONE_LETTERS.map((letter) => region + letter);
}

/**
 * Gives every subnet of a request its availability zone: the one it had before, else the first zone
 * that neither this request nor, if possible, an earlier subnet uses.
 * @param known subnet → zone, as first seen.
 * @throws Refused `InvalidRequest` for the same subnet or zone twice.
 */
export function placeSubnets(
  region: string,
  subnetIds: readonly string[],
  known: (subnetId: string) => string | undefined,
): ReadonlyMap<string, string> {
  const zones = zonesOf(region);
  const placed = new Map<string, string>();
  for (const subnetId of subnetIds) {
    const zone = known(subnetId);
    if (zone === undefined) continue;
    const other = placed.get(zone);
    if (other !== undefined) {
      throw new Refused(
        'InvalidRequest',
        `${other} and ${subnetId} are both in ${zone}; name one subnet for each availability zone.`,
      );
    }
    placed.set(zone, subnetId);
  }
  for (const subnetId of subnetIds) {
    if (known(subnetId) !== undefined) continue;
    if ([...placed.values()].includes(subnetId)) {
      throw new Refused('InvalidRequest', `${subnetId} is named twice.`);
    }
    const zone = zones.find((candidate) => !placed.has(candidate));
    if (zone === undefined) {
      throw new Refused(
        'InvalidRequest',
        `${region} has ${zones.length} availability zones; ${subnetIds.length} subnets do not fit.`,
      );
    }
    placed.set(zone, subnetId);
  }
  return new Map([...placed].sort(([a], [b]) => a.localeCompare(b)));
}

/** `vpc-` and 17 hex digits, the same for a region and account for ever. */
export const vpcIdOf = (account: string, region: string): string =>
  `vpc-${digits(`vpc ${account} ${region}`)}`;
export const securityGroupOf = (clusterId: string): string => `sg-${digits(`sg ${clusterId}`)}`;
export const eniIdOf = (hsmId: string): string => `eni-${digits(`eni ${hsmId}`)}`;

/** The subnet's /24 inside 10.0.0.0/8, the same for ever. */
export function subnetPrefix(subnetId: string): string {
  const hash = createHash('sha256').update(`subnet ${subnetId}`).digest();
  return `10.${hash[0]}.${hash[1]}`;
}

/**
 * @param live HSMs of the same subnet that are not deleted.
 * @throws Refused `InvalidRequest` for an address that is outside the subnet, taken, or none is left.
 */
export function chooseAddress(
  subnetId: string,
  requested: string | undefined,
  live: readonly Pick<Hsm, 'eniIp'>[],
): string {
  const prefix = subnetPrefix(subnetId);
  const taken = new Set(live.map(({ eniIp }) => eniIp));
  if (requested !== undefined) {
    const host = Number(requested.slice(prefix.length + 1));
    if (!requested.startsWith(`${prefix}.`) || !(host >= 4 && host <= LAST_HOST)) {
      throw new Refused(
        'InvalidRequest',
        `${requested} is not in ${subnetId}, which is ${prefix}.0/24; choose ${prefix}.4 to ${prefix}.${LAST_HOST}, or leave IpAddress out.`,
      );
    }
    if (taken.has(requested)) {
      throw new Refused('InvalidRequest', `${requested} is taken by another HSM of ${subnetId}.`);
    }
    return requested;
  }
  for (let host = FIRST_HOST; host <= LAST_HOST; host += 1) {
    const address = `${prefix}.${host}`;
    if (!taken.has(address)) return address;
  }
  throw new Refused('LimitExceeded', `${subnetId} has no free address left.`);
}

/** The IPv6 twin of an address: the subnet's /64 out of fd00::/8, the same host number. */
export function addressV6(subnetId: string, eniIp: string): string {
  const hash = createHash('sha256').update(`subnet v6 ${subnetId}`).digest('hex');
  const groups = [`fd${hash.slice(0, 2)}`, hash.slice(2, 6), hash.slice(6, 10), hash.slice(10, 14)];
  const host = Number(eniIp.slice(eniIp.lastIndexOf('.') + 1));
  return `${groups.map((group) => Number.parseInt(group, 16).toString(16)).join(':')}::${host.toString(16)}`;
}

function digits(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 17);
}
