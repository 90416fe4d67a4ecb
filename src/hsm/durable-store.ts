/**
 * The state on the HSM's disk: newest snapshot plus log (`disk-format.ts`), in memory as maps.
 *
 * Promises: what `commit` resolved survives kill -9 and a power cut, and nobody sees a change before
 * that. A torn last record is dropped: nobody was told of it. A damaged older record or snapshot is
 * refused loudly; an older state is never served instead.
 *
 * Why the snapshots need no pointer: snapshot N+1 is durable as a whole before the log restarts with a
 * commit record of base N+1. So a bad slot with no log of its own is a snapshot that was never
 * finished, and N with N's log is the truth; a bad slot whose log has begun is damage.
 */
import type { KeyObject } from 'node:crypto';
import { release } from '../crypto/views.ts';
import { concat, u32, u64 } from '../kernel/bytes.ts';
import { assert, Broken, Failed, Refused } from '../kernel/errors.ts';
import type { Random } from '../kernel/random.ts';
import { ByteReader, ByteWriter } from './backup/fields.ts';
import {
  decodeChange,
  decodeRecord,
  decodeState,
  encodeChange,
  encodeRecord,
  encodeState,
} from './backup/records.ts';
import { type DeviceRecord, decodeDevice, encodeDevice } from './device-record.ts';
import type { HsmDisk } from './disk.ts';
import {
  damaged,
  LogWriter,
  MAX_RECORD_BYTES,
  mentionsBase,
  parseLog,
  readSlotHeader,
  readSnapshot,
  type Slot,
  type SlotHeader,
  wipeLog,
  wipeSlot,
  writeSnapshot,
} from './disk-format.ts';
import { freeze, freezeLocal, Memory } from './memory.ts';
import type { LocalState, SharedState } from './state.ts';
import type { Change, Store } from './store.ts';

/** The log is folded into a new snapshot when it is longer than this. */
const COMPACT_AT_BYTES = 4 * 1024 * 1024;
/** A group commit takes no more changes beyond this. */
const GROUP_BYTES = 1024 * 1024;
const MAX_WAITING = 16_384;
const SNAPSHOT_VERSION = 1;
const LENGTH_BYTES = 4;
const RECORD = { MARK: 0, COMMITS: 1 } as const;

export interface DurableStoreOptions {
  readonly disk: HsmDisk;
  /** 32 bytes. */
  readonly storageKey: KeyObject;
  readonly random: Random;
  /** Shared state changed by a commit, durably. */
  readonly onChanged: (generation: number) => void;
  /** The disk failed: nothing can be written any more. */
  readonly onFailed: (cause: Error) => void;
}

interface CommitJob {
  readonly kind: 'commit';
  readonly changes: readonly Change[];
  readonly encoded: Uint8Array;
  readonly done: PromiseWithResolvers<void>;
}

/** A change of the whole: `make` decides what comes next when its turn has come. */
interface WholeJob {
  readonly kind: 'whole';
  readonly make: () => Whole;
  readonly isDestructive: boolean;
  readonly done: PromiseWithResolvers<void>;
}

interface Whole {
  readonly device: DeviceRecord | null;
  readonly shared: SharedState | null;
  readonly failures: ReadonlyMap<string, number>;
}

export class DurableStore implements Store {
  readonly #options: DurableStoreOptions;
  readonly #storageKey: KeyObject;
  readonly #memory = new Memory();
  readonly #waiting: (CommitJob | WholeJob)[] = [];
  #device: DeviceRecord | null = null;
  #snapshot: SlotHeader | null = null;
  #log: LogWriter | null = null;
  #writing: Promise<void> | null = null;
  #failure: Error | null = null;

  /**
   * @throws Failed `DISK_DAMAGED` when the disk holds something that can't be read as a whole, `DISK`.
   */
  static async open(options: DurableStoreOptions): Promise<DurableStore> {
    const store = new DurableStore(options);
    await store.#load();
    return store;
  }

  private constructor(options: DurableStoreOptions) {
    this.#options = options;
    this.#storageKey = options.storageKey;
  }

  get shared(): SharedState {
    const { shared } = this.#memory;
    if (shared === null) throw new Broken('there is no partition yet');
    return shared;
  }

  get hasPartition(): boolean {
    return this.#memory.hasPartition;
  }

  get local(): LocalState {
    return this.#memory.local;
  }

  get device(): DeviceRecord | null {
    return this.#device;
  }

  audit(limit: number): ReturnType<Store['audit']> {
    return this.#memory.audit.newest(limit);
  }

  /** What a seal reads while commits go on. */
  frozen(): { shared: SharedState; local: LocalState } {
    return { shared: freeze(this.shared), local: freezeLocal(this.local) };
  }

  async commit(changes: readonly Change[]): Promise<void> {
    if (changes.length === 0) return;
    const encoded = encodeCommit(changes);
    const done = Promise.withResolvers<void>();
    this.#enqueue({ kind: 'commit', changes, encoded, done });
    await done.promise;
  }

  /** @param hsmCertificate this device's own over the new partition's key; written in the same breath. */
  async replace(
    shared: SharedState,
    local: LocalState,
    hsmCertificate: string | null = null,
  ): Promise<void> {
    const { failures } = local;
    await this.#changeWhole(() => ({ device: this.#deviceWith(hsmCertificate), shared, failures }));
  }

  async erase(): Promise<void> {
    const make = () => ({ device: this.#deviceWith(null), shared: null, failures: new Map() });
    await this.#changeWhole(make, true);
  }

  /** Stores the device's identity, with the changes that come with it. */
  async saveDevice(device: DeviceRecord | null): Promise<void> {
    await this.#changeWhole(() => ({
      device,
      shared: this.#memory.shared,
      failures: this.#memory.local.failures,
    }));
  }

  /** Resolves when nothing is being written; nothing is written any more afterwards. */
  async close(): Promise<void> {
    this.#failure ??= new Failed('DISK', 'the store is closed');
    await this.#writing;
  }

  /** As `close`, and forgets everything in memory too. */
  async destroy(): Promise<void> {
    await this.close();
    this.#memory.erase();
    this.#device?.privateKey.fill(0);
    for (const { key } of this.#device?.maker?.mkbks ?? []) key.fill(0);
    for (const { key } of this.#device?.owner?.akbks ?? []) key.fill(0);
    this.#device = null;
  }

  #deviceWith(hsmCertificate: string | null): DeviceRecord | null {
    return this.#device === null ? null : { ...this.#device, hsmCertificate };
  }

  async #changeWhole(make: () => Whole, isDestructive = false): Promise<void> {
    const done = Promise.withResolvers<void>();
    this.#enqueue({ kind: 'whole', make, isDestructive, done });
    await done.promise;
  }

  #enqueue(job: CommitJob | WholeJob): void {
    if (this.#failure !== null) throw this.#failure;
    if (this.#waiting.length >= MAX_WAITING) {
      throw new Refused('LimitExceeded', `more than ${MAX_WAITING} changes wait for the disk`);
    }
    this.#waiting.push(job);
    this.#writing ??= this.#work();
  }

  /** One write at a time; everything that arrived meanwhile goes out with the next. Never rejects. */
  async #work(): Promise<void> {
    // Whoever commits in the same turn shares the first write, too.
    await Promise.resolve();
    let job: WholeJob | undefined;
    let group: readonly CommitJob[] = [];
    try {
      while (this.#waiting.length > 0 && this.#failure === null) {
        group = this.#takeGroup();
        await this.#writeGroup(group);
        group = [];
        job = this.#takeWhole();
        if (job !== undefined) {
          await this.#writeWhole(job.make(), job.isDestructive);
          job.done.resolve();
          job = undefined;
        } else if ((this.#log?.offset ?? 0) > COMPACT_AT_BYTES) {
          await this.#writeSnapshot(this.#whole(), false);
          this.#memory.gather();
        }
      }
    } catch (cause) {
      this.#fail(cause);
    } finally {
      this.#writing = null;
      const rest = [...group, ...(job === undefined ? [] : [job]), ...this.#waiting.splice(0)];
      for (const { done } of rest) done.reject(this.#failure);
    }
  }

  #fail(cause: unknown): void {
    const failure =
      cause instanceof Error ? cause : new Failed('DISK', 'writing the HSM’s disk', { cause });
    this.#failure = failure;
    this.#options.onFailed(failure);
  }

  /** Leading commits that fit one record. Commits that ask for a partition that is gone are refused. */
  #takeGroup(): readonly CommitJob[] {
    const group: CommitJob[] = [];
    let { hasPartition } = this.#memory;
    let bytes = 0;
    for (;;) {
      const job = this.#waiting[0];
      if (job?.kind !== 'commit' || (bytes > 0 && bytes + job.encoded.length > GROUP_BYTES)) break;
      this.#waiting.shift();
      hasPartition ||= job.changes.some(({ kind }) => kind === 'put-partition');
      if (!hasPartition && job.changes.some(({ kind }) => kind !== 'audit')) {
        job.done.reject(new Refused('WrongState', 'There is no partition on this HSM.'));
        continue;
      }
      bytes += job.encoded.length;
      group.push(job);
    }
    return group;
  }

  #takeWhole(): WholeJob | undefined {
    const job = this.#waiting[0];
    if (job?.kind !== 'whole') return undefined;
    this.#waiting.shift();
    return job;
  }

  async #writeGroup(group: readonly CommitJob[]): Promise<void> {
    if (group.length === 0) return;
    if (this.#options.disk.isDurable) {
      assert(this.#log !== null, 'the log is open once the store is');
      const payload = concat(Uint8Array.of(RECORD.COMMITS), ...group.map((job) => job.encoded));
      await this.#log.append(payload);
    }
    const before = this.#memory.generation;
    for (const { changes, encoded } of group) {
      encoded.fill(0);
      release(encoded);
      this.#memory.apply(changes);
    }
    if (this.#memory.generation !== before) this.#options.onChanged(this.#memory.generation);
    for (const { done } of group) done.resolve();
  }

  async #writeWhole(whole: Whole, isDestructive: boolean): Promise<void> {
    await this.#writeSnapshot(whole, isDestructive);
    this.#device = whole.device;
    if (whole.shared === null) this.#memory.erase();
    else if (whole.shared !== this.#memory.shared) this.#memory.load(whole.shared, whole.failures);
  }

  #whole(): Whole {
    const { shared, local } = this.#memory;
    return { device: this.#device, shared, failures: local.failures };
  }

  /** Durable, and the log restarted on it, when it resolves. */
  async #writeSnapshot(whole: Whole, wipesBefore: boolean): Promise<void> {
    const { disk, random } = this.#options;
    if (!disk.isDurable) return;
    const before = this.#snapshot;
    const slot: Slot = before?.slot === 0 ? 1 : 0;
    const sequence = (before?.sequence ?? 0) + 1;
    const storageKey = this.#storageKey;
    const header = await writeSnapshot(
      disk,
      { storageKey, slot, sequence, random },
      this.#snapshotPieces(whole),
    );
    const log = new LogWriter(disk, random, { storageKey, header, offset: 0, sequence: 0 });
    await log.append(Uint8Array.of(RECORD.MARK));
    if (wipesBefore) {
      await wipeLog(disk, log.offset);
      if (before !== null) await wipeSlot(disk, before.slot);
    }
    this.#snapshot = header;
    this.#log = log;
  }

  *#snapshotPieces({ device, shared, failures }: Whole): Generator<Uint8Array, void, void> {
    const deviceBytes = device === null ? new Uint8Array() : encodeDevice(device);
    yield concat(Uint8Array.of(SNAPSHOT_VERSION), u32(deviceBytes.length));
    yield deviceBytes;
    const { audit } = this.#memory;
    const records = audit.newest(Number.MAX_SAFE_INTEGER);
    yield concat(u64(audit.next), u32(records.length));
    for (const { sequence: _, ...record } of records) yield measured(encodeRecord('audit', record));
    if (shared !== null) yield* encodeState(shared, { failures, auditSequence: audit.next });
  }

  // ---- starting

  async #load(): Promise<void> {
    const { disk } = this.#options;
    if (!disk.isDurable) return;
    const log = await disk.read('log', 0, await disk.size('log'));
    const found = await this.#newestSnapshot(log);
    if (found === null) {
      await this.#writeSnapshot({ device: null, shared: null, failures: new Map() }, false);
      return;
    }
    try {
      this.#decodeSnapshot(found.plaintext);
    } catch (cause) {
      found.plaintext.fill(0);
      throw cause;
    }
    const { header } = found;
    const storageKey = this.#storageKey;
    const content = parseLog(log, header, storageKey);
    for (const payload of content.payloads) this.#replay(payload);
    this.#snapshot = header;
    this.#log = new LogWriter(disk, this.#options.random, { storageKey, header, ...content });
    // From here on, everything before this mark is an older record: its damage can't pass for a tear.
    await this.#log.append(Uint8Array.of(RECORD.MARK));
  }

  /** Null for a disk on which nothing was ever acknowledged. */
  async #newestSnapshot(
    log: Uint8Array,
  ): Promise<{ header: SlotHeader; plaintext: Uint8Array } | null> {
    const { disk } = this.#options;
    const slots = [await readSlotHeader(disk, 0), await readSlotHeader(disk, 1)] as const;
    const headers = slots
      .filter((slot) => typeof slot !== 'string')
      .sort((a, b) => b.sequence - a.sequence);
    for (const header of headers) {
      const plaintext = await readSnapshot(disk, header, this.#storageKey);
      if (plaintext === null) continue;
      if (mentionsBase(log, header.sequence + 1)) {
        plaintext.fill(0);
        throw damaged(`snapshot ${header.sequence + 1}`);
      }
      return { header, plaintext };
    }
    // The very first snapshot goes to slot 0 with an empty log; torn, it was never acknowledged.
    const isFresh = slots[1] === 'blank' && log.every((byte) => byte === 0);
    if (!isFresh) throw damaged('no snapshot can be read');
    return null;
  }

  #decodeSnapshot(plaintext: Uint8Array): void {
    const from = new ByteReader(plaintext);
    assert(from.u8() === SNAPSHOT_VERSION, 'a snapshot of another version');
    const deviceBytes = from.bytes(from.u32());
    if (deviceBytes.length > 0) this.#device = decodeDevice(deviceBytes);
    deviceBytes.fill(0);
    const next = from.number();
    const records = Array.from({ length: from.u32() }, () =>
      decodeRecord('audit', from.bytes(from.u32())),
    );
    this.#memory.audit.load(next, records);
    const state = plaintext.subarray(plaintext.length - from.left);
    // What is in front of the state was copied; the state stays where it is.
    plaintext.fill(0, 0, plaintext.length - from.left);
    if (state.length === 0) return;
    const { shared, local } = decodeState(state);
    this.#memory.load(shared, local.failures);
  }

  #replay(payload: Uint8Array): void {
    const from = new ByteReader(payload);
    const kind = from.u8();
    if (kind === RECORD.MARK) return;
    assert(kind === RECORD.COMMITS, 'a log record of no known kind');
    while (from.left > 0) {
      const changes = Array.from({ length: from.u32() }, () =>
        decodeChange(from.bytes(from.u32())),
      );
      this.#memory.apply(changes);
    }
    payload.fill(0);
  }
}

/** Overwrites everything on the disk. Needs neither key nor readable content. */
export async function wipeDisk(disk: HsmDisk): Promise<void> {
  if (!disk.isDurable) return;
  await wipeLog(disk, 0);
  for (const slot of [0, 1] as const) await wipeSlot(disk, slot);
}

/** Nothing of the changes is left anywhere but in the one array that it gives back. */
function encodeCommit(changes: readonly Change[]): Uint8Array {
  const parts = changes.map(encodeChange);
  const bytes = parts.reduce((sum, part) => sum + LENGTH_BYTES + part.length, LENGTH_BYTES);
  if (bytes > MAX_RECORD_BYTES / 2) {
    for (const part of parts) part.fill(0);
    throw new Refused('LimitExceeded', 'The change is too large to be written at once.');
  }
  const encoded = new Uint8Array(bytes);
  const into = new ByteWriter(encoded);
  into.u32(parts.length);
  for (const part of parts) {
    into.u32(part.length);
    into.raw(part);
    part.fill(0);
    release(part);
  }
  return encoded;
}

function measured(bytes: Uint8Array): Uint8Array {
  return concat(u32(bytes.length), bytes);
}
