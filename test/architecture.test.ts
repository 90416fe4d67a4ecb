/**
 * Keeps the map true: who imports whom, who may touch time, luck, files and the terminal, and that no file
 * is left that nobody uses. The tables come first; ARCHITECTURE.md prints the arrows for people.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..');

interface Row {
  /** Folders (`kernel`), or single files (`hsm/protocol.ts`), besides the folder itself. */
  readonly imports: readonly string[];
  /** As `import type` only. */
  readonly types?: readonly string[];
  /** Node's modules without the `node:`; `*` for all. */
  readonly node?: readonly string[];
  readonly packages?: readonly string[];
}

/** A source's row is that of its file if there is one, else that of its folder. */
const ARROWS: Readonly<Record<string, Row>> = {
  kernel: { imports: [], node: ['crypto', 'stream', 'timers/promises', 'util'] },
  crypto: { imports: ['kernel'], node: ['crypto', 'util'] },
  hsm: {
    imports: ['crypto', 'kernel'],
    node: ['crypto', 'stream', 'tls', 'net'],
  },
  'hsm/protocol.ts': { imports: [], types: ['kernel'] },
  'hsm/disk.ts': { imports: ['crypto', 'kernel'], node: ['crypto', 'fs', 'path'] },
  host: {
    imports: ['crypto', 'kernel'],
    types: ['hsm/protocol.ts'],
    node: ['*'],
    packages: ['esbuild'],
  },
  fleet: {
    imports: ['kernel'],
    types: ['hsm/protocol.ts'],
    node: ['crypto', 'net', 'tls', 'stream', 'events'],
  },
  // Starts the host as a child process; everything else of the fleet only talks to it.
  'fleet/host-process.ts': {
    imports: ['fleet', 'kernel'],
    node: ['child_process', 'fs', 'net', 'path', 'url'],
  },
  vault: { imports: ['kernel'], node: ['crypto', 'fs', 'fs/promises', 'path', 'stream'] },
  kms: { imports: ['kernel', 'crypto'], node: ['crypto', 'fs', 'fs/promises', 'path'] },
  aws: {
    imports: ['kernel'],
    node: ['crypto'],
    packages: ['@smithy/signature-v4'],
  },
  catalog: {
    imports: ['kernel'],
    types: ['backups', 'clusters', 'access', 'hsm/protocol.ts'],
    node: ['sqlite', 'crypto', 'fs', 'path'],
  },
  backups: {
    imports: [
      'kernel',
      'aws/arn.ts',
      'kms/envelope.ts',
      'kms/records.ts',
      'profile.ts',
      'vault/names.ts',
    ],
    types: ['access', 'catalog', 'clusters', 'vault', 'kms', 'fleet', 'ops', 'hsm/protocol.ts'],
    node: ['crypto'],
  },
  clusters: {
    imports: ['kernel', 'crypto/x509.ts', 'backups/sound.ts', 'profile.ts'],
    types: ['access', 'backups', 'catalog', 'fleet', 'ops', 'hsm/protocol.ts'],
    node: ['crypto'],
  },
  access: {
    imports: ['kernel', 'aws', 'crypto/aead.ts'],
    types: ['catalog'],
    node: ['crypto', 'fs', 'fs/promises', 'net', 'path'],
  },
  audit: {
    imports: ['kernel', 'aws/arn.ts'],
    types: ['ops', 'catalog'],
    node: ['crypto', 'fs', 'fs/promises', 'path'],
  },
  ops: { imports: ['kernel'], types: ['api', 'backups', 'catalog', 'clusters', 'fleet'] },
  // The rules themselves, so that what is shown is what will be done.
  'ops/plans.ts': {
    imports: [
      'kernel',
      'ops',
      'backups/copy-fates.ts',
      'backups/forecast.ts',
      'backups/recent.ts',
      'backups/sound.ts',
    ],
    types: ['api', 'backups', 'catalog', 'clusters', 'fleet'],
  },
  'ops/status.ts': {
    imports: ['kernel', 'ops'],
    types: ['api', 'catalog', 'clusters', 'fleet', 'vault'],
    node: ['fs'],
  },
  api: {
    imports: ['aws', 'kernel', 'access'],
    types: ['access', 'audit', 'backups', 'catalog', 'clusters', 'fleet', 'ops', 'hsm/protocol.ts'],
    node: ['crypto', 'fs', 'http', 'https', 'net', 'stream', 'tls'],
  },
  cli: {
    // The trail is verified without asking the service that wrote it.
    imports: [
      'aws',
      'kernel',
      'audit/files.ts',
      'audit/verify.ts',
      'config.ts',
      'settings.ts',
      'crypto/x509.ts',
    ],
    types: ['api', 'hsm/protocol.ts', 'host', 'ops'],
    node: ['*'],
    packages: ['commander'],
  },
  'profile.ts': { imports: ['kernel'] },
  'uptime.ts': { imports: ['kernel'], node: ['fs', 'os'] },
  'settings.ts': { imports: ['profile.ts'], node: ['path'] },
  'config.ts': {
    imports: ['kernel', 'profile.ts', 'settings.ts'],
    node: ['fs', 'path'],
    packages: ['smol-toml'],
  },
  'data-folder.ts': { imports: ['kernel'], node: ['fs', 'path', 'sqlite'] },
  'bin/keyark.ts': { imports: ['cli/main.ts'] },
  'bin/host.ts': { imports: ['host', 'crypto', 'kernel'], types: ['hsm/protocol.ts'], node: ['*'] },
  'bin/hsm.ts': { imports: ['hsm', 'crypto', 'kernel'], node: ['*'] },
};

/** Whoever puts the parts together may import everything. */
const COMPOSERS = ['compose.ts', 'serve.ts'];
/** The commands that become a service or start one; everything else in the command line is a client. */
const STARTERS: Readonly<Record<string, readonly string[]>> = {
  'cli/commands/serve.ts': ['serve.ts'],
};

/** The boundary: nothing that `bin/hsm.ts` reaches may import these. */
const NEVER_BEHIND_THE_WALL = [
  'child_process',
  'cluster',
  'dgram',
  'dns',
  'fs/promises',
  'http',
  'http2',
  'https',
  'inspector',
  'sqlite',
  'vm',
  'worker_threads',
];

/** What only the named files may use; a name that ends in `/` stands for a folder. */
const BANS: readonly { what: string; pattern: RegExp; except: readonly string[] }[] = [
  {
    what: 'the time of day or a clock of its own (take a Clock)',
    pattern: /\bDate\.now\b|\bnew Date\(\s*\)|(?<!new )\bDate\(|\bperformance\.now\b|\bhrtime\b/,
    except: ['kernel/clock.ts'],
  },
  {
    what: 'Math.random or randomUUID (take a Random)',
    pattern: /\bMath\.random\b|\brandomUUID\b/,
    // A temporary file's name: nothing is decided by it.
    except: ['host/files.ts'],
  },
  {
    what: 'randomBytes or randomFillSync (take a Random)',
    pattern: /\brandomBytes\b|\brandomFill(Sync)?\b|\bgetRandomValues\b/,
    except: ['kernel/random.ts'],
  },
  {
    what: 'timers (take a Clock)',
    pattern: /\bset(Timeout|Interval)\b|['"](node:)?timers(\/promises)?['"]/,
    except: ['kernel/clock.ts', 'fleet/host-process.ts'],
  },
  {
    what: 'files (node:fs)',
    pattern: /['"](node:)?fs(\/promises)?['"]/,
    except: [
      'hsm/disk.ts',
      'host/',
      'fleet/host-process.ts',
      'ops/status.ts',
      'vault/files.ts',
      'kms/key-files.ts',

      'access/credentials.ts',
      'audit/files.ts',
      'catalog/sqlite.ts',
      'config.ts',
      'data-folder.ts',
      'serve.ts',
      'uptime.ts',
      'cli/',
    ],
  },
  {
    what: 'process.env (settings come from config.ts)',
    pattern: /\bprocess\.env\b/,
    except: ['cli/', 'host/', 'fleet/host-process.ts'],
  },
  { what: 'console (write through cli/print.ts or ops)', pattern: /\bconsole\s*\./, except: [] },
];

interface Import {
  readonly specifier: string;
  readonly isType: boolean;
}

interface Source {
  /** `backups/take.ts`, `bin/hsm.ts`. */
  readonly name: string;
  readonly code: string;
  readonly imports: readonly Import[];
}

const sources = new Map<string, Source>([...sourcesUnder('src'), ...sourcesUnder('bin')]);

test('every import follows an arrow of the table', () => {
  const wrong: string[] = [];
  for (const source of sources.values()) {
    if (COMPOSERS.includes(source.name)) continue;
    const row = ARROWS[source.name] ?? ARROWS[folderOf(source.name)];
    if (row === undefined) {
      wrong.push(`${source.name}: no row in ARROWS for it or its folder`);
      continue;
    }
    for (const each of source.imports) {
      const problem = problemOf(source, row, each);
      if (problem !== undefined) wrong.push(problem);
    }
  }
  assertNone(wrong);
});

test('nothing the HSM process loads can reach the network, other processes or a database', () => {
  const wrong: string[] = [];
  for (const [name, way] of reachedFrom('bin/hsm.ts')) {
    for (const { specifier, isType } of sources.get(name)?.imports ?? []) {
      const module = specifier.replace(/^node:/, '');
      if (!isType && NEVER_BEHIND_THE_WALL.includes(module)) {
        wrong.push(`${way} imports ${specifier}`);
      }
      if (!isType && !specifier.startsWith('.') && !specifier.startsWith('node:')) {
        wrong.push(`${way} imports the package ${specifier}`);
      }
    }
  }
  assertNone(wrong);
});

test('time, luck, files and the terminal are touched in named files only', () => {
  const wrong: string[] = [];
  for (const source of sources.values()) {
    if (source.name.startsWith('bin/')) continue;
    for (const ban of BANS) {
      if (ban.except.some((name) => isUnder(source.name, name))) continue;
      const at = source.code.split('\n').findIndex((line) => ban.pattern.test(line));
      if (at >= 0) wrong.push(`src/${source.name}:${at + 1} uses ${ban.what}`);
    }
  }
  assertNone(wrong);
});

test('every source file is imported by another one', () => {
  const used = new Set<string>();
  for (const source of sources.values()) {
    for (const { specifier } of source.imports) {
      const target = targetOf(source, specifier);
      if (target !== undefined) used.add(target);
    }
  }
  const dead = [...sources.keys()].filter((name) => !name.startsWith('bin/') && !used.has(name));
  assertNone(dead.map((name) => `src/${name} is imported by no other source: use or remove it`));
});

test('every relative import names a file that exists', () => {
  const broken = [...sources.values()].flatMap((source) =>
    source.imports
      .map(({ specifier }) => ({ specifier, target: targetOf(source, specifier) }))
      .filter(({ target }) => target !== undefined && !sources.has(target))
      .map(({ specifier }) => `${source.name} imports ${specifier}, which does not exist`),
  );
  assertNone(broken);
});

/** Fails with every line, not with an excerpt. */
function assertNone(problems: readonly string[]): void {
  assert.ok(problems.length === 0, `\n${problems.join('\n')}\n`);
}

function problemOf(source: Source, row: Row, { specifier, isType }: Import): string | undefined {
  const target = targetOf(source, specifier);
  if (target !== undefined) {
    const allowed = [...row.imports, ...(STARTERS[source.name] ?? []), folderOf(source.name)];
    const asType = isType ? (row.types ?? []) : [];
    if ([...allowed, ...asType].some((name) => isUnder(target, name))) return undefined;
    const hint = (row.types ?? []).some((name) => isUnder(target, name))
      ? 'only as `import type`'
      : 'no arrow leads there';
    return `${source.name} imports ${target}: ${hint}`;
  }
  if (specifier.startsWith('node:')) {
    const module = specifier.slice('node:'.length);
    const modules = row.node ?? [];
    if (isType || modules.includes('*') || modules.includes(module)) return undefined;
    return `${source.name} imports ${specifier}: not among its node modules`;
  }
  if ((row.packages ?? []).some((name) => specifier === name)) return undefined;
  return `${source.name} imports the package ${specifier}: not among its packages`;
}

/** Every file that `from` loads at run time → how it is reached. */
function reachedFrom(from: string): Map<string, string> {
  const ways = new Map<string, string>();
  const walk = (name: string, way: string): void => {
    if (ways.has(name)) return;
    ways.set(name, way);
    const source = sources.get(name);
    if (source === undefined) return;
    for (const { specifier, isType } of source.imports) {
      const target = targetOf(source, specifier);
      if (!isType && target !== undefined) walk(target, `${way} → ${target}`);
    }
  };
  walk(from, from);
  return ways;
}

/** `src/hsm/backup/x.ts` and `hsm/` → true; a name without a trailing `/` may be a file or a folder. */
function isUnder(name: string, place: string): boolean {
  return name === place || name.startsWith(place.endsWith('/') ? place : `${place}/`);
}

function folderOf(name: string): string {
  const slash = name.indexOf('/');
  return slash < 0 ? name : name.slice(0, slash);
}

/** The source a relative specifier names; undefined for modules and packages. */
function targetOf(source: Source, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  const base = source.name.startsWith('bin/') ? source.name : `src/${source.name}`;
  return normalize(join(dirname(base), specifier)).replace(/^src\//, '');
}

function sourcesUnder(folder: 'src' | 'bin'): [string, Source][] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((path) => {
      const code = withoutComments(readFileSync(join(ROOT, folder, path), 'utf8'));
      const name = folder === 'src' ? path : `${folder}/${path}`;
      return [name, { name, code, imports: importsOf(code) }];
    });
}

/** Comments become blanks, so that line numbers stay. Good enough for code that Biome formatted. */
function withoutComments(text: string): string {
  return text
    .replace(/^[ \t]*\/\*[\s\S]*?\*\//gm, (comment) => comment.replace(/[^\n]/g, ' '))
    .replace(/(^|\s)\/\/.*$/gm, '$1');
}

function importsOf(code: string): Import[] {
  const fixed = [...code.matchAll(/^(?:import|export)\b([^;'"]*?)['"]([^'"]+)['"]/gm)]
    .filter(([, clause]) => clause === ' ' || /\bfrom\s*$/.test(clause ?? ''))
    .map(([, clause, specifier]) => ({
      specifier: specifier ?? '',
      isType: /^\s*type\b/.test(clause ?? ''),
    }));
  const late = [...code.matchAll(/\bimport\(\s*['"]([^'"]+)['"]\s*\)/g)].map(([, specifier]) => ({
    specifier: specifier ?? '',
    isType: false,
  }));
  return [...fixed, ...late];
}
