/**
 * Reads the whole trail and finds what was edited, removed, put in or put in another order. It trusts the
 * files alone, and the head it is given: without one, a cut end cannot be told from an end.
 */
import { breakBetween, GENESIS, type Head, type Link, readLink } from './chain.ts';
import { firstSequenceOf, type TrailFiles } from './files.ts';
import { linesForward } from './lines.ts';

export interface Verification {
  readonly files: number;
  readonly records: number;
  readonly first?: Head;
  readonly head: Head;
  /** In words, with file and record; none: everything holds. */
  readonly problems: readonly string[];
  /** What the service itself found at a start and wrote down. */
  readonly notices: readonly string[];
}

const MAX_PROBLEMS = 100;
const NOTICES = new Set([
  'TrailMended',
  'TrailDamaged',
  'TrailRecordsMissing',
  'TrailRewritten',
  'TrailRecordsNotKept',
]);

export async function verifyTrail(
  files: TrailFiles,
  expected: Head | undefined,
): Promise<Verification> {
  const problems: string[] = [];
  const say = (problem: string): void => {
    if (problems.length < MAX_PROBLEMS) problems.push(problem);
  };
  const notices: string[] = [];
  /** Removals that the trail itself tells of: number of the last removed record → its hash. */
  const removals = new Map<number, string>();
  let [records, first, isExpectedSeen] = [0, undefined as Link | undefined, false];
  /** undefined after damage: what follows has nothing to be compared with. */
  let before: Head | undefined;
  let head: Head = GENESIS;
  const names = files.names();
  for (const [i, name] of names.entries()) {
    let isFirstOfFile = true;
    for await (const line of linesForward(files, name, files.sizeBytes(name))) {
      const where = `${name}, byte ${line.at}`;
      if (!line.isWhole) {
        // A line of a running service may be half there; the head says whether anything is missing.
        const isBeingWritten = i === names.length - 1 && isExpectedSeen;
        if (!isBeingWritten) say(`${where}: the last line is torn`);
        continue;
      }
      const link = readLink(line.bytes);
      if (typeof link === 'string') {
        say(`${where}: ${link}`);
        before = undefined;
        isFirstOfFile = false;
        continue;
      }
      if (isFirstOfFile && link.sequence !== firstSequenceOf(name)) {
        say(`${where}: the file is named for another record than ${link.sequence}`);
      }
      isFirstOfFile = false;
      const broken = before === undefined ? undefined : breakBetween(before, link);
      if (broken !== undefined) say(`${where}: ${broken}`);
      if (before === undefined && first !== undefined && link.sequence <= head.sequence) {
        say(`${where}: record ${link.sequence} stands behind record ${head.sequence}`);
      }
      if (link.sequence === expected?.sequence) {
        isExpectedSeen = link.hash === expected.hash;
        if (!isExpectedSeen) say(`${where}: record ${link.sequence} is not the one it was`);
      }
      noteRemoval(removals, link);
      if (NOTICES.has(String(link.record['eventName']))) {
        const { eventName, eventTime, serviceEventDetails } = link.record;
        notices.push(`${eventTime} ${eventName}: ${JSON.stringify(serviceEventDetails)}`);
      }
      first ??= link;
      records += 1;
      before = head = { sequence: link.sequence, hash: link.hash };
    }
  }
  if (first !== undefined && !isStart(first, removals)) {
    say(`records 1 to ${first.sequence - 1} are missing, and no record tells of their removal`);
  }
  if (expected !== undefined && !isExpectedSeen && head.sequence < expected.sequence) {
    say(`records ${head.sequence + 1} to ${expected.sequence} are missing at the end`);
  } else if (expected !== undefined && !isExpectedSeen && problems.length === 0) {
    say(`record ${expected.sequence} with hash ${expected.hash} is not in the trail`);
  }
  return {
    files: names.length,
    records,
    ...(first === undefined ? {} : { first: { sequence: first.sequence, hash: first.hash } }),
    head,
    problems,
    notices,
  };
}

function isStart(first: Link, removals: ReadonlyMap<number, string>): boolean {
  const isVeryFirst = first.sequence === 1 && first.previous === GENESIS.hash;
  if (isVeryFirst || removals.get(first.sequence - 1) === first.previous) return true;
  // A removal that was told and then cut short leaves some of the files it spoke of.
  return [...removals.keys()].some((through) => through >= first.sequence);
}

function noteRemoval(removals: Map<number, string>, { record }: Link): void {
  if (record['eventName'] !== 'TrailFilesRemoved') return;
  const details = record['serviceEventDetails'];
  if (typeof details !== 'object' || details === null) return;
  const { throughSequence, throughHash } = { throughSequence: 0, throughHash: '', ...details };
  removals.set(Number(throughSequence), String(throughHash));
}
