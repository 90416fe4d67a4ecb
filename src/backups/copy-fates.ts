/**
 * What becomes of the copies of one cluster that lie in one region: each goes by its own retention, but for the last
 * READY backup of its cluster anywhere, which `review.ts` leaves. Pure; for the forecast.
 */
import { type Fate, fateOfCopy, type RetentionFacts } from './retention.ts';

/**
 * @param copies all READY ones of the cluster in the region.
 * @param facts.hasOtherReady whether the cluster has any other READY backup, here or elsewhere.
 */
export function fatesOfCopies(
  copies: readonly RetentionFacts[],
  { hasOtherReady }: { readonly hasOtherReady: boolean },
): readonly Fate[] {
  const fates = copies.map(fateOfCopy);
  const endings = fates.flatMap((fate) => (fate.what === 'kept' ? [] : [fate]));
  if (hasOtherReady || endings.length < fates.length) return fates;
  // In the order in which they are ended.
  const last = endings.toSorted((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1)).at(-1);
  return fates.map((fate) =>
    fate.id === last?.id
      ? { id: fate.id, what: 'kept', why: 'it would be the last READY backup of its cluster' }
      : fate,
  );
}
