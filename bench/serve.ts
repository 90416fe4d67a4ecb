/** How soon does the service answer, and what does a signed answer cost over a bare one? */
import { readFile } from 'node:fs/promises';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { signRequest } from '../src/aws/sign.ts';
import type { Endpoint } from '../src/cli/environment.ts';
import { systemClock } from '../src/kernel/clock.ts';
import type { Bench } from './run.ts';
import { backUp, readyCluster } from './support/cluster.ts';
import { startEcho } from './support/echo.ts';
import { type BenchService, startService, temporaryFolder } from './support/service.ts';

const STARTS = 5;
const START_TARGET_MS = 1_000;
const PAGE = 50;
const CALLS = 2_000;
const CPU_TARGET_MS = 0.6;
const P50_TARGET_MS = 1;
const P99_TARGET_MS = 10;
/** While they run, one after the other, the p99 is taken. */
const BACKUPS_BESIDE = 5;
const FLOOD_MS = 5_000;
/** `/proc/PID/stat` counts in hundredths of a second, on every Linux that Node runs on. */
const TICK_MS = 10;
const BODY = JSON.stringify({ MaxResults: PAGE });

const bench: Bench = {
  question: 'from start to first answer; a signed DescribeBackups page of 50, kept-alive',
  guess:
    'first answer after 600 ms; 0.5 ms of CPU a page, p50 0.7 ms, p99 5 ms beside a backup; a fifth of an echo',
  run: async () => {
    await starts();
    await calls();
  },
};
export default bench;

async function starts(): Promise<void> {
  const first: number[] = [];
  const again: number[] = [];
  for (let n = 0; n < STARTS; n += 1) {
    await using folder = await temporaryFolder();
    for (const times of [first, again]) {
      await using service = await startService(`${folder.path}/data`);
      times.push(service.firstAnswerMs);
    }
  }
  const line = (name: string, times: readonly number[]) => {
    const sorted = times.toSorted((a, b) => a - b);
    const median = sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
    console.log(
      `${name.padEnd(24)} n=${sorted.length} median ${median.toFixed(0)} ms, worst ${sorted.at(-1)?.toFixed(0)} ms; target ${START_TARGET_MS} ms`,
    );
  };
  line('start, empty folder', first);
  line('start, folder that is', again);
}

/** One request, again and again: signed once, because signing is the client's work and a signature lasts minutes. */
interface Work {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
}

async function calls(): Promise<void> {
  await using folder = await temporaryFolder();
  await using service = await startService(join(folder.path, 'data'), {
    settings: ['--reads-per-second', '1000000'],
  });
  await using echo = await startEcho();
  const cluster = await readyCluster(service);
  await fillPage(service, () => backUp(cluster));
  const bare: Work = { url: echo.url, headers: {} };
  using one = connections(1);
  const describe = async () => ({ url: service.endpoint.url, headers: await signed(service) });

  await repeat(await describe(), one.agent, { calls: CALLS });
  const before = await cpuMs(service.pid);
  const alone = await repeat(await describe(), one.agent, { calls: CALLS });
  const spent = (await cpuMs(service.pid)) - before;
  console.log(
    `CPU of the service       n=${CALLS} ${(spent / CALLS).toFixed(2)} ms a page of ${PAGE}; target ${CPU_TARGET_MS} ms`,
  );
  show('DescribeBackups alone', alone);

  const backups = new AbortController();
  const beside = repeat(await describe(), one.agent, { until: backups.signal });
  for (let n = 0; n < BACKUPS_BESIDE; n += 1) await backUp(cluster);
  backups.abort();
  show('… while backups run', await beside);
  console.log(`  targets: p50 ${P50_TARGET_MS} ms, p99 ${P99_TARGET_MS} ms`);

  const echoed = await repeat(bare, one.agent, { calls: CALLS });
  show('bare HTTP echo', echoed);
  console.log(`DescribeBackups ${(at(alone, 0.5) / at(echoed, 0.5)).toFixed(1)}x an echo`);
  for (const count of [1, 8]) {
    using several = connections(count);
    const rates: number[] = [];
    // In turn, so that a slow minute of the machine hits both.
    for (const work of [bare, await describe()])
      rates.push(await flood(work, several.agent, count));
    const [ofEcho = Number.NaN, ours = Number.NaN] = rates;
    console.log(
      `${count} connection${count === 1 ? ' ' : 's'}            DescribeBackups ${ours.toFixed(0)}/s, bare echo ${ofEcho.toFixed(0)}/s: ${((100 * ours) / ofEcho).toFixed(0)} %`,
    );
  }
}

async function fillPage(service: BenchService, backUpOnce: () => Promise<unknown>): Promise<void> {
  for (let n = 0; n <= PAGE; n += 1) {
    const { Backups } = await service.client.aws('DescribeBackups', { MaxResults: PAGE });
    if (Array.isArray(Backups) && Backups.length === PAGE) return;
    await backUpOnce();
  }
  throw new Error(`there are no ${PAGE} backups`);
}

/** User and system time of the process and its threads since it began. */
async function cpuMs(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The second field is a name in parentheses, which may hold blanks; the 14th and 15th are wanted.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

function connections(maxSockets: number): { readonly agent: Agent } & Disposable {
  const agent = new Agent({ keepAlive: true, maxSockets });
  return { agent, [Symbol.dispose]: () => agent.destroy() };
}

/** One call after the other. @returns sorted times, in milliseconds. */
async function repeat(
  work: Work,
  agent: Agent,
  how: { readonly calls: number } | { readonly until: AbortSignal },
): Promise<readonly number[]> {
  const times: number[] = [];
  const isDone = () => ('until' in how ? how.until.aborted : times.length === how.calls);
  while (!isDone()) times.push(await post(work, agent));
  return times.sort((a, b) => a - b);
}

/** @returns requests per second over `count` connections. */
async function flood(work: Work, agent: Agent, count: number): Promise<number> {
  const end = performance.now() + FLOOD_MS;
  let answered = 0;
  const connection = async (): Promise<void> => {
    while (performance.now() < end) {
      await post(work, agent);
      answered += 1;
    }
  };
  await Promise.all(Array.from({ length: count }, connection));
  return (answered * 1_000) / FLOOD_MS;
}

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;

function show(name: string, sorted: readonly number[]): void {
  console.log(
    `${name.padEnd(24)} n=${sorted.length} p50 ${at(sorted, 0.5).toFixed(2)} ms, p99 ${at(sorted, 0.99).toFixed(2)} ms`,
  );
}

function signed({ endpoint }: BenchService): Promise<Readonly<Record<string, string>>> {
  const { url, region, accessKeyId, secretAccessKey }: Endpoint = endpoint;
  return signRequest({
    endpoint: url,
    target: 'BaldrApiService.DescribeBackups',
    body: BODY,
    region,
    key: { accessKeyId, secretAccessKey },
    clock: systemClock,
  });
}

/** @returns how many milliseconds the whole answer took. */
function post({ url, headers }: Work, agent: Agent): Promise<number> {
  const start = performance.now();
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method: 'POST', headers, agent }, (answer) => {
      answer.resume();
      answer.on('end', () => {
        if (answer.statusCode === 200) resolve(performance.now() - start);
        else reject(new Error(`status ${answer.statusCode}`));
      });
    });
    outgoing.on('error', reject);
    outgoing.end(BODY);
  });
}
