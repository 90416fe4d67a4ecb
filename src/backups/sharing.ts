/**
 * Sharing backups with other accounts: the resource policy says who may, shares say who sees it listed.
 * A consumer may describe and restore; for everything else another account's backup does not exist.
 */
import type { Caller } from '../access/caller.ts';
import { parseResourceArn, resourceArn } from '../aws/arn.ts';
import type {
  BackupQuery,
  Catalog,
  CatalogReader,
  CatalogWriter,
  Page,
  PageRequest,
  Scope,
} from '../catalog/catalog.ts';
import { Refused } from '../kernel/errors.ts';
import { type BackupId, parseBackupId } from '../kernel/ids.ts';
import type { Backup } from './backup.ts';
import type { Share } from './share.ts';
import {
  accountsThatDescribe,
  isGranted,
  readSharePolicy,
  type SharedAction,
} from './share-policy.ts';

/** An answer lists no more; which there were left out is said. */
const MAX_SHARES = 1_000;
const MAX_POLICY_CHARACTERS = 20_000;

/** All throw Refused (`InvalidRequest`, `NotFound`, `WrongState`) before anything is changed. */
export interface Sharing {
  /** Replaces the policy of a READY backup of the caller's. */
  putPolicy(
    caller: Caller,
    request: { readonly arn: string | undefined; readonly policy: string | undefined },
  ): Promise<Backup>;
  policyOf(caller: Caller, arn: string | undefined): string | undefined;
  /** Ends the share too; clusters that were made live on. @returns the removed policy, if there was one. */
  deletePolicy(caller: Caller, arn: string | undefined): Promise<string | undefined>;
  /** What is shared with the caller's account, promoted and accepted. */
  describe(caller: Scope, query: BackupQuery, page: PageRequest): Page<Backup>;
  /** Makes the backup visible to whom its policy names; outside the organisation once they accept. */
  promote(caller: Caller, id: BackupId): Promise<readonly Share[]>;
  accept(caller: Caller, id: BackupId): Promise<Share>;
  /** By the owner: for everybody, with the policy. By a consumer: out of his own list. */
  remove(caller: Caller, id: BackupId): Promise<void>;
  list(caller: Scope): { readonly shares: readonly Share[]; readonly isComplete: boolean };
}

export function createSharing(deps: {
  readonly catalog: Catalog;
  /** Accounts that see each other's promoted shares without being asked. */
  readonly organization: readonly string[];
}): Sharing {
  const { catalog, organization } = deps;
  const promoted = ({ owner, consumer }: Share): Share['state'] =>
    organization.includes(owner) && organization.includes(consumer) ? 'ACTIVE' : 'INVITED';

  return {
    async putPolicy(caller, { arn, policy }) {
      return catalog.transact((writer) => {
        const given = checkGiven(arn, policy);
        const backup = ownByArn(writer, caller, given.arn);
        if (backup.state !== 'READY') {
          throw new Refused(
            'WrongState',
            `${backup.id} is ${backup.state}; only a READY backup can be shared. Nothing was changed.`,
          );
        }
        const read = readSharePolicy(given.policy, { arn: given.arn, account: caller.account });
        if (read.problems.length > 0) {
          throw new Refused(
            'InvalidRequest',
            `The policy was not taken, what was in force stays: ${read.problems.join(' ')}`,
          );
        }
        const changed: Backup = { ...backup, policy: given.policy };
        writer.putBackup(changed);
        alignShares(writer, changed, accountsThatDescribe(read));
        return changed;
      });
    },
    policyOf: (caller, arn) =>
      catalog.read((reader) => ownByArn(reader, caller, checkArn(arn)).policy),
    async deletePolicy(caller, arn) {
      return catalog.transact((writer) =>
        withoutPolicy(writer, ownByArn(writer, caller, checkArn(arn))),
      );
    },
    describe: (caller, query, page) =>
      catalog.read((reader) => reader.sharedBackups(caller, query, page)),
    async promote(caller, id) {
      return catalog.transact((writer) => {
        const backup = ownById(writer, caller, id);
        const shares = writer.sharesOf(id);
        if (shares.length === 0) {
          throw new Refused(
            'WrongState',
            `${backup.id} has no policy that lets another account describe it, so there is no share to promote.`,
          );
        }
        for (const share of shares) {
          if (share.state === 'FROM_POLICY') writer.putShare({ ...share, state: promoted(share) });
        }
        return writer.sharesOf(id);
      });
    },
    async accept(caller, id) {
      return catalog.transact((writer) => {
        const share = offeredTo(writer, caller, id);
        if (share === undefined) throw nothingOffered(caller, id);
        const accepted: Share = { ...share, state: 'ACTIVE' };
        writer.putShare(accepted);
        return accepted;
      });
    },
    async remove(caller, id) {
      catalog.transact((writer) => {
        const backup = writer.backup(id);
        if (backup !== undefined && isIn(backup, caller)) {
          withoutPolicy(writer, backup);
          return;
        }
        if (offeredTo(writer, caller, id) === undefined) throw nothingOffered(caller, id);
        writer.removeShare(id, caller.account);
      });
    },
    list: (caller) =>
      catalog.read((reader) => {
        const owned = reader.shares(caller, 'owner', MAX_SHARES);
        const offered = reader.shares(caller, 'consumer', MAX_SHARES);
        return {
          shares: [...owned, ...offered.filter(isOffered)],
          isComplete: owned.length < MAX_SHARES && offered.length < MAX_SHARES,
        };
      }),
  };
}

/**
 * What a cluster is to be made from: the caller's own backup by id or ARN, or by its full ARN one that
 * another account shares. The one place that decides whether a policy lets somebody in.
 * @throws Refused `NotFound`; `AccessDenied` for another account's ARN, the same whether it exists or not.
 */
export function backupToRestore(
  reader: CatalogReader,
  caller: Caller,
  asRequested: string,
): Backup {
  if (!asRequested.startsWith('arn:')) return ownById(reader, caller, parseBackupId(asRequested));
  const arn = parseResourceArn(asRequested);
  if (arn?.account === caller.account) {
    return ownById(reader, caller, parseBackupId(arn.id), arn);
  }
  const backup = arn === undefined ? undefined : reader.backup(parseBackupId(arn.id));
  const isIt =
    backup !== undefined && arn !== undefined && isIn(backup, arn) && arn.region === caller.region;
  if (!isIt || !mayUseShared(backup, caller, 'CreateCluster')) {
    throw new Refused(
      'AccessDenied',
      `${asRequested} is not shared with ${caller.principal} in ${caller.region}. Nothing was made.`,
    );
  }
  return backup;
}

/** Whether the policy of another account's backup lets this caller in. Pure. */
export function mayUseShared(backup: Backup, caller: Caller, action: SharedAction): boolean {
  if (backup.policy === undefined) return false;
  const policy = readSharePolicy(backup.policy, { arn: arnOf(backup), account: backup.account });
  return isGranted(policy, caller, action);
}

/** Who is named and was not, begins as FROM_POLICY; who was and is not any more, is out. */
function alignShares(writer: CatalogWriter, backup: Backup, accounts: readonly string[]): void {
  const before = new Set(writer.sharesOf(backup.id).map(({ consumer }) => consumer));
  for (const consumer of before) {
    if (!accounts.includes(consumer)) writer.removeShare(backup.id, consumer);
  }
  for (const consumer of accounts) {
    if (before.has(consumer)) continue;
    writer.putShare({
      backupId: backup.id,
      owner: backup.account,
      consumer,
      region: backup.region,
      createdAt: backup.createdAt,
      state: 'FROM_POLICY',
    });
  }
}

function withoutPolicy(writer: CatalogWriter, backup: Backup): string | undefined {
  const { policy, ...rest } = backup;
  writer.putBackup(rest);
  alignShares(writer, rest, []);
  return policy;
}

function checkGiven(
  arn: string | undefined,
  policy: string | undefined,
): { arn: string; policy: string } {
  const missing = [
    ...(arn === undefined ? ['ResourceArn'] : []),
    ...(policy === undefined ? ['Policy'] : []),
  ];
  if (arn === undefined || policy === undefined) {
    throw new Refused('InvalidRequest', `PutResourcePolicy needs ${missing.join(' and ')}.`);
  }
  if (policy.length > MAX_POLICY_CHARACTERS) {
    throw new Refused(
      'InvalidRequest',
      `A policy has at most ${MAX_POLICY_CHARACTERS} characters.`,
    );
  }
  return { arn: checkArn(arn), policy };
}

function checkArn(arn: string | undefined): string {
  if (arn === undefined) {
    throw new Refused('InvalidRequest', 'ResourceArn is missing: the ARN of one of your backups.');
  }
  const parsed = parseResourceArn(arn);
  if (parsed?.kind === 'backup') return arn;
  throw new Refused(
    'InvalidRequest',
    parsed === undefined
      ? `${arn.slice(0, 200)} is no ARN that this service gives.`
      : `${arn} is a ${parsed.kind}; only backups have a resource policy.`,
  );
}

function ownByArn(reader: CatalogReader, caller: Caller, arn: string): Backup {
  const parsed = parseResourceArn(arn);
  return ownById(reader, caller, parseBackupId(parsed?.id ?? arn), parsed);
}

/** @param as where an ARN said that it is. @throws Refused `NotFound`. */
function ownById(reader: CatalogReader, caller: Caller, id: BackupId, as: Scope = caller): Backup {
  const backup = reader.backup(id);
  if (backup === undefined || !isIn(backup, caller) || !isIn(backup, as)) {
    throw new Refused(
      'NotFound',
      `There is no backup ${id} of yours in ${caller.region}. One that another account shares is named by its full ARN, and can be described and restored only.`,
    );
  }
  return backup;
}

function offeredTo(reader: CatalogReader, caller: Scope, id: BackupId): Share | undefined {
  return reader
    .sharesOf(id)
    .find(
      (share) =>
        share.consumer === caller.account && share.region === caller.region && isOffered(share),
    );
}

const isOffered = ({ state }: Share): boolean => state !== 'FROM_POLICY';

const nothingOffered = (caller: Scope, id: BackupId): Refused =>
  new Refused(
    'NotFound',
    `Nobody has offered ${id} to ${caller.account} in ${caller.region}. Its owner has to share it (PutResourcePolicy) and to promote the share.`,
  );

const isIn = (thing: Scope, scope: Scope): boolean =>
  thing.account === scope.account && thing.region === scope.region;

const arnOf = (backup: Backup): string => resourceArn(backup, 'backup', backup.id);
