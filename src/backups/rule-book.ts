/** The rules for automatic copies: kept here, applied by `take.ts` (what is wanted) and `copier.ts` (made). */
import type { Catalog, Scope } from '../catalog/catalog.ts';
import type { Clock } from '../kernel/clock.ts';
import { Refused } from '../kernel/errors.ts';
import { type ClusterId, type CopyRuleId, newCopyRuleId } from '../kernel/ids.ts';
import type { Random } from '../kernel/random.ts';
import { type Profile, requireFeature } from '../profile.ts';
import { checkRegions } from './copy.ts';
import type { CopyRule } from './copy-rule.ts';
import { checkCopyRetention, MAX_RULES, parseRuleCause, sameRule } from './copy-rules.ts';

export interface CopyRuleRequest {
  readonly fromRegion: string;
  readonly toRegion: string;
  readonly clusterId?: ClusterId;
  /** As text, checked here. */
  readonly causes?: readonly string[];
  readonly retentionDays?: number;
}

/** A rule is the account's, whichever region it is asked in. All throw Refused before anything is changed. */
export interface RuleBook {
  /** Backups that become READY from now on are copied; those there are stay as they are. */
  add(caller: Pick<Scope, 'account'>, request: CopyRuleRequest): Promise<CopyRule>;
  list(caller: Pick<Scope, 'account'>): readonly CopyRule[];
  /** Copies that were made stay; copies under way come to their end. */
  remove(caller: Pick<Scope, 'account'>, id: CopyRuleId): Promise<CopyRule>;
}

export function createRuleBook(deps: {
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly random: Random;
  readonly regions: readonly string[];
  readonly profile: Profile;
}): RuleBook {
  const { catalog } = deps;
  return {
    async add({ account }, request) {
      requireFeature(deps.profile, 'copyRules');
      const { fromRegion, toRegion, clusterId, retentionDays } = request;
      if (!deps.regions.includes(fromRegion)) {
        throw new Refused(
          'InvalidRequest',
          `${fromRegion} is not served here; rules can begin in ${deps.regions.join(', ')}.`,
        );
      }
      checkRegions(fromRegion, toRegion, deps.regions);
      if (retentionDays !== undefined) checkCopyRetention(retentionDays);
      const { causes, ...rest } = request;
      const rule: CopyRule = {
        ...rest,
        ...(causes === undefined ? {} : { causes: [...new Set(causes)].map(parseRuleCause) }),
        id: newCopyRuleId(deps.random),
        account,
        createdAt: deps.clock.now(),
      };
      catalog.transact((writer) => {
        const cluster = clusterId === undefined ? undefined : writer.cluster(clusterId);
        if (
          clusterId !== undefined &&
          (cluster?.account !== account || cluster.region !== fromRegion)
        ) {
          throw new Refused('NotFound', `There is no cluster ${clusterId} in ${fromRegion}.`);
        }
        const rules = writer.copyRules(account);
        const twin = sameRule(rules, rule);
        if (twin !== undefined) {
          throw new Refused(
            'Conflict',
            `${twin.id} copies these from ${fromRegion} to ${toRegion} already; remove it first. Nothing was changed.`,
          );
        }
        if (rules.length >= MAX_RULES) {
          throw new Refused('LimitExceeded', `There are ${MAX_RULES} rules; remove one first.`);
        }
        writer.createCopyRule(rule);
      });
      return rule;
    },
    list: ({ account }) => catalog.read((reader) => reader.copyRules(account)),
    async remove({ account }, id) {
      return catalog.transact((writer) => {
        const rule = writer.copyRule(id);
        if (rule?.account !== account) {
          throw new Refused('NotFound', `There is no copy rule ${id}.`);
        }
        writer.removeCopyRule(id);
        return rule;
      });
    },
  };
}
