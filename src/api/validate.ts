/** Interprets `shapes.ts`: JSON from a stranger in, a checked request out, or one sentence that helps. */
import { Refused } from '../kernel/errors.ts';
import type { Json } from './json.ts';
import type {
  FiltersShape,
  IntegerShape,
  ListShape,
  Shape,
  StructureShape,
  TextShape,
  ValueOf,
} from './shapes.ts';

const MAX_QUOTED = 80;

/** @throws Refused `InvalidRequest`: what was sent, and what would be accepted. */
export function parseInput<S extends StructureShape>(shape: S, json: Json): ValueOf<S> {
  if (!(json instanceof Map)) {
    throw refuse('The body must be a JSON object; {} is one without parameters.');
  }
  // parseShape builds exactly what ValueOf derives from the same table.
  return parseStructure(shape, json, '') as ValueOf<S>;
}

function parseShape(shape: Shape, json: Json, path: string): unknown {
  switch (shape.kind) {
    case 'text':
      return parseText(shape, json, path);
    case 'integer':
      return parseInteger(shape, json, path);
    case 'boolean':
      if (typeof json !== 'boolean') throw wrongType(path, json, 'true or false');
      return json;
    case 'list':
      return parseList(shape, json, path);
    case 'filters':
      return parseFilters(shape, json, path);
    case 'structure':
      if (!(json instanceof Map)) throw wrongType(path, json, 'an object');
      return parseStructure(shape, json, path);
  }
}

function parseStructure(shape: StructureShape, json: ReadonlyMap<string, Json>, path: string) {
  const inside = path === '' ? '' : `${path}.`;
  refuseUnknown(json, shape.members, path === '' ? 'This operation' : path);
  const parsed: Record<string, unknown> = {};
  for (const [name, member] of Object.entries(shape.members)) {
    const value = json.get(name);
    // JSON has no "absent"; clients that write null mean that.
    if (value === undefined || value === null) {
      if (member.isRequired) throw refuse(`${inside}${name} is missing: ${wanted(member.shape)}.`);
      continue;
    }
    parsed[name] = parseShape(member.shape, value, inside + name);
  }
  return parsed;
}

function parseFilters(shape: FiltersShape, json: Json, path: string) {
  if (!(json instanceof Map)) throw wrongType(path, json, 'an object of lists');
  refuseUnknown(json, shape.names, path);
  const parsed: Record<string, unknown> = {};
  for (const [name, values] of Object.entries(shape.names)) {
    const value = json.get(name);
    // As any member: null means absent.
    if (value === undefined || value === null) continue;
    parsed[name] = parseShape(values, value, `${path}.${name}`);
  }
  return parsed;
}

function refuseUnknown(
  json: ReadonlyMap<string, Json>,
  known: Readonly<Record<string, unknown>>,
  owner: string,
): void {
  for (const name of json.keys()) {
    if (!Object.hasOwn(known, name)) {
      throw refuse(
        `${owner} has no member ${quote(name)}; it has ${Object.keys(known).join(', ') || 'none'}.`,
      );
    }
  }
}

function parseList(shape: ListShape, json: Json, path: string): readonly unknown[] {
  if (!Array.isArray(json)) throw wrongType(path, json, 'a list');
  if (json.length < shape.min || json.length > shape.max) {
    throw refuse(`${path} has ${json.length} entries; ${shape.min} to ${shape.max} are possible.`);
  }
  return json.map((item: Json, i) => parseShape(shape.of, item, `${path}[${i}]`));
}

function parseInteger(shape: IntegerShape, json: Json, path: string): number {
  if (typeof json !== 'number' || !Number.isSafeInteger(json)) {
    throw wrongType(path, json, 'a whole number');
  }
  if (json < shape.min || json > shape.max) {
    throw refuse(`${path} is ${json}; ${shape.min} to ${shape.max} are possible.`);
  }
  return json;
}

function parseText(shape: TextShape, json: Json, path: string): string {
  if (typeof json !== 'string') throw wrongType(path, json, 'text');
  const { min = 0, max = Number.POSITIVE_INFINITY } = shape;
  const length = charactersOf(json);
  if (length < min || length > max) {
    throw refuse(`${path} has ${length} characters; ${boundsText(shape)} are possible.`);
  }
  if (shape.oneOf !== undefined && !shape.oneOf.includes(json)) {
    throw refuse(`${path} is ${quote(json)}; possible: ${shape.oneOf.join(', ')}.`);
  }
  if (shape.pattern !== undefined && !shape.pattern.test(json)) {
    const shown = shape.isQuoted === false ? '' : ` ${quote(json)}`;
    throw refuse(`${path}${shown} is not ${shape.what}; one looks like ${shape.example}`);
  }
  return json;
}

const boundsText = ({ min = 0, max }: TextShape): string =>
  max === undefined ? `${min} or more` : `${min} to ${max}`;

/** Code points: an astral character counts once, as in the patterns. */
function charactersOf(text: string): number {
  let count = 0;
  for (let i = 0; i < text.length; i += (text.codePointAt(i) ?? 0) > 0xffff ? 2 : 1) count += 1;
  return count;
}

function wanted(shape: Shape): string {
  switch (shape.kind) {
    case 'text':
      return shape.oneOf === undefined
        ? `${shape.what} like ${shape.example}`
        : `one of ${shape.oneOf.join(', ')}`;
    case 'integer':
      return `a whole number from ${shape.min} to ${shape.max}`;
    case 'boolean':
      return 'true or false';
    case 'list':
      return `a list of ${shape.min} to ${shape.max} entries, each ${wanted(shape.of)}`;
    case 'filters':
      return `an object with any of ${Object.keys(shape.names).join(', ')}`;
    case 'structure':
      return `an object with ${Object.keys(shape.members).join(', ')}`;
  }
}

const wrongType = (path: string, json: Json, expected: string): Refused =>
  refuse(`${path} is ${typeOf(json)}; ${expected} is expected.`);

function typeOf(json: Json): string {
  if (json === null) return 'null';
  if (Array.isArray(json)) return 'a list';
  if (json instanceof Map) return 'an object';
  if (typeof json === 'string') return 'text';
  return `the ${typeof json} ${String(json)}`;
}

const quote = (text: string): string =>
  JSON.stringify(text.length > MAX_QUOTED ? `${text.slice(0, MAX_QUOTED)}…` : text);

const refuse = (message: string): Refused => new Refused('InvalidRequest', message);
