/**
 * The one program that HSMs run: a single bundled file, installed read-only under its own hash. The hash
 * is in every `hello` and every proof, so what was proven says which code proved it.
 */
import { createHash } from 'node:crypto';
import { chmodSync, readFileSync } from 'node:fs';
import { copyFile, link, readdir, readFile, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, relative } from 'node:path';
import { Failed } from '../kernel/errors.ts';
import { makeFolder, readIfThere, syncFolder, writeDurably } from './files.ts';
import type { SystemUser } from './users.ts';

export interface HsmCode {
  readonly folder: string;
  readonly bundle: string;
  readonly sha256: string;
  /** The Node that runs it. */
  readonly node: string;
}

/** What may reach the program; a change of any byte in there makes a new one. */
const HSM_SOURCES = ['bin/hsm.ts', 'src/hsm', 'src/pkcs11', 'src/crypto', 'src/kernel'];
const HOST_SOURCES = ['bin/host.ts', 'src/host', 'src/hsm/protocol.ts', 'src/crypto', 'src/kernel'];
const BUNDLES = { hsm: HSM_SOURCES, host: HOST_SOURCES } as const;

/**
 * The bundle's text, built when its sources changed since the last time. `dist` keeps it for the next
 * start where that folder can be written. A package without sources brings its `dist` along.
 */
export async function bundle(checkout: string, program: keyof typeof BUNDLES): Promise<Uint8Array> {
  const kept = join(checkout, 'dist', `${program}.mjs`);
  // One that another user keeps to himself counts as none.
  const ready = await readIfThere(kept).catch(() => undefined);
  const sources = await hashSources(checkout, BUNDLES[program]);
  if (sources === undefined) {
    if (ready === undefined)
      throw new Failed('START', `there is neither source nor bundle of ${program}`);
    return ready;
  }
  const mark = `// sources ${sources}\n`;
  if (ready !== undefined && Buffer.from(ready).subarray(0, mark.length).toString() === mark) {
    return ready;
  }
  const built = Buffer.from(mark + (await build(join(checkout, 'bin', `${program}.ts`))));
  try {
    await makeFolder(dirname(kept), 0o755);
    await writeDurably(kept, built, 0o644);
    // The host's umask is narrow; the next user of this checkout shall find the bundle too.
    chmodSync(dirname(kept), 0o755);
    chmodSync(kept, 0o644);
  } catch {
    // A checkout that belongs to somebody else: building again at the next start costs 0.1 s.
  }
  return new Uint8Array(built);
}

async function build(entryPoint: string): Promise<string> {
  // Loaded only when something changed: it is the slowest import of the host.
  const { build: esbuild } = await import('esbuild');
  const { outputFiles } = await esbuild({
    entryPoints: [entryPoint],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'esm',
    target: 'node26',
    external: ['esbuild'],
    legalComments: 'none',
    logLevel: 'silent',
  });
  const text = outputFiles[0]?.text;
  if (text === undefined) throw new Failed('START', `nothing came out of ${entryPoint}`);
  return text;
}

async function hashSources(
  checkout: string,
  parts: readonly string[],
): Promise<string | undefined> {
  const files = (await Promise.all(parts.map((part) => sourceFiles(join(checkout, part))))).flat();
  if (files.length === 0) return undefined;
  const all = createHash('sha256');
  for (const file of files.sort()) {
    const content = createHash('sha256')
      .update(await readFile(file))
      .digest('hex');
    all.update(`${relative(checkout, file)} ${content}\n`);
  }
  return all.digest('hex');
}

async function sourceFiles(path: string): Promise<readonly string[]> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return [];
  if (found.isFile()) return [path];
  const inside = await readdir(path, { recursive: true });
  return inside.filter((name) => name.endsWith('.ts')).map((name) => join(path, name));
}

/**
 * Puts a program under `folder/HASH/`, readable by all who reach it. The folder stays its owner's: as root
 * that is root, and an ordinary user must be able to remove his data folder like any other.
 */
export async function install(
  folder: string,
  name: string,
  text: Uint8Array,
): Promise<{ folder: string; file: string; sha256: string }> {
  const sha256 = createHash('sha256').update(text).digest('hex');
  const home = join(folder, sha256);
  const file = join(home, name);
  const there = await readIfThere(file);
  if (there === undefined || createHash('sha256').update(there).digest('hex') !== sha256) {
    await makeFolder(home, 0o755);
    await writeDurably(file, text, 0o444);
  }
  chmodSync(file, 0o444);
  chmodSync(home, 0o755);
  return { folder: home, file, sha256 };
}

/** The Node to run it with: this one, or a copy where its user cannot reach this one. */
export async function reachableNode(folder: string, user: SystemUser | undefined): Promise<string> {
  const node = process.execPath;
  if (user === undefined || (await isReachable(node, user))) return node;
  const home = join(folder, `node-${process.versions.node}`);
  const copy = join(home, basename(node));
  if ((await stat(copy).catch(() => undefined)) === undefined) {
    await makeFolder(home, 0o755);
    const draft = join(home, '.draft');
    await rm(draft, { force: true });
    // The same file under a second name where the file system allows it, else 100 MB more.
    await link(node, copy).catch(() => copyFile(node, copy));
    await syncFolder(home);
  }
  return copy;
}

/** Whether the user may execute the file and pass every folder above it. */
async function isReachable(path: string, user: SystemUser): Promise<boolean> {
  for (let at = path; ; at = dirname(at)) {
    if (!(await isEnterable(at, user))) return false;
    if (dirname(at) === at) return true;
  }
}

/** Whether the user's execute bit is set: for a folder, whether it may be passed. */
export async function isEnterable(path: string, user: SystemUser): Promise<boolean> {
  const { mode, uid, gid } = await stat(path);
  const shift = uid === user.uid ? 6 : gid === user.gid ? 3 : 0;
  return ((mode >> shift) & 1) === 1;
}

/** Of installed code, to compare with what an HSM says that it runs. */
export function hashCode(file: string): string {
  return createHash('sha256').update(readFileSync(file)).digest('hex');
}
