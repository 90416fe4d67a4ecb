/**
 * A create that an SDK sends again gets the first answer instead of making a second resource.
 *
 * SDKs mark all tries of one call with one `amz-sdk-invocation-id`. The answer is written down in the very
 * transaction that creates, so that no crash falls between the two. Without the header nothing is
 * guessed: two equal requests are two wishes.
 */
import { createHash } from 'node:crypto';
import type { Caller } from '../access/caller.ts';
import type { Catalog, CatalogWriter } from '../catalog/catalog.ts';
import { type Clock, MINUTE_MS } from '../kernel/clock.ts';
import type { EpochMs, JsonObject } from '../kernel/types.ts';

/** SDKs give up long before. */
export const REMEMBERED_MS = 10 * MINUTE_MS;
const INVOCATION_ID = /^[0-9A-Za-z-]{16,64}$/;

/** To be called within the creating transaction. */
export type Remember = (writer: CatalogWriter, answer: JsonObject) => void;

export interface Try {
  readonly caller: Caller;
  readonly operation: string;
  /** As the header has it, if there is one. */
  readonly invocationId: string | undefined;
  readonly body: Uint8Array;
}

export class Once {
  readonly #catalog: Catalog;
  readonly #clock: Clock;
  readonly #underWay = new Map<string, Promise<JsonObject>>();

  constructor(catalog: Catalog, clock: Clock) {
    this.#catalog = catalog;
    this.#clock = clock;
  }

  /** `create` may be called or not; it must call `remember` exactly when it creates. */
  async run(
    attempt: Try,
    create: (remember: Remember) => JsonObject | Promise<JsonObject>,
  ): Promise<JsonObject> {
    const key = keyOf(attempt);
    if (key === undefined) return await create(() => {});
    // The first try may still be at work while the second arrives.
    const first = this.#underWay.get(key);
    if (first !== undefined) return await first;
    const work = this.#firstOrAgain(key, create);
    this.#underWay.set(key, work);
    try {
      return await work;
    } finally {
      this.#underWay.delete(key);
    }
  }

  async #firstOrAgain(
    key: string,
    create: (remember: Remember) => JsonObject | Promise<JsonObject>,
  ): Promise<JsonObject> {
    const since = (this.#clock.now() - REMEMBERED_MS) as EpochMs;
    const known = this.#catalog.read((reader) => reader.firstAnswer(key, since));
    if (known !== undefined) return known;
    return await create((writer, answer) =>
      writer.putFirstAnswer(key, { at: this.#clock.now(), answer, forgetBefore: since }),
    );
  }
}

/** For a profile without it: each try is a wish of its own, whatever header it has. */
export const everyTime: Pick<Once, 'run'> = {
  run: async (_attempt, create) => await create(() => {}),
};

/** Same caller, operation, region and body: anything else under the same id is another call. */
function keyOf({ caller, operation, invocationId, body }: Try): string | undefined {
  if (invocationId === undefined || !INVOCATION_ID.test(invocationId)) return undefined;
  const { account, region, principal } = caller;
  return createHash('sha256')
    .update(JSON.stringify([account, region, principal, operation, invocationId]))
    .update(body)
    .digest('base64url');
}
