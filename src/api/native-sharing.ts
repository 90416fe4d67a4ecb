/** Our own operations around copies and shares: what AWS leaves to RAM, to scripts around it, or out. */
import type { Caller } from '../access/caller.ts';
import { resourceArn as renderArn } from '../aws/arn.ts';
import type { Backups } from '../backups/backups.ts';
import type { CopyRule } from '../backups/copy-rule.ts';
import type { RuleBook } from '../backups/rule-book.ts';
import type { Share } from '../backups/share.ts';
import type { Sharing } from '../backups/sharing.ts';
import { type BackupId, parseBackupId, parseClusterId, parseCopyRuleId } from '../kernel/ids.ts';
import type { JsonObject } from '../kernel/types.ts';
import { renderBackup, seconds } from './render.ts';
import {
  backupId,
  backupReference,
  clusterId,
  type OperationShape,
  region,
  type Shape,
  tagList,
  type ValueOf,
} from './shapes.ts';
import { parseTags } from './tags.ts';

export interface SharingFaces {
  readonly backups: Pick<Backups, 'copy'>;
  readonly sharing: Pick<Sharing, 'promote' | 'accept' | 'remove' | 'list'>;
  readonly copyRules: RuleBook;
}

const ruleId = {
  kind: 'text',
  what: 'the id of a copy rule',
  example: 'copy-rule-keyark2ab3cd4ef5',
  pattern: /^copy-rule-[2-7a-zA-Z]{11,16}$/,
} as const satisfies Shape;
const days = { kind: 'integer', min: 1, max: 10_000 } as const satisfies Shape;
const cause = {
  kind: 'text',
  what: 'the cause of a backup',
  example: 'scheduled',
  min: 1,
  max: 32,
} as const satisfies Shape;
const reference = {
  kind: 'structure',
  members: { Backup: { shape: backupReference, isRequired: true } },
} as const satisfies Shape;

export const SHARING_OPERATIONS = {
  /** As CopyBackupToRegion, and more: the answer names the copy, and it can be kept for a time. */
  CopyBackup: {
    errors: ['NotFound', 'Tag'],
    input: {
      kind: 'structure',
      members: {
        BackupId: { shape: backupId, isRequired: true },
        DestinationRegion: { shape: region, isRequired: true },
        RetentionDays: { shape: days },
        TagList: { shape: tagList },
      },
    },
  },
  CreateCopyRule: {
    errors: ['NotFound'],
    input: {
      kind: 'structure',
      members: {
        FromRegion: { shape: region, isRequired: true },
        ToRegion: { shape: region, isRequired: true },
        ClusterId: { shape: clusterId },
        Causes: { shape: { kind: 'list', of: cause, min: 1, max: 20 } },
        RetentionDays: { shape: days },
      },
    },
  },
  ListCopyRules: { errors: [], input: { kind: 'structure', members: {} } },
  DeleteCopyRule: {
    errors: ['NotFound'],
    input: {
      kind: 'structure',
      members: { CopyRuleId: { shape: ruleId, isRequired: true } },
    },
  },
  ListShares: { errors: [], input: { kind: 'structure', members: {} } },
  PromoteShare: { errors: ['NotFound'], input: reference },
  AcceptShare: { errors: ['NotFound'], input: reference },
  RemoveShare: { errors: ['NotFound'], input: reference },
} as const satisfies Readonly<Record<string, OperationShape>>;

type Name = keyof typeof SHARING_OPERATIONS;

export const SHARING: {
  readonly [Each in Name]: (
    faces: SharingFaces,
    caller: Caller,
    request: ValueOf<(typeof SHARING_OPERATIONS)[Each]['input']>,
  ) => Promise<JsonObject>;
} = {
  CopyBackup: async ({ backups }, caller, request) => {
    const copy = await backups.copy(caller, parseBackupId(request.BackupId), {
      toRegion: request.DestinationRegion,
      ...(request.RetentionDays !== undefined && { retentionDays: request.RetentionDays }),
      ...(request.TagList !== undefined && { tags: parseTags(request.TagList) }),
    });
    return { Backup: renderBackup(copy) };
  },

  CreateCopyRule: async ({ copyRules }, caller, request) => ({
    CopyRule: renderRule(
      await copyRules.add(caller, {
        fromRegion: request.FromRegion,
        toRegion: request.ToRegion,
        ...(request.ClusterId !== undefined && { clusterId: parseClusterId(request.ClusterId) }),
        ...(request.Causes !== undefined && { causes: request.Causes }),
        ...(request.RetentionDays !== undefined && { retentionDays: request.RetentionDays }),
      }),
    ),
  }),

  ListCopyRules: async ({ copyRules }, caller) => ({
    CopyRules: copyRules.list(caller).map(renderRule),
  }),

  DeleteCopyRule: async ({ copyRules }, caller, request) => ({
    CopyRule: renderRule(await copyRules.remove(caller, parseCopyRuleId(request.CopyRuleId))),
  }),

  ListShares: async ({ sharing }, caller) => {
    const { shares, isComplete } = sharing.list(caller);
    return { Shares: shares.map(renderShare), IsComplete: isComplete };
  },

  PromoteShare: async ({ sharing }, caller, request) => ({
    Shares: (await sharing.promote(caller, idOf(request.Backup))).map(renderShare),
  }),

  AcceptShare: async ({ sharing }, caller, request) => ({
    Share: renderShare(await sharing.accept(caller, idOf(request.Backup))),
  }),

  RemoveShare: async ({ sharing }, caller, request) => {
    await sharing.remove(caller, idOf(request.Backup));
    return {};
  },
};

/** An id or an ARN, which the shape has checked. */
const idOf = (text: string): BackupId => parseBackupId(text.slice(text.lastIndexOf('/') + 1));

function renderRule(rule: CopyRule): JsonObject {
  return {
    CopyRuleId: rule.id,
    FromRegion: rule.fromRegion,
    ToRegion: rule.toRegion,
    ClusterId: rule.clusterId,
    Causes: rule.causes,
    RetentionDays: rule.retentionDays,
    CreateTimestamp: seconds(rule.createdAt),
  };
}

function renderShare({ backupId: id, owner, consumer, region: where, state }: Share): JsonObject {
  return {
    BackupId: id,
    BackupArn: renderArn({ account: owner, region: where }, 'backup', id),
    Owner: owner,
    Consumer: consumer,
    State: state,
  };
}
