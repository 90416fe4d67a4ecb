/**
 * `npm run bench -- NAME …` runs `bench/NAME.ts`, which answers one question with a ratio. Without a name:
 * all of them. Every run says where it was made, because absolute figures mean nothing elsewhere.
 */
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';

export interface Bench {
  readonly question: string;
  /** Written down before it was measured. */
  readonly guess: string;
  run(): void | Promise<void>;
}

const FOLDER = import.meta.dirname;
const NOT_BENCHES = ['run.ts', 'measure.ts'];

if (import.meta.main) process.exitCode = await main(process.argv.slice(2));

async function main(asked: readonly string[]): Promise<number> {
  const known = readdirSync(FOLDER)
    .filter((file) => file.endsWith('.ts') && !NOT_BENCHES.includes(file))
    .map((file) => file.slice(0, -'.ts'.length));
  const unknown = asked.filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    console.error(`no bench "${unknown.join('", "')}"; there are: ${known.join(', ')}`);
    return 64;
  }
  console.log(machine());
  for (const name of asked.length > 0 ? asked : known) {
    // Every file in this folder except the two named above exports a Bench.
    const { default: bench } = (await import(join(FOLDER, `${name}.ts`))) as { default: Bench };
    console.log(`\n${name}: ${bench.question}\nguess: ${bench.guess}`);
    await bench.run();
  }
  return 0;
}

function machine(): string {
  const model = cpus()[0]?.model ?? 'unknown processor';
  const gigabytes = Math.round(totalmem() / 2 ** 30);
  return [
    `machine: ${cpus().length} x ${model}, ${gigabytes} GiB, ${process.platform} ${process.arch}`,
    `node: ${process.version}, OpenSSL ${process.versions.openssl}`,
    `commit: ${commit()}`,
  ].join('\n');
}

function commit(): string {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: FOLDER, encoding: 'utf8', stdio: 'pipe' }).trim();
  try {
    const isClean = git('status', '--porcelain', '--untracked-files=no') === '';
    return `${git('rev-parse', '--short', 'HEAD')}${isClean ? '' : ' with changes'}`;
  } catch {
    // A packed copy has no history; the figures are as good.
    return 'unknown';
  }
}
