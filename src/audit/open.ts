/**
 * Where the trail ends when the service starts, and what is wrong with that end. Bytes behind the last end of
 * line are a torn write and are cut off; everything else is left as it is, for `keyark audit verify` and for
 * people, and the trail goes on behind it.
 */
import { createHash } from 'node:crypto';
import type { JsonObject } from '../kernel/types.ts';
import { GENESIS, type Head, type Link, readLink } from './chain.ts';
import { firstSequenceOf, type TrailFiles } from './files.ts';
import { linesBackward } from './lines.ts';

export interface End {
  readonly head: Head;
  /** Where to go on writing; undefined: in a new file. */
  readonly file: { name: string; sizeBytes: number } | undefined;
  readonly findings: readonly { readonly name: string; readonly details: JsonObject }[];
  /** Calls that were begun and never answered. */
  readonly unended: readonly { readonly call: string; readonly eventId: string }[];
}

/** How far back begun calls are looked for: they begin shortly before a crash. */
const MAX_LOOK_BYTES = 4 * 1024 * 1024;

/** @param kept the head that was put down elsewhere; the trail may be longer, never shorter. */
export async function findEnd(files: TrailFiles, kept: Head | undefined): Promise<End> {
  const findings: { name: string; details: JsonObject }[] = [];
  const names = [...files.names()];
  let last = names.pop();
  // A file that was made and never written to: the end is in the one before, and goes on in this one.
  const empty = last !== undefined && files.sizeBytes(last) === 0 ? last : undefined;
  if (empty !== undefined) last = names.pop();
  const tail = last === undefined ? undefined : await readTail(files, last);
  if (last !== undefined && tail?.torn !== undefined) {
    files.truncate(last, tail.sizeBytes);
    findings.push({ name: 'TrailMended', details: { file: last, ...tail.torn } });
  }
  const [newest] = tail?.links ?? [];
  const found: Head =
    newest ?? (last === undefined ? GENESIS : { ...GENESIS, sequence: firstSequenceOf(last) - 1 });
  const isDamaged = tail !== undefined && (tail.damage !== undefined || newest === undefined);
  if (isDamaged) findings.push({ name: 'TrailDamaged', details: { file: last, why: tail.damage } });
  const isShort = kept !== undefined && kept.sequence > found.sequence;
  if (isShort && !isDamaged) {
    const details = { expectedSequence: kept.sequence, foundSequence: found.sequence };
    findings.push({ name: 'TrailRecordsMissing', details });
  }
  const same = tail?.links.find(({ sequence }) => sequence === kept?.sequence);
  if (same !== undefined && same.hash !== kept?.hash) {
    findings.push({ name: 'TrailRewritten', details: { sequence: same.sequence } });
  }
  const head = isShort ? kept : found;
  const goesOn = !isShort && !isDamaged;
  return {
    head,
    file: goesOn ? fileToGoOn({ last, empty, sizeBytes: tail?.sizeBytes ?? 0, head }) : undefined,
    findings,
    unended: unendedIn(tail?.links ?? []),
  };
}

function fileToGoOn(at: {
  readonly last: string | undefined;
  readonly empty: string | undefined;
  readonly sizeBytes: number;
  readonly head: Head;
}): End['file'] {
  if (at.empty !== undefined && firstSequenceOf(at.empty) === at.head.sequence + 1) {
    return { name: at.empty, sizeBytes: 0 };
  }
  return at.last === undefined ? undefined : { name: at.last, sizeBytes: at.sizeBytes };
}

interface Tail {
  /** Newest first. */
  readonly links: readonly Link[];
  readonly sizeBytes: number;
  readonly torn?: JsonObject & { readonly bytes: number };
  readonly damage?: string;
}

async function readTail(files: TrailFiles, name: string): Promise<Tail> {
  const links: Link[] = [];
  let sizeBytes = files.sizeBytes(name);
  const from = sizeBytes;
  let torn: Tail['torn'];
  for await (const line of linesBackward(files, name, sizeBytes)) {
    if (!line.isWhole) {
      const sha256 = createHash('sha256').update(line.bytes).digest('hex');
      torn = { bytes: line.bytes.length, sha256 };
      sizeBytes = line.at;
      continue;
    }
    const link = readLink(line.bytes);
    if (typeof link === 'string') {
      // Damage at the very end must not be built upon; further in front, verification finds it.
      if (links.length === 0) return { links, sizeBytes, ...(torn && { torn }), damage: link };
      break;
    }
    links.push(link);
    if (from - line.at > MAX_LOOK_BYTES) break;
  }
  return { links, sizeBytes, ...(torn && { torn }) };
}

function unendedIn(links: readonly Link[]): End['unended'] {
  const ended = new Set<unknown>();
  const unended: { call: string; eventId: string }[] = [];
  for (const { record } of links) {
    const id = record['requestID'];
    if (id === undefined) {
      const { startedEventID } = membersOf(record['serviceEventDetails']);
      if (startedEventID !== undefined) ended.add(startedEventID);
      continue;
    }
    if (membersOf(record['additionalEventData'])['phase'] !== 'started') ended.add(id);
    else if (!ended.has(id) && !ended.has(record['eventID'])) {
      unended.push({ call: String(record['eventName']), eventId: String(record['eventID']) });
    }
  }
  return unended.reverse();
}

function membersOf(value: unknown): Readonly<Record<string, unknown>> {
  // An object's members are unknown, which is all this type says.
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
}
