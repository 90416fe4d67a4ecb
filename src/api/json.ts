/**
 * Reads JSON that a stranger sent: RFC 8259, with nesting bounded, duplicate names refused and text
 * well-formed. Objects become Maps, so that no name can mean anything special.
 *
 * `JSON.parse` keeps the last of two equal names, so what was checked and what a second reader sees
 * could differ; and it has no bound on depth.
 */
import { Refused } from '../kernel/errors.ts';

export type Json = null | boolean | number | string | readonly Json[] | ReadonlyMap<string, Json>;

const MAX_DEPTH = 16;

/** @throws Refused `InvalidRequest` that says at which character reading stopped. */
export function parseJson(text: string): Json {
  const reader = new Reader(text);
  const value = reader.value(0);
  reader.end();
  return value;
}

const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
// A string up to its closing quote: escapes are taken in pairs, control characters end it.
// biome-ignore lint/suspicious/noControlCharactersInRegex: RFC 8259 forbids exactly these unescaped.
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const WORDS = [
  ['true', true],
  ['false', false],
  ['null', null],
] as const;

class Reader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(depth: number): Json {
    if (depth > MAX_DEPTH) throw this.#refuse(`is nested deeper than ${MAX_DEPTH} levels`);
    this.#take(SPACE);
    const first = this.#text[this.#at];
    if (first === '{') return this.#object(depth);
    if (first === '[') return this.#array(depth);
    if (first === '"') return this.#string();
    for (const [word, value] of WORDS) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    const number = this.#take(NUMBER);
    if (number === undefined || number === '') throw this.#refuse('is not JSON');
    return Number(number);
  }

  end(): void {
    this.#take(SPACE);
    if (this.#at !== this.#text.length) throw this.#refuse('goes on after its end');
  }

  #object(depth: number): ReadonlyMap<string, Json> {
    const members = new Map<string, Json>();
    this.#at += 1;
    if (this.#next('}')) return members;
    for (;;) {
      this.#take(SPACE);
      const name = this.#string();
      if (members.has(name)) {
        throw this.#refuse(`has ${JSON.stringify(name.slice(0, 64))} twice`);
      }
      this.#expect(':');
      members.set(name, this.value(depth + 1));
      if (this.#next('}')) return members;
      this.#expect(',');
    }
  }

  #array(depth: number): readonly Json[] {
    const items: Json[] = [];
    this.#at += 1;
    if (this.#next(']')) return items;
    for (;;) {
      items.push(this.value(depth + 1));
      if (this.#next(']')) return items;
      this.#expect(',');
    }
  }

  #string(): string {
    const quoted = this.#take(STRING);
    if (quoted === undefined) throw this.#refuse('is not JSON: a string was expected');
    // The pattern admits JSON strings only, and such a string parses to a string.
    const text = JSON.parse(quoted) as string;
    if (!text.isWellFormed()) throw this.#refuse('has half of a surrogate pair in a string');
    return text;
  }

  #next(mark: string): boolean {
    this.#take(SPACE);
    if (this.#text[this.#at] !== mark) return false;
    this.#at += 1;
    return true;
  }

  #expect(mark: string): void {
    if (!this.#next(mark)) throw this.#refuse(`is not JSON: "${mark}" was expected`);
  }

  #take(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at;
    const found = pattern.exec(this.#text)?.[0];
    if (found !== undefined) this.#at += found.length;
    return found;
  }

  #refuse(what: string): Refused {
    return new Refused('InvalidRequest', `The body ${what} (at character ${this.#at + 1}).`);
  }
}
