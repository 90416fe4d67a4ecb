/** What the trail keeps in the catalog and asks of it: its newest head, and where a resource belongs. */
import { resourceArn } from '../aws/arn.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { BackupId, ClusterId } from '../kernel/ids.ts';
import type { Head } from './chain.ts';
import type { WhereIs } from './service-acts.ts';
import type { HeadKeeper } from './trail.ts';

const SETTING = 'audit.head';

export function catalogHeads(catalog: Catalog): HeadKeeper {
  return {
    get: () => {
      const text = catalog.read((reader) => reader.setting(SETTING));
      // Written by `put` below.
      return text === undefined ? undefined : (JSON.parse(text) as Head);
    },
    put: ({ sequence, hash }) =>
      catalog.transact((writer) => writer.putSetting(SETTING, JSON.stringify({ sequence, hash }))),
  };
}

export function whereIn(catalog: Catalog): WhereIs {
  return (id) =>
    catalog.read((reader) => {
      const kind = id.startsWith('backup-') ? 'backup' : 'cluster';
      // Whoever asks has seen that the id has the form of one; a stranger is simply not found.
      const found =
        kind === 'backup' ? reader.backup(id as BackupId) : reader.cluster(id as ClusterId);
      if (found === undefined) return undefined;
      const { account, region } = found;
      return { account, region, arn: resourceArn({ account, region }, kind, id) };
    });
}
