/**
 * The outer record: which key of which key service wraps a backup's data key, and for what. Canonical
 * JSON in the clear; docs/formats/second-layer-v1.md.
 */
import { fromBase64, fromUtf8, toBase64, toUtf8 } from '../kernel/bytes.ts';
import { canonicalJson } from '../kernel/canonical-json.ts';
import { Failed } from '../kernel/errors.ts';
import type { JsonObject, JsonValue } from '../kernel/types.ts';
import type { EncryptionContext, WrappedDataKey } from './kms.ts';

export interface OuterRecord {
  readonly dataKey: WrappedDataKey;
  readonly context: EncryptionContext;
}

const VERSION = 1;
const ALGORITHM = 'AES-256-GCM-STREAM-64K';
const CONTEXT_MEMBERS = ['account', 'backupId', 'clusterId', 'region'] as const;
const MAX_RECORD_BYTES = 16 * 1024;

export function encodeOuterRecord({ dataKey, context }: OuterRecord): Uint8Array {
  return fromUtf8(
    canonicalJson({
      algorithm: ALGORITHM,
      context: plainContext(context),
      kmsKeyId: dataKey.kmsKeyId,
      version: VERSION,
      wrappedKey: toBase64(dataKey.wrapped),
    }),
  );
}

/** @throws Failed `VAULT_READ` for anything that `encodeOuterRecord` does not write. */
export function parseOuterRecord(bytes: Uint8Array): OuterRecord {
  const record = parseJson(bytes);
  const { version, algorithm, kmsKeyId, wrappedKey, context } = record;
  if (typeof version === 'number' && version > VERSION) {
    throw new Failed(
      'VAULT_READ',
      `the outer record has version ${version}; this Keyark reads up to ${VERSION}`,
    );
  }
  if (
    version !== VERSION ||
    algorithm !== ALGORITHM ||
    typeof kmsKeyId !== 'string' ||
    typeof wrappedKey !== 'string'
  ) {
    throw unreadable();
  }
  const parsed: OuterRecord = {
    dataKey: { kmsKeyId, wrapped: parseBase64(wrappedKey) },
    context: parseContext(context),
  };
  // One record, one spelling: no member, space or order that we would not write ourselves.
  if (toUtf8(encodeOuterRecord(parsed)) !== toUtf8(bytes)) throw unreadable();
  return parsed;
}

/** The context as plain JSON, with exactly its four members. */
export function plainContext(context: EncryptionContext): JsonObject {
  const { account, backupId, clusterId, region } = context;
  return { account, backupId, clusterId, region };
}

function parseContext(value: JsonValue | undefined): EncryptionContext {
  const context = asObject(value);
  const [account, backupId, clusterId, region] = CONTEXT_MEMBERS.map((name) => context[name]);
  if (
    typeof account !== 'string' ||
    typeof backupId !== 'string' ||
    typeof clusterId !== 'string' ||
    typeof region !== 'string'
  ) {
    throw unreadable();
  }
  return { account, backupId, clusterId, region };
}

function parseJson(bytes: Uint8Array): JsonObject {
  if (bytes.length > MAX_RECORD_BYTES) throw unreadable();
  try {
    // What JSON.parse returns is a JsonValue by definition.
    return asObject(JSON.parse(toUtf8(bytes)) as JsonValue);
  } catch (cause) {
    throw unreadable(cause);
  }
}

function parseBase64(text: string): Uint8Array {
  try {
    return fromBase64(text);
  } catch (cause) {
    throw unreadable(cause);
  }
}

function asObject(value: JsonValue | undefined): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw unreadable();
  // Arrays and null are excluded above; what is left of JsonValue is an object.
  return value as JsonObject;
}

const unreadable = (cause?: unknown): Failed =>
  new Failed('VAULT_READ', 'the outer record is not one that this Keyark writes', { cause });
