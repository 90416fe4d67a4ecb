/**
 * Patterns of IAM policies: `*`, `?`, and variables such as `${aws:username}`. A variable's value is
 * literal text: a user called `*` gains nothing by it. Matching takes time in proportion to pattern times
 * text, never more.
 */
import type { ConditionContext } from './context.ts';

/** A UTF-16 code unit, or one of the two wildcards. */
type Token = number;
const ANY: Token = -1;
const ONE: Token = -2;
export type Glob = readonly Token[];

const ARN_PARTS = 6;
const VARIABLE = /\$\{([^}]*)\}/y;

/**
 * @param variables undefined: `${…}` is text, as in documents of Version 2008-10-17.
 * @returns undefined when a variable has no single value now: such a pattern matches nothing.
 */
export function compileGlob(
  pattern: string,
  variables: ConditionContext | undefined,
): Glob | undefined {
  const tokens: Token[] = [];
  for (let at = 0; at < pattern.length; at += 1) {
    VARIABLE.lastIndex = at;
    const found = variables === undefined ? null : VARIABLE.exec(pattern);
    if (found === null || variables === undefined) {
      tokens.push(tokenOf(pattern, at));
      continue;
    }
    const value = variableValue(found[1] ?? '', variables);
    if (value === undefined) return undefined;
    for (let i = 0; i < value.length; i += 1) tokens.push(value.charCodeAt(i));
    at += found[0].length - 1;
  }
  return tokens;
}

export function matchesGlob(glob: Glob, text: string): boolean {
  let [inGlob, inText] = [0, 0];
  /** Where the last `*` stands, and up to where the text behind it was given to it. */
  let [star, given] = [-1, 0];
  while (inText < text.length) {
    const token = glob[inGlob];
    if (token === ANY) {
      [star, given] = [inGlob, inText];
      inGlob += 1;
    } else if (token === ONE || token === text.charCodeAt(inText)) {
      inGlob += 1;
      inText += 1;
    } else if (star >= 0) {
      given += 1;
      [inGlob, inText] = [star + 1, given];
    } else {
      return false;
    }
  }
  while (glob[inGlob] === ANY) inGlob += 1;
  return inGlob === glob.length;
}

/** Actions, condition keys and service names have no case. */
export function matchesAction(pattern: string, action: string): boolean {
  const glob = compileGlob(pattern.toLowerCase(), undefined);
  return glob !== undefined && matchesGlob(glob, action.toLowerCase());
}

/** Part by part, as IAM does: a `*` between two colons stays between them. `*` alone is everything. */
export function matchesArn(
  pattern: string,
  arn: string,
  variables: ConditionContext | undefined,
): boolean {
  if (pattern === '*') return true;
  const wanted = arnParts(pattern);
  const parts = arnParts(arn);
  if (wanted.length !== ARN_PARTS || parts.length !== ARN_PARTS) return false;
  return wanted.every((part, i) => {
    const glob = compileGlob(part, variables);
    return glob !== undefined && matchesGlob(glob, parts[i] ?? '');
  });
}

/** Six parts at most: the last may hold colons. A colon inside `${…}` divides nothing. */
export function arnParts(text: string): readonly string[] {
  const parts: string[] = [''];
  let isInVariable = false;
  for (const [i, letter] of [...text].entries()) {
    if (letter === '{' && text[i - 1] === '$') isInVariable = true;
    if (letter === '}') isInVariable = false;
    if (letter === ':' && !isInVariable && parts.length < ARN_PARTS) parts.push('');
    else parts[parts.length - 1] += letter;
  }
  return parts;
}

/** The names of variables in a pattern; `*`, `?` and `$` are characters, not names. */
export function variablesIn(pattern: string): readonly string[] {
  return [...pattern.matchAll(/\$\{([^}]*)\}/g)]
    .map(([, inner]) => nameOf(inner ?? ''))
    .filter((name) => !/^[*?$]$/.test(name));
}

function tokenOf(pattern: string, at: number): Token {
  const letter = pattern[at];
  if (letter === '*') return ANY;
  return letter === '?' ? ONE : pattern.charCodeAt(at);
}

const nameOf = (inner: string): string => inner.split(',')[0]?.trim() ?? '';

function variableValue(inner: string, variables: ConditionContext): string | undefined {
  const name = nameOf(inner);
  if (/^[*?$]$/.test(name)) return name;
  const value = variables.get(name.toLowerCase());
  if (typeof value === 'string') return value;
  // `${aws:username, 'nobody'}`: what to use when there is none.
  return /,\s*'([^']*)'\s*$/.exec(inner)?.[1];
}
