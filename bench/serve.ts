/** How soon does the service answer, and what does a signed answer cost over a bare one? */
import { Agent, request } from 'node:http';
import { signRequest } from '../src/aws/sign.ts';
import type { Endpoint } from '../src/cli/environment.ts';
import { systemClock } from '../src/kernel/clock.ts';
import { measure } from './measure.ts';
import type { Bench } from './run.ts';
import { startEcho } from './support/echo.ts';
import { startService, temporaryFolder } from './support/service.ts';

const STARTS = 5;
const CALLS = 2_000;
const START_TARGET_MS = 1_000;
const ANSWER_TARGET_MS = 1;
const BODY = JSON.stringify({ MaxResults: 50 });

const bench: Bench = {
  question: 'from start to first answer; DescribeBackups on a kept-alive connection',
  guess: 'first answer after 600 ms; DescribeBackups 0.5 ms, three times a bare HTTP echo',
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

async function calls(): Promise<void> {
  await using folder = await temporaryFolder();
  await using service = await startService(`${folder.path}/data`);
  await using echo = await startEcho();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const bareAgent = new Agent({ keepAlive: true, maxSockets: 1 });
  const inService: number[] = [];
  const times = await measure(CALLS, {
    describe: async () => {
      // Signed before the clock starts: signing is the client's work.
      const headers = await signed(service.endpoint);
      inService.push(await post(service.endpoint.url, headers, agent));
    },
    signing: () => signed(service.endpoint),
    echo: () => post(echo.url, {}, bareAgent),
  });
  agent.destroy();
  bareAgent.destroy();
  const sorted = inService.slice(1).toSorted((a, b) => a - b);
  const at = (share: number) => sorted[Math.floor(share * sorted.length)] ?? Number.NaN;
  console.log(
    `DescribeBackups          n=${sorted.length} median ${at(0.5).toFixed(2)} ms, p99 ${at(0.99).toFixed(2)} ms; target ${ANSWER_TARGET_MS} ms`,
  );
  console.log(
    `bare HTTP echo           n=${times.echo.n} median ${times.echo.medianMs.toFixed(2)} ms, p99 ${times.echo.p99Ms.toFixed(2)} ms`,
  );
  console.log(
    `signing by the client    n=${times.signing.n} median ${times.signing.medianMs.toFixed(2)} ms, p99 ${times.signing.p99Ms.toFixed(2)} ms`,
  );
  console.log(
    `DescribeBackups ${(at(0.5) / times.echo.medianMs).toFixed(1)}x an echo, ${(at(0.5) - times.echo.medianMs).toFixed(2)} ms over it`,
  );
}

function signed(endpoint: Endpoint): Promise<Readonly<Record<string, string>>> {
  const { url, region, accessKeyId, secretAccessKey } = endpoint;
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
function post(url: URL, headers: Readonly<Record<string, string>>, agent: Agent): Promise<number> {
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
