/** Reading what a service answered: a field has the kind it should have, or the answer is not understood. */
import type { EpochMs, JsonObject, JsonValue } from '../kernel/types.ts';
import { CommandFailed, EXIT } from './exit-codes.ts';

export function textOf(object: JsonObject, name: string): string {
  const value = object[name];
  if (typeof value !== 'string') throw notUnderstood(name);
  return value;
}

export function optionalText(object: JsonObject, name: string): string | undefined {
  const value = object[name];
  return typeof value === 'string' && value !== '' ? value : undefined;
}

export function numberOf(object: JsonObject, name: string): number {
  const value = object[name];
  if (typeof value !== 'number') throw notUnderstood(name);
  return value;
}

export function optionalNumber(object: JsonObject, name: string): number | undefined {
  const value = object[name];
  return typeof value === 'number' ? value : undefined;
}

/** Seconds since 1970 on the wire; absent and null alike are no time. */
export function optionalTime(object: JsonObject, name: string): EpochMs | undefined {
  const value = object[name];
  // Seconds times a thousand are what EpochMs brands.
  return typeof value === 'number' ? (Math.round(value * 1000) as EpochMs) : undefined;
}

export function objectOf(object: JsonObject, name: string): JsonObject {
  const value = object[name];
  if (value === undefined || !isObject(value)) throw notUnderstood(name);
  return value;
}

export function optionalObject(object: JsonObject, name: string): JsonObject | undefined {
  const value = object[name];
  return value !== undefined && isObject(value) ? value : undefined;
}

/** An absent list is an empty one. */
export function listOf(object: JsonObject, name: string): readonly JsonObject[] {
  const value = object[name] ?? [];
  if (!Array.isArray(value)) throw notUnderstood(name);
  return value.filter(isObject);
}

export function isObject(value: JsonValue): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function notUnderstood(name: string): CommandFailed {
  return new CommandFailed(EXIT.FAILED, `The answer has no usable ${name}; is that a Keyark?`);
}
