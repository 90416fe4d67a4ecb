import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DATA_VERSION, openDataFolder, type Step } from '../src/data-folder.ts';
import { systemClock } from '../src/kernel/clock.ts';
import { temporaryFolder } from './support/service.ts';

const clock = systemClock;
const open = (path: string) => openDataFolder(path, { clock, pid: process.pid });

test('a folder that a newer version wrote is refused, and nothing in it is touched', async () => {
  await using temp = await temporaryFolder();
  const path = join(temp.path, 'data');
  open(path)[Symbol.dispose]();
  const newer = `${JSON.stringify({ version: DATA_VERSION + 1, createdAt: 'later' })}\n`;
  writeFileSync(join(path, 'keyark.json'), newer);
  const before = readdirSync(path).sort();
  assert.throws(() => open(path), {
    code: 'WrongState',
    message: /NEWER_DATA.*Nothing was touched/,
  });
  assert.equal(readFileSync(join(path, 'keyark.json'), 'utf8'), newer);
  assert.deepEqual(readdirSync(path).sort(), before);
});

test('a folder whose version cannot be read is refused with a sentence, and nothing is touched', async () => {
  await using temp = await temporaryFolder();
  const path = join(temp.path, 'data');
  {
    using data = open(path);
    data.folder('catalog');
  }
  const texts = ['', 'not json', '{"version":"one"}', '[]', '{"version":0}', '{"version":-1}'];
  for (const text of texts) {
    writeFileSync(join(path, 'keyark.json'), text);
    const before = readdirSync(path).sort();
    assert.throws(() => open(path), { code: 'START', message: /keyark\.json.*damaged/ }, text);
    assert.equal(readFileSync(join(path, 'keyark.json'), 'utf8'), text);
    assert.deepEqual(readdirSync(path).sort(), before);
  }
  rmSync(join(path, 'keyark.json'));
  assert.throws(() => open(path), { code: 'START' });
});

test('an empty version that a power cut left in an unborn folder is no damage', async () => {
  await using temp = await temporaryFolder();
  const path = join(temp.path, 'data');
  open(path)[Symbol.dispose]();
  writeFileSync(join(path, 'keyark.json'), '');
  open(path)[Symbol.dispose]();
  assert.equal(versionOf(path), DATA_VERSION);
});

test('a folder of an older version walks up step by step, under the lock, and over a crash', async () => {
  await using temp = await temporaryFolder();
  const path = join(temp.path, 'data');
  open(path)[Symbol.dispose]();
  const { createdAt } = markerOf(path);
  const walked: string[] = [];
  let isPowerGone = true;
  const steps: readonly Step[] = [
    (folder) => {
      walked.push('1 to 2');
      // The lock, not this look at the version, is what keeps a second one out meanwhile.
      assert.throws(() => openDataFolder(folder, { clock, pid: 1, steps }), { code: 'InUse' });
    },
    () => {
      walked.push('2 to 3');
      if (isPowerGone) throw new Error('the power went');
    },
  ];
  const later = () => openDataFolder(path, { clock, pid: process.pid, steps });
  assert.throws(later, /the power went/);
  assert.equal(versionOf(path), 2);
  isPowerGone = false;
  later()[Symbol.dispose]();
  assert.deepEqual(markerOf(path), { version: 3, createdAt });
  later()[Symbol.dispose]();
  assert.deepEqual(walked, ['1 to 2', '2 to 3', '2 to 3']);
  assert.throws(() => open(path), { code: 'WrongState', message: /NEWER_DATA/ });
});

const markerOf = (path: string) =>
  JSON.parse(readFileSync(join(path, 'keyark.json'), 'utf8')) as {
    version: number;
    createdAt: string;
  };
const versionOf = (path: string): number => markerOf(path).version;

test('a folder in use is refused, and free again when its process was killed', async () => {
  await using temp = await temporaryFolder();
  const path = join(temp.path, 'data');
  const program = `
    import { openDataFolder } from ${JSON.stringify(join(import.meta.dirname, '../src/data-folder.ts'))};
    import { systemClock as clock } from ${JSON.stringify(join(import.meta.dirname, '../src/kernel/clock.ts'))};
    globalThis.folder = openDataFolder(${JSON.stringify(path)}, { clock, pid: process.pid });
    console.log('open');
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  try {
    await once(child.stdout, 'data');
    assert.throws(() => open(path), {
      code: 'InUse',
      message: new RegExp(`process ${child.pid},`),
    });
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
  open(path)[Symbol.dispose]();
});

test('a folder is made as a rehearsal or never becomes one, and stays what it is', async () => {
  await using temp = await temporaryFolder();
  const as = (name: string, isRehearsal: boolean) => {
    using folder = openDataFolder(join(temp.path, name), { clock, pid: process.pid, isRehearsal });
    return folder.isRehearsal;
  };
  assert.equal(as('rehearsal', true), true);
  assert.equal(as('rehearsal', false), true);
  assert.equal(as('rehearsal', true), true);
  assert.equal(as('real', false), false);
  const before = readFileSync(join(temp.path, 'real', 'keyark.json'), 'utf8');
  assert.throws(() => as('real', true), { code: 'WrongState', message: /NOT_A_REHEARSAL/ });
  assert.equal(readFileSync(join(temp.path, 'real', 'keyark.json'), 'utf8'), before);
});

test('a folder that lost its marker but not its keys is not made a rehearsal', async () => {
  await using temp = await temporaryFolder();
  const path = join(temp.path, 'data');
  {
    using folder = open(path);
    folder.folder('kms');
  }
  rmSync(join(path, 'keyark.json'));
  const isRehearsal = true;
  assert.throws(() => openDataFolder(path, { clock, pid: process.pid, isRehearsal }), {
    code: 'START',
    message: /keyark\.json is damaged/,
  });
});
