/** States, roots and luck for the backup tests: one rich state with everything in it, and arbitrary ones. */
import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { type OpenedArchive, openArchive } from '../../../src/hsm/backup/open.ts';
import type { Schema } from '../../../src/hsm/backup/records.ts';
import { type SealResult, sealState } from '../../../src/hsm/backup/seal.ts';
import { PackedAttributes } from '../../../src/hsm/packed-attributes.ts';
import type { Epochs, HsmMode, HsmType } from '../../../src/hsm/protocol.ts';
import { Roots } from '../../../src/hsm/roots.ts';
import type {
  Attributes,
  AttributeValue,
  LocalState,
  ObjectRecord,
  Partition,
  PasswordVerifier,
  SharedState,
  UserRecord,
} from '../../../src/hsm/state.ts';
import { concat, fromUtf8, u32 } from '../../../src/kernel/bytes.ts';
import { type BackupId, parseBackupId } from '../../../src/kernel/ids.ts';
import type { Random } from '../../../src/kernel/random.ts';
import { Secret } from '../../../src/kernel/secret.ts';

export interface State {
  readonly shared: SharedState;
  readonly local: LocalState;
}

export const BACKUP_ID: BackupId = parseBackupId('backup-keyark2345abcdef');

/** SHA-256 in counter mode: the same luck for the same seed. */
export function fixedRandom(seed: string): Random {
  let counter = 0;
  return {
    bytes: (length) => {
      const out = new Uint8Array(length);
      for (let at = 0; at < length; at += 32) {
        const block = createHash('sha256').update(seed).update(u32(counter++)).digest();
        out.set(block.subarray(0, length - at), at);
      }
      return out;
    },
  };
}

export interface RootsOptions {
  readonly vendor?: string;
  readonly line?: string;
  readonly owner?: string;
  readonly makerSeed?: string;
  readonly ownerSeed?: string;
  /** Newest of each; all from 1 are there. */
  readonly epochs?: Epochs;
}

export function makeRoots(options: RootsOptions = {}): Roots {
  const { vendor = 'Example Works', line = 'ark-1', owner = 'Müller & Söhne' } = options;
  const { makerSeed = 'maker', ownerSeed = 'owner', epochs = { mkbk: 1, akbk: 1 } } = options;
  const roots = new Roots();
  const rootKey = (seed: string, epoch: number) =>
    new Secret(fixedRandom(`${seed} ${epoch}`).bytes(32));
  for (let epoch = 1; epoch <= epochs.mkbk; epoch++) {
    roots.addMkbk({ vendor, line, epoch, key: rootKey(makerSeed, epoch) });
  }
  for (let epoch = 1; epoch <= epochs.akbk; epoch++) {
    roots.addAkbk({ owner, epoch, key: rootKey(ownerSeed, epoch) });
  }
  return roots;
}

export interface Sealed extends SealResult {
  readonly body: Uint8Array;
}

export interface SealOptions {
  readonly roots?: Roots;
  readonly random?: Random;
  readonly backupId?: BackupId;
  readonly schema?: Schema;
}

export async function seal(state: State, options: SealOptions = {}): Promise<Sealed> {
  const { roots = makeRoots(), random = fixedRandom('luck'), backupId = BACKUP_ID } = options;
  const { schema } = options;
  const sealing = sealState({
    ...state,
    backupId,
    roots,
    random,
    ...(schema === undefined ? {} : { schema }),
  });
  const chunks: Uint8Array[] = [];
  for await (const chunk of sealing.body) chunks.push(chunk.slice());
  return { body: concat(...chunks), ...sealing.finish() };
}

export interface OpenOptions {
  readonly roots?: Roots;
  readonly chunkBytes?: number;
  readonly type?: HsmType;
  readonly mode?: HsmMode;
  readonly schema?: Schema;
}

export function open(
  sealed: { readonly body: Uint8Array; readonly sealRecord: Uint8Array },
  options: OpenOptions = {},
): Promise<OpenedArchive> {
  const { roots = makeRoots(), chunkBytes = 65_536, schema } = options;
  const { type = 'hsm2m.medium', mode = 'FIPS' } = options;
  return openArchive({
    sealRecord: sealed.sealRecord,
    body: inChunks(sealed.body, chunkBytes),
    roots,
    expect: { type, mode },
    ...(schema === undefined ? {} : { schema }),
  });
}

export async function* inChunks(
  body: Uint8Array,
  chunkBytes: number,
): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < body.length; at += chunkBytes) yield body.subarray(at, at + chunkBytes);
}

// ---- one state with every field of every record in it

const luck = (name: string, length: number) => fixedRandom(name).bytes(length);
const hexId = (name: string) => Buffer.from(luck(name, 16)).toString('hex');

export function keyed<T extends { readonly name: string } | { readonly id: string }>(
  records: readonly T[],
): ReadonlyMap<string, T> {
  return new Map(records.map((one) => ['name' in one ? one.name : one.id, one]));
}

export function sampleState(options: { readonly paddingBytes?: number } = {}): State {
  const { paddingBytes = 300 } = options;
  const verifier = (of: string): PasswordVerifier => ({
    salt: luck(`salt ${of}`, 16),
    memoryKiB: 19_456,
    passes: 2,
    hash: luck(`hash ${of}`, 32),
  });
  const users: UserRecord[] = [
    {
      name: 'admin',
      role: 'admin',
      verifier: verifier('admin'),
      createdGeneration: 1,
      passwordGeneration: 2,
    },
    {
      name: 'zoë',
      role: 'crypto-user',
      verifier: verifier('zoë'),
      createdGeneration: 3,
      passwordGeneration: 3,
    },
    {
      name: 'app_user',
      role: 'appliance-user',
      verifier: null,
      createdGeneration: 1,
      passwordGeneration: 0,
    },
  ];
  const object = (label: string, handle: number, material: Uint8Array): ObjectRecord => ({
    id: hexId(label),
    handle,
    owner: 'zoë',
    sharedWith: handle % 2 === 0 ? [] : ['admin', 'app_user'],
    attributes: new Map<number, AttributeValue>([
      [0x11, { type: 'bytes', value: material }],
      [0x00, { type: 'ulong', value: 4 }],
      [0x01, { type: 'bool', value: true }],
      [0x170, { type: 'bool', value: false }],
      [0x03, { type: 'bytes', value: fromUtf8(label) }],
    ]),
    createdGeneration: handle,
  });
  const partition: Partition = {
    clusterId: 'cluster-keyark2345abcdef',
    incarnation: hexId('incarnation'),
    type: 'hsm2m.medium',
    mode: 'FIPS',
    partitionKey: luck('partition key', 121),
    clusterCsr: '-----BEGIN CERTIFICATE REQUEST-----\n',
    hsmCertificate: '-----BEGIN CERTIFICATE----- hsm\n',
    clusterCertificate: '-----BEGIN CERTIFICATE----- cluster\n',
    trustAnchor: '-----BEGIN CERTIFICATE----- anchor\n',
    maskingKey: luck('masking key', 32),
  };
  return {
    shared: {
      partition,
      generation: 0x1_0000_0007,
      nextHandle: 9_007_199_254_740_991,
      users: keyed(users),
      objects: keyed([
        object('signing', 6, luck('signing', 32)),
        object('wrapping', 7, luck('wrapping', 32)),
        object('padding', 8, luck('padding', paddingBytes)),
      ]),
      tombstones: keyed([{ id: hexId('gone'), generation: 5 }]),
      policies: keyed([
        { name: 'lock-out', value: 5 },
        { name: 'fips', value: 1 },
      ]),
    },
    local: {
      failures: new Map([
        ['zoë', 3],
        ['admin', 1],
      ]),
      auditSequence: 77,
    },
  };
}

/** The same with attributes in plain maps, to be compared with what was written down as such. */
export function withMaps<T>(value: T): T;
export function withMaps(value: unknown): unknown {
  if (value instanceof PackedAttributes) return new Map(value);
  if (value instanceof Map) return new Map([...value].map(([key, part]) => [key, withMaps(part)]));
  if (Array.isArray(value)) return value.map(withMaps);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, withMaps(part)]));
}

/** The same with attributes as an HSM holds them. */
export function packed({ shared, local }: State): State {
  const objects = [...shared.objects].map(
    ([id, one]) => [id, { ...one, attributes: PackedAttributes.of(one.attributes) }] as const,
  );
  return { shared: { ...shared, objects: new Map(objects) }, local };
}

// ---- arbitrary states, as far as the format's own limits

function plainRecord<T>(model: { readonly [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> {
  return fc.record<T>(model, { noNullPrototype: true });
}

const count = fc.oneof(fc.nat(300), fc.maxSafeNat());
const word = fc.string({ unit: 'binary', maxLength: 20 });
const octets = (max: number) => fc.uint8Array({ maxLength: max });
const hex = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((id) => Buffer.from(id).toString('hex'));

export const arbitraryAttributes: fc.Arbitrary<Attributes> = fc
  .array(
    fc.tuple(
      fc.oneof(fc.nat(0x400), fc.nat(0xffff_ffff)),
      fc.oneof(
        plainRecord({ type: fc.constant('bool' as const), value: fc.boolean() }),
        plainRecord({ type: fc.constant('ulong' as const), value: count }),
        plainRecord({ type: fc.constant('bytes' as const), value: octets(60) }),
      ),
    ),
    { maxLength: 12 },
  )
  .map((pairs) => new Map(pairs));

const users = fc
  .array(
    plainRecord({
      name: word,
      role: fc.constantFrom(
        'unactivated-admin' as const,
        'admin' as const,
        'crypto-user' as const,
        'appliance-user' as const,
      ),
      verifier: fc.option(
        plainRecord({ salt: octets(64), memoryKiB: count, passes: count, hash: octets(64) }),
      ),
      createdGeneration: count,
      passwordGeneration: count,
    }),
    { maxLength: 6 },
  )
  .map(keyed);

const objects = fc
  .array(
    plainRecord({
      id: hex,
      handle: count,
      owner: word,
      sharedWith: fc.array(word, { maxLength: 4 }),
      attributes: arbitraryAttributes,
      createdGeneration: count,
    }),
    { maxLength: 8 },
  )
  .map(keyed);

const partition: fc.Arbitrary<Partition> = plainRecord({
  clusterId: fc.string({ unit: 'binary', maxLength: 16 }),
  incarnation: hex,
  type: fc.constantFrom('hsm1.medium' as const, 'hsm2m.medium' as const),
  mode: fc.constant('FIPS' as const),
  partitionKey: octets(140),
  clusterCsr: word,
  hsmCertificate: word,
  clusterCertificate: fc.option(word),
  trustAnchor: fc.option(word),
  maskingKey: fc.uint8Array({ minLength: 32, maxLength: 32 }),
});

/** Every one of them restores to hsm2m.medium in FIPS mode. */
export const arbitraryState: fc.Arbitrary<State> = plainRecord({
  shared: plainRecord({
    partition,
    generation: count,
    nextHandle: count,
    users,
    objects,
    tombstones: fc.array(plainRecord({ id: hex, generation: count }), { maxLength: 4 }).map(keyed),
    policies: fc.array(plainRecord({ name: word, value: count }), { maxLength: 4 }).map(keyed),
  }),
  local: plainRecord({
    failures: fc.array(fc.tuple(word, count), { maxLength: 4 }).map((pairs) => new Map(pairs)),
    auditSequence: count,
  }),
});

/** The same state with every map filled in another order. */
export function reversed({ shared, local }: State): State {
  const back = <V>(map: ReadonlyMap<string, V>) => new Map([...map].reverse());
  const objectsBack = [...back(shared.objects)].map(
    ([id, one]) => [id, { ...one, attributes: new Map([...one.attributes].reverse()) }] as const,
  );
  return {
    shared: {
      ...shared,
      users: back(shared.users),
      objects: new Map(objectsBack),
      tombstones: back(shared.tombstones),
      policies: back(shared.policies),
    },
    local: { ...local, failures: back(local.failures) },
  };
}
