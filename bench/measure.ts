/** Timing several things in turn, so that a slow minute of the machine hits all of them alike. */
export interface Measured {
  readonly medianMs: number;
  readonly p99Ms: number;
  readonly n: number;
}

/** Runs each of `work` once to warm up and then `n` times, taking turns. */
export async function measure<Name extends string>(
  n: number,
  work: Readonly<Record<Name, () => unknown>>,
): Promise<Record<Name, Measured>> {
  // `Object.keys` of a record gives its keys.
  const names = Object.keys(work) as Name[];
  const times = new Map<Name, number[]>(names.map((name) => [name, []]));
  for (let round = 0; round <= n; round += 1) {
    for (const name of names) {
      const start = performance.now();
      await work[name]();
      if (round > 0) times.get(name)?.push(performance.now() - start);
    }
  }
  // One entry for each name, by construction.
  return Object.fromEntries(names.map((name) => [name, summary(times.get(name) ?? [])])) as Record<
    Name,
    Measured
  >;
}

function summary(times: readonly number[]): Measured {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (share: number) =>
    sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  return { medianMs: at(0.5) ?? Number.NaN, p99Ms: at(0.99) ?? Number.NaN, n: sorted.length };
}
