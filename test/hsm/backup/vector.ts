/** The JSON form of a test vector: bytes as hex or base64, maps as lists of pairs, all of it checked when read. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import type { HsmMode, HsmType } from '../../../src/hsm/protocol.ts';
import { Roots } from '../../../src/hsm/roots.ts';
import { fromHex, toHex } from '../../../src/kernel/bytes.ts';
import type { RefusalCode } from '../../../src/kernel/errors.ts';
import { Secret } from '../../../src/kernel/secret.ts';
import type { JsonValue } from '../../../src/kernel/types.ts';
import type { State } from './sample.ts';

export interface VectorRoots {
  readonly vendor: string;
  readonly line: string;
  readonly owner: string;
  /** Keys in hex. */
  readonly mkbk: readonly { readonly epoch: number; readonly key: string }[];
  readonly akbk: readonly { readonly epoch: number; readonly key: string }[];
}

interface VectorBase {
  readonly about: string;
  /** What the opening device holds. */
  readonly roots: VectorRoots;
  readonly target: { readonly type: HsmType; readonly mode: HsmMode };
  /** Base64. */
  readonly body: string;
  /** Base64. */
  readonly sealRecord: string;
}

export type Vector = VectorBase &
  (
    | {
        readonly verdict: 'opens';
        /** Hex; with it the same state seals to the same bytes. */
        readonly ebk: string;
        readonly backupId: string;
        readonly headerSha256: string;
        readonly bodySha256: string;
        readonly stateDigest: string;
        readonly state: JsonValue;
      }
    | { readonly verdict: RefusalCode }
  );

export const VECTORS = new URL('../../vectors/backup/', import.meta.url);

export function readVectors(): readonly { readonly name: string; readonly vector: Vector }[] {
  return readdirSync(VECTORS)
    .filter((name) => name.endsWith('.json'))
    .sort()
    .map((name) => {
      const parsed: unknown = JSON.parse(readFileSync(new URL(name, VECTORS), 'utf8'));
      assert.ok(typeof parsed === 'object' && parsed !== null && 'verdict' in parsed, name);
      // Our own files, written by make.ts from this very type.
      return { name: name.replace(/\.json$/, ''), vector: parsed as Vector };
    });
}

export function rootsOf({ vendor, line, owner, mkbk, akbk }: VectorRoots): Roots {
  const roots = new Roots();
  for (const { epoch, key } of mkbk) {
    roots.addMkbk({ vendor, line, epoch, key: new Secret(fromHex(key)) });
  }
  for (const { epoch, key } of akbk) {
    roots.addAkbk({ owner, epoch, key: new Secret(fromHex(key)) });
  }
  return roots;
}

/** Bytes become `{ "hex": … }`, maps `{ "map": [[key, value], …] }`, everything else stays. */
export function stateToJson(value: unknown): JsonValue {
  if (value instanceof Uint8Array) return { hex: toHex(value) };
  if (value instanceof Map) {
    return { map: [...value].map(([key, part]) => [stateToJson(key), stateToJson(part)]) };
  }
  if (Array.isArray(value)) return value.map(stateToJson);
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([name, part]) => [name, stateToJson(part)]),
    );
  }
  assert.ok(value === null || ['string', 'number', 'boolean'].includes(typeof value));
  // The line above leaves nothing but JSON's own scalars.
  return value as JsonValue;
}

export function stateFromJson(json: JsonValue): State {
  // What stateToJson made of a State.
  return revive(json) as State;
}

function revive(json: unknown): unknown {
  if (Array.isArray(json)) return json.map(revive);
  if (typeof json !== 'object' || json === null) return json;
  if ('hex' in json && typeof json.hex === 'string') return fromHex(json.hex);
  if ('map' in json && Array.isArray(json.map)) {
    return new Map(json.map.map(([key, value]) => [revive(key), revive(value)]));
  }
  return Object.fromEntries(Object.entries(json).map(([name, part]) => [name, revive(part)]));
}
