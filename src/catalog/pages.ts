/**
 * Pages by key, not by offset: a page costs the same wherever it is, and rows that come or go meanwhile
 * are neither skipped nor repeated.
 *
 * A filter with several values would make SQLite sort everything that matches. Instead each combination
 * of values is a branch that walks one index in order, and SQLite merges the branches lazily: a page
 * reads about as many rows as it returns.
 */
import { createHash } from 'node:crypto';
import type { SQLInputValue } from 'node:sqlite';
import { assert, Refused } from '../kernel/errors.ts';
import type { Page, PageRequest } from './catalog.ts';

/** One filter: the column is one of the values. */
export interface Filter {
  readonly column: string;
  readonly values: readonly SQLInputValue[];
}

export interface PagePlan {
  readonly table: 'clusters' | 'backups';
  /** Another table whose rows lead to those of `table`: it is walked instead, and joined by its `id`. */
  readonly keys?: { readonly table: 'shares'; readonly id: string };
  /** An index over the columns of `walk`, in that order, then `created_at, id`; absent: the primary key. */
  readonly index?: string;
  readonly walk: readonly Filter[];
  /** Checked row by row. */
  readonly residual: readonly Filter[];
  readonly isAscending: boolean;
  /** Of `table`; absent: all of them. */
  readonly columns?: readonly string[];
}

export interface Query {
  readonly sql: string;
  readonly params: readonly SQLInputValue[];
}

/** SQLite compounds at most 500 selects. */
const MAX_BRANCHES = 400;
export const MAX_FILTER_VALUES = 100;
const MAX_PAGE = 1_000;
const MAX_TOKEN_LENGTH = 256;

/** Runs the plan from where the token ends. @throws Refused `InvalidRequest`. */
export function readPage<Row, T extends Position>(
  plan: PagePlan,
  page: PageRequest,
  all: (query: Query) => readonly Row[],
  decode: (row: Row) => T,
): Page<T> {
  assert(
    Number.isInteger(page.limit) && page.limit >= 1 && page.limit <= MAX_PAGE,
    `a page has 1 to ${MAX_PAGE} items`,
  );
  for (const { values } of [...plan.walk, ...plan.residual]) {
    if (values.length > MAX_FILTER_VALUES) {
      throw new Refused(
        'InvalidRequest',
        `A filter takes at most ${MAX_FILTER_VALUES} values; this one has ${values.length}.`,
      );
    }
  }
  const digest = planDigest(plan);
  const after = page.nextToken === undefined ? undefined : parseToken(page.nextToken, digest);
  // A filter without values lets nothing through.
  if ([...plan.walk, ...plan.residual].some(({ values }) => values.length === 0)) {
    return { items: [] };
  }
  const rows = all(pageQuery(plan, after, page.limit + 1));
  const items = rows.slice(0, page.limit).map(decode);
  const last = items.at(-1);
  if (rows.length <= page.limit || last === undefined) return { items };
  return { items, nextToken: renderToken(last, digest) };
}

/** What pages are ordered by. */
interface Position {
  readonly createdAt: number;
  readonly id: string;
}

function pageQuery(plan: PagePlan, after: Position | undefined, limit: number): Query {
  const { table, index, isAscending } = plan;
  const direction = isAscending ? 'asc' : 'desc';
  const keys = plan.keys ?? { table, id: 'id' };
  const walked = index === undefined ? keys.table : `${keys.table} indexed by ${index}`;
  const from =
    plan.keys === undefined
      ? walked
      : `${walked} cross join ${table} on ${table}.id = ${keys.table}.${keys.id}`;
  const [createdAt, id] = [`${keys.table}.created_at`, `${keys.table}.${keys.id}`];
  const residual = plan.residual.map(({ column, values }) => ({
    sql: `${column} in (${values.map(() => '?').join(', ')})`,
    params: values,
  }));
  const beyond =
    after === undefined
      ? []
      : [
          {
            sql: `(${createdAt}, ${id}) ${isAscending ? '>' : '<'} (?, ?)`,
            params: [after.createdAt, after.id],
          },
        ];
  const branches = combinations(plan.walk).map((values) => {
    const walk = plan.walk.map(({ column }, i) => ({
      sql: `${column} = ?`,
      params: [values[i] ?? null],
    }));
    const terms = [...walk, ...beyond, ...residual];
    const where = terms.map(({ sql }) => sql).join(' and ');
    return {
      sql: `select ${createdAt} as created_at, ${id} as id from ${from} where ${where}`,
      params: terms.flatMap(({ params }) => params),
    };
  });
  const order = `order by created_at ${direction}, id ${direction}`;
  const positions = `${branches.map(({ sql }) => sql).join(' union all ')} ${order} limit ?`;
  return {
    sql: `select ${columnsOf(plan)} from (${positions}) as page cross join ${table} on ${table}.id = page.id
      order by page.created_at ${direction}, page.id ${direction}`,
    params: [...branches.flatMap(({ params }) => params), limit],
  };
}

/** With the table's name before each, because positions have columns of the same names. */
const columnsOf = ({ table, columns = ['*'] }: PagePlan): string =>
  columns.map((column) => `${table}.${column}`).join(', ');

/** Every way to choose one value of each filter. */
function combinations(filters: readonly Filter[]): readonly (readonly SQLInputValue[])[] {
  let chosen: readonly (readonly SQLInputValue[])[] = [[]];
  for (const { values } of filters) {
    chosen = chosen.flatMap((before) => [...new Set(values)].map((value) => [...before, value]));
  }
  assert(chosen.length <= MAX_BRANCHES, 'a page plan has too many branches');
  return chosen;
}

/** How many index walks a plan over these filters needs. */
export function canWalk(filters: readonly Filter[]): boolean {
  return filters.reduce((count, { values }) => count * values.length, 1) <= MAX_BRANCHES;
}

/** A token continues the question it came from and no other. */
function planDigest(plan: PagePlan): string {
  // What is shown of a row does not decide where a page ends.
  const { columns: _shown, ...walked } = plan;
  return createHash('sha256').update(JSON.stringify(walked)).digest('base64url').slice(0, 16);
}

function renderToken({ createdAt, id }: Position, digest: string): string {
  return Buffer.from(JSON.stringify([digest, createdAt, id])).toString('base64url');
}

function parseToken(token: string, digest: string): Position {
  const [madeFor, createdAt, id, ...rest] = tokenParts(token);
  if (
    madeFor !== digest ||
    typeof createdAt !== 'number' ||
    !Number.isSafeInteger(createdAt) ||
    typeof id !== 'string' ||
    rest.length > 0
  ) {
    throw badToken();
  }
  return { createdAt, id };
}

function tokenParts(token: string): readonly unknown[] {
  if (token.length > MAX_TOKEN_LENGTH) throw badToken();
  try {
    const parts: unknown = JSON.parse(Buffer.from(token, 'base64url').toString('utf8'));
    return Array.isArray(parts) ? parts : [];
  } catch (cause) {
    throw badToken(cause);
  }
}

const badToken = (cause?: unknown): Refused =>
  new Refused(
    'InvalidRequest',
    'The NextToken was not made for this request; repeat the request without it.',
    { cause },
  );
