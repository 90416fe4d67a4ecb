/**
 * What becomes of the copies of one cluster that lie in one region: each goes by its own retention, but for the last
 * backup of its cluster that opens, anywhere, which `review.ts` leaves. Pure; for the forecast.
 */
import { type Fate, fateOfCopy, type RetentionFacts } from './retention.ts';
import { isSound } from './sound.ts';

/**
 * @param copies all READY ones of the cluster in the region.
 * @param facts.hasOtherSound whether the cluster has any other READY backup that opens, here or elsewhere.
 */
export function fatesOfCopies(
  copies: readonly RetentionFacts[],
  { hasOtherSound }: { readonly hasOtherSound: boolean },
): readonly Fate[] {
  const fates = copies.map(fateOfCopy);
  const sound = new Set(copies.filter(isSound).map(({ id }) => id));
  const soundFates = fates.filter(({ id }) => sound.has(id));
  const soundEndings = soundFates.flatMap((fate) => (fate.what === 'kept' ? [] : [fate]));
  if (hasOtherSound || soundEndings.length < soundFates.length) return fates;
  // In the order in which they are ended.
  const last = soundEndings.toSorted((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1)).at(-1);
  return fates.map((fate) =>
    last === undefined || fate.id === last.id
      ? { id: fate.id, what: 'kept', why: 'no other backup of its cluster opens' }
      : fate,
  );
}
