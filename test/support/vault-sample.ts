/** Bytes that tell which object they are, of a length that differs from object to object. */
import type { EpochMs } from '../../src/kernel/types.ts';

/** In the year 2100: a hold that ends in no test's time. */
export const HELD_UNTIL = 4_102_444_800_000 as EpochMs;

export async function* vaultSample(name: string): AsyncIterable<Uint8Array> {
  const line = Buffer.from(`${name}\n`);
  const lines = [...line].reduce((sum, byte) => sum + byte, 0);
  for (let i = 0; i < 4; i += 1) yield new Uint8Array(Buffer.concat(Array(lines).fill(line)));
}
