/** Looks records up, newest first, a page at a time. One look reads so many bytes and no more. */
import { Refused } from '../kernel/errors.ts';
import type { JsonObject } from '../kernel/types.ts';
import { type Link, readLink } from './chain.ts';
import { fileNameFor, firstSequenceOf, type TrailFiles } from './files.ts';
import { linesBackward } from './lines.ts';

export interface TrailQuery {
  /** Undefined: every account's and region's. */
  readonly scope: { readonly account: string; readonly region: string } | undefined;
  /** Seconds since 1970. */
  readonly since?: number;
  readonly until?: number;
  readonly eventName?: string;
  /** An id or an ARN: records that speak of it. */
  readonly resource?: string;
  /** Only records behind this one. */
  readonly afterSequence?: number;
  /** Also the first of the two records that a changing call has. */
  readonly withStarted: boolean;
}

export interface TrailPage {
  readonly records: readonly JsonObject[];
  /** Lines on the way that do not fit their hash. */
  readonly damaged: number;
  readonly nextToken?: string;
}

const MAX_READ_BYTES = 4 * 1024 * 1024;

/** @throws Refused `InvalidRequest` for a token that was not made here. */
export async function lookupTrail(
  files: TrailFiles,
  query: TrailQuery,
  page: { readonly limit: number; readonly nextToken?: string },
): Promise<TrailPage> {
  const names = [...files.names()].reverse();
  const start = page.nextToken === undefined ? undefined : parseToken(page.nextToken);
  const records: JsonObject[] = [];
  let damaged = 0;
  let read = 0;
  for (const name of names) {
    if (start !== undefined && firstSequenceOf(name) > firstSequenceOf(start.name)) continue;
    const sizeBytes = files.sizeBytes(name);
    const from = name === start?.name ? Math.min(start.at, sizeBytes) : sizeBytes;
    for await (const line of linesBackward(files, name, from)) {
      if (!line.isWhole) continue;
      const link = readLink(line.bytes);
      read += line.bytes.length;
      if (typeof link === 'string') damaged += 1;
      else if (isBefore(link, query)) return { records, damaged };
      else if (isMeant(link, query, line.bytes)) records.push(link.record);
      const isEnough = records.length >= page.limit || read >= MAX_READ_BYTES;
      const isLast = line.at === 0 && name === names.at(-1);
      if (isEnough && !isLast) {
        return { records, damaged, nextToken: renderToken({ name, at: line.at }) };
      }
    }
  }
  return { records, damaged };
}

/** Everything further in front is older still. Times may step back a little when clocks are set. */
function isBefore({ sequence }: Link, { afterSequence }: TrailQuery): boolean {
  return afterSequence !== undefined && sequence <= afterSequence;
}

function isMeant({ record }: Link, query: TrailQuery, bytes: Uint8Array): boolean {
  const { scope, since, until, eventName, resource } = query;
  if (scope !== undefined) {
    if (record['recipientAccountId'] !== scope.account) return false;
    if (record['awsRegion'] !== scope.region) return false;
  }
  const at = Date.parse(String(record['eventTime'])) / 1000;
  if (since !== undefined && at < since) return false;
  if (until !== undefined && at > until) return false;
  if (eventName !== undefined && record['eventName'] !== eventName) return false;
  if (resource !== undefined && !Buffer.from(bytes).includes(resource)) return false;
  return query.withStarted || !isStarted(record);
}

function isStarted(record: JsonObject): boolean {
  const data = record['additionalEventData'];
  return typeof data === 'object' && data !== null && 'phase' in data && data.phase === 'started';
}

interface Place {
  readonly name: string;
  readonly at: number;
}

const renderToken = ({ name, at }: Place): string =>
  Buffer.from(`${firstSequenceOf(name)}.${at}`).toString('base64url');

function parseToken(token: string): Place {
  const text = Buffer.from(token.slice(0, 256), 'base64url').toString('latin1');
  const [, sequence, at] = /^(\d{1,12})\.(\d{1,15})$/.exec(text) ?? [];
  if (sequence === undefined || at === undefined) {
    throw new Refused(
      'InvalidRequest',
      'The NextToken was not made for this request; repeat the request without it.',
    );
  }
  return { name: fileNameFor(Number(sequence)), at: Number(at) };
}
