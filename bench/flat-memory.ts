/** Does the control plane's memory depend on the size of backups, or creep over many of them? */
import { randomBytes } from 'node:crypto';
import { numberOf } from '../src/cli/json.ts';
import type { Bench } from './run.ts';
import {
  backUp,
  type Call,
  type ClusterOfBench,
  callAll,
  readyCluster,
  restore,
} from './support/cluster.ts';
import { attachDebugger, DEBUGGED, type Debugger } from './support/debugger.ts';
import { peakDuring } from './support/memory.ts';
import { startService, temporaryFolder } from './support/service.ts';

/** As large as a data object may be: what counts here is bytes, not keys. */
const OBJECT_BYTES = 65_536;
const OBJECTS = 128;
const SIZES = [1, 4, 8] as const;
const ROUNDS = 5;
const CREEP_ROUNDS = 25;
const MIB = 2 ** 20;

const bench: Bench = {
  question: `the control plane's memory for backups of 1, 4 and 8 x ${(OBJECTS * OBJECT_BYTES) / MIB} MiB`,
  guess: '8x the backup takes 1.0x the live memory and 1.2x the peak; no creep over 25 backups',
  run: async () => {
    await using folder = await temporaryFolder();
    await using service = await startService(`${folder.path}/data`, {
      nodeFlags: DEBUGGED,
    });
    using inspector = await attachDebugger(service.log());
    const cluster = await readyCluster(service);
    const seen: Size[] = [];
    let filled = 0;
    for (const times of SIZES) {
      await fill(cluster, filled, times * OBJECTS);
      filled = times * OBJECTS;
      const size = await measureSize(cluster, inspector, times);
      print(size);
      seen.push(size);
      if (times === 1) printCreep(await measureCreep(cluster, inspector), size);
    }
    const [small, large] = [seen[0], seen.at(-1)];
    if (small === undefined || large === undefined) return;
    const ratio = (of: (size: Size) => number) => (of(large) / of(small)).toFixed(2);
    console.log(
      `control plane: ${ratio((size) => size.storedBytes)}x the backup takes ${ratio((size) => size.liveBytes)}x the live memory, ${ratio((size) => size.residentBytes)}x the resident memory after it, ${ratio((size) => size.peakMiB)}x the peak during it`,
    );
  },
};
export default bench;

interface Size {
  readonly times: number;
  readonly storedBytes: number;
  /** The least of all rounds: what a collector has not got round to is no need. */
  readonly liveBytes: number;
  readonly residentBytes: number;
  readonly peakMiB: number;
}

async function fill(cluster: ClusterOfBench, from: number, to: number): Promise<void> {
  const calls = Array.from({ length: to - from }, (_, i): Call => {
    const value = randomBytes(OBJECT_BYTES).toString('base64');
    return ['object-import', { type: 'data', value, label: `data ${from + i}` }];
  });
  await callAll(cluster, calls);
}

/** A round is a backup with its proof, and a restore onto a new HSM, which takes another backup first. */
async function measureSize(
  cluster: ClusterOfBench,
  inspector: Debugger,
  times: number,
): Promise<Size> {
  const rounds: Size[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const { result, peak } = await peakDuring(cluster.service, async () => {
      const { proven } = await backUp(cluster);
      await restore(cluster);
      return proven;
    });
    const kept = await inspector.kept();
    const peakMiB = peak.get('control plane') ?? Number.NaN;
    rounds.push({ times, storedBytes: numberOf(result, 'storedBytes'), ...kept, peakMiB });
  }
  const least = (of: (size: Size) => number) => Math.min(...rounds.map(of));
  return {
    times,
    storedBytes: least((size) => size.storedBytes),
    liveBytes: least((size) => size.liveBytes),
    residentBytes: least((size) => size.residentBytes),
    peakMiB: least((size) => size.peakMiB),
  };
}

/** Live bytes after each of many backups. */
async function measureCreep(
  cluster: ClusterOfBench,
  inspector: Debugger,
): Promise<readonly number[]> {
  const live: number[] = [];
  for (let round = 0; round < CREEP_ROUNDS; round += 1) {
    await backUp(cluster);
    live.push((await inspector.kept()).liveBytes);
  }
  return live;
}

function print({ times, storedBytes, liveBytes, residentBytes, peakMiB }: Size): void {
  const mib = (bytes: number) => `${(bytes / MIB).toFixed(1)} MiB`;
  console.log(
    `${times}x: ${mib(storedBytes)} stored; control plane keeps ${mib(liveBytes)} live, ${mib(residentBytes)} resident, ${peakMiB.toFixed(0)} MiB at its most; least of ${ROUNDS} rounds`,
  );
}

function printCreep(live: readonly number[], { storedBytes }: Size): void {
  const slope = slopeOf(live);
  console.log(
    `over ${live.length} backups of 1x: ${(slope / 1024).toFixed(1)} KiB more live memory with each, ${((100 * slope) / storedBytes).toFixed(2)} % of a backup`,
  );
}

/** Least squares. */
function slopeOf(values: readonly number[]): number {
  const middle = (values.length - 1) / 2;
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const over = values.reduce((sum, value, i) => sum + (i - middle) * (value - mean), 0);
  const under = values.reduce((sum, _, i) => sum + (i - middle) ** 2, 0);
  return over / under;
}
