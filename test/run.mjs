/**
 * Runs the tests: `npm test`, `npm test -- test/crypto`, `npm test -- --all`.
 *
 * Real clients come from Debian: as root with apt they are installed (what and how large is said first),
 * otherwise the missing ones are named with the tests that will be skipped. In CI nothing may be skipped.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, relative, resolve } from 'node:path';
import { run } from 'node:test';
import { spec } from 'node:test/reporters';
import { fileURLToPath } from 'node:url';

const TEST = dirname(fileURLToPath(import.meta.url));
const ROOT = dirname(TEST);
/** One file that hangs must not hang the whole run. */
const FILE_TIMEOUT_MS = 10 * 60_000;
const APT_LISTS = '/var/lib/apt/lists';
const POLICY = '/usr/sbin/policy-rc.d';

/** Debian package → a file that shows it is there, and what is skipped without it. */
const CLIENTS = {
  awscli: { file: '/usr/bin/aws', skips: 'the story told by the AWS CLI' },
  'python3-boto3': {
    file: '/usr/lib/python3/dist-packages/boto3/__init__.py',
    skips: 'the API called by boto3',
  },
  'python3-cryptography': {
    file: '/usr/lib/python3/dist-packages/cryptography/__init__.py',
    skips: 'the second reader of backups',
  },
  openssl: { file: '/usr/bin/openssl', skips: 'certificates, requests and TLS seen by OpenSSL' },
  strace: { file: '/usr/bin/strace', skips: 'which files a process opens' },
  'util-linux': { file: '/usr/bin/setpriv', skips: 'what other users are refused' },
};

const words = process.argv.slice(2);
const options = new Set(words.filter((word) => word.startsWith('--')));
const unknown = [...options].filter((option) => !['--all', '--no-install'].includes(option));
if (unknown.length > 0) {
  console.error(
    `unknown option ${unknown.join(' ')}; there are --all (heavy tests too) and --no-install`,
  );
  process.exit(64);
}
const isCi = process.env.CI === 'true';
const isAll = isCi || options.has('--all');

const files = chosenFiles(words.filter((word) => !word.startsWith('--')));
if (files.length === 0) {
  console.error('no test file has that name');
  process.exit(64);
}
provideClients();
process.exitCode = await runFiles(files);

/** Without names: every `*.test.ts`; heavy ones (`*.heavy.test.ts`) only with --all or in CI. */
function chosenFiles(names) {
  if (names.length > 0) return names.flatMap((name) => testFilesUnder(resolve(name)));
  return testFilesUnder(TEST).filter((file) => isAll || !file.endsWith('.heavy.test.ts'));
}

function testFilesUnder(path) {
  if (!existsSync(path)) return [];
  if (statSync(path).isFile()) return [path];
  return readdirSync(path, { recursive: true })
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => join(path, name))
    .sort();
}

function provideClients() {
  const missing = Object.keys(CLIENTS).filter((name) => !existsSync(CLIENTS[name].file));
  if (missing.length === 0) return;
  const canInstall = process.getuid?.() === 0 && existsSync('/usr/bin/apt-get');
  if (canInstall && !options.has('--no-install')) install(missing);
  for (const name of missing.filter((each) => !existsSync(CLIENTS[each].file))) {
    console.log(`Without Debian's ${name} these tests are skipped: ${CLIENTS[name].skips}.`);
  }
}

function install(packages) {
  if (
    !existsSync(APT_LISTS) ||
    !readdirSync(APT_LISTS).some((name) => name.includes('_Packages'))
  ) {
    console.log("Fetching Debian's package lists (apt-get update) …");
    apt(['update', '-q'], 'ignore');
  }
  const wanted = ['install', '--no-install-recommends', ...packages];
  // With --assume-no apt-get tells what it would do, does nothing and ends with an error.
  const plan = apt([...wanted, '--assume-no'], 'pipe').stdout ?? '';
  const sizes = plan.split('\n').filter((line) => /^(Need to get|After this operation)/.test(line));
  console.log(`Installing from Debian for the tests: ${packages.join(', ')}. ${sizes.join(' ')}`);
  const guarded = !existsSync(POLICY);
  // Policy 101: no package may start a service of its own.
  if (guarded) writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755 });
  try {
    const done = apt([...wanted, '-y', '-q'], 'ignore');
    if (done.status !== 0) console.log(`apt-get could not install them (exit ${done.status}).`);
  } finally {
    if (guarded) rmSync(POLICY);
  }
}

function apt(args, stdout) {
  return spawnSync('apt-get', args, {
    stdio: ['ignore', stdout, 'inherit'],
    encoding: 'utf8',
    env: { ...process.env, LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
  });
}

/** @returns the exit code: 0 when all passed and, in CI, none was skipped. */
async function runFiles(paths) {
  console.log(`${paths.length} test files on Node ${process.versions.node}, ${ROOT}`);
  const stream = run({
    files: paths,
    cwd: ROOT,
    concurrency: Math.max(2, availableParallelism()),
    timeout: FILE_TIMEOUT_MS,
    execArgv: ['--no-warnings'],
  });
  let failed = 0;
  const skipped = [];
  stream.on('test:fail', (event) => {
    if (event.todo === undefined) failed += 1;
  });
  stream.on('test:pass', (event) => {
    if (event.skip === undefined) return;
    const why = typeof event.skip === 'string' ? ` (${event.skip})` : '';
    skipped.push(`${relative(ROOT, event.file ?? '')}: ${event.name}${why}`);
  });
  for await (const chunk of stream.compose(new spec())) process.stdout.write(chunk);
  if (skipped.length > 0) {
    console.log(`\nSkipped ${skipped.length}:\n${skipped.map((line) => `  ${line}`).join('\n')}`);
  }
  if (isCi && skipped.length > 0) console.log('In CI nothing may be skipped: this run failed.');
  return failed > 0 || (isCi && skipped.length > 0) ? 1 : 0;
}
