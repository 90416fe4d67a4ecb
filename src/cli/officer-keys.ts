/** All keys that whoever is logged in may see, page by page. */
import type { JsonObject } from '../kernel/types.ts';
import { listOf, optionalText } from './json.ts';

export interface Caller {
  call(name: string, params: JsonObject): Promise<JsonObject>;
}

export async function allKeys(
  officer: Caller,
  filter: JsonObject = {},
): Promise<readonly JsonObject[]> {
  const found: JsonObject[] = [];
  let after: string | undefined;
  do {
    const page = await officer.call('key-list', { ...filter, after });
    found.push(...listOf(page, 'keys'));
    after = optionalText(page, 'next');
  } while (after !== undefined);
  return found;
}
