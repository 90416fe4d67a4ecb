/**
 * The embedded key service: AES-256 keys on this machine's disk, a file per region, each key sealed under
 * the root key file beside them. Files 0600, folder 0700.
 *
 * What it is good for: whoever has the vault without this folder has noise. What it is not: whoever has
 * both, has the second layer open (the seal below it still needs an HSM). SECURITY.md says so.
 *
 * A key is durable before it wraps anything, and no file is ever written anew because it could not be
 * read or is gone: a missing root beside existing keys, or missing keys of which a mark is kept elsewhere, is an
 * error, not a reason to make others.
 */
import { openAead, sealAead } from '../crypto/aead.ts';
import { concat, fromBase64, fromUtf8, toBase64, toHex, toUtf8 } from '../kernel/bytes.ts';
import { canonicalJson } from '../kernel/canonical-json.ts';
import { Failed, Refused } from '../kernel/errors.ts';
import { type Random, systemRandom } from '../kernel/random.ts';
import { Secret } from '../kernel/secret.ts';
import type { JsonObject, JsonValue } from '../kernel/types.ts';
import { KeyFiles } from './key-files.ts';
import type { EncryptionContext, Kms, WrappedDataKey } from './kms.ts';
import { plainContext } from './records.ts';

const ROOT_FILE = 'root.key';
const KEY_BYTES = 32;
/** Of an id: a key that was made anew is never taken for the one that was lost. */
const ID_BYTES = 8;
const NONCE_BYTES = 12;
const WRAPPED_VERSION = 1;
const FILE_VERSION = 1;
const REGION = /^[a-z0-9-]{1,40}$/;

/** Kept apart from the key files: which key this region has had. */
export interface KeyMark {
  get(): string | undefined;
  put(keyId: string): void;
}

/** The keys of one region, by id; the newest wraps. */
interface KeyRing {
  readonly currentKeyId: string;
  readonly keys: ReadonlyMap<string, Secret>;
}

export class LocalKms implements Kms {
  readonly kind = 'embedded';
  readonly #region: string;
  readonly #files: KeyFiles;
  readonly #random: Random;
  readonly #mark: KeyMark | undefined;
  #ring: Promise<KeyRing> | undefined;

  /** @throws Refused `InvalidRequest` for a region whose name could not be a file's. */
  constructor(options: { folder: string; region: string; random?: Random; mark?: KeyMark }) {
    if (!REGION.test(options.region)) {
      throw new Refused('InvalidRequest', `"${options.region}" is not the name of a region.`);
    }
    this.#region = options.region;
    this.#random = options.random ?? systemRandom;
    this.#mark = options.mark;
    this.#files = new KeyFiles(options.folder, this.#random);
  }

  async currentKeyId(): Promise<string> {
    return (await this.#keys()).currentKeyId;
  }

  async generateDataKey(
    context: EncryptionContext,
  ): Promise<{ key: Secret; wrapped: WrappedDataKey }> {
    const { currentKeyId, keys } = await this.#keys();
    const wrappingKey = keys.get(currentKeyId);
    if (wrappingKey === undefined) throw refusal();
    const key = new Secret(this.#random.bytes(KEY_BYTES));
    const wrapped = this.#seal(wrappingKey, key, wrapAad(currentKeyId, context));
    return { key, wrapped: { kmsKeyId: currentKeyId, wrapped } };
  }

  async unwrapDataKey(wrapped: WrappedDataKey, context: EncryptionContext): Promise<Secret> {
    const { keys } = await this.#keys();
    try {
      const wrappingKey = keys.get(wrapped.kmsKeyId);
      if (wrappingKey === undefined) throw refusal();
      return open(wrappingKey, wrapped.wrapped, wrapAad(wrapped.kmsKeyId, context));
    } catch {
      // Unknown key, other context, damaged text: one answer, so that none of them can be told apart.
      throw refusal();
    }
  }

  /** Read or made once; after a failure the next call tries again. */
  async #keys(): Promise<KeyRing> {
    this.#ring ??= this.#load();
    try {
      return await this.#ring;
    } catch (cause) {
      this.#ring = undefined;
      if (cause instanceof Failed) throw cause;
      throw new Failed('KMS', `the embedded key service cannot read or make its keys`, { cause });
    }
  }

  async #load(): Promise<KeyRing> {
    await this.#files.prepare();
    const name = `${this.#region}.json`;
    const found = await this.#files.read(name);
    const marked = this.#mark?.get();
    if (found === undefined && marked !== undefined) throw lostKey(marked);
    using root = await this.#root();
    const ring = parseRing(found ?? (await this.#makeFirstKey(root, name)), root);
    // Other keys in their place, made by another service or of another time.
    if (marked !== undefined && !ring.keys.has(marked)) throw lostKey(marked);
    if (marked !== ring.currentKeyId) this.#mark?.put(ring.currentKeyId);
    return ring;
  }

  async #root(): Promise<Secret> {
    const stored = await this.#files.read(ROOT_FILE);
    if (stored === undefined && (await this.#files.names()).some((name) => isKeyFile(name))) {
      throw new Failed(
        'KMS',
        `${ROOT_FILE} of the embedded key service is missing beside keys that it sealed; put it back from your copy`,
      );
    }
    const bytes =
      stored ?? (await this.#files.createOnce(ROOT_FILE, this.#random.bytes(KEY_BYTES)));
    if (bytes.length !== KEY_BYTES) {
      throw new Failed('KMS', `${ROOT_FILE} of the embedded key service is damaged`);
    }
    return new Secret(bytes);
  }

  async #makeFirstKey(root: Secret, name: string): Promise<Uint8Array> {
    const id = `embedded:${this.#region}:${toHex(this.#random.bytes(ID_BYTES))}`;
    using key = new Secret(this.#random.bytes(KEY_BYTES));
    const sealed = toBase64(this.#seal(root, key, ringAad(id)));
    const ring: JsonObject = { version: FILE_VERSION, keys: [{ id, sealed }] };
    return await this.#files.createOnce(name, fromUtf8(`${canonicalJson(ring)}\n`));
  }

  /** `u8 version ‖ nonce(12) ‖ ciphertext(32) ‖ tag(16)`; random nonces, far below 2^32 a key. */
  #seal(wrappingKey: Secret, key: Secret, aad: Uint8Array): Uint8Array {
    const nonce = this.#random.bytes(NONCE_BYTES);
    const sealed = sealAead(wrappingKey.expose(), nonce, key.expose(), aad);
    return concat(Uint8Array.of(WRAPPED_VERSION), nonce, sealed);
  }
}

/** @throws whatever is wrong; callers give it one face. */
function open(wrappingKey: Secret, wrapped: Uint8Array, aad: Uint8Array): Secret {
  if (wrapped[0] !== WRAPPED_VERSION) throw refusal();
  const nonce = wrapped.subarray(1, 1 + NONCE_BYTES);
  const key = new Secret(
    openAead(wrappingKey.expose(), nonce, wrapped.subarray(1 + NONCE_BYTES), aad),
  );
  if (key.length !== KEY_BYTES) throw refusal();
  return key;
}

function parseRing(bytes: Uint8Array, root: Secret): KeyRing {
  // What JSON.parse returns is a JsonValue by definition.
  const file = JSON.parse(toUtf8(bytes)) as JsonValue;
  const { version, keys: entries } = asObject(file);
  if (version !== FILE_VERSION || !Array.isArray(entries)) throw damagedRing();
  const keys = new Map<string, Secret>();
  for (const entry of entries) {
    const { id, sealed } = asObject(entry);
    if (typeof id !== 'string' || typeof sealed !== 'string') throw damagedRing();
    keys.set(id, open(root, fromBase64(sealed), ringAad(id)));
  }
  const currentKeyId = [...keys.keys()].at(-1);
  if (currentKeyId === undefined) throw damagedRing();
  return { currentKeyId, keys };
}

/** Binds the wrapped key to what it is for: moved to another backup or context it does not unwrap. */
function wrapAad(kmsKeyId: string, context: EncryptionContext): Uint8Array {
  return fromUtf8(canonicalJson({ kmsKeyId, context: plainContext(context) }));
}

function ringAad(id: string): Uint8Array {
  return fromUtf8(canonicalJson({ ring: id }));
}

function isKeyFile(name: string): boolean {
  return name.endsWith('.json') && !name.startsWith('.');
}

function asObject(value: JsonValue | undefined): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw damagedRing();
  // Arrays and null are excluded above; what is left of JsonValue is an object.
  return value as JsonObject;
}

const lostKey = (keyId: string): Failed =>
  new Failed(
    'KMS',
    `[KMS_KEY_LOST] ${keyId}, under which backups are encrypted, is gone from the embedded key service: put the folder DATA/kms back from your copy. No key was made in its place`,
  );
const damagedRing = (): Failed =>
  new Failed('KMS', 'a key file of the embedded service is damaged');
const refusal = (): Failed => new Failed('KMS', 'the key service does not open this data key');
