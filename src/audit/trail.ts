/**
 * The trail: every call and every act of the service, one line each, in order, chained.
 *
 * What changes something is written and synced before it begins (`begin`) and again before it is answered
 * (`end`): nothing is done unrecorded, also when the power goes in between. Everything else is handed to the
 * system at once and synced within a second. When the disk takes no more, `begin` refuses; what cannot be
 * refused any more (outcomes, reads, acts) waits in memory, up to a bound, and is counted beyond it.
 */
import { type Clock, HOUR_MS, MINUTE_MS, SECOND_MS } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import type { EpochMs, JsonObject } from '../kernel/types.ts';
import { newUuid } from '../kernel/uuid.ts';
import { type Head, linkLine, readLink } from './chain.ts';
import { fileNameFor, firstSequenceOf, type TrailFiles } from './files.ts';
import { linesForward } from './lines.ts';
import { findEnd } from './open.ts';
import { type Call, callRecord, type Outcome, serviceRecord, startedRecord } from './record.ts';

/** Where the newest head is kept besides the trail, so that a cut end is noticed. */
export interface HeadKeeper {
  get(): Head | undefined;
  put(head: Head): void;
}

export interface TrailParts {
  readonly files: TrailFiles;
  readonly heads: HeadKeeper;
  readonly clock: Clock;
  readonly random: Random;
  /** Whose trail holds what belongs to no account: the service's own, in its first region. */
  readonly home: { readonly account: string; readonly region: string };
  readonly settings: TrailSettings;
  /** By what time old files may go; undefined while nobody trusts the clock. */
  readonly trustedNow: () => EpochMs | undefined;
}

export interface TrailSettings {
  readonly fileBytes: number;
  readonly keepMs: number;
}

export interface TrailState {
  readonly head: Head;
  /** Why nothing can be written now. */
  readonly problem?: string;
  /** Records that wait for the disk, and that were only counted. */
  readonly waiting: number;
  readonly missed: number;
}

export interface Act {
  readonly name: string;
  readonly details: JsonObject;
  readonly resources?: readonly string[];
  readonly account?: string;
  readonly region?: string;
}

const MAX_WAITING = 1_000;
/** Requests that nobody signed rightly: so many a minute one by one, the rest as a number. */
const MAX_UNACCEPTED = 10;

export class Trail {
  readonly #parts: TrailParts;
  #head: Head;
  #file: { name: string; sizeBytes: number } | undefined;
  /** Bytes of a failed append may lie behind `sizeBytes`. */
  #isTorn = false;
  #problem: string | undefined;
  /** After a failed sync nobody knows what is on the disk: only a new start looks. */
  #isUnsure = false;
  readonly #waiting: JsonObject[] = [];
  #missed = 0;
  readonly #unsynced = new Set<string>();
  #synced: Head;
  #syncing: Promise<void> | undefined;
  #unaccepted: { since: EpochMs; recorded: number; counted: Map<string, number> };

  private constructor(parts: TrailParts, head: Head) {
    this.#parts = parts;
    this.#head = head;
    this.#synced = head;
    this.#unaccepted = { since: parts.clock.now(), recorded: 0, counted: new Map() };
  }

  /** Finds the end, mends a torn last line, says in the trail itself what was found. */
  static async open(parts: TrailParts): Promise<Trail> {
    const end = await findEnd(parts.files, parts.heads.get());
    const trail = new Trail(parts, end.head);
    trail.#file = end.file;
    for (const finding of end.findings) trail.act(finding);
    for (const { call, eventId } of end.unended) {
      trail.act({
        name: `${call}Unended`,
        details: { startedEventID: eventId, why: 'the service stopped before it was answered' },
      });
    }
    return trail;
  }

  /**
   * Before anything is done; durable when it resolves.
   * @throws Refused `TrailUnavailable`: then nothing may be done.
   */
  async begin(call: Call): Promise<void> {
    try {
      this.#drain();
      this.#append(startedRecord(call, this.#id()));
      await this.#sync();
    } catch (cause) {
      this.#problem ??= messageOf(cause);
      throw new Refused(
        'TrailUnavailable',
        `[TRAIL_UNAVAILABLE] The trail of calls cannot be written (${this.#problem}), so nothing that changes anything is done; this request was not started. Reads go on. Make room for the data folder's audit folder and repeat it.`,
        { cause },
      );
    }
  }

  /** What came of a call that `begin` let through; on the disk when it resolves, or waiting for it. */
  async end(call: Call, outcome: Outcome): Promise<void> {
    this.#record(callRecord(call, outcome, this.#id()));
    try {
      await this.#sync();
    } catch (cause) {
      // What was done is done and its start is recorded: hiding the answer would only make clients repeat it.
      this.#problem ??= messageOf(cause);
    }
  }

  /** A call that changed nothing: a read, or a denied one. */
  note(call: Call, outcome: Outcome): void {
    this.#record(callRecord(call, outcome, this.#id()));
  }

  /** A request whose signature was not accepted. Anybody can send those, so they are bounded. */
  noteUnaccepted(call: Call, outcome: Outcome): void {
    this.#countOut();
    const window = this.#unaccepted;
    if (window.recorded < MAX_UNACCEPTED) {
      window.recorded += 1;
      this.note(call, outcome);
    } else {
      const code = outcome.error?.code ?? 'unknown';
      window.counted.set(code, (window.counted.get(code) ?? 0) + 1);
    }
  }

  /** Something that the service did by itself. */
  act({ name, details, resources = [], account, region }: Act): void {
    const { clock, home } = this.#parts;
    this.#record(
      serviceRecord(
        {
          at: clock.now(),
          name,
          details,
          resources,
          account: account ?? home.account,
          region: region ?? home.region,
        },
        this.#id(),
      ),
    );
  }

  state(): TrailState {
    return {
      head: this.#head,
      ...(this.#problem === undefined ? {} : { problem: this.#problem }),
      waiting: this.#waiting.length,
      missed: this.#missed,
    };
  }

  /** Everything so far, before it is read. */
  async settled(): Promise<Head> {
    await this.#sync();
    return this.#head;
  }

  /** Syncs every second, counts out every minute, removes what is old every hour. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts;
    let nextLook = clock.now();
    while (!signal.aborted) {
      try {
        await clock.sleep(SECOND_MS, signal);
      } catch {
        // Only the signal ends this sleep early.
        return;
      }
      this.#countOut();
      try {
        this.#drain();
        await this.#sync();
        if (clock.now() >= nextLook) {
          nextLook = (clock.now() + HOUR_MS) as EpochMs;
          await this.removeOld();
        }
      } catch (cause) {
        this.#problem ??= messageOf(cause);
      }
    }
  }

  /**
   * Removes whole files whose newest record is older than the trail is kept, and says so in the trail first.
   * The file that is written stays.
   */
  async removeOld(): Promise<void> {
    const { files, settings } = this.#parts;
    const now = this.#parts.trustedNow();
    // A clock that stepped forward would take records that nobody has read yet.
    if (now === undefined) return;
    const names = files.names();
    const limit = now - settings.keepMs;
    let gone: { names: string[]; through: Head } | undefined;
    for (const [i, name] of names.entries()) {
      const next = names[i + 1];
      if (next === undefined) break;
      const first = await firstLink(files, next);
      if (first === undefined || timeOf(first.record) > limit) break;
      const through = { sequence: first.sequence - 1, hash: first.previous };
      gone = { names: [...(gone?.names ?? []), name], through };
    }
    if (gone === undefined) return;
    this.#append(this.#removal(gone));
    await this.#sync();
    for (const name of gone.names) files.remove(name);
  }

  /** Durable to the last record. */
  async close(): Promise<void> {
    this.#countOut(true);
    try {
      this.#drain();
      await this.#sync();
    } catch (cause) {
      this.#problem ??= messageOf(cause);
    }
  }

  #removal(gone: { readonly names: readonly string[]; readonly through: Head }): JsonObject {
    const { clock, home } = this.#parts;
    const details = {
      files: gone.names,
      throughSequence: gone.through.sequence,
      throughHash: gone.through.hash,
    };
    const name = 'TrailFilesRemoved';
    return serviceRecord({ at: clock.now(), name, details, resources: [], ...home }, this.#id());
  }

  /** Never throws: what cannot be written waits, or is counted. */
  #record(record: JsonObject): void {
    try {
      this.#drain();
      this.#append(record);
    } catch (cause) {
      this.#problem = messageOf(cause);
      if (this.#waiting.length < MAX_WAITING) this.#waiting.push(record);
      else this.#missed += 1;
    }
  }

  /** What waited comes first, so that the order stays. */
  #drain(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      this.#append(first);
      this.#waiting.shift();
    }
    if (this.#missed === 0) return;
    const { clock, home } = this.#parts;
    const details = { records: this.#missed, why: 'the trail could not be written' };
    const name = 'TrailRecordsNotKept';
    this.#append(
      serviceRecord({ at: clock.now(), name, details, resources: [], ...home }, this.#id()),
    );
    this.#missed = 0;
  }

  #append(record: JsonObject): void {
    const { files, settings } = this.#parts;
    if (this.#isUnsure) throw new Error('the disk failed to sync; start the service again');
    const { line, head } = linkLine(record, this.#head);
    const isFull =
      this.#file !== undefined &&
      this.#file.sizeBytes > 0 &&
      this.#file.sizeBytes + line.length > settings.fileBytes;
    if (this.#file === undefined || isFull) {
      const name = fileNameFor(head.sequence);
      files.create(name);
      this.#file = { name, sizeBytes: 0 };
      this.#isTorn = false;
    }
    const { name, sizeBytes } = this.#file;
    if (this.#isTorn) files.truncate(name, sizeBytes);
    this.#isTorn = true;
    files.append(name, line);
    this.#isTorn = false;
    this.#file = { name, sizeBytes: sizeBytes + line.length };
    this.#head = head;
    this.#unsynced.add(name);
    this.#problem = undefined;
  }

  /** Resolves when everything appended before the call is durable. One sync serves all who wait. */
  async #sync(): Promise<void> {
    const wanted = this.#head.sequence;
    while (this.#synced.sequence < wanted) {
      this.#syncing ??= this.#syncOnce().finally(() => {
        this.#syncing = undefined;
      });
      await this.#syncing;
    }
  }

  async #syncOnce(): Promise<void> {
    const { files, heads } = this.#parts;
    const head = this.#head;
    const names = [...this.#unsynced];
    this.#unsynced.clear();
    try {
      for (const name of names) await files.sync(name);
    } catch (cause) {
      this.#isUnsure = true;
      throw cause;
    }
    heads.put(head);
    this.#synced = head;
  }

  #countOut(isEnd = false): void {
    const now = this.#parts.clock.now();
    const { since, counted } = this.#unaccepted;
    if (!isEnd && now - since < MINUTE_MS) return;
    this.#unaccepted = { since: now, recorded: 0, counted: new Map() };
    if (counted.size === 0) return;
    this.act({
      name: 'UnacceptedCallsCounted',
      details: { since: since / 1000, until: now / 1000, counts: Object.fromEntries(counted) },
    });
  }

  #id(): string {
    return newUuid(this.#parts.random);
  }
}

async function firstLink(files: TrailFiles, name: string) {
  for await (const line of linesForward(files, name, files.sizeBytes(name))) {
    const link = readLink(line.bytes);
    return typeof link === 'string' || link.sequence !== firstSequenceOf(name) ? undefined : link;
  }
  return undefined;
}

function timeOf(record: JsonObject): number {
  return Date.parse(String(record['eventTime']));
}

const messageOf = (cause: unknown): string =>
  cause instanceof Error ? (cause.message.split('\n')[0] ?? '') : String(cause);
