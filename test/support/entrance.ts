/** What stands between a request and the faces, for real: keys in a file, policies, the trail, measures. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AccessKey } from '../../src/access/accounts.ts';
import { Credentials } from '../../src/access/credentials.ts';
import { knownActions } from '../../src/api/actions.ts';
import { Once } from '../../src/api/once.ts';
import type { ApiParts } from '../../src/api/server.ts';
import { type Rates, Throttle } from '../../src/api/throttle.ts';
import { trailFolder } from '../../src/audit/files.ts';
import { lookupTrail } from '../../src/audit/lookup.ts';
import { Trail } from '../../src/audit/trail.ts';
import type { Catalog } from '../../src/catalog/catalog.ts';
import type { Clock } from '../../src/kernel/clock.ts';
import { systemRandom } from '../../src/kernel/random.ts';

/** More than any test calls that is not about them. */
export const ROOMY: Rates = { readsPerSecond: 1e6, writesPerSecond: 1e6 };

export interface Entrance extends AsyncDisposable {
  readonly parts: Pick<
    ApiParts,
    'iam' | 'catalog' | 'trail' | 'audit' | 'once' | 'throttle' | 'clock' | 'random'
  >;
  readonly credentials: Credentials;
  readonly trail: Trail;
  /** Where the trail's files are. */
  readonly trailFolder: string;
}

/** @param keys root keys of their accounts; the first one's account owns everything. */
export async function entrance(given: {
  readonly folder: string;
  readonly keys: readonly [AccessKey, ...AccessKey[]];
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly region: string;
  readonly rates?: Rates | undefined;
}): Promise<Entrance> {
  const { catalog, clock, keys, region } = given;
  const access = join(given.folder, 'access');
  await mkdir(access, { recursive: true });
  const kept = keys.map(({ accessKeyId, account, secretAccessKey }) => ({
    accessKeyId,
    account,
    secretAccessKey,
  }));
  await writeFile(join(access, 'credentials.json'), JSON.stringify({ version: 1, keys: kept }));
  const credentials = await Credentials.open({ folder: access, random: systemRandom });
  const place = join(given.folder, 'audit');
  const files = trailFolder(place);
  const owner = keys[0].account;
  const trail = await Trail.open({
    files,
    heads: { get: () => undefined, put: () => undefined },
    clock,
    random: systemRandom,
    home: { account: owner, region },
    settings: { fileBytes: 1e8, keepMs: 1e12 },
    trustedNow: () => clock.now(),
  });
  return {
    parts: {
      iam: { credentials, clock, actions: knownActions() },
      catalog,
      trail,
      audit: {
        owner,
        state: () => trail.state(),
        settled: () => trail.settled(),
        lookup: (query, page) => lookupTrail(files, query, page),
      },
      once: new Once(catalog, clock),
      throttle: new Throttle(given.rates ?? ROOMY, clock),
      clock,
      random: systemRandom,
    },
    credentials,
    trail,
    trailFolder: place,
    [Symbol.asyncDispose]: async () => {
      await credentials.idle();
      await trail.close();
    },
  };
}
