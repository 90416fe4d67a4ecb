/**
 * State as records: one table per kind, in archives, in the HSM's snapshots and in its log.
 *
 * Source: docs/formats/backup-v1.md, "Records". Writing is in bounded pieces; reading is strict and
 * judges every length before it allocates. The tables are an argument, so that a test can drop a field
 * and watch the loss being noticed.
 */
import { equalBytes } from '../../kernel/bytes.ts';
import { assert, unreachable } from '../../kernel/errors.ts';
import type {
  LocalState,
  ObjectRecord,
  Partition,
  PasswordVerifier,
  PolicyRecord,
  SharedState,
  TombstoneRecord,
  UserRecord,
} from '../state.ts';
import type { AuditRecord, Change } from '../store.ts';
import { localDigest } from './digest.ts';
import {
  attributes,
  ByteReader,
  ByteWriter,
  bytes,
  choice,
  type Field,
  fieldsSize,
  id,
  MAX_NAME_BYTES,
  MalformedRecord,
  names,
  number,
  readFields,
  structure,
  text,
  type ValueType,
  writeFields,
} from './fields.ts';
import { compareText, isAscending } from './order.ts';

/** How much is inside, and what belongs to no single record. */
interface Manifest {
  readonly version: number;
  readonly generation: number;
  readonly nextHandle: number;
  readonly auditSequence: number;
  readonly users: number;
  readonly objects: number;
  readonly tombstones: number;
  readonly policies: number;
  readonly failures: number;
  readonly localDigest: Uint8Array;
}

interface Failures {
  readonly name: string;
  readonly count: number;
}

/** What each kind of record holds. `verifier` is no record by itself but part of a user. */
export interface Records {
  manifest: Manifest;
  partition: Partition;
  user: UserRecord;
  object: ObjectRecord;
  tombstone: TombstoneRecord;
  policy: PolicyRecord;
  failures: Failures;
  audit: AuditRecord;
  removedUser: { readonly name: string };
  removedObject: { readonly id: string };
  verifier: PasswordVerifier;
}
export type RecordName = keyof Records;

export interface RecordSchema {
  readonly kind: number;
  /** By ascending tag. */
  readonly fields: readonly Field[];
}
export type Schema = Readonly<Record<RecordName, RecordSchema>>;

const RECORDS_VERSION = 1;
const PEM_BYTES = 65_536;
const ROLE = { 'unactivated-admin': 1, admin: 2, 'crypto-user': 3, 'appliance-user': 4 } as const;
const TYPE = { 'hsm1.medium': 1, 'hsm2m.medium': 2 } as const;
const MODE = { FIPS: 1, NON_FIPS: 2 } as const;

const name = text(MAX_NAME_BYTES);
const pem = text(PEM_BYTES);

/** Tags and kinds are for ever: a changed meaning is a new tag and a new format version. */
export const SCHEMA: Schema = {
  manifest: record<Manifest>(1, {
    version: { tag: 1, type: number },
    generation: { tag: 2, type: number },
    nextHandle: { tag: 3, type: number },
    auditSequence: { tag: 4, type: number },
    users: { tag: 5, type: number },
    objects: { tag: 6, type: number },
    tombstones: { tag: 7, type: number },
    policies: { tag: 8, type: number },
    failures: { tag: 9, type: number },
    localDigest: { tag: 10, type: bytes({ exactly: 32 }) },
  }),
  partition: record<Partition>(2, {
    clusterId: { tag: 1, type: text(64) },
    incarnation: { tag: 2, type: id },
    type: { tag: 3, type: choice(TYPE) },
    mode: { tag: 4, type: choice(MODE) },
    partitionKey: { tag: 5, type: bytes({ max: 16_384 }) },
    clusterCsr: { tag: 6, type: pem },
    hsmCertificate: { tag: 7, type: pem },
    clusterCertificate: { tag: 8, type: pem, absent: 'null' },
    trustAnchor: { tag: 9, type: pem, absent: 'null' },
    maskingKey: { tag: 10, type: bytes({ exactly: 32 }) },
  }),
  user: record<UserRecord>(3, {
    name: { tag: 1, type: name },
    role: { tag: 2, type: choice(ROLE) },
    verifier: { tag: 3, type: structure<PasswordVerifier>('verifier'), absent: 'null' },
    createdGeneration: { tag: 4, type: number },
    passwordGeneration: { tag: 5, type: number },
  }),
  object: record<ObjectRecord>(4, {
    id: { tag: 1, type: id },
    handle: { tag: 2, type: number },
    owner: { tag: 3, type: name },
    sharedWith: { tag: 4, type: names },
    attributes: { tag: 5, type: attributes },
    createdGeneration: { tag: 6, type: number },
  }),
  tombstone: record<TombstoneRecord>(5, {
    id: { tag: 1, type: id },
    generation: { tag: 2, type: number },
  }),
  policy: record<PolicyRecord>(6, {
    name: { tag: 1, type: name },
    value: { tag: 2, type: number },
  }),
  failures: record<Failures>(7, {
    name: { tag: 1, type: name },
    count: { tag: 2, type: number },
  }),
  audit: record<AuditRecord>(8, {
    at: { tag: 1, type: number },
    opcode: { tag: 2, type: name },
    response: { tag: 3, type: number },
    session: { tag: 4, type: number },
    user: { tag: 5, type: name, absent: 'missing' },
    details: { tag: 6, type: text(65_536), absent: 'missing' },
  }),
  removedUser: record<{ readonly name: string }>(9, { name: { tag: 1, type: name } }),
  removedObject: record<{ readonly id: string }>(10, { id: { tag: 1, type: id } }),
  verifier: record<PasswordVerifier>(0, {
    salt: { tag: 1, type: bytes({ max: 64 }) },
    memoryKiB: { tag: 2, type: number },
    passes: { tag: 3, type: number },
    hash: { tag: 4, type: bytes({ max: 64 }) },
  }),
};

type FieldOf<T, K extends keyof T> = {
  readonly tag: number;
  readonly type: ValueType<NonNullable<T[K]>>;
} & (object extends Pick<T, K>
  ? { readonly absent: 'missing' }
  : null extends T[K]
    ? { readonly absent: 'null' }
    : { readonly absent?: never });

/** Every property of `T` once and with its own type, or it does not compile. */
function record<T extends object>(
  kind: number,
  fields: { readonly [K in keyof T]-?: FieldOf<T, K> },
): RecordSchema {
  const table: readonly [string, Omit<Field, 'name'>][] = Object.entries(fields);
  return {
    kind,
    fields: table.map(([key, field]) => ({ name: key, ...field })).sort((a, b) => a.tag - b.tag),
  };
}

// ---- one record: u8 kind ‖ u32 length ‖ fields

const RECORD_PREFIX_BYTES = 5;
const MAX_RECORD_BYTES = 1 << 24;

export function recordBytes<Name extends RecordName>(
  kind: Name,
  value: Records[Name],
  schema: Schema = SCHEMA,
): number {
  const size = fieldsSize(schema[kind].fields, value, schema);
  assert(size <= MAX_RECORD_BYTES, 'a record is too long');
  return RECORD_PREFIX_BYTES + size;
}

export function encodeRecord<Name extends RecordName>(
  kind: Name,
  value: Records[Name],
  schema: Schema = SCHEMA,
): Uint8Array {
  const out = new Uint8Array(recordBytes(kind, value, schema));
  writeRecord(kind, value, out.length, new ByteWriter(out), schema);
  return out;
}

/** @throws MalformedRecord also for another kind and for anything behind the record. */
export function decodeRecord<Name extends RecordName>(
  kind: Name,
  encoded: Uint8Array,
  schema: Schema = SCHEMA,
): Records[Name] {
  const from = new ByteReader(encoded);
  const value = readRecord(kind, from, schema);
  from.end();
  return value;
}

function writeRecord<Name extends RecordName>(
  kind: Name,
  value: Records[Name],
  size: number,
  into: ByteWriter,
  schema: Schema,
): void {
  into.u8(schema[kind].kind);
  into.u32(size - RECORD_PREFIX_BYTES);
  writeFields(schema[kind].fields, value, into, schema);
}

function readRecord<Name extends RecordName>(
  kind: Name,
  from: ByteReader,
  schema: Schema,
): Records[Name] {
  if (from.u8() !== schema[kind].kind) throw new MalformedRecord('a record of another kind');
  const length = from.u32();
  if (length > MAX_RECORD_BYTES) throw new MalformedRecord('a record is too long');
  const around = from.enter(length);
  // `record<T>()` made the table from exactly the properties of Records[Name].
  const value = readFields(schema[kind].fields, from, schema) as unknown as Records[Name];
  from.leave(around);
  return value;
}

// ---- one change of the HSM's log

/** @throws Broken when the change cannot be written down. */
export function encodeChange(change: Change): Uint8Array {
  switch (change.kind) {
    case 'put-user':
      return encodeRecord('user', change.user);
    case 'remove-user':
      return encodeRecord('removedUser', { name: change.name });
    case 'put-object':
      return encodeRecord('object', change.object);
    case 'remove-object':
      return encodeRecord('removedObject', { id: change.id });
    case 'put-policy':
      return encodeRecord('policy', change.policy);
    case 'put-partition':
      return encodeRecord('partition', change.partition);
    case 'set-failures':
      return encodeRecord('failures', { name: change.name, count: change.count });
    case 'audit':
      return encodeRecord('audit', change.record);
    default:
      return unreachable(change, 'a change of no known kind');
  }
}

/** @throws MalformedRecord. */
export function decodeChange(encoded: Uint8Array): Change {
  switch (encoded[0]) {
    case SCHEMA.user.kind:
      return { kind: 'put-user', user: decodeRecord('user', encoded) };
    case SCHEMA.removedUser.kind:
      return { kind: 'remove-user', name: decodeRecord('removedUser', encoded).name };
    case SCHEMA.object.kind:
      return { kind: 'put-object', object: decodeRecord('object', encoded) };
    case SCHEMA.removedObject.kind:
      return { kind: 'remove-object', id: decodeRecord('removedObject', encoded).id };
    case SCHEMA.policy.kind:
      return { kind: 'put-policy', policy: decodeRecord('policy', encoded) };
    case SCHEMA.partition.kind:
      return { kind: 'put-partition', partition: decodeRecord('partition', encoded) };
    case SCHEMA.failures.kind:
      return { kind: 'set-failures', ...decodeRecord('failures', encoded) };
    case SCHEMA.audit.kind:
      return { kind: 'audit', record: decodeRecord('audit', encoded) };
    default:
      throw new MalformedRecord('a change of no known kind');
  }
}

// ---- the whole state

/** Pieces are about this long; a longer record is a piece by itself. */
const PIECE_BYTES = 64 * 1024;

/** Bounds on what a manifest may announce. */
const MAX_COUNT = {
  users: 65_536,
  objects: 1 << 20,
  tombstones: 1 << 22,
  policies: 1_024,
  failures: 65_536,
} as const;

/** The records of one kind in canonical order. */
interface Sequence {
  readonly kind: RecordName;
  readonly records: readonly Records[RecordName][];
}

/**
 * The state as a sequence of records in canonical order, measured at once, written piece by piece.
 * Holds the records, not their bytes; later changes of the given maps don't reach it.
 */
export class StateEncoder {
  /** Exactly what `pieces` add up to. */
  readonly bytes: number;
  readonly #sequences: readonly Sequence[];
  readonly #sizes: Uint32Array;
  readonly #schema: Schema;

  constructor(shared: SharedState, local: LocalState, schema: Schema = SCHEMA) {
    this.#schema = schema;
    this.#sequences = sequencesOf(shared, local);
    const count = this.#sequences.reduce((sum, { records }) => sum + records.length, 0);
    this.#sizes = new Uint32Array(count);
    let i = 0;
    let bytes = 0;
    for (const { kind, records } of this.#sequences) {
      for (const record of records) {
        const size = recordBytes(kind, record, schema);
        this.#sizes[i++] = size;
        bytes += size;
      }
    }
    this.bytes = bytes;
  }

  /** The same memory again and again: a piece is its reader's until he asks for the next, and is wiped then. */
  *pieces(): Generator<Uint8Array, void, void> {
    const largest = this.#sizes.reduce((most, size) => Math.max(most, size), PIECE_BYTES);
    const memory = new Uint8Array(largest);
    let into = new ByteWriter(memory);
    let i = 0;
    try {
      for (const { kind, records } of this.#sequences) {
        for (const record of records) {
          const size = this.#sizes[i++] ?? 0;
          if (into.written > 0 && into.written + size > PIECE_BYTES) {
            yield memory.subarray(0, into.written);
            memory.fill(0, 0, into.written);
            into = new ByteWriter(memory);
          }
          writeRecord(kind, record, size, into, this.#schema);
        }
      }
      yield memory.subarray(0, into.written);
    } finally {
      memory.fill(0);
    }
  }
}

export function encodeState(
  shared: SharedState,
  local: LocalState,
  schema: Schema = SCHEMA,
): Iterable<Uint8Array> {
  return new StateEncoder(shared, local, schema).pieces();
}

/**
 * All of it or nothing. Takes `encoded` over: the objects' attributes stay where they are in it, and the
 * rest is wiped. A caller whose bytes are refused has them back as they were.
 * @throws MalformedRecord.
 */
export function decodeState(
  encoded: Uint8Array,
  schema: Schema = SCHEMA,
): { shared: SharedState; local: LocalState } {
  const from = new ByteReader(encoded);
  const manifest = readRecord('manifest', from, schema);
  if (manifest.version !== RECORDS_VERSION) throw new MalformedRecord('records of another version');
  const partition = readRecord('partition', from, schema);
  const group = <Name extends RecordName>(
    kind: Name,
    count: number,
    max: number,
    keyOf: (value: Records[Name]) => string,
  ) => readGroup({ kind, count, max, keyOf }, from, schema);
  const shared: SharedState = {
    partition,
    generation: manifest.generation,
    nextHandle: manifest.nextHandle,
    users: group('user', manifest.users, MAX_COUNT.users, (user) => user.name),
    objects: group('object', manifest.objects, MAX_COUNT.objects, (object) => object.id),
    tombstones: group('tombstone', manifest.tombstones, MAX_COUNT.tombstones, (gone) => gone.id),
    policies: group('policy', manifest.policies, MAX_COUNT.policies, (policy) => policy.name),
  };
  const failures = group('failures', manifest.failures, MAX_COUNT.failures, (user) => user.name);
  from.end();
  const local: LocalState = {
    failures: new Map([...failures.values()].map((user) => [user.name, user.count])),
    auditSequence: manifest.auditSequence,
  };
  if (!equalBytes(manifest.localDigest, localDigest(local, partition.maskingKey))) {
    throw new MalformedRecord('local state is not what was written');
  }
  from.wipeRest();
  return { shared, local };
}

interface Group<Name extends RecordName> {
  readonly kind: Name;
  readonly count: number;
  readonly max: number;
  readonly keyOf: (value: Records[Name]) => string;
}

/** Strictly ascending keys: canonical order and no duplicates in one comparison. */
function readGroup<Name extends RecordName>(
  { kind, count, max, keyOf }: Group<Name>,
  from: ByteReader,
  schema: Schema,
): Map<string, Records[Name]> {
  if (!(count <= max)) throw new MalformedRecord('more records than the format allows');
  const all = new Map<string, Records[Name]>();
  let previous: string | undefined;
  for (let left = count; left > 0; left--) {
    const value = readRecord(kind, from, schema);
    const key = keyOf(value);
    if (previous !== undefined && !(compareText(previous, key) < 0)) {
      throw new MalformedRecord('records out of order');
    }
    previous = key;
    all.set(key, value);
  }
  return all;
}

function sequencesOf(shared: SharedState, local: LocalState): Sequence[] {
  const manifest: Manifest = {
    version: RECORDS_VERSION,
    generation: shared.generation,
    nextHandle: shared.nextHandle,
    auditSequence: local.auditSequence,
    users: shared.users.size,
    objects: shared.objects.size,
    tombstones: shared.tombstones.size,
    policies: shared.policies.size,
    failures: local.failures.size,
    localDigest: localDigest(local, shared.partition.maskingKey),
  };
  for (const group of ['users', 'objects', 'tombstones', 'policies', 'failures'] as const) {
    assert(manifest[group] <= MAX_COUNT[group], `more ${group} than the format allows`);
  }
  const failures = new Map([...local.failures].map(([key, count]) => [key, { name: key, count }]));
  return [
    { kind: 'manifest', records: [manifest] },
    { kind: 'partition', records: [shared.partition] },
    { kind: 'user', records: inOrder(shared.users) },
    { kind: 'object', records: inOrder(shared.objects) },
    { kind: 'tombstone', records: inOrder(shared.tombstones) },
    { kind: 'policy', records: inOrder(shared.policies) },
    { kind: 'failures', records: inOrder(failures) },
  ];
}

function inOrder<T>(records: ReadonlyMap<string, T>): readonly T[] {
  const keys = [...records.keys()];
  if (isAscending(keys, compareText)) return [...records.values()];
  return keys.sort(compareText).map((key) => {
    const record = records.get(key);
    assert(record !== undefined, 'a map has its own keys');
    return record;
  });
}
