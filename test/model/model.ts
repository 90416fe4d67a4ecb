/**
 * The laws that hold whatever happened, as pure checks over what the catalog and the vaults say. They share no
 * code with the service: a rule that is wrong there must not be wrong here in the same way.
 */
import type { Backup } from '../../src/backups/backup.ts';
import type { Cluster, Hsm } from '../../src/clusters/cluster.ts';
import type { Restore } from '../../src/clusters/restore.ts';
import { DAY_MS, HOUR_MS } from '../../src/kernel/clock.ts';

export interface Snapshot {
  readonly now: number;
  readonly clusters: readonly Cluster[];
  readonly hsms: readonly Hsm[];
  /** Ids of all HSMs that the host has. */
  readonly hosted: ReadonlySet<string>;
  /** All that are not DELETED, and those that became it since the look before. */
  readonly backups: readonly Backup[];
  readonly restoresUnderWay: readonly Restore[];
  /** Names of all that is in any region's vault. */
  readonly stored: ReadonlySet<string>;
}

/** One broken law a line; empty when all hold. */
type Law = (now: Snapshot, before: Snapshot | undefined) => readonly string[];

const PARTS = ['body', 'seal-1', 'outer-1'];
/** Work due by age is done with the next looks, which are minutes apart here. */
const LATE_MS = 30 * 60_000;
const FLOOR_MS = 24 * HOUR_MS;
const UNDO_MS = 7 * DAY_MS;

const RESTING: Readonly<Record<'cluster' | 'hsm' | 'backup', readonly string[]>> = {
  cluster: ['UNINITIALIZED', 'INITIALIZED', 'ACTIVE', 'DEGRADED', 'DELETED'],
  hsm: ['ACTIVE', 'DEGRADED', 'DELETED'],
  backup: ['READY', 'PENDING_DELETION', 'DELETED'],
};

export const LAWS: Readonly<Record<string, Law>> = {
  'after recovery and idle nothing is in progress': ({
    clusters,
    hsms,
    backups,
    restoresUnderWay,
  }) => [
    ...clusters.filter(({ state }) => !RESTING.cluster.includes(state)).map(line),
    ...hsms.filter(({ state }) => !RESTING.hsm.includes(state)).map(line),
    ...backups.filter(({ state }) => !RESTING.backup.includes(state)).map(line),
    ...restoresUnderWay.map(line),
  ],
  'at most one HSM of a cluster takes changes, and all are of its type': ({ clusters, hsms }) =>
    clusters.flatMap((cluster) => {
      const own = hsms.filter(({ clusterId }) => clusterId === cluster.id);
      const writers = own.filter(({ takesWrites }) => takesWrites);
      return [
        ...(writers.length > 1 ? writers.map(line) : []),
        ...own.filter(({ type }) => type !== cluster.type).map(line),
      ];
    }),
  'the host has the HSMs that rows say, and no other': ({ hsms, hosted }) => [
    ...[...hosted].filter((id) => !hsms.some((hsm) => hsm.id === id)),
    ...hsms.filter(({ id, state }) => state === 'ACTIVE' && !hosted.has(id)).map(line),
  ],
  'no READY without a proof of what is stored': ({ backups, stored }) =>
    backups.flatMap((backup) => {
      if (backup.state !== 'READY' && backup.state !== 'PENDING_DELETION') return [];
      const { proof, archive } = backup;
      const missing = PARTS.filter((part) => !stored.has(`${backup.id}/${part}`));
      // Half a purge leaves fewer parts, and says so in the row before the first one goes.
      const isPurging =
        backup.state === 'PENDING_DELETION' && backup.removal.purgeBegunAt !== undefined;
      return [
        ...(missing.length > 0 && !isPurging
          ? [`${line(backup)} lacks ${missing.join(', ')}`]
          : []),
        ...(proof.statement.opened.stateDigest === archive.seal.statement.stateDigest
          ? []
          : [`${line(backup)} is proven to be something else`]),
      ];
    }),
  'nothing that is DELETED, or that no row knows, is still stored': ({ backups, stored }) => {
    const kept = new Set(backups.filter(({ state }) => state !== 'DELETED').map(({ id }) => id));
    // A vault's folder is a backup's id.
    return [...stored].filter((name) => !kept.has(name.split('/')[0] as Backup['id']));
  },
  'nothing past its seven days is still there': ({ now, backups }) =>
    backups
      .filter((each) => each.state === 'PENDING_DELETION' && each.purgeAt + LATE_MS < now)
      .map(line),
  'nothing held is ever gone': ({ now, backups }) =>
    backups.filter((backup) => backup.state !== 'READY' && isHeld(backup, now)).map(line),
  'whoever wants it back has seven days': ({ backups }, before) =>
    backups.flatMap((is) => {
      const was = before?.backups.find(({ id }) => id === is.id);
      if (is.state !== 'DELETED' || was === undefined || !isKept(was)) return [];
      const markedAt = was.state === 'PENDING_DELETION' ? was.purgeAt - UNDO_MS : before?.now;
      return is.deletedAt - (markedAt ?? 0) < UNDO_MS ? [`${line(is)}, was ${was.state}`] : [];
    }),
  // By hand it can be: docs/fidelity.md says so, and the command line warns.
  "no cluster's last backup is purged by the service itself": ({ backups }, before) => {
    const alive = new Set(backups.filter(isKept).map(({ clusterId }) => clusterId));
    const gone = (before?.backups ?? []).filter((was) => isKept(was) && !alive.has(was.clusterId));
    const byHand = new Set(
      backups
        .filter((is) => is.state === 'DELETED' && /asked for/.test(is.why))
        .map(({ clusterId }) => clusterId),
    );
    return gone.filter(({ clusterId }) => !byHand.has(clusterId)).map(line);
  },
  'retention takes nothing young, nothing protected': ({ now, backups, clusters }, before) =>
    taken(backups, before, 'retention').flatMap((was) => {
      const cluster = clusters.find(
        ({ id, region }) => id === was.clusterId && region === was.region,
      );
      const days = was.ownRetention?.days ?? cluster?.retentionDays ?? 0;
      const from = was.copy?.copiedAt ?? was.createdAt;
      return now - from < days * DAY_MS || isProtected(was, now) || (was.copy && !was.ownRetention)
        ? [`${line(was)} went after ${(now - from) / DAY_MS} of ${days} days`]
        : [];
    }),
  'retention forgets nothing': ({ now, backups, clusters }) =>
    backups.flatMap((backup) => {
      if (backup.state !== 'READY' || backup.copy !== undefined) return [];
      const cluster = clusters.find(({ id }) => id === backup.clusterId);
      if (cluster === undefined || isProtected(backup, now)) return [];
      const isOver = now - backup.createdAt > cluster.retentionDays * DAY_MS + LATE_MS;
      const hasYounger = ownReady(backups, backup).some(
        (each) => each.createdAt > backup.createdAt,
      );
      return isOver && hasYounger ? [`${line(backup)} should be gone`] : [];
    }),
  'thinning leaves a younger one, an hour or a day away': ({ now, backups }, before) =>
    taken(backups, before, 'thinned').flatMap((was) => {
      const age = now - was.createdAt;
      const gap = age > 7 * DAY_MS ? DAY_MS : HOUR_MS;
      const standsIn = backups.some(
        (each) =>
          each.id !== was.id &&
          each.clusterId === was.clusterId &&
          each.copy === undefined &&
          each.state !== 'DELETED' &&
          each.createdAt >= was.createdAt &&
          each.createdAt - was.createdAt < gap,
      );
      return age < DAY_MS || was.cause !== 'changed' || isProtected(was, now) || !standsIn
        ? [`${line(was)}, ${age / HOUR_MS} h old`]
        : [];
    }),
  'one proven backup in 24 hours': ({ now, clusters, hsms, backups }) =>
    clusters.flatMap((cluster) => {
      const live = hsms.filter((hsm) => hsm.clusterId === cluster.id && hsm.state === 'ACTIVE');
      if (cluster.state !== 'ACTIVE' || live.length === 0) return [];
      const since = Math.min(...live.map(({ createdAt }) => createdAt));
      const times = backups
        .filter((b) => b.clusterId === cluster.id && !b.copy)
        .map((b) => b.createdAt);
      return now - Math.max(since, ...times) > FLOOR_MS ? [`${line(cluster)} waits`] : [];
    }),
};

export function broken(now: Snapshot, before: Snapshot | undefined): readonly string[] {
  return Object.entries(LAWS).flatMap(([law, check]) =>
    check(now, before).map((what) => `${law}: ${what}`),
  );
}

const line = (row: { readonly id: string; readonly state: string }): string =>
  `${row.id} ${row.state}`;
const isKept = ({ state }: Backup): boolean => state === 'READY' || state === 'PENDING_DELETION';
const isHeld = ({ holds }: Backup, now: number): boolean =>
  holds.some(({ kind, until }) => kind === 'legal' || (until ?? 0) > now);
const isProtected = (backup: Backup, now: number): boolean =>
  backup.neverExpires || isHeld(backup, now) || (backup.sparedUntil ?? 0) > now;
const ownReady = (backups: readonly Backup[], of: Backup): readonly Backup[] =>
  backups.filter((each) => each.state === 'READY' && !each.copy && each.clusterId === of.clusterId);

/** What was READY at the last look and has been taken for this reason since, with the protection it has now. */
function taken(
  backups: readonly Backup[],
  before: Snapshot | undefined,
  kind: 'retention' | 'thinned',
): readonly Backup[] {
  const wasReady = new Set(
    (before?.backups ?? []).filter(({ state }) => state === 'READY').map(({ id }) => id),
  );
  return backups.filter(
    (is) => is.state === 'PENDING_DELETION' && is.removal.kind === kind && wasReady.has(is.id),
  );
}
