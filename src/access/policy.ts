/**
 * A policy document in IAM's JSON: the text in, checked statements out, or every problem it has. What is
 * misspelt here would silently allow or deny something else, so nothing unknown is let through.
 */
import { type Condition, isOperator, OPERATORS } from './conditions.ts';
import { CONDITION_KEYS, conditionKey } from './context.ts';
import { arnParts, matchesAction, variablesIn } from './glob.ts';

export type Effect = 'Allow' | 'Deny';

/** `Action` names what is meant, `NotAction` what is not. */
export interface Selection {
  readonly isInverse: boolean;
  readonly patterns: readonly string[];
}

export interface Statement {
  readonly sid?: string;
  readonly effect: Effect;
  readonly actions: Selection;
  readonly resources: Selection;
  /** Of resource policies: `*`, an account's 12 digits or root, or one principal's ARN. */
  readonly principals: readonly string[];
  readonly conditions: readonly Condition[];
}

export interface Policy {
  readonly statements: readonly Statement[];
  /** `${aws:username}` is a variable; in documents of 2008 it is text. */
  readonly hasVariables: boolean;
}

/** Each a sentence with the place in the document. */
export class PolicyProblems extends Error {
  override readonly name = 'PolicyProblems';
  readonly problems: readonly string[];
  constructor(problems: readonly string[]) {
    super(problems.join(' '));
    this.problems = problems;
  }
}

export interface PolicyRules {
  /** Identity policies are somebody's; resource policies name principals. */
  readonly kind: 'identity' | 'resource';
  readonly maxLength: number;
  /** Of our own services `cloudhsm` and `keyark`: an action that is none of these is a mistake. */
  readonly actions?: ReadonlySet<string>;
}

const VERSIONS = ['2012-10-17', '2008-10-17'];
const MAX_STATEMENTS = 100;
const MAX_VALUES = 200;
const MAX_PROBLEMS = 50;
const PRINCIPAL =
  /^(\*|\d{12}|arn:aws(-us-gov)?:(iam|sts)::\d{12}:(root|[a-z-]+\/[\w+=,.@/-]{1,128}))$/;

/** @throws PolicyProblems with everything that is wrong. */
export function parsePolicy(text: string, rules: PolicyRules): Policy {
  if (text.length > rules.maxLength) {
    throw new PolicyProblems([
      `The document has ${text.length} characters; ${rules.maxLength} are possible.`,
    ]);
  }
  const reading = new Reading(rules);
  const policy = reading.document(parseJson(text));
  if (reading.problems.length > 0) {
    throw new PolicyProblems(reading.problems.slice(0, MAX_PROBLEMS));
  }
  return policy;
}

type Members = Readonly<Record<string, unknown>>;

/** Collects problems instead of stopping at the first; what it returns counts only without any. */
class Reading {
  readonly problems: string[] = [];
  readonly #rules: PolicyRules;

  constructor(rules: PolicyRules) {
    this.#rules = rules;
  }

  document(value: unknown): Policy {
    const members = this.#members('The document', value, ['Version', 'Id', 'Statement']);
    const version = members['Version'] ?? '2008-10-17';
    if (!VERSIONS.some((known) => known === version)) {
      this.#say(`Version: ${shown(version)} is not known; use "2012-10-17".`);
    }
    const list = listOf(members['Statement']);
    if (list.length === 0) this.#say('Statement: there is none; at least one is needed.');
    if (list.length > MAX_STATEMENTS) {
      this.#say(`Statement: ${list.length} are too many; ${MAX_STATEMENTS} are possible.`);
    }
    const hasVariables = version === '2012-10-17';
    const statements = list
      .slice(0, MAX_STATEMENTS)
      .map((each, i) => this.#statement(`Statement[${i}]`, each, hasVariables));
    const sids = statements.flatMap(({ sid }) => (sid === undefined ? [] : [sid]));
    for (const sid of new Set(sids)) {
      const isTwice = sids.indexOf(sid) !== sids.lastIndexOf(sid);
      if (isTwice) this.#say(`Sid: "${sid}" names two statements.`);
    }
    return { statements, hasVariables };
  }

  #statement(at: string, value: unknown, hasVariables: boolean): Statement {
    const isResource = this.#rules.kind === 'resource';
    const members = this.#members(at, value, [
      'Sid',
      'Effect',
      'Action',
      'NotAction',
      'Resource',
      'NotResource',
      'Condition',
      ...(isResource ? ['Principal'] : []),
    ]);
    const { Sid: sid, Effect: effect } = members;
    if (sid !== undefined && (typeof sid !== 'string' || !/^[A-Za-z0-9]{0,100}$/.test(sid))) {
      this.#say(`${at}.Sid: ${shown(sid)} is no name of up to 100 letters and digits.`);
    }
    if (effect !== 'Allow' && effect !== 'Deny') {
      this.#say(`${at}.Effect: ${shown(effect)} is neither "Allow" nor "Deny".`);
    }
    const actions = this.#selection(at, 'Action', members);
    for (const pattern of actions.patterns) this.#action(`${at}.Action`, pattern);
    const resources = this.#selection(at, 'Resource', members);
    for (const pattern of resources.patterns) this.#resource(`${at}.Resource`, pattern);
    if (hasVariables) this.#variables(`${at}.Resource`, resources.patterns, 'arn');
    return {
      ...(typeof sid === 'string' && sid !== '' ? { sid } : {}),
      effect: effect === 'Allow' ? 'Allow' : 'Deny',
      actions,
      resources,
      principals: isResource ? this.#principals(at, members['Principal']) : [],
      conditions: this.#conditions(at, members['Condition'], hasVariables),
    };
  }

  #selection(at: string, name: 'Action' | 'Resource', members: Members): Selection {
    const [plain, inverse] = [members[name], members[`Not${name}`]];
    if ((plain === undefined) === (inverse === undefined)) {
      this.#say(`${at}: exactly one of ${name} and Not${name} is needed.`);
    }
    const isInverse = plain === undefined;
    const where = `${at}.${isInverse ? 'Not' : ''}${name}`;
    const patterns = this.#texts(where, isInverse ? inverse : plain);
    return { isInverse, patterns };
  }

  #action(at: string, pattern: string): void {
    if (pattern === '*') return;
    if (!/^[a-zA-Z0-9-]{1,64}:[a-zA-Z0-9*?]{1,128}$/.test(pattern)) {
      this.#say(
        `${at}: "${cut(pattern)}" is no action; one looks like cloudhsm:DescribeClusters, cloudhsm:* or *.`,
      );
      return;
    }
    const { actions } = this.#rules;
    if (actions === undefined || !/^(cloudhsm|keyark):/i.test(pattern)) return;
    if (![...actions].some((action) => matchesAction(pattern, action))) {
      this.#say(`${at}: there is no action "${cut(pattern)}".`);
    }
  }

  #resource(at: string, pattern: string): void {
    if (pattern === '*') return;
    const parts = arnParts(pattern);
    if (parts[0] === 'arn' && parts.length === 6 && parts[5] !== '') return;
    this.#say(
      `${at}: "${cut(pattern)}" is no resource; one is * or like arn:aws:cloudhsm:us-east-1:000012345678:cluster/*.`,
    );
  }

  #principals(at: string, value: unknown): readonly string[] {
    if (value === '*') return ['*'];
    const { AWS: listed } = this.#members(`${at}.Principal`, value, ['AWS']);
    const found = this.#texts(`${at}.Principal.AWS`, listed);
    for (const text of found) {
      if (!PRINCIPAL.test(text)) {
        this.#say(
          `${at}.Principal: "${cut(text)}" is no principal; one is *, an account's 12 digits or an ARN like arn:aws:iam::000012345678:root.`,
        );
      }
    }
    return found;
  }

  #conditions(at: string, value: unknown, hasVariables: boolean): readonly Condition[] {
    if (value === undefined) return [];
    const operators = this.#members(`${at}.Condition`, value);
    return Object.entries(operators).flatMap(([name, keys]) => {
      const where = `${at}.Condition.${cut(name)}`;
      return Object.entries(this.#members(where, keys)).flatMap(([key, values]) => {
        const condition = this.#condition(where, name, key, values);
        const kind = /^Arn/.test(condition?.operator ?? '') ? 'arn' : 'text';
        if (hasVariables) this.#variables(where, condition?.values ?? [], kind);
        return condition === undefined ? [] : [condition];
      });
    });
  }

  #condition(at: string, name: string, key: string, given: unknown): Condition | undefined {
    const [, set, operator = '', ifExists] =
      /^(?:(ForAllValues|ForAnyValue):)?([A-Za-z]+?)(IfExists)?$/.exec(name) ?? [];
    const values = this.#values(`${at}.${cut(key)}`, given);
    const row = conditionKey(key);
    if (row === undefined) {
      const known = [...CONDITION_KEYS.keys()].join(', ');
      this.#say(
        `${at}: "${cut(key)}" is never known here, so the condition would mean nothing; there are ${known}, aws:requesttag/KEY and aws:resourcetag/KEY.`,
      );
    } else if (operator !== 'Null' && (set !== undefined) !== (row.isMany === true)) {
      this.#say(
        row.isMany === true
          ? `${at}: ${key} holds several values: say ForAllValues: or ForAnyValue: before the operator.`
          : `${at}: ${key} holds one value: leave ${set}: out.`,
      );
    }
    if (operator === 'Null') {
      for (const wanted of values) {
        if (!/^(true|false)$/i.test(wanted))
          this.#say(`${at}: "${cut(wanted)}" is not true or false.`);
      }
    } else if (!isOperator(operator)) {
      this.#say(
        `${at}: there is no such operator; there are Null, ${Object.keys(OPERATORS).join(', ')}.`,
      );
      return undefined;
    } else {
      for (const wanted of values) {
        const expected: string | undefined = OPERATORS[operator].check(wanted);
        if (expected !== undefined) this.#say(`${at}: "${cut(wanted)}" is not ${expected}.`);
      }
    }
    return {
      operator,
      ...(set === 'ForAllValues' || set === 'ForAnyValue' ? { set } : {}),
      ifExists: ifExists !== undefined,
      key: key.toLowerCase(),
      values,
    };
  }

  #variables(at: string, patterns: readonly string[], kind: 'arn' | 'text'): void {
    for (const pattern of kind === 'arn' ? patterns : []) {
      // IAM fills in variables behind the fifth colon only; elsewhere they would match nothing.
      if (variablesIn(arnParts(pattern).slice(0, 5).join(':')).length > 0) {
        this.#say(`${at}: "${cut(pattern)}" has a variable before the last part of the ARN.`);
      }
    }
    for (const name of patterns.flatMap(variablesIn)) {
      const row = conditionKey(name);
      if (row === undefined || row.isMany === true) {
        this.#say(`${at}: there is no variable "\${${cut(name)}}".`);
      }
    }
  }

  #values(at: string, value: unknown): readonly string[] {
    const plain = listOf(value).map((each) =>
      typeof each === 'number' || typeof each === 'boolean' ? String(each) : each,
    );
    return this.#texts(at, plain);
  }

  #texts(at: string, value: unknown): readonly string[] {
    const list = listOf(value);
    if (list.length === 0) this.#say(`${at}: there is no value.`);
    if (list.length > MAX_VALUES) {
      this.#say(`${at}: ${list.length} values are too many; ${MAX_VALUES} are possible.`);
    }
    const texts = list.filter((each) => typeof each === 'string');
    if (texts.length < list.length) this.#say(`${at}: only text is possible.`);
    return texts;
  }

  #members(at: string, value: unknown, known?: readonly string[]): Members {
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      this.#say(`${at} is not an object.`);
      return {};
    }
    // An object's members are unknown, which is all this type says.
    const members = value as Members;
    for (const name of Object.keys(members)) {
      if (known !== undefined && !known.includes(name)) {
        this.#say(`${at} has no "${cut(name)}"; there are ${known.join(', ')}.`);
      }
    }
    return members;
  }

  #say(problem: string): void {
    if (this.problems.length <= MAX_PROBLEMS) this.problems.push(problem);
  }
}

function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : '';
    throw new PolicyProblems([`The document is not JSON: ${cut(why)}.`]);
  }
  // Of two members with one name JSON.parse keeps the last; a reader may have meant the first.
  if (countColons(text) !== countMembers(value)) {
    throw new PolicyProblems([
      'The document has a name twice in one object; which counts is unsaid.',
    ]);
  }
  return value;
}

/** Outside of strings, in valid JSON, there is one colon a member. */
function countColons(text: string): number {
  return text.replace(/"(?:[^"\\]|\\.)*"/g, '').split(':').length - 1;
}

function countMembers(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const inner = Object.values(value).reduce((sum: number, each) => sum + countMembers(each), 0);
  return inner + (Array.isArray(value) ? 0 : Object.keys(value).length);
}

function listOf(value: unknown): readonly unknown[] {
  if (value === undefined) return [];
  return Array.isArray(value) ? value : [value];
}

const cut = (text: string): string => (text.length <= 80 ? text : `${text.slice(0, 79)}…`);
const shown = (value: unknown): string => cut(JSON.stringify(value) ?? 'nothing');
