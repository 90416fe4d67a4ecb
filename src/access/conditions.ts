/** Conditions of policy statements: one row an operator, and IAM's rules for absent and many values. */
import { BlockList, isIP } from 'node:net';
import type { ConditionContext } from './context.ts';
import { compileGlob, matchesArn, matchesGlob } from './glob.ts';

export interface Condition {
  readonly operator: OperatorName | 'Null';
  readonly set?: 'ForAllValues' | 'ForAnyValue';
  readonly ifExists: boolean;
  /** In small letters. */
  readonly key: string;
  readonly values: readonly string[];
}

interface Operator {
  /** @param wanted the policy's value, @param actual the request's. */
  readonly test: (wanted: string, actual: string, variables: Variables) => boolean;
  /** `…Not…`: holds when no value of the policy matches. */
  readonly isNegated: boolean;
  /** Whether a policy may say this value; otherwise what it should look like. */
  readonly check: (wanted: string) => string | undefined;
}
type Variables = ConditionContext | undefined;

const anything = (): undefined => undefined;
const both = <const Name extends string, const NotName extends string>(
  name: Name,
  notName: NotName,
  row: Omit<Operator, 'isNegated'>,
) =>
  ({
    [name]: { ...row, isNegated: false },
    [notName]: { ...row, isNegated: true },
    // Two computed members of the two names given.
  }) as Readonly<Record<Name | NotName, Operator>>;

const string = (fold: (text: string) => string): Omit<Operator, 'isNegated'> => ({
  test: (wanted, actual, variables) => {
    const literal = textOf(wanted, variables);
    return literal !== undefined && fold(literal) === fold(actual);
  },
  check: anything,
});
const like: Omit<Operator, 'isNegated'> = {
  test: (wanted, actual, variables) => {
    const glob = compileGlob(wanted, variables);
    return glob !== undefined && matchesGlob(glob, actual);
  },
  check: anything,
};
const arn: Omit<Operator, 'isNegated'> = {
  test: matchesArn,
  check: (wanted) =>
    wanted === '*' || /^arn:([^:]*:){4}./.test(wanted)
      ? undefined
      : 'an ARN, such as arn:aws:iam::000012345678:user/ada',
};
const compare = (
  parse: (text: string) => number,
  holds: (actual: number, wanted: number) => boolean,
  example: string,
): Operator => ({
  test: (wanted, actual) => holds(parse(actual), parse(wanted)),
  isNegated: false,
  check: (wanted) => (Number.isNaN(parse(wanted)) ? example : undefined),
});
const DATE = 'a time, such as 2026-11-23T09:00:00Z, or seconds since 1970';
const NUMBER = 'a number';
const date = (holds: (actual: number, wanted: number) => boolean): Operator =>
  compare(parseDate, holds, DATE);
const number = (holds: (actual: number, wanted: number) => boolean): Operator =>
  compare(parseNumber, holds, NUMBER);

export const OPERATORS = {
  ...both('StringEquals', 'StringNotEquals', string(String)),
  ...both(
    'StringEqualsIgnoreCase',
    'StringNotEqualsIgnoreCase',
    string((text) => text.toLowerCase()),
  ),
  ...both('StringLike', 'StringNotLike', like),
  ...both('ArnEquals', 'ArnNotEquals', arn),
  ...both('ArnLike', 'ArnNotLike', arn),
  ...both('IpAddress', 'NotIpAddress', {
    test: isWithin,
    check: (wanted) =>
      parseNet(wanted) === undefined
        ? 'an address or a network, such as 10.0.0.0/8 or 2001:db8::/32'
        : undefined,
  }),
  DateEquals: date((actual, wanted) => actual === wanted),
  DateNotEquals: {
    ...date((actual, wanted) => actual === wanted),
    isNegated: true,
  },
  DateLessThan: date((actual, wanted) => actual < wanted),
  DateLessThanEquals: date((actual, wanted) => actual <= wanted),
  DateGreaterThan: date((actual, wanted) => actual > wanted),
  DateGreaterThanEquals: date((actual, wanted) => actual >= wanted),
  NumericEquals: number((actual, wanted) => actual === wanted),
  NumericNotEquals: {
    ...number((actual, wanted) => actual === wanted),
    isNegated: true,
  },
  NumericLessThan: number((actual, wanted) => actual < wanted),
  NumericLessThanEquals: number((actual, wanted) => actual <= wanted),
  NumericGreaterThan: number((actual, wanted) => actual > wanted),
  NumericGreaterThanEquals: number((actual, wanted) => actual >= wanted),
  Bool: {
    test: (wanted, actual) => wanted.toLowerCase() === actual.toLowerCase(),
    isNegated: false,
    check: (wanted) => (/^(true|false)$/i.test(wanted) ? undefined : 'true or false'),
  },
} as const satisfies Readonly<Record<string, Operator>>;
export type OperatorName = keyof typeof OPERATORS;

export function isOperator(name: string): name is OperatorName {
  return Object.hasOwn(OPERATORS, name);
}

/**
 * @param effect of the statement: a condition that cannot be answered keeps an Allow from allowing and lets
 *   a Deny deny.
 */
export function holds(
  condition: Condition,
  given: {
    readonly context: ConditionContext;
    readonly variables: Variables;
    readonly effect: 'Allow' | 'Deny';
  },
): boolean {
  const value = given.context.get(condition.key);
  if (value === null) return given.effect === 'Deny';
  const actual = value === undefined ? [] : typeof value === 'string' ? [value] : value;
  const isThere = actual.length > 0;
  if (condition.operator === 'Null') {
    return condition.values.some((wanted) => (wanted.toLowerCase() === 'true') !== isThere);
  }
  const { test, isNegated }: Operator = OPERATORS[condition.operator];
  if (!isThere && condition.ifExists && condition.set === undefined) return true;
  // "Not what nobody knows" is true of everything: such a condition cannot be answered either.
  if (isNegated && condition.values.some((wanted) => isVague(wanted, given.variables))) {
    return given.effect === 'Deny';
  }
  const matches = (each: string): boolean =>
    condition.values.some((wanted) => test(wanted, each, given.variables)) !== isNegated;
  if (condition.set === 'ForAllValues') return actual.every(matches);
  if (condition.set === 'ForAnyValue') {
    return isThere ? actual.some(matches) : condition.ifExists;
  }
  if (!isThere) return isNegated;
  return isNegated ? actual.every(matches) : actual.some(matches);
}

const isVague = (wanted: string, variables: Variables): boolean =>
  compileGlob(wanted, variables) === undefined;

/** The text a value stands for where wildcards are letters: variables are filled in, `${*}` is `*`. */
function textOf(wanted: string, variables: Variables): string | undefined {
  if (variables === undefined || !wanted.includes('${')) return wanted;
  // Wildcards outside of variables are plain text here, so they are escaped before and read as literals.
  const glob = compileGlob(
    wanted.replace(/(?<!\$\{)[*?]/g, (letter) => `\${${letter}}`),
    variables,
  );
  return glob === undefined ? undefined : String.fromCharCode(...glob);
}

function parseDate(text: string): number {
  if (/^\d{1,13}$/.test(text)) return Number(text) * 1000;
  const isIso = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,3})?)?(Z|[+-]\d{2}:\d{2}))?$/.test(
    text,
  );
  return isIso ? Date.parse(text) : Number.NaN;
}

function parseNumber(text: string): number {
  return /^-?\d{1,15}(\.\d{1,15})?$/.test(text) ? Number(text) : Number.NaN;
}

function isWithin(wanted: string, actual: string): boolean {
  const net = parseNet(wanted);
  const version = isIP(actual);
  if (net === undefined || version === 0) return false;
  return net.check(actual, version === 4 ? 'ipv4' : 'ipv6');
}

function parseNet(text: string): BlockList | undefined {
  const [, address, bits] = /^([0-9a-fA-F:.]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const version = address === undefined ? 0 : isIP(address);
  if (address === undefined || version === 0) return undefined;
  const most = version === 4 ? 32 : 128;
  const prefix = bits === undefined ? most : Number(bits);
  if (prefix > most) return undefined;
  const list = new BlockList();
  list.addSubnet(address, prefix, version === 4 ? 'ipv4' : 'ipv6');
  return list;
}
