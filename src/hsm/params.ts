/**
 * What a call at a door takes, as data: one reader per parameter. Each parameter is read once, judged,
 * and only what was judged goes on; a parameter that nobody asked for is refused, not ignored.
 */
import { fromBase64 } from '../kernel/bytes.ts';
import { Refused } from '../kernel/errors.ts';
import type { JsonObject, JsonValue } from '../kernel/types.ts';

/** Reads one parameter. `undefined` means it was not given. */
export type Reader<T> = (value: JsonValue | undefined, name: string) => T;
export type Shape = { readonly [name: string]: Reader<unknown> };
export type Parsed<S extends Shape> = { readonly [Name in keyof S]: ReturnType<S[Name]> };

/** Data to sign or encrypt per call: base64 of it still fits one frame of the channel. */
export const MAX_DATA_BYTES = 512 * 1024;
const MAX_TEXT_CHARACTERS = 256;
const MAX_PEM_CHARACTERS = 20_000;

/** @throws Refused `InvalidRequest`, naming the parameter and what it takes. */
export function parseParams<S extends Shape>(call: string, shape: S, given: JsonObject): Parsed<S> {
  const names = Object.keys(shape);
  const unknown = Object.keys(given).find((name) => !names.includes(name));
  if (unknown !== undefined) {
    throw new Refused(
      'InvalidRequest',
      `${call} takes no parameter "${unknown.slice(0, 64)}"; it takes ` +
        `${names.length === 0 ? 'none' : names.join(', ')}.`,
    );
  }
  const parsed = Object.entries(shape).map(([name, read]) => [
    name,
    read(Object.hasOwn(given, name) ? given[name] : undefined, name),
  ]);
  // One entry per name of the shape, each made by that name's reader.
  return Object.fromEntries(parsed) as Parsed<S>;
}

function wrong(name: string, wanted: string): Refused {
  return new Refused('InvalidRequest', `parameter "${name}" takes ${wanted}.`);
}

export const text: Reader<string> = (value, name) => {
  if (
    typeof value !== 'string' ||
    value.length > MAX_TEXT_CHARACTERS ||
    value.length === 0 ||
    !value.isWellFormed()
  ) {
    throw wrong(name, `text of 1 to ${MAX_TEXT_CHARACTERS} characters`);
  }
  return value;
};

/** Judged by the password rules later; here only its form, and never repeated in a message. */
export const password: Reader<string> = (value, name) => {
  if (typeof value !== 'string' || value.length > MAX_TEXT_CHARACTERS || !value.isWellFormed()) {
    throw wrong(name, 'a password as text');
  }
  return value;
};

export const pem: Reader<string> = (value, name) => {
  if (typeof value !== 'string' || value.length > MAX_PEM_CHARACTERS || !value.includes('-----')) {
    throw wrong(name, `PEM text of at most ${MAX_PEM_CHARACTERS} characters`);
  }
  return value;
};

export const data: Reader<Uint8Array> = (value, name) => {
  if (typeof value === 'string' && value.length <= MAX_DATA_BYTES * 1.4) {
    try {
      const decoded = fromBase64(value);
      if (decoded.length <= MAX_DATA_BYTES) return decoded;
    } catch {
      // The refusal below says the same for text that is no base64.
    }
  }
  throw wrong(name, `base64 text of at most ${MAX_DATA_BYTES} bytes`);
};

export const flagParam: Reader<boolean> = (value, name) => {
  if (typeof value !== 'boolean') throw wrong(name, 'true or false');
  return value;
};

export const object: Reader<JsonObject> = (value, name) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw wrong(name, 'an object of names and values');
  }
  // Arrays and null are excluded above; what is left of JsonValue is an object.
  return value as JsonObject;
};

export function whole(min: number, max: number): Reader<number> {
  return (value, name) => {
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < min || value > max) {
      throw wrong(name, `a whole number from ${min} to ${max}`);
    }
    return value;
  };
}

export function oneOf<const T extends string | number>(...allowed: readonly T[]): Reader<T> {
  return (value, name) => {
    const found = allowed.find((one) => one === value);
    if (found === undefined) throw wrong(name, `one of ${allowed.join(', ')}`);
    return found;
  };
}

export function listOf<T>(read: Reader<T>, max: number): Reader<readonly T[]> {
  return (value, name) => {
    if (!Array.isArray(value) || value.length === 0 || value.length > max) {
      throw wrong(name, `a list of 1 to ${max}`);
    }
    // Array.isArray widens JsonValue's items to any; they are JSON, and `read` judges each.
    return (value as readonly JsonValue[]).map((one) => read(one, name));
  };
}

export function optional<T>(read: Reader<T>): Reader<T | undefined> {
  return (value, name) => (value === undefined ? undefined : read(value, name));
}
